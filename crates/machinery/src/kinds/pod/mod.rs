//! `v1 Pod`.
//!
//! [`podspec`](super::podspec) holds what pods share with pod templates.

use serde_json::{Value, json};

use super::podspec::{self, resources};
use super::{PART_VERBS, STREAM_VERBS, proxy_of, status_of};
use crate::resource::{Column, Resource, Subresource, Verb};
use crate::validation::{At, Errors};
use crate::value::{at_mut, bool_at, find, items_mut, list_at, map_mut, set, set_default, str_at};

pub mod parts;
mod row;
#[cfg(test)]
mod tests;
mod update;

pub use super::podspec::resources::{QosClass, Requests, amounts, qos_class, requests};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        stream("attach", "PodAttachOptions"),
        Subresource { name: "binding", kind: ("", "v1", "Binding"), verbs: &[Verb::Create] },
        Subresource {
            name: "eviction",
            kind: ("policy", "v1", "Eviction"),
            verbs: &[Verb::Create],
        },
        Subresource { name: "ephemeralcontainers", kind: ("", "v1", "Pod"), verbs: PART_VERBS },
        stream("exec", "PodExecOptions"),
        Subresource { name: "log", kind: ("", "v1", "Pod"), verbs: &[Verb::Get] },
        stream("portforward", "PodPortForwardOptions"),
        proxy_of("PodProxyOptions"),
        Subresource { name: "resize", kind: ("", "v1", "Pod"), verbs: PART_VERBS },
        status_of("", "v1", "Pod"),
    ],
    fields: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Ready"),
        Column::text("Status"),
        Column::text("Restarts"),
        Column::AGE,
        Column::wide("IP"),
        Column::wide("Node"),
        Column::wide("Nominated Node"),
        Column::wide("Readiness Gates"),
    ],
    row: row::row,
    default,
    prepare_create,
    finish_create: Some(gate),
    validate,
    validate_create,
    validate_update: update::validate_update,
    warnings: |pod| podspec::warnings(&At::root(pod).child("spec")),
    answers_deleted: true,
    ..Resource::BASE
};

const fn stream(name: &'static str, kind: &'static str) -> Subresource {
    Subresource { name, kind: ("", "v1", kind), verbs: STREAM_VERBS }
}

/// Beyond what templates get: requests from limits, host ports on the host's network.
fn default(pod: &mut Value) {
    map_mut(pod, "spec");
    let Some(spec) = at_mut(pod, "spec") else { return };
    podspec::default(spec);
    set_default(spec, "enableServiceLinks", true);
    let host_network = bool_at(spec, "hostNetwork");
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            resources::requests_from_limits(container);
            if host_network {
                podspec::host_ports(container);
            }
        }
    }
}

fn prepare_create(pod: &mut Value) {
    let class = qos_class(pod).as_str();
    set(pod, "status", json!({"phase": "Pending", "qosClass": class}));
}

/// What waits behind gates says so from the beginning.
fn gate(pod: &mut Value) {
    if list_at(pod, "spec.schedulingGates").is_empty() {
        return;
    }
    let since = str_at(pod, "metadata.creationTimestamp").to_owned();
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
        "lastProbeTime": null, "lastTransitionTime": since,
    });
    set(pod, "status.conditions", json!([condition]));
}

fn validate(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(pod);
    podspec::validate_pod(&root, &mut errors);
    // A token is somebody's.
    if str_at(pod, "spec.serviceAccountName").is_empty() {
        let volumes = root.each("spec.volumes");
        let sources = volumes.flat_map(|volume| volume.each("projected.sources"));
        for token in sources.map(|source| source.child("serviceAccountToken")) {
            if token.is_set() {
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(token.forbidden(detail));
            }
        }
    }
    errors
}

fn validate_create(pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(pod).child("spec");
    let ephemeral = spec.child("ephemeralContainers");
    if ephemeral.is_set() {
        errors.push(ephemeral.forbidden("cannot be set on create"));
    }
    let node = spec.child("nodeName");
    if !node.text().is_empty() && spec.each("schedulingGates").next().is_some() {
        errors.push(node.forbidden("cannot be set until all schedulingGates have been cleared"));
    }
    errors
}

/// Whether the condition `Ready` holds: traffic may be sent to it.
pub fn is_ready(pod: &Value) -> bool {
    has_condition(pod, "Ready")
}

/// Whether it has ended for good: it holds no resources any more.
pub fn is_finished(pod: &Value) -> bool {
    matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed")
}

/// Whether a condition is `True`.
pub fn has_condition(pod: &Value, kind: &str) -> bool {
    find(list_at(pod, "status.conditions"), "type", kind)
        .is_some_and(|condition| str_at(condition, "status") == "True")
}
