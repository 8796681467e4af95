//! The pod's specification: what `Pod` shares with every pod template.
//!
//! Functions get the value of `spec` alone.

use serde_json::Value;

mod default;
pub mod resources;

pub use default::{default, host_ports, image_tag};

/// Whether an init container goes on running beside the others (`restartPolicy: Always`).
pub fn is_sidecar(init_container: &Value) -> bool {
    crate::value::str_at(init_container, "restartPolicy") == "Always"
}
