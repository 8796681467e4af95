//! Bootstrap tokens: those whose time is over go, and those that may sign
//! `kube-public/cluster-info`.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Next, ObjectKey, Source, WriteOptions};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use plan::Expiry;

const SIGNED: &str = "cluster-info";

fn core(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

fn tokens(context: &Context) -> Cache<Whole> {
    let secrets = Source::all(core("secrets")).in_namespace("kube-system");
    context.cache(secrets.fields(format!("type={}", plan::TYPE)))
}

// === The signer ===

struct Signer {
    context: Context,
    tokens: Cache<Whole>,
    maps: Cache<Whole>,
}

/// The only key is the ConfigMap.
pub(crate) fn launch_signer(context: Context) -> BoxFuture<'static, ()> {
    let tokens = tokens(&context);
    let named = format!("metadata.name={SIGNED}");
    let maps = Source::all(core("configmaps")).in_namespace("kube-public").fields(named);
    let maps: Cache<Whole> = context.cache(maps);
    let mut harness = Harness::new(&context);
    harness.watch(&maps, |change| vec![change.key().clone()]);
    harness.watch(&tokens, |_| vec![ObjectKey::new("kube-public", SIGNED)]);
    harness.run(Signer { context, tokens, maps })
}

#[async_trait]
impl Controller for Signer {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(map) = self.maps.get_key(key) else { return Ok(Next::Done) };
        let mut map = map.value()?;
        let tokens: Result<Vec<Value>, _> =
            self.tokens.list().iter().map(|token| token.value()).collect();
        let Some(data) = plan::signed(&map, &tokens?, self.context.now()) else {
            return Ok(Next::Done);
        };
        map["data"] = data;
        match self.context.client.update(&core("configmaps"), map).await {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
            Ok(written) => self.maps.caught_up(written.head().resource_version).await?,
        }
        Ok(Next::Done)
    }
}

// === The cleaner ===

struct Cleaner {
    context: Context,
    tokens: Cache<Whole>,
}

/// Keys are Secrets.
pub(crate) fn launch_cleaner(context: Context) -> BoxFuture<'static, ()> {
    let tokens = tokens(&context);
    let mut harness = Harness::new(&context);
    harness.watch(&tokens, |change| vec![change.key().clone()]);
    harness.run(Cleaner { context, tokens })
}

#[async_trait]
impl Controller for Cleaner {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(token) = self.tokens.get_key(key) else { return Ok(Next::Done) };
        match plan::expiry(&token.value()?, self.context.now()) {
            Expiry::Never => Ok(Next::Done),
            Expiry::In(time) => Ok(time.try_into().map_or(Next::Done, Next::After)),
            Expiry::Past => {
                let options = WriteOptions {
                    precondition_uid: Some(token.head().uid.clone()),
                    ..WriteOptions::default()
                };
                let client = &self.context.client;
                match client.delete(&core("secrets"), &key.namespace, &key.name, options).await {
                    Err(error) if !error.is_not_found() && !error.is_conflict() => {
                        Err(error.into())
                    }
                    _ => Ok(Next::Done),
                }
            }
        }
    }
}
