//! `autoscaling/v2 HorizontalPodAutoscaler`; `v1` is read and shown through
//! [`conversion`](crate::conversion).

use onggi_api::{FieldError, Quantity};
use serde_json::{Value, json};

use super::status_of;
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{at, at_mut, i64_at, is_set, list_at, set, set_default, str_at};

/// The share of the requested CPU that is kept where no metric is named, in percent.
const CPU_PERCENT: i64 = 80;

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[status_of("autoscaling", "v2", "HorizontalPodAutoscaler")],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Reference"),
        Column::text("Targets"),
        Column::text("MinPods"),
        Column::text("MaxPods"),
        Column::text("Replicas"),
        Column::AGE,
    ],
    row,
    default,
    prepare_create: |object| {
        set(object, "status", json!({"desiredReplicas": 0}));
    },
    validate,
    validate_update,
    ..Resource::BASE
};

// === Row ===

fn row(hpa: &Value, now: i64) -> Vec<Value> {
    let target = at(hpa, "spec.scaleTargetRef");
    let minimum = match i64_at(hpa, "spec.minReplicas") {
        Some(count) => count.to_string(),
        None => "<unset>".to_owned(),
    };
    vec![
        table::name(hpa),
        format!("{}/{}", str_at(target, "kind"), str_at(target, "name")).into(),
        targets(hpa).into(),
        minimum.into(),
        i64_at(hpa, "spec.maxReplicas").unwrap_or(0).into(),
        i64_at(hpa, "status.currentReplicas").unwrap_or(0).into(),
        table::age(hpa, now),
    ]
}

/// `cpu: 30%/80%, 5/10 + 1 more...`: what is measured beside what is wanted.
fn targets(hpa: &Value) -> String {
    const SHOWN: usize = 2;
    let metrics = list_at(hpa, "spec.metrics");
    let current = list_at(hpa, "status.currentMetrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let texts = metrics.iter().enumerate().take(SHOWN);
    let texts: Vec<String> = texts
        .map(|(i, metric)| target_text(metric, current.get(i).unwrap_or(&Value::Null)))
        .collect();
    let shown = texts.join(", ");
    match metrics.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn target_text(metric: &Value, current: &Value) -> String {
    let kind = str_at(metric, "type");
    let Some(source) = source_field(kind) else { return "<unknown type>".to_owned() };
    let (wanted, found) = (at(at(metric, source), "target"), at(at(current, source), "current"));
    let quantity = |field| text_or(str_at(found, field), "<unknown>");
    let averages = is_set(wanted, "averageValue");
    let average = || format!("{}/{}", quantity("averageValue"), str_at(wanted, "averageValue"));
    let value = || format!("{}/{}", quantity("value"), str_at(wanted, "value"));
    match kind {
        "Pods" => average(),
        "Object" | "External" if averages => format!("{} (avg)", average()),
        "Object" | "External" => value(),
        _ => {
            let name = str_at(at(metric, source), "name");
            if averages {
                return format!("{name}: {}", average());
            }
            let percent = |holder: &Value| {
                i64_at(holder, "averageUtilization").map(|percent| format!("{percent}%"))
            };
            let found = percent(found).unwrap_or_else(|| "<unknown>".to_owned());
            let wanted = percent(wanted).unwrap_or_else(|| "<auto>".to_owned());
            format!("{name}: {found}/{wanted}")
        }
    }
}

/// The field that a metric of this type must have.
fn source_field(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        _ => return None,
    })
}

// === Defaults ===

fn default(hpa: &mut Value) {
    set_default(hpa, "spec.minReplicas", 1);
    if list_at(hpa, "spec.metrics").is_empty() {
        let target = json!({"type": "Utilization", "averageUtilization": CPU_PERCENT});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        set(hpa, "spec.metrics", json!([metric]));
    }
    let policy =
        |kind: &str, value: i64| json!({"type": kind, "value": value, "periodSeconds": 15});
    if let Some(behavior) = at_mut(hpa, "spec.behavior") {
        set_default(behavior, "scaleUp.stabilizationWindowSeconds", 0);
        set_default(behavior, "scaleUp.selectPolicy", "Max");
        let up = json!([policy("Pods", 4), policy("Percent", 100)]);
        set_default(behavior, "scaleUp.policies", up);
        set_default(behavior, "scaleDown.selectPolicy", "Max");
        set_default(behavior, "scaleDown.policies", json!([policy("Percent", 100)]));
    }
}

// === Rules ===

const SOURCES: &[&str] = &["object", "external", "pods", "resource", "containerResource"];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

fn validate(hpa: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(hpa).child("spec");
    let (minimum, maximum) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    let most = maximum.int().unwrap_or(0);
    // Scaling to zero is still behind a feature gate in v1.36.
    if minimum.int().is_some_and(|count| count < 1) {
        errors.push(minimum.invalid("must be greater than or equal to 1"));
    }
    let too_small = |detail| FieldError::invalid(&maximum.path, most, detail);
    match most {
        0 => errors.push(maximum.required("must be set and greater than 0")),
        ..0 => errors.push(too_small("must be greater than or equal to 1")),
        _ => {}
    }
    if minimum.int().is_some_and(|count| most < count) {
        errors.push(too_small("must be greater than or equal to `minReplicas`"));
    }
    let target = spec.child("scaleTargetRef");
    reference(&target, &mut errors);
    let version = target.child("apiVersion");
    // Of the kinds of core one can be scaled.
    if !version.text().contains('/') && target.child("kind").text() != "ReplicationController" {
        let detail = "apiVersion must specify API group";
        errors.push(FieldError::invalid(&version.path, version.text(), detail));
    }
    for metric in spec.each("metrics") {
        self::metric(&metric, &mut errors);
    }
    for name in ["scaleUp", "scaleDown"] {
        rules(&spec.child("behavior").child(name), &mut errors);
    }
    errors
}

fn validate_update(hpa: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let status = At::root(hpa).child("status");
    if status.value != at(old, "status") {
        status.child("currentReplicas").not_negative(&mut errors);
        status.child("desiredReplicas").not_negative(&mut errors);
    }
    errors
}

fn reference(reference: &At<'_>, errors: &mut Errors) {
    for field in ["kind", "name"] {
        let field = reference.child(field);
        if field.must_be_set(errors) {
            field.must(names::path_segment, errors);
        }
    }
}

fn metric(metric: &At<'_>, errors: &mut Errors) {
    let kind = metric.child("type");
    if kind.text().is_empty() {
        errors.push(kind.required("must specify a metric source type"));
    }
    let expected = source_field(kind.text());
    if expected.is_none() {
        errors.push(FieldError::not_supported(&kind.path, kind.text(), TYPES));
    }
    let present = metric.named(SOURCES);
    if let Some((name, first)) = present.first() {
        source(name, first, errors);
    }
    if let Some(expected) = expected.map(|name| metric.child(name)).filter(|at| !at.is_set()) {
        errors.push(expected.required("must populate information for the given metric source"));
    }
    if present.len() > 1 {
        for (_, extra) in present.iter().filter(|(name, _)| Some(*name) != expected) {
            errors.push(extra.forbidden("must populate the given metric source only"));
        }
    }
}

fn source(name: &str, source: &At<'_>, errors: &mut Errors) {
    let target = source.child("target");
    let (value, average, share) =
        (target.child("value"), target.child("averageValue"), target.child("averageUtilization"));
    match name {
        "object" => {
            reference(&source.child("describedObject"), errors);
            identifier(&source.child("metric"), errors);
            self::target(&target, errors);
            if !value.is_set() && !average.is_set() {
                errors.push(average.required("must set either a target value or averageValue"));
            }
        }
        "external" => {
            identifier(&source.child("metric"), errors);
            self::target(&target, errors);
            if !value.is_set() && !average.is_set() {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.push(average.required(detail));
            }
            if value.is_set() && average.is_set() {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.push(value.forbidden(detail));
            }
        }
        "pods" => {
            identifier(&source.child("metric"), errors);
            self::target(&target, errors);
            if !average.is_set() {
                errors.push(average.required("must specify a positive target averageValue"));
            }
        }
        kind => {
            let name = source.child("name");
            if name.text().is_empty() {
                errors.push(name.required("must specify a resource name"));
            }
            let container = source.child("container");
            if kind == "containerResource" {
                if container.text().is_empty() {
                    errors.push(container.required("must specify a container"));
                } else {
                    container.must(names::dns1123_label, errors);
                }
            }
            self::target(&target, errors);
            if !share.is_set() && !average.is_set() {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(share.required(detail));
            }
            if share.is_set() && average.is_set() {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(average.forbidden(detail));
            }
        }
    }
}

fn identifier(metric: &At<'_>, errors: &mut Errors) {
    let name = metric.child("name");
    if name.text().is_empty() {
        errors.push(name.required("must specify a metric name"));
    } else {
        name.must(names::path_segment, errors);
    }
}

fn target(target: &At<'_>, errors: &mut Errors) {
    let kind = target.child("type");
    if kind.text().is_empty() {
        errors.push(kind.required("must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&kind.path, kind.text(), detail));
    }
    for name in ["value", "averageValue"] {
        let amount = target.child(name);
        let positive = |q: Quantity| q > Quantity::from_units(0);
        if amount.is_set() && !amount.text().parse().is_ok_and(positive) {
            errors.push(amount.invalid("must be positive"));
        }
    }
    let share = target.child("averageUtilization");
    if share.int().is_some_and(|percent| percent < 1) {
        errors.push(share.invalid("must be greater than 0"));
    }
}

fn rules(rules: &At<'_>, errors: &mut Errors) {
    const WINDOW_MAX: i64 = 3600;
    const PERIOD_MAX: i64 = 1800;
    if !rules.is_set() {
        return;
    }
    let window = rules.child("stabilizationWindowSeconds");
    match window.int().unwrap_or(0) {
        ..0 => errors.push(window.invalid("must be greater than or equal to zero")),
        0..=WINDOW_MAX => {}
        _ => errors.push(window.invalid(format!("must be less than or equal to {WINDOW_MAX}"))),
    }
    rules.child("selectPolicy").one_of(&["Disabled", "Max", "Min"], errors);
    let policies = rules.child("policies");
    if policies.items().next().is_none() {
        errors.push(policies.required("must specify at least one Policy"));
    }
    for policy in policies.items() {
        let (kind, value, period) =
            (policy.child("type"), policy.child("value"), policy.child("periodSeconds"));
        if !["Percent", "Pods"].contains(&kind.text()) {
            let known = &["Percent", "Pods"];
            errors.push(FieldError::not_supported(&kind.path, kind.text(), known));
        }
        if value.int().unwrap_or(0) <= 0 {
            errors.push(value.invalid("must be greater than zero"));
        }
        match period.int().unwrap_or(0) {
            ..=0 => errors.push(period.invalid("must be greater than zero")),
            1..=PERIOD_MAX => {}
            _ => errors.push(period.invalid(format!("must be less than or equal to {PERIOD_MAX}"))),
        }
    }
}
