//! Admission: what may enter beyond what validation knows, and what is put in on the way. An
//! ordered list of steps, one file a step, one line in [`STEPS`].

mod default_toleration_seconds;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod service_account;

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::resource::Resource;
use serde_json::Value;

use crate::authn::User;
use crate::registry::Registry;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// The write that is to be admitted.
pub(crate) struct Attributes<'a> {
    pub(crate) user: &'a User,
    pub(crate) row: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) operation: Operation,
    #[allow(dead_code, reason = "webhooks, which come with the API issue, are told")]
    pub(crate) dry_run: bool,
    /// What is stored; `None` for a new object.
    pub(crate) old: Option<&'a Value>,
}

impl Attributes<'_> {
    /// Whether it is this operation on objects of this kind themselves.
    fn is(&self, operation: Operation, group: &str, plural: &str) -> bool {
        self.operation == operation
            && self.subresource.is_empty()
            && (self.row.group, self.row.plural) == (group, plural)
    }

    fn forbidden(&self, object: &Value, why: &str) -> Status {
        let name = crate::registry::text(object, "/metadata/name");
        Status::forbidden(&self.row.group_resource(), name, why)
    }
}

/// A step.
#[async_trait]
pub(crate) trait Step: Send + Sync {
    /// Changes what is written, or refuses it early.
    async fn mutate(&self, _: &Registry, _: &Attributes<'_>, _: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses; for a delete it is shown the object that is stored.
    async fn validate(&self, _: &Registry, _: &Attributes<'_>, _: &Value) -> Result<(), Status> {
        Ok(())
    }
}

/// In this order, once to mutate and once to validate.
const STEPS: &[&dyn Step] = &[
    &namespace_lifecycle::NamespaceLifecycle,
    &node_restriction::NodeRestriction,
    &service_account::ServiceAccount,
    &priority::Priority,
    &default_toleration_seconds::DefaultTolerationSeconds,
];

pub(crate) async fn mutate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &mut Value,
) -> Result<(), Status> {
    for step in STEPS {
        step.mutate(registry, attributes, object).await?;
    }
    Ok(())
}

pub(crate) async fn validate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    for step in STEPS {
        step.validate(registry, attributes, object).await?;
    }
    Ok(())
}
