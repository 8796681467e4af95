//! What the unit tests share.

use serde_json::{Value, json};

use crate::pod::Pod;

/// Pod `default/p` with uid `uid-1` and a specification.
pub(crate) fn pod(spec: Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "default", "uid": "uid-1"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}
