//! What a kind does beyond being stored: one file a kind, one line in [`hooks`].

mod apiservice;
mod certificates;
mod componentstatus;
mod customresourcedefinition;
mod eviction;
mod namespace;
mod persistentvolume;
mod pod;
mod priorityclass;
mod scale;
mod secret;
mod service;
mod serviceaccount;

use async_trait::async_trait;
use onggi_api::{FieldError, Status};
use onggi_client::{Request, Response};
use onggi_machinery::crd;
use onggi_machinery::resource::Resource;
use serde_json::Value;

use crate::registry::{Context, Registry};

pub(crate) use componentstatus::Components;
pub(crate) use service::Allocator as ServiceAllocator;

/// Held until the write is done, so that nothing is given out twice.
pub(crate) type Claim = Option<Box<dyn Send>>;

/// What a kind may do at its writes; each method has an answer that does nothing.
#[async_trait]
pub(crate) trait Hooks: Send + Sync {
    /// After validation, before a new object is stored.
    async fn before_create(&self, _: &Registry, _: &mut Value) -> Result<Claim, Status> {
        Ok(None)
    }

    /// Before a changed object is checked and stored.
    async fn before_update(
        &self,
        _: &Registry,
        _: &mut Value,
        _old: &Value,
    ) -> Result<Claim, Status> {
        Ok(None)
    }

    /// Restores what a write through a part (`status`, `approval` …) may not change, and stamps
    /// what is new in it. `now` is RFC 3339.
    fn prepare_part(&self, _part: &str, _new: &mut Value, _old: &Value, _now: &str) {}

    /// What is wrong with a change through a part of which the row's rules know nothing.
    fn validate_part(&self, _part: &str, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether an object of this name may be deleted at all.
    fn may_delete(&self, _name: &str) -> Result<(), Status> {
        Ok(())
    }

    /// Seconds that a deletion waits for others; 0: it is done at once.
    fn grace(&self, _object: &Value, _asked: Option<i64>) -> i64 {
        0
    }

    /// Whether something but `metadata.finalizers` holds a deleted object.
    fn holds(&self, _object: &Value) -> bool {
        false
    }

    /// The object has been marked for deletion.
    fn marked(&self, _object: &mut Value) {}

    /// A subresource other than `status`.
    async fn subresource(
        &self,
        _: &Registry,
        _: &Context,
        _: &'static Resource,
        _: &Request,
    ) -> Result<Response, Status> {
        Err(Status::method_not_allowed())
    }
}

struct Nothing;

impl Hooks for Nothing {}

/// The hooks of a kind.
pub(crate) fn hooks(row: &Resource) -> &'static dyn Hooks {
    match (row.group, row.plural) {
        (crd::GROUP, "customresourcedefinitions") => {
            &customresourcedefinition::CustomResourceDefinitions
        }
        ("", "namespaces") => &namespace::Namespaces,
        ("", "persistentvolumes") => &persistentvolume::PersistentVolumes,
        ("", "pods") => &pod::Pods,
        ("", "secrets") => &secret::Secrets,
        ("", "services") => &service::Services,
        ("apiregistration.k8s.io", "apiservices") => &apiservice::ApiServices,
        ("scheduling.k8s.io", "priorityclasses") => &priorityclass::PriorityClasses,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificates::Certificates,
        ("", "serviceaccounts") => &serviceaccount::ServiceAccounts,
        _ if row.subresource("scale").is_some() => &scale::Scalable,
        _ => &Nothing,
    }
}

/// The answer of a kind of which nothing is stored.
pub(crate) async fn computed(
    registry: &Registry,
    context: &Context,
    row: &'static Resource,
    request: &Request,
) -> Option<Result<Response, Status>> {
    match (row.group, row.plural) {
        ("", "bindings") => Some(pod::bind_by_name(registry, context, request).await),
        ("", "componentstatuses") => Some(componentstatus::answer(registry, row, request)),
        _ => None,
    }
}
