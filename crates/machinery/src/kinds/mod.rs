//! The table: one line a kind, one file a kind. Versions of a kind that are served and not stored
//! (`autoscaling/v1`, `events.k8s.io/v1`) are lines of [`conversion`](crate::conversion).

use crate::resource::{Resource, Subresource, Verb};

pub mod admissionregistration;
pub mod certificatesigningrequest;
pub mod configmap;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod horizontalpodautoscaler;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod podspec;
pub mod rbac;
pub mod replicaset;
pub mod scale;
pub mod secret;
pub mod service;
pub mod serviceaccount;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod workload;

/// Every kind that is served. To add one: a file beside this one, and a line here.
pub const RESOURCES: &[&Resource] = &[
    &configmap::RESOURCE,
    &endpoints::RESOURCE,
    &event::RESOURCE,
    &namespace::RESOURCE,
    &node::RESOURCE,
    &pod::RESOURCE,
    &secret::RESOURCE,
    &serviceaccount::RESOURCE,
    &service::RESOURCE,
    &deployment::RESOURCE,
    &replicaset::RESOURCE,
    &horizontalpodautoscaler::RESOURCE,
    &lease::RESOURCE,
    &endpointslice::RESOURCE,
    &certificatesigningrequest::RESOURCE,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::CLUSTER_ROLE,
    &rbac::ROLE_BINDING,
    &rbac::ROLE,
    &admissionregistration::MUTATING_POLICY,
    &admissionregistration::MUTATING_BINDING,
    &admissionregistration::MUTATING_WEBHOOK,
    &admissionregistration::VALIDATING_POLICY,
    &admissionregistration::VALIDATING_BINDING,
    &admissionregistration::VALIDATING_WEBHOOK,
];

/// What can be done with a part of an object.
const PART_VERBS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
/// What can be done with a stream to a container: WebSocket asks by GET, SPDY by POST.
const STREAM_VERBS: &[Verb] = &[Verb::Create, Verb::Get];

/// `status` of a kind.
const fn status_of(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", kind: (group, version, kind), verbs: PART_VERBS }
}
