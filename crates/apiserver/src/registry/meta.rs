//! `metadata`: what the server sets, what a client may not change, what must hold
//! (`k8s.io/apiserver/pkg/registry/rest`).

use onggi_api::object::metadata_mut;
use onggi_api::{FieldError, FieldPath, Status};
use onggi_client::Request;
use onggi_machinery::resource::Resource;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::strategy::updates_blindly;
use super::{MODIFIED, text};

/// Letters of generated names: none that could make a word.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// The most of `generateName` that is kept, so that five letters fit behind it.
const MAX_GENERATED_BASE: usize = 58;

/// What the server alone sets.
const SYSTEM: &[&str] =
    &["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// The place of a new object, and nothing that only the server may set.
pub(super) fn begin_create(
    row: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    if !matches!(text(object, "/metadata/resourceVersion"), "" | "0") {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(Status::failure(500, "", text));
    }
    let metadata = metadata_mut(object);
    for field in SYSTEM.iter().chain(&["selfLink", "resourceVersion"]) {
        metadata.remove(*field);
    }
    set_namespace(row, namespace, object)?;
    drop_empty(object);
    Ok(())
}

pub(super) fn set_namespace(
    row: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let given = text(object, "/metadata/namespace");
    if !row.namespaced() {
        metadata_mut(object).remove("namespace");
        return Ok(());
    }
    if !given.is_empty() && given != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    metadata_mut(object).insert("namespace".into(), namespace.into());
    Ok(())
}

/// Empty maps and lists of metadata mean the same as none.
fn drop_empty(object: &mut Value) {
    metadata_mut(object).retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

/// What every new object gets.
pub(super) fn stamp(object: &mut Value, now: &str, has_generation: bool) {
    let metadata = metadata_mut(object);
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), now.into());
    if has_generation {
        metadata.insert("generation".into(), 1.into());
    }
}

/// Whether the server is to choose a name.
pub(super) fn needs_name(object: &Value) -> bool {
    text(object, "/metadata/name").is_empty() && !text(object, "/metadata/generateName").is_empty()
}

/// Chooses a name.
pub(super) fn generate_name(object: &mut Value) {
    let base = text(object, "/metadata/generateName");
    let base: String = base.chars().take(MAX_GENERATED_BASE).collect();
    let name = format!("{base}{}", suffix());
    metadata_mut(object).insert("name".into(), name.into());
}

/// Five random letters.
pub(crate) fn suffix() -> String {
    let mut random = rand::rng();
    (0..5).filter_map(|_| ALPHABET.choose(&mut random)).map(|b| char::from(*b)).collect()
}

/// Whether what is sent belongs to the path it is sent to.
pub(crate) fn check_place(row: &Resource, request: &Request, object: &Value) -> Result<(), Status> {
    let namespace = text(object, "/metadata/namespace");
    if row.namespaced() && !namespace.is_empty() && namespace != request.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            request.name
        )));
    }
    if name != request.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.name
        )));
    }
    Ok(())
}

/// A `uid` that a PUT sends is a condition: it must be that of the object.
pub(super) fn check_uid(row: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    let (asked, actual) = (text(new, "/metadata/uid"), text(old, "/metadata/uid"));
    if asked.is_empty() || asked == actual {
        return Ok(());
    }
    let name = text(new, "/metadata/name");
    let mut key = format!("/registry/{}", row.plural);
    if row.namespaced() {
        let there = if old.is_null() { new } else { old };
        key = format!("{key}/{}", text(there, "/metadata/namespace"));
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}/{name}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: \
         {actual}"
    );
    Err(Status::conflict(&row.group_resource(), name, &why))
}

/// A `resourceVersion` that a writer sends must be the present one; some kinds want one.
pub(super) fn check_version(row: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    let name = text(old, "/metadata/name");
    let asked = text(new, "/metadata/resourceVersion");
    if matches!(asked, "" | "0") {
        if updates_blindly(row) {
            return Ok(());
        }
        let path = FieldPath::new("metadata.resourceVersion");
        let error = FieldError::invalid(&path, 0, "must be specified for an update");
        return Err(Status::invalid(&row.group_resource(), name, &[error]));
    }
    if asked != text(old, "/metadata/resourceVersion") {
        return Err(Status::conflict(&row.group_resource(), name, MODIFIED));
    }
    Ok(())
}

/// Puts back what only the server may change. What may not change at all and was changed stays as
/// it is, for validation to tell.
pub(super) fn begin_update(new: &mut Value, old: &Value) {
    let metadata = metadata_mut(new);
    metadata.remove("selfLink");
    let mut put = |field: &str, always: bool| match old["metadata"].get(field) {
        Some(_) if !always && metadata.get(field).is_some_and(|value| !value.is_null()) => {}
        Some(value) => {
            metadata.insert(field.into(), value.clone());
        }
        None if always => {
            metadata.remove(field);
        }
        None => {}
    };
    for field in ["name", "namespace", "resourceVersion", "generation", "creationTimestamp"] {
        put(field, true);
    }
    for field in ["uid", "deletionGracePeriodSeconds"] {
        put(field, false);
    }
    if old["metadata"].get("deletionTimestamp").is_some() {
        put("deletionTimestamp", true);
    }
    drop_empty(new);
}

/// Owner references that stand twice are dropped; gives the warning.
pub(super) fn drop_same_owners(object: &mut Value) -> Option<String> {
    let owners = object.get_mut("metadata")?.get_mut("ownerReferences")?.as_array_mut()?;
    if owners.len() < 2 {
        return None;
    }
    let mut seen = std::collections::HashSet::with_capacity(owners.len());
    let first: Vec<bool> = owners.iter().map(|owner| seen.insert(owner)).collect();
    drop(seen);
    let mut first = first.into_iter();
    let mut twice: Vec<String> = Vec::new();
    owners.retain(|owner| {
        let keep = first.next().unwrap_or(true);
        if !keep {
            twice.push(text(owner, "/uid").to_owned());
        }
        keep
    });
    (!twice.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references \
             in 1.20+, and may reject such requests as early as 1.24; please fix your requests; \
             duplicate UID(s) observed: {}",
            twice.join(", ")
        )
    })
}

/// Whether anything but metadata and status differs; the status of a custom kind that has no such
/// subresource is a field like others.
pub(super) fn desired_changed(row: &Resource, new: &Value, old: &Value) -> bool {
    if row.custom.is_some() && !row.has_status && new["status"] != old["status"] {
        return true;
    }
    // Annotations of a Deployment are handed on to its ReplicaSets.
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    if (row.group, row.kind) == ("apps", "Deployment") && annotations(new) != annotations(old) {
        return true;
    }
    let desired = |value: &Value| -> Vec<(String, Value)> {
        let fields = value.as_object().into_iter().flatten();
        fields
            .filter(|(key, _)| {
                !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind")
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    desired(new) != desired(old)
}

/// Counts a change of what is desired.
pub(super) fn next_generation(object: &mut Value) {
    let metadata = metadata_mut(object);
    let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
    metadata.insert("generation".into(), (generation + 1).into());
}

/// Whether the object was deleted and nobody holds it any more.
pub(super) fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_that_stand_twice_are_dropped() {
        let owner = |uid: &str, name: &str| json!({"uid": uid, "name": name, "controller": false});
        let (a, b, other) = (owner("1", "a"), owner("2", "b"), owner("1", "c"));
        for (list, kept, twice) in [
            (vec![&a], vec![&a], ""),
            (vec![&a, &other, &b], vec![&a, &other, &b], ""),
            (vec![&a, &b, &a, &other, &b, &a], vec![&a, &b, &other], "1, 2, 1"),
        ] {
            let mut object = json!({"metadata": {"ownerReferences": list}});
            let warning = drop_same_owners(&mut object);
            assert_eq!(object, json!({"metadata": {"ownerReferences": kept}}));
            let end = format!("duplicate UID(s) observed: {twice}");
            assert_eq!(warning.is_some(), !twice.is_empty());
            assert!(warning.is_none_or(|text| text.ends_with(&end)), "{list:?}");
        }
    }
}
