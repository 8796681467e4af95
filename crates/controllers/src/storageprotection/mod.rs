//! Claims and volumes that are in use stay: their finalizer goes when the last pod that uses a
//! claim has ended, and when no claim is bound to a volume any more.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_api::object::metadata_mut;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Index, Next, ObjectKey, Source};
use onggi_machinery::resource;
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::Pod;

fn core(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

/// Whether this build serves volumes.
fn served() -> bool {
    ["persistentvolumeclaims", "persistentvolumes"]
        .iter()
        .all(|plural| resource::by_gvr("", "v1", plural).is_some())
}

struct Claims {
    context: Context,
    claims: Cache<Whole>,
    users: Index<Pod>,
}

/// Keys are claims.
pub(crate) fn launch_claims(context: Context) -> BoxFuture<'static, ()> {
    if !served() {
        return Box::pin(async {});
    }
    let claims: Cache<Whole> = context.cache(Source::all(core("persistentvolumeclaims")));
    let pods: Cache<Pod> = context.cache(Source::all(core("pods")));
    let users = pods.index("claims", |pod: &Pod| {
        let namespace = &pod.metadata.namespace;
        plan::claims_of(pod).iter().map(|name| format!("{namespace}/{name}")).collect()
    });
    let mut harness = Harness::new(&context);
    harness.watch(&claims, |change| {
        let ending = change.after().is_some_and(|claim| claim.head().deleting);
        ending.then(|| change.key().clone()).into_iter().collect()
    });
    harness.watch(&pods, |change| {
        // What it used before and uses no more may go.
        let namespace = &change.key().namespace;
        let pods = change.before().into_iter().chain(change.after());
        let names = pods.flat_map(|pod| plan::claims_of(pod));
        names.map(|name| ObjectKey::new(namespace, name)).collect()
    });
    harness.run(Claims { context, claims, users })
}

#[async_trait]
impl Controller for Claims {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(claim) = self.claims.get_key(key) else { return Ok(Next::Done) };
        let used = self.users.count(&format!("{}/{}", key.namespace, key.name)) > 0;
        if !claim.head().deleting || used {
            return Ok(Next::Done);
        }
        let resource = core("persistentvolumeclaims");
        release(&self.context, &resource, key, plan::CLAIM).await
    }
}

struct Volumes {
    context: Context,
    volumes: Cache<Whole>,
}

/// Keys are volumes.
pub(crate) fn launch_volumes(context: Context) -> BoxFuture<'static, ()> {
    if !served() {
        return Box::pin(async {});
    }
    let volumes: Cache<Whole> = context.cache(Source::all(core("persistentvolumes")));
    let mut harness = Harness::new(&context);
    harness.watch(&volumes, |change| {
        let ending = change.after().is_some_and(|volume| volume.head().deleting);
        ending.then(|| change.key().clone()).into_iter().collect()
    });
    harness.run(Volumes { context, volumes })
}

#[async_trait]
impl Controller for Volumes {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(volume) = self.volumes.get_key(key) else { return Ok(Next::Done) };
        if !volume.head().deleting || plan::is_bound(&volume.value()?) {
            return Ok(Next::Done);
        }
        release(&self.context, &core("persistentvolumes"), key, plan::VOLUME).await
    }
}

/// Takes the finalizer away.
async fn release(
    context: &Context,
    resource: &GroupVersionResource,
    key: &ObjectKey,
    finalizer: &str,
) -> Result<Next, Error> {
    let change = |value: &mut Value| {
        let all = metadata_mut(value).get_mut("finalizers").and_then(Value::as_array_mut);
        if let Some(all) = all {
            all.retain(|present| present != finalizer);
        }
    };
    let written = context.client.modify(resource, &key.namespace, &key.name, "", change).await;
    match written {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Next::Done),
    }
}
