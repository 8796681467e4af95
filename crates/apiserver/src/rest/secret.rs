//! Secrets of the type `kubernetes.io/service-account-token`: the server puts the token in, as soon as
//! the account is there.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::Status;
use onggi_machinery::resource;
use onggi_machinery::value::map_mut;
use serde_json::Value;

use super::{Claim, Hooks};
use crate::authn::Bound;
use crate::cache;
use crate::registry::{Registry, text};

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

pub(super) struct Secrets;

#[async_trait]
impl Hooks for Secrets {
    async fn before_create(&self, registry: &Registry, new: &mut Value) -> Result<Claim, Status> {
        fill(registry, new)?;
        Ok(None)
    }

    async fn before_update(
        &self,
        registry: &Registry,
        new: &mut Value,
        _old: &Value,
    ) -> Result<Claim, Status> {
        fill(registry, new)?;
        Ok(None)
    }
}

fn annotation<'v>(secret: &'v Value, key: &str) -> &'v str {
    secret["metadata"]["annotations"][key].as_str().unwrap_or_default()
}

/// Puts in what is missing. A Secret whose account is not there, or is another one by now, is left
/// alone: a controller takes it away.
fn fill(registry: &Registry, secret: &mut Value) -> Result<(), Status> {
    if text(secret, "/type") != TYPE || !text(secret, "/data/token").is_empty() {
        return Ok(());
    }
    let namespace = text(secret, "/metadata/namespace").to_owned();
    let row = resource::by_gvr("", "v1", "serviceaccounts").ok_or_else(Status::no_such_path)?;
    let key = cache::key(row, &namespace, annotation(secret, NAME));
    let Some(account) = registry.cache.of(row)?.get(&key) else { return Ok(()) };
    let account = Bound { name: account.head().name.clone(), uid: account.head().uid.clone() };
    let named = annotation(secret, UID);
    if !named.is_empty() && named != account.uid {
        return Ok(());
    }
    let name = text(secret, "/metadata/name").to_owned();
    let tokens = &registry.authenticators.service_accounts;
    let token = tokens.mint_legacy(&namespace, &name, &account)?;
    let data = map_mut(secret, "data");
    for (key, content) in
        [("token", &token), ("namespace", &namespace), ("ca.crt", &registry.root_ca)]
    {
        data.entry(key).or_insert_with(|| STANDARD.encode(content).into());
    }
    let annotations = map_mut(&mut secret["metadata"], "annotations");
    annotations.insert(UID.into(), account.uid.into());
    Ok(())
}
