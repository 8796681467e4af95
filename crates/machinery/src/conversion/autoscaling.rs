//! `HorizontalPodAutoscaler` of `autoscaling/v1`, `v2beta1` and `v2`.
//!
//! `v1` has a field for the share of CPU alone; everything else that `v2` says stands in
//! annotations there, in the shape that `v2beta1` had (`pkg/apis/autoscaling/v1/conversion.go`).

use serde_json::{Map, Value, json};

use crate::value::{at, i64_at, is_set, items_mut, list_at, map_mut, remove, set, str_at};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The field of a metric source that `type` names.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

// === v1 ===

/// `v1` to `v2`.
pub(super) fn from_v1(object: &mut Value) -> Vec<String> {
    let mut metrics = annotation(object, METRICS).map(|list| each(list, new_metric));
    if let Some(percent) = i64_at(object, "spec.targetCPUUtilizationPercentage") {
        metrics.get_or_insert_default().push(cpu(percent));
    }
    if let Some(metrics) = metrics.filter(|metrics| !metrics.is_empty()) {
        set(object, "spec.metrics", metrics);
    }
    if let Some(behavior) = annotation(object, BEHAVIOR) {
        set(object, "spec.behavior", behavior);
    }
    if let Some(current) = annotation(object, CURRENT_METRICS) {
        set(object, "status.currentMetrics", each(current, new_current));
    } else if let Some(percent) = i64_at(object, "status.currentCPUUtilizationPercentage") {
        let current = json!({"averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "current": current}});
        set(object, "status.currentMetrics", json!([metric]));
    }
    if let Some(conditions) = annotation(object, CONDITIONS) {
        set(object, "status.conditions", conditions);
    }
    remove(object, "spec.targetCPUUtilizationPercentage");
    remove(object, "status.currentCPUUtilizationPercentage");
    drop_annotations(object);
    Vec::new()
}

/// `v2` to `v1`.
pub(super) fn to_v1(object: &mut Value) {
    drop_annotations(object);
    let (of_cpu, others): (Vec<Value>, Vec<Value>) =
        list_at(object, "spec.metrics").iter().cloned().partition(is_cpu_share);
    let percent = of_cpu.first().map(|m| at(m, "resource.target.averageUtilization").clone());
    let current: Vec<Value> = list_at(object, "status.currentMetrics").to_vec();
    let current_percent = current
        .iter()
        .filter(|m| str_at(m, "type") == "Resource" && str_at(m, "resource.name") == "cpu")
        .map(|m| at(m, "resource.current.averageUtilization").clone())
        .find(|percent| !percent.is_null());
    let conditions = at(object, "status.conditions").clone();
    let behavior = at(object, "spec.behavior").clone();
    for path in ["spec.metrics", "spec.behavior", "status.currentMetrics", "status.conditions"] {
        remove(object, path);
    }
    if let Some(percent) = percent {
        set(object, "spec.targetCPUUtilizationPercentage", percent);
    }
    if let Some(percent) = current_percent {
        set(object, "status.currentCPUUtilizationPercentage", percent);
    }
    annotate(object, METRICS, others.into_iter().map(old_metric).collect());
    annotate(object, CURRENT_METRICS, current.into_iter().map(old_current).collect());
    annotate(object, CONDITIONS, conditions);
    annotate(object, BEHAVIOR, behavior);
}

fn cpu(percent: i64) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

fn is_cpu_share(metric: &Value) -> bool {
    str_at(metric, "type") == "Resource"
        && str_at(metric, "resource.name") == "cpu"
        && is_set(metric, "resource.target.averageUtilization")
}

/// What an annotation holds; one that is no JSON is let be, as Kubernetes does.
fn annotation(object: &Value, name: &str) -> Option<Value> {
    let text = at(object, "metadata.annotations").get(name)?.as_str()?;
    serde_json::from_str(text).ok()
}

fn annotate(object: &mut Value, name: &str, value: Value) {
    let empty = match &value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if !empty {
        map_mut(object, "metadata.annotations").insert(name.to_owned(), value.to_string().into());
    }
}

fn drop_annotations(object: &mut Value) {
    let Some(annotations) =
        object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations
        .retain(|key, _| ![METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR].contains(&key.as_str()));
    if annotations.is_empty() {
        remove(object, "metadata.annotations");
    }
}

fn each(list: Value, change: fn(Value) -> Value) -> Vec<Value> {
    match list {
        Value::Array(items) => items.into_iter().map(change).collect(),
        _ => Vec::new(),
    }
}

// === v2beta1 ===

/// `v2beta1` to `v2`.
pub(super) fn from_v2beta1(object: &mut Value) -> Vec<String> {
    for metric in items_mut(object, "spec.metrics") {
        *metric = new_metric(metric.take());
    }
    for metric in items_mut(object, "status.currentMetrics") {
        *metric = new_current(metric.take());
    }
    Vec::new()
}

/// `v2` to `v2beta1`.
pub(super) fn to_v2beta1(object: &mut Value) {
    for metric in items_mut(object, "spec.metrics") {
        *metric = old_metric(metric.take());
    }
    for metric in items_mut(object, "status.currentMetrics") {
        *metric = old_current(metric.take());
    }
}

/// Where the fields of a metric source stood: field of `v2beta1`, path in `v2`.
type Moves = &'static [(&'static str, &'static str)];

fn moves(source: &str) -> Moves {
    match source {
        "object" => &[
            ("target", "describedObject"),
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetValue", "target.value"),
            ("averageValue", "target.averageValue"),
        ],
        "pods" => &[
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetAverageValue", "target.averageValue"),
        ],
        "external" => &[
            ("metricName", "metric.name"),
            ("metricSelector", "metric.selector"),
            ("targetValue", "target.value"),
            ("targetAverageValue", "target.averageValue"),
        ],
        _ => &[
            ("name", "name"),
            ("container", "container"),
            ("targetAverageUtilization", "target.averageUtilization"),
            ("targetAverageValue", "target.averageValue"),
        ],
    }
}

fn current_moves(source: &str) -> Moves {
    match source {
        "object" => &[
            ("target", "describedObject"),
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("currentValue", "current.value"),
            ("averageValue", "current.averageValue"),
        ],
        "pods" => &[
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("currentAverageValue", "current.averageValue"),
        ],
        "external" => &[
            ("metricName", "metric.name"),
            ("metricSelector", "metric.selector"),
            ("currentValue", "current.value"),
            ("currentAverageValue", "current.averageValue"),
        ],
        _ => &[
            ("name", "name"),
            ("container", "container"),
            ("currentAverageUtilization", "current.averageUtilization"),
            ("currentAverageValue", "current.averageValue"),
        ],
    }
}

fn new_metric(metric: Value) -> Value {
    let mut metric = shift(metric, moves, true);
    for (_, source) in SOURCES {
        let Some(found) = metric.get_mut(*source).filter(|found| found.is_object()) else {
            continue;
        };
        let kind = if is_set(found, "target.averageUtilization") {
            "Utilization"
        } else if is_set(found, "target.averageValue") {
            "AverageValue"
        } else {
            "Value"
        };
        set(found, "target.type", kind);
    }
    metric
}

fn old_metric(metric: Value) -> Value {
    shift(metric, moves, false)
}

fn new_current(metric: Value) -> Value {
    let mut metric = shift(metric, current_moves, true);
    for (_, source) in SOURCES {
        if let Some(found) = metric.get_mut(*source).filter(|found| found.is_object()) {
            map_mut(found, "current");
        }
    }
    metric
}

/// The current value of an object or pods metric was required.
fn old_current(metric: Value) -> Value {
    shift(metric, current_moves, false)
}

/// Moves the fields of every source of a metric; what the table does not know goes.
fn shift(mut metric: Value, moves: fn(&str) -> Moves, forward: bool) -> Value {
    for (_, source) in SOURCES {
        let Some(found) = metric.get_mut(*source) else { continue };
        let mut moved = Value::Object(Map::new());
        for (old, new) in moves(source) {
            let (from, to) = if forward { (old, new) } else { (new, old) };
            let value = at(found, from);
            if !value.is_null() {
                set(&mut moved, to, value.clone());
            }
        }
        *found = moved;
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Value {
        json!({
            "metadata": {"name": "a", "annotations": {"own": "1"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {
                        "metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {
                        "describedObject": {"kind": "Ingress", "name": "i"},
                        "metric": {"name": "x"}, "target": {"type": "Value", "value": "1k"}}},
                    {"type": "External", "external": {
                        "metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "3"}}},
                    {"type": "ContainerResource", "containerResource": {
                        "name": "memory", "container": "c",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
            "status": {
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": 30, "averageValue": "30m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        })
    }

    #[test]
    fn v1_and_back() {
        let mut object = v2();
        to_v1(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(object["status"], json!({"currentCPUUtilizationPercentage": 30}));
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations.as_object().map(Map::len), Some(5));
        let metrics: Value = serde_json::from_str(annotations[METRICS].as_str().unwrap()).unwrap();
        assert_eq!(
            metrics[0]["pods"],
            json!({"metricName": "rps", "selector": {"matchLabels": {"a": "b"}}, "targetAverageValue": "10"})
        );
        assert_eq!(metrics.as_array().map(Vec::len), Some(4));
        from_v1(&mut object);
        assert_eq!(object, v2());
    }

    #[test]
    fn v2beta1_and_back() {
        let mut object = v2();
        to_v2beta1(&mut object);
        assert_eq!(
            object["spec"]["metrics"][4]["resource"],
            json!({"name": "cpu", "targetAverageUtilization": 70})
        );
        from_v2beta1(&mut object);
        assert_eq!(object, v2());
    }

    #[test]
    fn nothing_stays_nothing() {
        let mut bookmark = json!({"metadata": {"resourceVersion": "7"}});
        to_v1(&mut bookmark);
        assert_eq!(bookmark, json!({"metadata": {"resourceVersion": "7"}}));
        let bad = json!({"metadata": {"annotations": {METRICS: "{", "a": "b"}}, "spec": {}});
        let mut object = bad;
        from_v1(&mut object);
        assert_eq!(object, json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}}));
    }
}
