//! NamespaceLifecycle: nothing new in a namespace that is not there or is ending; the namespaces of
//! the system stay.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_api::status::Cause;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::Registry;

/// Namespaces that nobody may delete.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        match attributes.operation {
            // A review of what somebody may do asks about a namespace, and makes nothing in it.
            Operation::Create => {
                !attributes.namespace.is_empty() && attributes.row.group != "authorization.k8s.io"
            }
            Operation::Delete => attributes.about("", "namespaces"),
            _ => false,
        }
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        if attributes.operation == Operation::Delete {
            return if IMMORTAL.contains(&attributes.name) {
                Err(attributes.forbidden(object, "this namespace may not be deleted"))
            } else {
                Ok(())
            };
        }
        let name = attributes.namespace;
        let Some(namespace) = lookup::find(registry, "", "namespaces", "", name).await? else {
            return Err(Status::not_found("namespaces", name));
        };
        if !namespace.head().deleting {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let mut status = attributes.forbidden(object, &why);
        status.details.get_or_insert_default().causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".into(),
        });
        Err(status)
    }
}
