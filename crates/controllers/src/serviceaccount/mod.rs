//! What every namespace has: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt` by
//! which its pods know the API server.

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Next, Patch, Source};
use serde_json::json;

use crate::Error;
use crate::claim::namespace_ends;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::Dependent;

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";

struct ServiceAccounts {
    context: Context,
    namespaces: Cache<Dependent>,
    accounts: Cache<Dependent>,
    maps: Cache<Whole>,
}

fn core(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

/// Keys are namespaces.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let named = |plural: &str, name: &str| {
        Source::all(core(plural)).fields(format!("metadata.name={name}"))
    };
    let namespaces: Cache<Dependent> = context.cache(Source::all(core("namespaces")));
    let accounts: Cache<Dependent> = context.cache(named("serviceaccounts", ACCOUNT));
    let maps: Cache<Whole> = context.cache(named("configmaps", ROOT_CA));
    let mut harness = Harness::new(&context);
    harness.watch(&namespaces, |change| vec![change.key().name.clone()]);
    harness.watch(&accounts, |change| vec![change.key().namespace.clone()]);
    harness.watch(&maps, |change| vec![change.key().namespace.clone()]);
    harness.run(ServiceAccounts { context, namespaces, accounts, maps })
}

#[async_trait]
impl Controller for ServiceAccounts {
    type Key = String;

    async fn reconcile(&self, namespace: &String) -> Result<Next, Error> {
        if self.namespaces.get("", namespace).is_none_or(|found| found.deleting) {
            return Ok(Next::Done);
        }
        let client = &self.context.client;
        if self.accounts.get(namespace, ACCOUNT).is_none() {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}});
            done(client.create(&core("serviceaccounts"), namespace, account).await.map(drop))?;
        }
        let data = json!({"ca.crt": self.context.options.ca_pem});
        match self.maps.get(namespace, ROOT_CA) {
            None => {
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": ROOT_CA}, "data": data,
                });
                done(client.create(&core("configmaps"), namespace, map).await.map(drop))?;
            }
            Some(map) if map.value()?["data"] != data => {
                let patch = Patch::json(json!([{"op": "add", "path": "/data", "value": data}]));
                let written = client.patch(&core("configmaps"), namespace, ROOT_CA, patch).await;
                done(written.map(drop))?;
            }
            Some(_) => {}
        }
        Ok(Next::Done)
    }
}

/// The cache may be behind, or the namespace at its end.
fn done(result: Result<(), onggi_client::Error>) -> Result<(), Error> {
    match result {
        Err(error)
            if !error.is_already_exists() && !error.is_not_found() && !namespace_ends(&error) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
