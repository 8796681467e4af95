//! `scheduling.k8s.io/v1 PriorityClass`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use crate::resource::{Column, Resource, Scope};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, i64_at, set, set_default, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    scope: Scope::Cluster,
    columns: &[
        Column::NAME,
        Column::integer("Value"),
        Column { kind: "boolean", ..Column::text("Global-Default") },
        Column::AGE,
        Column::text("PreemptionPolicy"),
    ],
    row,
    default: |class| {
        set_default(class, "value", 0);
        set_default_text(class, "preemptionPolicy", "PreemptLowerPriority");
    },
    // It is 1 and stays so.
    prepare_create: |class| set(class, "metadata.generation", 1),
    validate,
    validate_update,
    ..Resource::BASE
};

/// The classes that are always there: name, value, description.
pub const SYSTEM: &[(&str, i64, &str)] = &[
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
];

/// The objects of [`SYSTEM`].
pub fn system() -> impl Iterator<Item = Value> {
    SYSTEM.iter().map(|(name, value, description)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        })
    })
}

/// Whether a class is one of those that cannot be deleted.
pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|(known, ..)| *known == name)
}

fn row(class: &Value, now: i64) -> Vec<Value> {
    vec![
        table::name(class),
        i64_at(class, "value").unwrap_or(0).into(),
        bool_at(class, "globalDefault").into(),
        table::age(class, now),
        str_at(class, "preemptionPolicy").into(),
    ]
}

const HIGHEST: i64 = 1_000_000_000;
const PREFIX: &str = "system-";

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(class);
    let (name, value) = (root.child("metadata.name"), root.child("value"));
    if name.text().starts_with(PREFIX) {
        if let Some(why) = odd_system_class(class) {
            errors.push(name.forbidden(format!(
                "priority class names with '{PREFIX}' prefix are reserved for system use only. \
                 error: {why}"
            )));
        }
    } else if value.int().unwrap_or(0) > HIGHEST {
        errors.push(
            value.forbidden(format!(
                "maximum allowed value of a user defined priority is {HIGHEST}"
            )),
        );
    }
    root.child("preemptionPolicy").one_of(&["PreemptLowerPriority", "Never"], &mut errors);
    errors
}

fn odd_system_class(class: &Value) -> Option<String> {
    let name = str_at(class, "metadata.name");
    let Some((_, value, _)) = SYSTEM.iter().find(|(known, ..)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if i64_at(class, "value") != Some(*value) {
        return Some(format!("value of {name} PriorityClass must be {value}"));
    }
    bool_at(class, "globalDefault")
        .then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

fn validate_update(class: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(class);
    let value = root.child("value");
    if value.int().unwrap_or(0) != i64_at(old, "value").unwrap_or(0) {
        errors.push(FieldError::forbidden(&value.path, "may not be changed in an update."));
    }
    root.child("preemptionPolicy").unchanged(at(old, "preemptionPolicy"), &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, expect, yaml};

    #[test]
    fn rules_and_row() {
        let object = created(&RESOURCE, "{metadata: {name: a}, value: 5, globalDefault: true}");
        assert_eq!(
            Value::from(row(&object, 0)),
            json!(["a", 5, true, "<unknown>", "PreemptLowerPriority"])
        );
        for class in system() {
            expect(&validate(&class), &[], "system");
        }
        for (object, expected) in [
            (
                "{metadata: {name: a}, value: 1000000001, preemptionPolicy: X}",
                &[
                    "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
                    "preemptionPolicy: Unsupported value: \"X\"",
                ][..],
            ),
            (
                "{metadata: {name: system-a}}",
                &[
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-a is not a known system priority class",
                ],
            ),
            (
                "{metadata: {name: system-node-critical}, value: 1}",
                &[
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
                ],
            ),
        ] {
            expect(&validate(&yaml(object)), expected, object);
        }
        expect(
            &validate_update(&yaml("{value: 2, preemptionPolicy: Never}"), &object),
            &[
                "value: Forbidden: may not be changed in an update.",
                "preemptionPolicy: Invalid value: \"Never\": field is immutable",
            ],
            "update",
        );
    }
}
