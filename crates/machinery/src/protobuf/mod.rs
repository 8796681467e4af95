//! Protobuf bodies of Kubernetes (`application/vnd.kubernetes.protobuf`): `k8s\0`, then a
//! `runtime.Unknown` that names the kind and holds the message. Driven by the field numbers of the
//! schema table; what it gives is the value that the JSON body would have given.
//!
//! Clients of Go's typed libraries send nothing else, and `kubectl create` does not try again in
//! JSON when it is refused.

pub mod openapi;
mod read;
mod wire;
mod write;

use serde_json::{Map, Value};

pub use write::{Part, encode, encode_json, encode_list, frame_event, knows};

/// What every body begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";
/// Levels of messages; the same as for JSON.
const MAX_DEPTH: usize = 100;

/// A body is no message of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It does not begin with `k8s\0`.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Magic,
    /// Truncated or malformed.
    #[error("protobuf: the message is malformed")]
    Wire,
    /// A field holds another type than its schema says.
    #[error("protobuf: {0}: wrong wire type")]
    Field(String),
    /// A text that is not UTF-8.
    #[error("protobuf: {0}: invalid UTF-8")]
    Utf8(String),
    /// JSON inside of the message is not JSON.
    #[error("protobuf: {0}: {1}")]
    Json(String, String),
    /// No schema for the kind.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// As in the envelope.
        api_version: String,
        /// As in the envelope.
        kind: String,
    },
    /// Too many messages within one another.
    #[error("protobuf: nested too deeply")]
    Depth,
}

/// Reads a body.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let envelope = read::envelope(unknown)?;
    let mut map = if envelope.content_type.starts_with("application/json") {
        read::json(envelope.raw, "raw")?
    } else {
        read::object(&envelope)?
    };
    let Value::Object(fields) = &mut map else { return Err(ProtobufError::Wire) };
    set(fields, "apiVersion", envelope.api_version);
    set(fields, "kind", envelope.kind);
    Ok(map)
}

/// An empty name is left for the path to fill in.
fn set(fields: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        fields.insert(name.to_owned(), text.into());
    }
}

#[cfg(test)]
mod roundtrip;
#[cfg(test)]
mod tests;
