//! Admission policies: rules of the user's in CEL, bound to where they count.
//!
//! `definition.rs` keeps policies and bindings compiled, `evaluation.rs` runs the expressions of
//! one policy on one request, `params.rs` finds what a binding hands to them; `validating.rs` and
//! `mutating.rs` are the two links of the chain. Nothing here costs anything while there is no
//! binding.

mod definition;
mod evaluation;
mod mutating;
mod params;
mod validating;

use onggi_api::Status;
use serde_json::Value;

use super::{Attributes, lookup};
use crate::registry::Registry;

pub(super) use definition::Policies;
pub(super) use mutating::mutate;
pub(super) use validating::validate;

/// `namespaceObject`: the namespace of the request; `null` for what lives in the cluster.
async fn namespace_object(
    registry: &Registry,
    attributes: &Attributes<'_>,
) -> Result<Value, Status> {
    let name = attributes.namespace;
    if name.is_empty() || attributes.part("", "namespaces") {
        return Ok(Value::Null);
    }
    match lookup::find(registry, "", "namespaces", "", name).await? {
        Some(namespace) => namespace.value().map_err(Status::internal),
        None => Err(Status::not_found("namespaces", name)),
    }
}
