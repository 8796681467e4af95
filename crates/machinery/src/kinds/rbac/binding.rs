//! `RoleBinding` and `ClusterRoleBinding`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, CLUSTER, GROUP};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{at, items_mut, list_at, set_default_text, str_at};

/// The row of `RoleBinding`.
pub const ROLE_BINDING: Resource = Resource {
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    columns: COLUMNS,
    row,
    default,
    validate: |binding| validate(binding, true),
    validate_update,
    ..BASE
};

/// The row of `ClusterRoleBinding`.
pub const CLUSTER_ROLE_BINDING: Resource = Resource {
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    columns: COLUMNS,
    row,
    default,
    validate: |binding| validate(binding, false),
    validate_update,
    ..CLUSTER
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Role"),
    Column::AGE,
    Column::wide("Users"),
    Column::wide("Groups"),
    Column::wide("ServiceAccounts"),
];

fn row(binding: &Value, now: i64) -> Vec<Value> {
    let role = format!("{}/{}", str_at(binding, "roleRef.kind"), str_at(binding, "roleRef.name"));
    let subjects = |kind: &str| {
        let named = list_at(binding, "subjects").iter().filter(|s| str_at(s, "kind") == kind);
        let text = |subject: &Value| match (kind, str_at(subject, "name")) {
            ("ServiceAccount", name) => format!("{}/{name}", str_at(subject, "namespace")),
            (_, name) => name.to_owned(),
        };
        Value::from(named.map(text).collect::<Vec<_>>().join(", "))
    };
    vec![
        table::name(binding),
        role.into(),
        table::age(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn default(binding: &mut Value) {
    if at(binding, "roleRef").is_object() {
        set_default_text(binding, "roleRef.apiGroup", GROUP);
    }
    for subject in items_mut(binding, "subjects") {
        if matches!(str_at(subject, "kind"), "User" | "Group") {
            set_default_text(subject, "apiGroup", GROUP);
        }
    }
}

// === Rules ===

fn validate(binding: &Value, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(binding);
    let role = root.child("roleRef");
    in_group(&role, &mut errors);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = role.child("kind");
    if !kinds.contains(&kind.text()) {
        errors.push(FieldError::not_supported(&kind.path, kind.text(), kinds));
    }
    let name = role.child("name");
    if name.must_be_set(&mut errors) {
        name.must(names::path_segment, &mut errors);
    }
    for subject in root.each("subjects") {
        one_subject(&subject, namespaced, &mut errors);
    }
    errors
}

fn in_group(named: &At<'_>, errors: &mut Errors) {
    let group = named.child("apiGroup");
    if group.text() != GROUP {
        errors.push(FieldError::not_supported(&group.path, group.text(), &[GROUP]));
    }
}

fn one_subject(subject: &At<'_>, namespaced: bool, errors: &mut Errors) {
    let (kind, name) = (subject.child("kind"), subject.child("name"));
    name.must_be_set(errors);
    match kind.text() {
        "ServiceAccount" => {
            name.may(names::dns1123_subdomain, errors);
            let group = subject.child("apiGroup");
            if !group.text().is_empty() {
                errors.push(FieldError::not_supported(&group.path, group.text(), &[""]));
            }
            if !namespaced {
                subject.child("namespace").must_be_set(errors);
            }
        }
        "User" => {
            in_group(subject, errors);
        }
        "Group" => {
            in_group(subject, errors);
        }
        other => errors.push(FieldError::not_supported(
            &kind.path,
            other,
            &["ServiceAccount", "User", "Group"],
        )),
    }
}

/// A binding keeps its role: who may change a binding must not come by another role so.
fn validate_update(binding: &Value, old: &Value) -> Errors {
    let (new, old) = (At::root(binding).child("roleRef"), at(old, "roleRef"));
    let fields = |role: &Value| ["apiGroup", "kind", "name"].map(|f| str_at(role, f).to_owned());
    let found = fields(new.value);
    if found == fields(old) {
        return Errors::new();
    }
    // Clients see the fields under Go's names here.
    let [group, kind, name] = found;
    let value = json!({"APIGroup": group, "Kind": kind, "Name": name});
    vec![FieldError::invalid(&new.path, value, "cannot change roleRef")]
}
