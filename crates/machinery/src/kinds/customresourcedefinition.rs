//! `apiextensions.k8s.io/v1 CustomResourceDefinition`.

use serde_json::{Value, json};

use super::status_of;
use crate::crd::{self, names};
use crate::resource::{Column, Resource};
use crate::table;
use crate::value::{at, bool_at, list_at, remove, set, set_default, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: crd::GROUP,
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    scope: crate::resource::Scope::Cluster,
    subresources: &[status_of(crd::GROUP, "v1", "CustomResourceDefinition")],
    has_generation: true,
    has_status: true,
    columns: &[Column::NAME, Column { name: "Created At", kind: "date", format: "", priority: 0 }],
    row,
    default,
    prepare_create,
    prepare_update,
    validate: crd::validate::validate,
    validate_create: crd::costs::validate_create,
    validate_update: crd::validate::validate_update,
    ..Resource::BASE
};

fn row(object: &Value, _: i64) -> Vec<Value> {
    vec![table::name(object), at(object, "metadata.creationTimestamp").clone()]
}

fn default(object: &mut Value) {
    if !object["spec"].is_object() {
        return;
    }
    let kind = str_at(object, "spec.names.kind").to_owned();
    if !kind.is_empty() {
        set_default_text(object, "spec.names.singular", &kind.to_lowercase());
        set_default_text(object, "spec.names.listKind", &format!("{kind}List"));
    }
    if !object["spec"]["conversion"].is_object() {
        set(object, "spec.conversion", json!({"strategy": "None"}));
    }
    if object.pointer("/spec/conversion/webhook/clientConfig/service").is_some_and(Value::is_object)
    {
        set_default(object, "spec.conversion.webhook.clientConfig.service.port", 443);
    }
    if !bool_at(object, "spec.preserveUnknownFields") {
        remove(object, "spec.preserveUnknownFields");
    }
}

/// The versions that objects may have been stored in.
fn note_stored_version(object: &mut Value) {
    let versions = list_at(object, "spec.versions");
    let Some(storage) = versions.iter().find(|version| bool_at(version, "storage")) else { return };
    let storage = at(storage, "name").clone();
    let mut stored = list_at(object, "status.storedVersions").to_vec();
    if !stored.contains(&storage) {
        stored.push(storage);
        set(object, "status.storedVersions", stored);
    }
}

fn prepare_create(object: &mut Value) {
    if object.is_object() {
        remove(object, "status");
        note_stored_version(object);
    }
}

fn prepare_update(object: &mut Value, _: &Value) {
    if object.is_object() {
        note_stored_version(object);
    }
}

/// Marks a definition that is being deleted: its objects are to go first.
pub fn terminate(object: &mut Value, now: &str) {
    let mut finalizers = list_at(object, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|name| name == crd::FINALIZER) {
        finalizers.push(crd::FINALIZER.into());
        set(object, "metadata.finalizers", finalizers);
    }
    let why = (
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    );
    let mut conditions = list_at(object, "status.conditions").to_vec();
    names::set_condition(&mut conditions, (names::TERMINATING, "True"), why, now);
    set(object, "status.conditions", conditions);
}
