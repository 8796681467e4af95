//! CustomResourceDefinitions: names are given out when a definition is written, one after the
//! other, so that its kinds are served when the answer comes; a deleted one waits for its objects.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::kinds::customresourcedefinition;
use onggi_machinery::value::{is_set, set};
use serde_json::Value;

use super::{Claim, Hooks};
use crate::custom;
use crate::registry::Registry;

pub(super) struct CustomResourceDefinitions;

/// Gives the definition its names; nobody else gets any until it is stored.
async fn claim(registry: &Registry, definition: &mut Value) -> Result<Claim, Status> {
    let naming = registry.kinds.naming().await;
    registry.cache.catch_up().await?;
    let status = custom::settled(registry, definition);
    set(definition, "status", status);
    Ok(Some(Box::new(naming)))
}

#[async_trait]
impl Hooks for CustomResourceDefinitions {
    async fn before_create(&self, registry: &Registry, new: &mut Value) -> Result<Claim, Status> {
        claim(registry, new).await
    }

    async fn before_update(
        &self,
        registry: &Registry,
        new: &mut Value,
        _: &Value,
    ) -> Result<Claim, Status> {
        if is_set(new, "metadata.deletionTimestamp") {
            return Ok(None);
        }
        claim(registry, new).await
    }

    fn holds(&self, object: &Value) -> bool {
        !is_set(object, "metadata.deletionTimestamp")
    }

    fn marked(&self, object: &mut Value) {
        let now = onggi_api::jiff::Timestamp::now();
        customresourcedefinition::terminate(object, &onggi_base::clock::rfc3339(now));
    }
}
