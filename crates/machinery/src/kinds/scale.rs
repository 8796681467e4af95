//! `autoscaling/v1 Scale`: the subresource `scale` of Deployment and ReplicaSet.

use onggi_api::{FieldError, FieldPath};
use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::table::{labels_text, selector_text};
use crate::value::{at, entries_at, i64_at, set, str_at};

/// The scale of an object of a kind. A custom kind says itself where its parts stand; the error is
/// the message of a `Status` 500.
pub fn of_kind(row: &Resource, object: &Value) -> Result<Value, String> {
    let mut scale = of(object);
    let Some(paths) = row.custom.and_then(|shape| shape.scale.as_ref()) else { return Ok(scale) };
    let Some(replicas) = i64_at(object, &paths.replicas) else {
        return Err(format!("the spec replicas field \".{}\" does not exist", paths.replicas));
    };
    scale["spec"] = wanted(replicas);
    scale["status"] = json!({"replicas": i64_at(object, &paths.status_replicas).unwrap_or(0)});
    if let Some(path) = &paths.selector
        && !str_at(object, path).is_empty()
    {
        scale["status"]["selector"] = str_at(object, path).into();
    }
    Ok(scale)
}

/// The scale of an object.
pub fn of(object: &Value) -> Value {
    const KEPT: [&str; 5] = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Map<String, Value> = entries_at(object, "metadata")
        .filter(|(key, _)| KEPT.contains(key))
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": wanted(i64_at(object, "spec.replicas").unwrap_or(0)),
        "status": {
            "replicas": i64_at(object, "status.replicas").unwrap_or(0),
            "selector": selected(object),
        },
    })
}

/// `spec`; Go leaves a zero out.
fn wanted(replicas: i64) -> Value {
    if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) }
}

/// The selector as text; a ReplicationController has a map for one.
fn selected(object: &Value) -> String {
    let selector = at(object, "spec.selector");
    match selector.as_object() {
        None => String::new(),
        Some(map) if map.values().any(|value| !value.is_string()) => selector_text(selector),
        Some(map) if map.is_empty() => String::new(),
        Some(_) => labels_text(selector),
    }
}

/// Sets the replicas of an object from a scale that a client sent; the object stays as it is where
/// the scale is wrong. Comparing `metadata.resourceVersion` is the caller's.
pub fn apply(row: &Resource, object: &mut Value, scale: &Value) -> Result<(), FieldError> {
    // Go's zero value: a scale without `replicas` asks for none.
    let replicas = i64_at(scale, "spec.replicas").unwrap_or(0);
    if replicas < 0 {
        let path = FieldPath::new("spec.replicas");
        return Err(FieldError::invalid(&path, replicas, "must be greater than or equal to 0"));
    }
    let paths = row.custom.and_then(|shape| shape.scale.as_ref());
    set(object, paths.map_or("spec.replicas", |paths| &paths.replicas), replicas);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut deployment = json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web", "a": "b"}}},
            "status": {"replicas": 2},
        });
        let mut scale = of(&deployment);
        assert_eq!(
            scale,
            json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web", "namespace": "d", "uid": "u", "resourceVersion": "7"},
                "spec": {"replicas": 3},
                "status": {"replicas": 2, "selector": "a=b,app=web"},
            })
        );
        scale["spec"]["replicas"] = 5.into();
        apply(&super::super::deployment::RESOURCE, &mut deployment, &scale).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 5);
        scale["spec"]["replicas"] = (-1).into();
        let error = apply(&super::super::deployment::RESOURCE, &mut deployment, &scale)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(deployment["spec"]["replicas"], 5);
    }
}
