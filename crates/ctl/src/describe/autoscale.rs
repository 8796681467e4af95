//! Autoscalers.

use onggi_machinery::value::{at, i64_at, list_at, str_at};
use serde_json::Value;

use super::text::{Text, or, time};

pub(super) fn autoscaler(text: &mut Text, object: &Value) {
    text.field(0, "Name", str_at(object, "metadata.name"));
    text.field(0, "Namespace", str_at(object, "metadata.namespace"));
    text.labels(object);
    text.annotations(object);
    text.field(0, "CreationTimestamp", &time(object, "metadata.creationTimestamp"));
    let (kind, name) =
        (str_at(object, "spec.scaleTargetRef.kind"), str_at(object, "spec.scaleTargetRef.name"));
    text.field(0, "Reference", &format!("{kind}/{name}"));
    if str_at(object, "apiVersion") == "autoscaling/v1" {
        utilization(text, object);
    } else {
        text.field(0, "Metrics", "( current / target )");
        let current = list_at(object, "status.currentMetrics");
        for (place, metric) in list_at(object, "spec.metrics").iter().enumerate() {
            text.line(1, &line(metric, current.get(place).unwrap_or(&Value::Null)));
        }
    }
    text.field(0, "Min replicas", &number(object, "spec.minReplicas"));
    text.field(0, "Max replicas", &number(object, "spec.maxReplicas"));
    let behavior = at(object, "spec.behavior");
    if !behavior.is_null() {
        text.line(0, "Behavior:");
        direction(text, "Scale Up", at(behavior, "scaleUp"));
        direction(text, "Scale Down", at(behavior, "scaleDown"));
    }
    let count = |path: &str| i64_at(object, path).unwrap_or(0);
    let (is, should) = (count("status.currentReplicas"), count("status.desiredReplicas"));
    text.line(0, &format!("{kind} pods:\t{is} current / {should} desired"));
    let conditions = list_at(object, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:");
        text.line(1, "Type\tStatus\tReason\tMessage");
        text.line(1, "----\t------\t------\t-------");
        for condition in conditions {
            let cells = ["type", "status", "reason", "message"].map(|f| str_at(condition, f));
            text.line(1, &cells.join("\t"));
        }
    }
}

/// Of the first version, which knows the CPU alone.
fn utilization(text: &mut Text, object: &Value) {
    if let Some(target) = i64_at(object, "spec.targetCPUUtilizationPercentage") {
        text.field(0, "Target CPU utilization", &format!("{target}%"));
        let current = i64_at(object, "status.currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |now| now.to_string());
        text.field(0, "Current CPU utilization", &format!("{current}%"));
    }
}

fn number(object: &Value, path: &str) -> String {
    i64_at(object, path).map_or_else(|| "<unset>".to_owned(), |number| number.to_string())
}

/// A metric: what it is, how it is now and how it shall be. `current` is its twin in the status.
fn line(metric: &Value, current: &Value) -> String {
    let source = match str_at(metric, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        other => return format!("<unknown metric type {other:?}>"),
    };
    let (of, known) = (at(metric, source), at(current, source));
    let target = at(of, "target");
    let values = |field: &str| {
        let is = match str_at(known, &format!("current.{field}")) {
            "" => "<unknown>",
            value => value,
        };
        format!("{is} / {}", str_at(target, field))
    };
    let name = str_at(of, "metric.name");
    let is_average = !str_at(target, "averageValue").is_empty();
    match source {
        "pods" => format!("{name:?} on pods:\t{}", values("averageValue")),
        "external" | "object" => {
            let about = match source {
                "external" => String::new(),
                _ => {
                    let of = |field: &str| str_at(of, &format!("describedObject.{field}"));
                    format!(" on {}/{}", of("kind"), of("name"))
                }
            };
            let (word, field) =
                if is_average { ("average value", "averageValue") } else { ("value", "value") };
            format!("{name:?}{about} (target {word}):\t{}", values(field))
        }
        _ => {
            let container = match str_at(of, "container") {
                "" => String::new(),
                container => format!(" of container {container:?}"),
            };
            let what = format!("resource {}{container} on pods", str_at(of, "name"));
            if is_average {
                return format!("{what}:\t{}", values("averageValue"));
            }
            let is = match i64_at(known, "current.averageUtilization") {
                Some(is) => format!("{is}% ({})", or(str_at(known, "current.averageValue"), "0")),
                None => "<unknown>".to_owned(),
            };
            let target = i64_at(target, "averageUtilization");
            let target = target.map_or_else(|| "<auto>".to_owned(), |target| format!("{target}%"));
            format!("{what}  (as a percentage of request):\t{is} / {target}")
        }
    }
}

fn direction(text: &mut Text, name: &str, rules: &Value) {
    if rules.is_null() {
        return;
    }
    text.line(1, &format!("{name}:"));
    if let Some(seconds) = i64_at(rules, "stabilizationWindowSeconds") {
        text.line(2, &format!("Stabilization Window: {seconds} seconds"));
    }
    let policies = list_at(rules, "policies");
    if policies.is_empty() {
        return;
    }
    text.line(2, &format!("Select Policy: {}", or(str_at(rules, "selectPolicy"), "Max")));
    text.line(2, "Policies:");
    for policy in policies {
        let number = |field: &str| i64_at(policy, field).unwrap_or(0);
        let kind = str_at(policy, "type");
        let (value, period) = (number("value"), number("periodSeconds"));
        text.line(3, &format!("- Type: {kind}\tValue: {value}\tPeriod: {period} seconds"));
    }
}
