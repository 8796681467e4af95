//! `metadata` of every kind (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use super::{At, Errors, IMMUTABLE, NEGATIVE, labels, names};
use crate::managedfields;
use crate::resource::Resource;
use crate::value::{at, i64_at, is_set, list_at};

const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Finalizers that need no domain in front.
const PLAIN_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

/// What is wrong with the metadata of an object whose name and namespace the server has filled in.
pub fn metadata(object: &Value, resource: &Resource) -> Errors {
    let mut errors = Errors::new();
    let metadata = At::root(object).child("metadata");
    name(&metadata, resource, &mut errors);
    namespace(&metadata, resource, &mut errors);
    if i64_at(metadata.value, "generation").is_some_and(|generation| generation < 0) {
        errors.push(metadata.child("generation").invalid(NEGATIVE));
    }
    labels::labels(&metadata.child("labels"), &mut errors);
    annotations(&metadata.child("annotations"), &mut errors);
    owners(&metadata.child("ownerReferences"), &mut errors);
    finalizers(&metadata.child("finalizers"), resource, &mut errors);
    let owners = metadata.child("managedFields");
    if owners.is_set() {
        errors.extend(managedfields::validate(owners.value, &owners.path));
    }
    errors
}

fn name(metadata: &At<'_>, resource: &Resource, errors: &mut Errors) {
    let (name, prefix) = (metadata.child("name"), metadata.child("generateName"));
    prefix.may(|text| names::by_rule(resource.name, text, true), errors);
    if name.text().is_empty() {
        errors.push(name.required("name or generateName is required"));
    } else {
        name.must(|text| names::by_rule(resource.name, text, false), errors);
    }
}

fn namespace(metadata: &At<'_>, resource: &Resource, errors: &mut Errors) {
    let namespace = metadata.child("namespace");
    if resource.namespaced() {
        if namespace.must_be_set(errors) {
            namespace.must(names::dns1123_label, errors);
        }
    } else if !namespace.text().is_empty() {
        errors.push(namespace.forbidden("not allowed on this type"));
    }
}

/// The keys of annotations, and how much they hold.
pub fn annotations(annotations: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        size += key.len() + value.text().len();
        // Unlike those of labels, keys of annotations may have capitals in the prefix.
        let wrong = names::qualified_name(&key.to_lowercase());
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&annotations.path, key, e)));
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(&annotations.path, ANNOTATIONS_MAX));
    }
}

fn owners(owners: &At<'_>, errors: &mut Errors) {
    /// How often it is said that there are several controllers: each time shows the whole list.
    const SAID: usize = 4;
    let mut controller: Option<&str> = None;
    let mut others = 0;
    for owner in owners.items() {
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let found = owner.child(field);
            if found.text().is_empty() {
                errors.push(FieldError::invalid(&found.path, "", detail));
            }
        }
        if owner.child("apiVersion").text() == "v1" && owner.child("kind").text() == "Event" {
            errors.push(owner.invalid("/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.child("controller").flag() {
            let name = owner.child("name").text();
            others += usize::from(controller.is_some());
            if let Some(first) = controller.filter(|_| others <= SAID) {
                errors.push(owners.invalid(format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {name}"
                )));
            }
            controller.get_or_insert(name);
        }
    }
}

fn finalizers(finalizers: &At<'_>, resource: &Resource, errors: &mut Errors) {
    // Custom kinds and their definitions are not asked for a domain.
    let plain = resource.custom.is_some() || resource.group == crate::crd::GROUP;
    for finalizer in finalizers.items() {
        let text = finalizer.text();
        // Kubernetes names the list, not the item.
        let complain = |detail: String| FieldError::invalid(&finalizers.path, text, detail);
        errors.extend(names::qualified_name(text).into_iter().map(complain));
        if !plain && !text.contains('/') && !PLAIN_FINALIZERS.contains(&text) {
            errors.push(complain(
                "name is neither a standard finalizer name nor is it fully qualified".to_owned(),
            ));
        }
    }
    let has = |wanted: &str| finalizers.items().any(|f| f.text() == wanted);
    if has("orphan") && has("foregroundDeletion") {
        errors.push(
            finalizers
                .invalid("finalizer \"orphan\" and \"foregroundDeletion\" cannot be both set"),
        );
    }
}

/// What is wrong with a change of metadata. Fields that a client may leave out of an update (uid,
/// creationTimestamp …) have been filled in from the old object before.
pub fn metadata_update(object: &Value, old: &Value, resource: &Resource) -> Errors {
    let mut errors = metadata(object, resource);
    let (new, old) = (At::root(object).child("metadata"), at(old, "metadata"));
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let found = new.child(field);
        if found.value != at(old, field) {
            errors.push(found.invalid(IMMUTABLE));
        }
    }
    let generation = new.child("generation");
    if generation.int().unwrap_or(0) < i64_at(old, "generation").unwrap_or(0) {
        errors.push(generation.invalid("must not be decremented"));
    }
    if is_set(old, "deletionTimestamp") {
        no_new_finalizers(&new.child("finalizers"), list_at(old, "finalizers"), &mut errors);
    }
    errors
}

fn no_new_finalizers(finalizers: &At<'_>, old: &[Value], errors: &mut Errors) {
    let old: HashSet<&Value> = old.iter().collect();
    let new: Vec<String> = finalizers
        .items()
        .filter(|f| !old.contains(f.value))
        .map(|f| f.value.to_string())
        .collect();
    if !new.is_empty() {
        errors.push(finalizers.forbidden(format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            new.join(", ")
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{namespace, pod, service};
    use serde_json::json;

    fn check(resource: &Resource, metadata: Value, expected: &[&str]) {
        let errors: Vec<String> = super::metadata(&json!({ "metadata": metadata }), resource)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, start) in errors.iter().zip(expected) {
            assert!(error.starts_with(start), "{error} / {start}");
        }
    }

    #[test]
    fn creation() {
        let pod = &pod::RESOURCE;
        check(pod, json!({"name": "a.b", "namespace": "d"}), &[]);
        check(
            pod,
            json!({}),
            &[
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ],
        );
        check(
            pod,
            json!({"name": "A", "namespace": "d"}),
            &["metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must"],
        );
        check(
            &service::RESOURCE,
            json!({"name": "1a", "namespace": "d"}),
            &["metadata.name: Invalid value: \"1a\": a DNS-1035 label must"],
        );
        check(
            &namespace::RESOURCE,
            json!({"name": "a.b", "namespace": "d"}),
            &[
                "metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label must",
                "metadata.namespace: Forbidden: not allowed on this type",
            ],
        );
        check(
            pod,
            json!({
                "name": "a", "namespace": "d",
                "labels": {"a b": "c d"},
                "annotations": {"Ex.com/A": "any text", "x": "y".repeat(ANNOTATIONS_MAX)},
                "finalizers": ["mine", "a.b/c"],
                "managedFields": [{"operation": "Apply", "manager": "m"}, {"manager": "a\nb"}],
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "X", "name": "p", "uid": "1", "controller": true},
                    {"apiVersion": "v1", "kind": "X", "name": "q", "uid": "", "controller": true},
                ],
            }),
            &[
                "metadata.labels: Invalid value: \"a b\": name part must consist of",
                "metadata.labels: Invalid value: \"c d\": a valid label must be",
                "metadata.annotations: Too long: may not be more than 262144 bytes",
                "metadata.ownerReferences[1].uid: Invalid value: \"\": must not be empty",
                "metadata.ownerReferences: Invalid value: [",
                "metadata.finalizers: Invalid value: \"mine\": name is neither a standard",
                "metadata.managedFields[1].operation: Required value: must not be empty",
                "metadata.managedFields[1].manager: Invalid value: \"a\\nb\": invalid character",
            ],
        );
    }

    #[test]
    fn updates() {
        let old = json!({"metadata": {
            "name": "a", "namespace": "d", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["a.b/c"], "generation": 2}});
        let mut new = old.clone();
        assert_eq!(metadata_update(&new, &old, &pod::RESOURCE), []);
        new["metadata"]["uid"] = "2".into();
        new["metadata"]["generation"] = 1.into();
        new["metadata"]["finalizers"] = json!(["a.b/c", "a.b/d"]);
        let errors: Vec<String> =
            metadata_update(&new, &old, &pod::RESOURCE).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "metadata.uid: Invalid value: \"2\": field is immutable",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is \
                 being deleted, found new finalizers []string{\"a.b/d\"}",
            ]
        );
    }
}
