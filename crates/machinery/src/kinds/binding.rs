//! `v1 Binding`: the older way to put a pod on a node, `POST bindings`. Nothing is stored.

use crate::resource::{Resource, Verb};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    verbs: &[Verb::Create],
    ..Resource::BASE
};
