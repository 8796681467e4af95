//! What is wrong with environment variables and what they are taken from.

use onggi_api::FieldError;

use super::container::relative_path;
use crate::validation::{At, Errors, names};

/// Fields of the pod that a variable may show.
const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that a file may show.
pub(super) const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Maps of which one entry can be shown: `metadata.labels['app']`.
const SUBSCRIPTED: &[&str] = &["metadata.annotations", "metadata.labels"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `env`.
pub(super) fn variables(env: &At<'_>, errors: &mut Errors) {
    for variable in env.items() {
        let name = variable.child("name");
        if name.must_be_set(errors) {
            name.must(names::env_name, errors);
        }
        let source = variable.child("valueFrom");
        if source.is_set() {
            let has_value = !variable.child("value").text().is_empty();
            value_from(&source, has_value, errors);
        }
    }
}

fn value_from(source: &At<'_>, has_value: bool, errors: &mut Errors) {
    let set = source.present(&[
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ]);
    let mut wrong = |detail| errors.push(FieldError::invalid(&source.path, "", detail));
    match set.len() {
        0 => wrong(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
             `secretKeyRef` or `fileKeyRef`",
        ),
        _ if has_value => wrong("may not be specified when `value` is not empty"),
        1 => {}
        _ => wrong("may not have more than one field specified at a time"),
    }
    field_ref(&source.child("fieldRef"), VARIABLE_FIELDS, errors);
    resource_ref(&source.child("resourceFieldRef"), errors);
    for reference in source.present(&["configMapKeyRef", "secretKeyRef"]) {
        reference.child("name").must_be_set(errors);
        let key = reference.child("key");
        if key.must_be_set(errors) {
            key.must(names::config_key, errors);
        }
    }
    for reference in source.present(&["fileKeyRef"]) {
        reference.child("volumeName").must_be_set(errors);
        reference.child("path").must(relative_path, errors);
        reference.child("key").must_be_set(errors);
    }
}

/// A reference to one of the fields of the pod that may be shown.
pub(super) fn field_ref(reference: &At<'_>, fields: &[&str], errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    reference.child("apiVersion").must_be_set(errors);
    let path = reference.child("fieldPath");
    if !path.must_be_set(errors) {
        return;
    }
    match path.text().split_once("['") {
        Some((map, key)) if SUBSCRIPTED.contains(&map) => {
            let key = key.strip_suffix("']").unwrap_or("");
            let wrong = names::qualified_name(&key.to_lowercase());
            errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&path.path, key, e)));
        }
        _ => path.one_of(fields, errors),
    }
}

/// A reference to an amount of a container.
pub(super) fn resource_ref(reference: &At<'_>, errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    let resource = reference.child("resource");
    let huge = resource.text().split_once('.').is_some_and(|(_, r)| r.starts_with("hugepages-"));
    if resource.must_be_set(errors) && !huge {
        resource.one_of(RESOURCES, errors);
    }
}

/// `envFrom`.
pub(super) fn sources(list: &At<'_>, errors: &mut Errors) {
    for source in list.items() {
        source.child("prefix").may(names::env_name, errors);
        let set = source.present(&["configMapRef", "secretRef"]);
        match set.len() {
            0 => errors.push(FieldError::invalid(
                &source.path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(
                &source.path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
        for reference in set {
            let name = reference.child("name");
            if name.must_be_set(errors) {
                name.must(names::dns1123_subdomain, errors);
            }
        }
    }
}
