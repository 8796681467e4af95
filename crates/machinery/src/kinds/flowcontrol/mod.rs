//! `flowcontrol.apiserver.k8s.io/v1`: which requests share which part of the server.

use crate::resource::{Resource, Scope};
use crate::validation::{At, Errors, duplicates};

mod bootstrap;
mod flowschema;
mod prioritylevel;
#[cfg(test)]
mod tests;

pub use bootstrap::{flow_schemas, priority_levels};
pub use flowschema::FLOW_SCHEMA;
pub use prioritylevel::PRIORITY_LEVEL;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// What both rows have in common.
const BASE: Resource = Resource {
    group: GROUP,
    scope: Scope::Cluster,
    has_generation: true,
    has_status: true,
    ..Resource::BASE
};

fn conditions(conditions: &At<'_>, errors: &mut Errors) {
    duplicates(conditions.items(), "type", errors);
    for kind in conditions.items().map(|condition| condition.child("type")) {
        if kind.text().is_empty() {
            errors.push(kind.required("must not be empty"));
        }
    }
}
