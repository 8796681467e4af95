//! StorageObjectInUseProtection: volumes and claims are held until nobody uses them any more. The
//! controllers `pvc-protection-controller` and `pv-protection-controller` let go of them.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_api::object::metadata_mut;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub(super) struct StorageObjectInUseProtection;

fn finalizer(attributes: &Attributes<'_>) -> Option<&'static str> {
    if attributes.operation != Operation::Create || !attributes.subresource.is_empty() {
        return None;
    }
    match (attributes.row.group, attributes.row.plural) {
        ("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        ("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        _ => None,
    }
}

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        finalizer(attributes).is_some()
    }

    async fn mutate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let Some(finalizer) = finalizer(attributes) else { return Ok(()) };
        let all = metadata_mut(object).entry("finalizers").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut()
            && !all.iter().any(|present| present == finalizer)
        {
            all.push(finalizer.into());
        }
        Ok(())
    }
}
