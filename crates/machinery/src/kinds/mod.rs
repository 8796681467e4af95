//! The table: one line a kind, one file a kind.
//!
//! `events.k8s.io/v1 Event` is stored as core `Event` and is not served yet.

use crate::resource::{Resource, Subresource, Verb};

pub mod configmap;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod podspec;
pub mod replicaset;
pub mod scale;
pub mod secret;
pub mod service;
pub mod serviceaccount;
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
    &lease::RESOURCE,
    &endpointslice::RESOURCE,
];

/// What can be done with a part of an object.
const PART_VERBS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
/// What can be done with a stream to a container: WebSocket asks by GET, SPDY by POST.
const STREAM_VERBS: &[Verb] = &[Verb::Create, Verb::Get];

/// `status` of a kind.
const fn status_of(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", kind: (group, version, kind), verbs: PART_VERBS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let mut paths = HashSet::new();
        let mut typed = HashSet::new();
        for resource in RESOURCES {
            assert!(paths.insert((resource.group, resource.plural)), "{}", resource.kind);
            for name in resource.short_names.iter().chain([&resource.singular]) {
                assert!(typed.insert(*name), "{name}");
            }
            assert_eq!(resource.singular, resource.kind.to_ascii_lowercase());
            assert_eq!(resource.has_status, resource.subresource("status").is_some());
        }
    }

    #[test]
    fn nothing_panics_on_an_empty_object() {
        for resource in RESOURCES {
            for empty in [serde_json::json!({}), serde_json::json!({"spec": 1, "metadata": []})] {
                let mut object = empty.clone();
                (resource.prepare_create)(&mut object);
                (resource.default)(&mut object);
                (resource.prepare_update)(&mut object, &empty);
                (resource.validate)(&object);
                (resource.validate_update)(&object, &empty);
                (resource.warnings)(&object);
                (resource.row)(&object, 0);
            }
        }
    }
}
