//! `v1 PodTemplate`.

use serde_json::Value;

use super::{podspec, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::at;

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    has_generation: true,
    columns: &[
        Column::NAME,
        Column::text("Containers"),
        Column::text("Images"),
        Column::text("Pod Labels"),
    ],
    row,
    default: |object| workload::default_template_at(object, "template"),
    validate,
    warnings: |object| podspec::warnings(&At::root(object).child("template.spec")),
    answers_deleted: true,
    ..Resource::BASE
};

fn row(object: &Value, _: i64) -> Vec<Value> {
    let [names, images] = table::containers_and_images(at(object, "template.spec"));
    let labels = table::labels_text(at(object, "template.metadata.labels"));
    vec![table::name(object), names, images, labels.into()]
}

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    workload::template(&At::root(object).child("template"), &mut errors);
    errors
}
