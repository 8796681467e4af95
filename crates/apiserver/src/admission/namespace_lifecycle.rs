//! NamespaceLifecycle: nothing new in a namespace that is not there or is ending; the namespaces of
//! the system stay.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_api::status::Cause;
use onggi_machinery::resource;
use serde_json::Value;

use super::{Attributes, Operation, Step};
use crate::registry::{Registry, text};

/// Namespaces that nobody may delete.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Step for NamespaceLifecycle {
    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        if attributes.operation != Operation::Create || !attributes.row.namespaced() {
            return Ok(());
        }
        let row = resource::by_gvr("", "v1", "namespaces").ok_or_else(Status::no_such_path)?;
        let namespace = registry.current(row, "", attributes.namespace).await?;
        if !namespace.head().deleting {
            return Ok(());
        }
        let name = attributes.namespace;
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

    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        if attributes.is(Operation::Delete, "", "namespaces")
            && IMMORTAL.contains(&text(object, "/metadata/name"))
        {
            return Err(attributes.forbidden(object, "this namespace may not be deleted"));
        }
        Ok(())
    }
}
