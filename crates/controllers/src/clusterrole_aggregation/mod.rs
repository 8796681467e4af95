//! ClusterRoles with an `aggregationRule` hold the rules of those that it selects: `admin`, `edit`,
//! `view`, and what people make.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Next, Patch, Source};
use serde_json::{Value, json};

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};

struct Aggregation {
    context: Context,
    roles: Cache<Whole>,
}

fn cluster_roles() -> GroupVersionResource {
    GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterroles")
}

/// The key is always the same: few roles gather others, and a change of any may concern them all.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let roles: Cache<Whole> = context.cache(Source::all(cluster_roles()));
    let mut harness = Harness::new(&context);
    harness.watch(&roles, |_| vec![String::new()]);
    harness.run(Aggregation { context, roles })
}

#[async_trait]
impl Controller for Aggregation {
    type Key = String;

    async fn reconcile(&self, _: &String) -> Result<Next, Error> {
        let all: Vec<Value> =
            self.roles.list().iter().map(|role| role.value()).collect::<Result<_, _>>()?;
        for role in &all {
            let Some(rules) = plan::plan(role, &all) else { continue };
            let name = role["metadata"]["name"].as_str().unwrap_or_default();
            let patch = Patch::merge(json!({"rules": rules}));
            match self.context.client.patch(&cluster_roles(), "", name, patch).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Next::Done)
    }
}
