//! `v1 Namespace`.

use serde_json::{Value, json};

use super::status_of;
use crate::resource::{Column, NameRule, Resource, Scope, Subresource, Verb};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{at, list_at, map_mut, set, set_default, str_at};

/// Names the namespace, so that selectors of labels can.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Held in `spec.finalizers` until everything in the namespace is gone.
pub const FINALIZER: &str = "kubernetes";

/// The row. There is no way to delete all namespaces at once.
pub const RESOURCE: Resource = Resource {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    verbs: &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ],
    subresources: &[
        Subresource { name: "finalize", kind: ("", "v1", "Namespace"), verbs: &[Verb::Update] },
        status_of("", "v1", "Namespace"),
    ],
    fields: &["status.phase"],
    has_status: true,
    name: NameRule::Dns1123Label,
    columns: &[Column::NAME, Column::text("Status"), Column::AGE],
    row,
    default,
    prepare_create,
    prepare_update,
    validate,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    vec![table::name(object), str_at(object, "status.phase").into(), table::age(object, now)]
}

fn default(object: &mut Value) {
    let name = str_at(object, "metadata.name").to_owned();
    if !name.is_empty() {
        map_mut(object, "metadata.labels").insert(NAME_LABEL.to_owned(), name.into());
    }
    set_default(object, "status.phase", "Active");
}

fn prepare_create(object: &mut Value) {
    set(object, "status", json!({"phase": "Active"}));
    let mut finalizers = list_at(object, "spec.finalizers").to_vec();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    set(object, "spec.finalizers", finalizers);
}

/// Finalizers go through the subresource `finalize` alone.
fn prepare_update(object: &mut Value, old: &Value) {
    set(object, "spec.finalizers", at(old, "spec.finalizers").clone());
}

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let list = At::root(object).child("spec.finalizers");
    for finalizer in list.items() {
        // Kubernetes names the list, not the item.
        let finalizer = At::new(finalizer.value, list.path.clone());
        finalizer.must(names::qualified_name, &mut errors);
        if !finalizer.text().contains('/') && finalizer.text() != FINALIZER {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(finalizer.invalid(detail));
        }
    }
    errors
}
