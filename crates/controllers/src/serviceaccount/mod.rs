//! What every namespace has: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt` by
//! which its pods know the API server.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Next, Patch, Source};

use crate::Error;
use crate::claim::namespace_ends;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::Dependent;
use plan::{ACCOUNT, Action, ROOT_CA, Snapshot};

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
        let client = &self.context.client;
        let map = self.maps.get(namespace, ROOT_CA);
        let data = map.map(|map| Ok::<_, Error>(map.value()?["data"].clone())).transpose()?;
        let actions = plan::plan(&Snapshot {
            ends: self.namespaces.get("", namespace).is_none_or(|found| found.deleting),
            account: self.accounts.get(namespace, ACCOUNT).is_some(),
            map: data.as_ref(),
            ca_pem: &self.context.options.ca_pem,
        });
        for action in actions {
            done(match action {
                Action::CreateAccount(account) => {
                    client.create(&core("serviceaccounts"), namespace, account).await.map(drop)
                }
                Action::CreateMap(map) => {
                    client.create(&core("configmaps"), namespace, map).await.map(drop)
                }
                Action::PatchMap(patch) => {
                    let patch = Patch::json(patch);
                    client.patch(&core("configmaps"), namespace, ROOT_CA, patch).await.map(drop)
                }
            })?;
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
