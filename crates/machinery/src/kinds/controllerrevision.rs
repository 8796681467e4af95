//! `apps/v1 ControllerRevision`: a state that a DaemonSet or StatefulSet had.

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, i64_at, list_at, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    columns: &[Column::NAME, Column::text("Controller"), Column::integer("Revision"), Column::AGE],
    row,
    validate,
    validate_update,
    ..Resource::BASE
};

fn row(revision: &Value, now: i64) -> Vec<Value> {
    vec![
        table::name(revision),
        controller(revision).into(),
        i64_at(revision, "revision").unwrap_or(0).into(),
        table::age(revision, now),
    ]
}

/// `daemonset.apps/agent`.
fn controller(revision: &Value) -> String {
    let owners = list_at(revision, "metadata.ownerReferences");
    let Some(owner) = owners.iter().find(|owner| bool_at(owner, "controller")) else {
        return "<none>".to_owned();
    };
    let kind = str_at(owner, "kind").to_lowercase();
    let group = str_at(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}", str_at(owner, "name"))
}

fn validate(revision: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(revision);
    let data = root.child("data");
    if !data.is_set() {
        errors.push(data.required("data is mandatory"));
    }
    root.child("revision").not_negative(&mut errors);
    errors
}

/// The number may rise, when an old state becomes the newest again; the state stays.
fn validate_update(revision: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    At::root(revision).child("data").unchanged(at(old, "data"), &mut errors);
    errors
}
