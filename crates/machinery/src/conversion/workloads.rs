//! The workloads of `extensions/v1beta1` and `apps/v1beta1`: selectors came from the template, and
//! some defaults were others. `apps/v1beta2` is `apps/v1` by another name.

use serde_json::{Map, Value};

/// `math.MaxInt32`, with which these versions said "without end".
const WITHOUT_END: i32 = i32::MAX;

pub(super) fn deployment_extensions(object: &mut Value) -> Vec<String> {
    let said = selector_from_template(object);
    deployment(object, &1.into(), WITHOUT_END, WITHOUT_END);
    said
}

pub(super) fn deployment_apps_v1beta1(object: &mut Value) -> Vec<String> {
    let said = selector_from_template(object);
    deployment(object, &"25%".into(), 600, 2);
    said
}

fn deployment(object: &mut Value, step: &Value, deadline: i32, history: i32) {
    let Some(spec) = child(object, "spec") else { return };
    // A request to go back was part of the desired state once; it is a command now.
    spec.remove("rollbackTo");
    set(spec, "progressDeadlineSeconds", deadline);
    set(spec, "revisionHistoryLimit", history);
    let Value::Object(strategy) =
        spec.entry("strategy").or_insert_with(|| Value::Object(Map::new()))
    else {
        return;
    };
    set(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) != Some("RollingUpdate") {
        return;
    }
    let rolling = strategy.entry("rollingUpdate").or_insert_with(|| Value::Object(Map::new()));
    if rolling.is_null() {
        *rolling = Value::Object(Map::new());
    }
    if let Value::Object(rolling) = rolling {
        set(rolling, "maxSurge", step.clone());
        set(rolling, "maxUnavailable", step.clone());
    }
}

pub(super) fn daemon_set_extensions(object: &mut Value) -> Vec<String> {
    let said = selector_from_template(object);
    if let Some(spec) = child(object, "spec") {
        spec.remove("templateGeneration");
    }
    on_delete(object);
    said
}

pub(super) fn stateful_set_apps_v1beta1(object: &mut Value) -> Vec<String> {
    let said = selector_from_template(object);
    on_delete(object);
    said
}

/// Pods were replaced only when somebody deleted them.
fn on_delete(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    let strategy = spec.entry("updateStrategy").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(strategy) = strategy {
        set(strategy, "type", "OnDelete");
    }
}

/// Without a selector, and without labels of its own, an object had those of its pods.
pub(super) fn selector_from_template(object: &mut Value) -> Vec<String> {
    let labels = match object.pointer("/spec/template/metadata/labels") {
        Some(Value::Object(labels)) if !labels.is_empty() => labels.clone(),
        _ => return Vec::new(),
    };
    let mut said = Vec::new();
    if let Some(spec) = child(object, "spec")
        && spec.get("selector").is_none_or(Value::is_null)
    {
        let list: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
            .collect();
        said.push(format!(
            "spec.selector was left out: it is taken from the labels of the template ({})",
            list.join(",")
        ));
        let selector = Map::from_iter([("matchLabels".to_owned(), Value::Object(labels.clone()))]);
        spec.insert("selector".to_owned(), Value::Object(selector));
    }
    if let Value::Object(object) = object {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(metadata) = metadata {
            let own = metadata.get("labels").and_then(Value::as_object);
            if own.is_none_or(Map::is_empty) {
                metadata.insert("labels".to_owned(), Value::Object(labels));
            }
        }
    }
    said
}

fn child<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(name)?.as_object_mut()
}

/// Sets what is not set.
fn set(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(Value::is_null) {
        map.insert(name.to_owned(), value.into());
    }
}

/// A `PodDisruptionBudget` of `policy/v1beta1` with an empty selector selected no pod; the current
/// one selects all. Kubernetes' own way to say the former.
pub(super) fn empty_selector_selects_nothing(object: &mut Value) -> Vec<String> {
    const NOTHING: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
    let Some(spec) = child(object, "spec") else { return Vec::new() };
    let empty = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| {
        selector.values().all(|part| match part {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            other => other.is_null(),
        })
    });
    if !empty {
        return Vec::new();
    }
    let expression = serde_json::json!({"key": NOTHING, "operator": "Exists"});
    spec.insert("selector".to_owned(), serde_json::json!({"matchExpressions": [expression]}));
    vec![
        "spec.selector is empty: in policy/v1beta1 it selects no pod, and so it does here"
            .to_owned(),
    ]
}
