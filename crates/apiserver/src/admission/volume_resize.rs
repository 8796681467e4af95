//! PersistentVolumeClaimResize: a claim grows only where its storage class allows it.

use async_trait::async_trait;
use onggi_api::{Quantity, Status};
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

pub(super) struct PersistentVolumeClaimResize;

fn size(claim: &Value) -> Option<Quantity> {
    text(claim, "/spec/resources/requests/storage").parse().ok()
}

fn class(claim: &Value) -> &str {
    let old = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";
    match text(claim, old) {
        "" => text(claim, "/spec/storageClassName"),
        named => named,
    }
}

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Update, "", "persistentvolumeclaims")
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        claim: &Value,
    ) -> Result<(), Status> {
        let Some(old) = attributes.old else { return Ok(()) };
        if size(claim) <= size(old) {
            return Ok(());
        }
        if text(old, "/status/phase") != "Bound" {
            let why = "Only bound persistent volume claims can be expanded";
            return Err(attributes.forbidden(claim, why));
        }
        let name = class(claim);
        let object = match name == class(old) && !name.is_empty() {
            true => lookup::find(registry, "storage.k8s.io", "storageclasses", "", name).await?,
            false => None,
        };
        let allowed = match object {
            Some(object) => {
                object.value().map_err(Status::internal)?["allowVolumeExpansion"] == true
            }
            None => false,
        };
        if allowed {
            return Ok(());
        }
        let why = "only dynamically provisioned pvc can be resized and the storageclass that \
                   provisions the pvc must support resize";
        Err(attributes.forbidden(claim, why))
    }
}
