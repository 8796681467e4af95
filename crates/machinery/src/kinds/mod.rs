//! The table: one line a kind, one file a kind. Versions of a kind that are served and not stored
//! (`autoscaling/v1`, `events.k8s.io/v1`) are lines of [`conversion`](crate::conversion).

use crate::resource::{Resource, Subresource, Verb};

pub mod admissionregistration;
pub mod apiservice;
pub mod binding;
pub mod certificatesigningrequest;
pub mod componentstatus;
pub mod configmap;
pub mod controllerrevision;
pub mod cronjob;
pub mod customresourcedefinition;
pub mod daemonset;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod flowcontrol;
pub mod horizontalpodautoscaler;
pub mod job;
pub mod lease;
pub mod limitrange;
pub mod namespace;
pub mod networking;
pub mod node;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod poddisruptionbudget;
pub mod podspec;
pub mod podtemplate;
pub mod priorityclass;
pub mod rbac;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resource;
pub mod resourcequota;
pub mod reviews;
#[cfg(test)]
mod rules;
pub mod runtimeclass;
pub mod scale;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod statefulset;
pub mod storage;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod workload;

/// Every kind that is served. To add one: a file beside this one, and a line here.
pub const RESOURCES: &[&Resource] = &[
    &binding::RESOURCE,
    &componentstatus::RESOURCE,
    &configmap::RESOURCE,
    &endpoints::RESOURCE,
    &event::RESOURCE,
    &limitrange::RESOURCE,
    &namespace::RESOURCE,
    &node::RESOURCE,
    &persistentvolumeclaim::RESOURCE,
    &persistentvolume::RESOURCE,
    &pod::RESOURCE,
    &podtemplate::RESOURCE,
    &replicationcontroller::RESOURCE,
    &resourcequota::RESOURCE,
    &secret::RESOURCE,
    &serviceaccount::RESOURCE,
    &service::RESOURCE,
    &controllerrevision::RESOURCE,
    &daemonset::RESOURCE,
    &deployment::RESOURCE,
    &replicaset::RESOURCE,
    &statefulset::RESOURCE,
    &cronjob::RESOURCE,
    &job::RESOURCE,
    &horizontalpodautoscaler::RESOURCE,
    &lease::RESOURCE,
    &endpointslice::RESOURCE,
    &certificatesigningrequest::RESOURCE,
    &networking::INGRESS,
    &networking::INGRESS_CLASS,
    &networking::IP_ADDRESS,
    &networking::NETWORK_POLICY,
    &networking::SERVICE_CIDR,
    &poddisruptionbudget::RESOURCE,
    &rbac::CLUSTER_ROLE_BINDING,
    &rbac::CLUSTER_ROLE,
    &rbac::ROLE_BINDING,
    &rbac::ROLE,
    &storage::CSI_DRIVER,
    &storage::CSI_NODE,
    &storage::CSI_STORAGE_CAPACITY,
    &storage::STORAGE_CLASS,
    &storage::VOLUME_ATTACHMENT,
    &storage::VOLUME_ATTRIBUTES_CLASS,
    &admissionregistration::MUTATING_POLICY,
    &admissionregistration::MUTATING_BINDING,
    &admissionregistration::MUTATING_WEBHOOK,
    &admissionregistration::VALIDATING_POLICY,
    &admissionregistration::VALIDATING_BINDING,
    &admissionregistration::VALIDATING_WEBHOOK,
    &reviews::TOKEN,
    &reviews::SELF_SUBJECT,
    &reviews::SUBJECT_ACCESS,
    &reviews::LOCAL_SUBJECT_ACCESS,
    &reviews::SELF_SUBJECT_ACCESS,
    &reviews::SELF_SUBJECT_RULES,
    &customresourcedefinition::RESOURCE,
    &priorityclass::RESOURCE,
    &runtimeclass::RESOURCE,
    &flowcontrol::FLOW_SCHEMA,
    &flowcontrol::PRIORITY_LEVEL,
    &apiservice::RESOURCE,
    &resource::DEVICE_CLASS,
    &resource::RESOURCE_CLAIM,
    &resource::RESOURCE_CLAIM_TEMPLATE,
    &resource::RESOURCE_SLICE,
];

/// What can be done with a part of an object.
const PART_VERBS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
/// What can be done with a stream to a container: WebSocket asks by GET, SPDY by POST.
const STREAM_VERBS: &[Verb] = &[Verb::Create, Verb::Get];

/// What a proxy hands on: every method.
const PROXY_VERBS: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];

/// `proxy` of a kind of core.
const fn proxy_of(options: &'static str) -> Subresource {
    Subresource { name: "proxy", kind: ("", "v1", options), verbs: PROXY_VERBS }
}

/// `status` of a kind.
const fn status_of(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", kind: (group, version, kind), verbs: PART_VERBS }
}
