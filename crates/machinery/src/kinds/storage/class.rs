//! `StorageClass` and `VolumeAttributesClass`.

use serde_json::Value;

use super::{BASE, parameters};
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{at, bool_at, set_default_text, str_at};

/// The row of `StorageClass`.
pub const STORAGE_CLASS: Resource = Resource {
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    columns: &[
        Column::NAME,
        Column::text("Provisioner"),
        Column::text("ReclaimPolicy"),
        Column::text("VolumeBindingMode"),
        Column::text("AllowVolumeExpansion"),
        Column::AGE,
    ],
    row: |class, now| {
        vec![
            name_text(class, DEFAULT_CLASS).into(),
            str_at(class, "provisioner").into(),
            text_or(str_at(class, "reclaimPolicy"), "Delete").into(),
            text_or(str_at(class, "volumeBindingMode"), "Immediate").into(),
            bool_at(class, "allowVolumeExpansion").into(),
            table::age(class, now),
        ]
    },
    default: |class| {
        set_default_text(class, "reclaimPolicy", "Delete");
        set_default_text(class, "volumeBindingMode", "Immediate");
    },
    validate: validate_storage_class,
    validate_update: |class, old| {
        let mut errors = frozen(class, old, &["parameters", "provisioner", "reclaimPolicy"]);
        let mode = At::root(class).child("volumeBindingMode");
        mode.unchanged(at(old, "volumeBindingMode"), &mut errors);
        errors
    },
    answers_deleted: true,
    ..BASE
};

/// The row of `VolumeAttributesClass`.
pub const VOLUME_ATTRIBUTES_CLASS: Resource = Resource {
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    columns: &[Column::NAME, Column::text("DriverName"), Column::AGE],
    row: |class, now| {
        vec![
            name_text(class, DEFAULT_ATTRIBUTES_CLASS).into(),
            str_at(class, "driverName").into(),
            table::age(class, now),
        ]
    },
    validate: |class| {
        let mut errors = Errors::new();
        let root = At::root(class);
        provisioner(&root.child("driverName"), &mut errors);
        let all = root.child("parameters");
        if all.entries().next().is_none() {
            errors.push(all.required("must contain at least one key/value pair"));
        } else {
            parameters(&all, &mut errors);
        }
        errors
    },
    validate_update: |class, old| frozen(class, old, &["driverName", "parameters"]),
    answers_deleted: true,
    ..BASE
};

/// The annotation of the class that is used where none is named, and its older form.
const DEFAULT_CLASS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
const DEFAULT_ATTRIBUTES_CLASS: &[&str] =
    &["volumeattributesclass.alpha.kubernetes.io/is-default-class"];

fn name_text(class: &Value, annotations: &[&str]) -> String {
    let name = str_at(class, "metadata.name");
    let present = at(class, "metadata.annotations");
    let is_default = annotations.iter().any(|key| present.get(key).is_some_and(|v| v == "true"));
    if is_default { format!("{name} (default)") } else { name.to_owned() }
}

fn frozen(class: &Value, old: &Value, fields: &[&str]) -> Errors {
    let changed = fields.iter().filter(|field| at(class, field) != at(old, field));
    changed
        .map(|field| {
            let at = At::root(class).child(field);
            at.forbidden(format!("updates to {field} are forbidden."))
        })
        .collect()
}

/// Who makes the volumes of a class.
fn provisioner(name: &At<'_>, errors: &mut Errors) {
    if name.must_be_set(errors) {
        let wrong = names::qualified_name(&name.text().to_lowercase());
        errors.extend(wrong.into_iter().map(|detail| name.invalid(detail)));
    }
}

fn validate_storage_class(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(class);
    provisioner(&root.child("provisioner"), &mut errors);
    parameters(&root.child("parameters"), &mut errors);
    root.child("reclaimPolicy").one_of(&["Delete", "Retain"], &mut errors);
    let mode = root.child("volumeBindingMode");
    mode.required_one_of(&["Immediate", "WaitForFirstConsumer"], &mut errors);
    for term in root.each("allowedTopologies") {
        for expression in term.each("matchLabelExpressions") {
            let values = expression.child("values");
            if values.items().next().is_none() {
                errors.push(values.required(""));
            }
            expression.child("key").must(names::qualified_name, &mut errors);
        }
    }
    errors
}
