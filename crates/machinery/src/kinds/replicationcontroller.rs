//! `v1 ReplicationController`: the forerunner of the ReplicaSet, with a map for a selector.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, entries_at, i64_at, set, set_default};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[workload::SCALE, status_of("", "v1", "ReplicationController")],
    fields: &["status.replicas"],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({"replicas": 0})),
    validate,
    orphans: true,
    warnings: workload::warnings,
    ..Resource::BASE
};

fn row(controller: &Value, now: i64) -> Vec<Value> {
    let count = |path| Value::from(i64_at(controller, path).unwrap_or(0));
    let [names, images] = table::containers_and_images(at(controller, "spec.template.spec"));
    vec![
        table::name(controller),
        count("spec.replicas"),
        count("status.replicas"),
        count("status.readyReplicas"),
        table::age(controller, now),
        names,
        images,
        table::labels_text(at(controller, "spec.selector")).into(),
    ]
}

/// A selector and labels that were left out are those of the template.
fn default(controller: &mut Value) {
    let labels = at(controller, "spec.template.metadata.labels").clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        for path in ["spec.selector", "metadata.labels"] {
            if entries_at(controller, path).next().is_none() {
                set(controller, path, labels.clone());
            }
        }
    }
    set_default(controller, "spec.replicas", 1);
    workload::default_template(controller);
}

fn validate(controller: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(controller).child("spec");
    spec.child("minReadySeconds").not_negative(&mut errors);
    let (selector, marks) = (spec.child("selector"), spec.child("template.metadata.labels"));
    if selector.entries().next().is_none() {
        errors.push(selector.required(""));
    }
    spec.child("replicas").not_negative(&mut errors);
    let matches = selector.entries().all(|(key, value)| marks.value.get(key) == Some(value.value));
    if !matches {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&marks.path, marks.value.clone(), detail));
    }
    let pod = workload::template(&spec.child("template"), &mut errors);
    workload::always_restarts(&pod, &mut errors);
    let deadline = pod.child("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
        errors.push(deadline.forbidden(detail));
    }
    errors
}
