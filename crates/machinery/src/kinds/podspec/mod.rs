//! The pod's specification: what `Pod` shares with every pod template.
//!
//! Functions get the value of `spec` alone, or an [`At`](crate::validation::At) that stands on it.

use serde_json::Value;

mod container;
mod default;
mod env;
mod mounts;
mod os;
mod probe;
mod projected;
mod requirements;
pub mod resources;
mod scheduling;
mod security;
mod source;
mod validate;
mod volume;
mod warnings;

pub use default::{default, host_ports, image_tag};
pub(super) use scheduling::{TAINT_EFFECTS, node_selector, toleration};
pub(super) use validate::validate_with_volumes;
pub use validate::{PULL_POLICIES, validate, validate_pod};
pub(super) use volume::validate_source;
pub use warnings::warnings;

/// Whether an init container goes on running beside the others (`restartPolicy: Always`).
pub fn is_sidecar(init_container: &Value) -> bool {
    crate::value::str_at(init_container, "restartPolicy") == "Always"
}

#[cfg(test)]
mod tests;
