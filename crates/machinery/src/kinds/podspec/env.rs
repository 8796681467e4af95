//! What is wrong with environment variables and what they are taken from.

use onggi_api::FieldError;

use super::container::goes_up;
use super::volume::Volumes;
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
pub(super) fn variables(env: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    for variable in env.items() {
        let name = variable.child("name");
        if name.must_be_set(errors) {
            name.must(names::env_name, errors);
        }
        let source = variable.child("valueFrom");
        if source.is_set() {
            let has_value = !variable.child("value").text().is_empty();
            value_from(&source, has_value, volumes, errors);
        }
    }
}

fn value_from(source: &At<'_>, has_value: bool, volumes: &Volumes<'_>, errors: &mut Errors) {
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
        let (name, key) = (reference.child("name"), reference.child("key"));
        let wrong = names::dns1123_subdomain(name.text()).into_iter();
        errors.extend(wrong.map(|e| FieldError::invalid(&name.path, name.text(), e)));
        if key.must_be_set(errors) {
            key.must(names::config_key, errors);
        }
    }
    file_key(&source.child("fileKeyRef"), volumes, errors);
}

/// A line of a file in a volume that the pod's containers share.
fn file_key(reference: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    let (key, volume, path) =
        (reference.child("key"), reference.child("volumeName"), reference.child("path"));
    if key.must_be_set(errors) {
        key.must(names::env_name, errors);
    }
    if volume.must_be_set(errors) {
        volume.must(names::dns1123_label, errors);
    }
    if path.must_be_set(errors) && goes_up(path.text()) {
        errors.push(path.invalid("must not contain '..'"));
    }
    match volumes.get(volume.text()) {
        Some(&"emptyDir") => {}
        Some(_) => errors.push(volume.invalid("referenced volume must be of type emptyDir")),
        None => errors.push(FieldError::not_found(&volume.path, volume.text())),
    }
}

/// Fields of the pod that have a name, besides those that can be shown.
const OTHER_FIELDS: &[&str] =
    &["spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase"];

/// A reference to one of the fields of the pod that may be shown.
pub(super) fn field_ref(reference: &At<'_>, fields: &[&str], errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    let (version, path) = (reference.child("apiVersion"), reference.child("fieldPath"));
    if !version.must_be_set(errors) || !path.must_be_set(errors) {
        return;
    }
    let text = path.text();
    let subscript = text.strip_suffix("']").and_then(|text| text.split_once("['"));
    let unknown = match (version.text(), subscript) {
        ("v1", Some((map, _))) if SUBSCRIPTED.contains(&map) => None,
        ("v1", Some(_)) => Some(format!("field label does not support subscript: {text}")),
        ("v1", None) => {
            let all = [VARIABLE_FIELDS, FILE_FIELDS, OTHER_FIELDS];
            let known = all.iter().any(|fields| fields.contains(&text));
            (!known).then(|| format!("field label not supported: {text}"))
        }
        (other, _) => Some(format!("unsupported pod version: {other}")),
    };
    if let Some(why) = unknown {
        errors.push(path.invalid(format!("error converting fieldPath: {why}")));
    } else if let Some((map, key)) = subscript {
        // Keys of annotations may have capitals before the slash.
        let wrong = match map {
            "metadata.annotations" => names::qualified_name(&key.to_lowercase()),
            _ => names::qualified_name(key),
        };
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&reference.path, key, e)));
    } else {
        path.one_of(fields, errors);
    }
}

const CPU_DIVISORS: &[&str] = &["1m", "1"];
const BYTE_DIVISORS: &[&str] =
    &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to an amount of a container.
pub(super) fn resource_ref(reference: &At<'_>, errors: &mut Errors) {
    if !reference.is_set() {
        return;
    }
    let resource = reference.child("resource");
    let name = resource.text().split_once('.').map_or("", |(_, name)| name);
    let huge = name.starts_with("hugepages-");
    if resource.must_be_set(errors) && !huge {
        resource.one_of(RESOURCES, errors);
    }
    let divisor = reference.child("divisor");
    let (known, what) = match name {
        "cpu" => (CPU_DIVISORS, "1m and 1 are supported with the cpu resource"),
        "memory" => (BYTE_DIVISORS, "memory"),
        "ephemeral-storage" => (BYTE_DIVISORS, "local ephemeral storage"),
        _ if huge => (BYTE_DIVISORS, "hugepages"),
        _ => return,
    };
    if matches!(divisor.text(), "" | "0") || known.contains(&divisor.text()) {
        return;
    }
    let detail = match name {
        "cpu" => format!("only divisor's values {what}"),
        _ => format!(
            "only divisor's values {} are supported with the {what} resource",
            BYTE_DIVISORS.join(", ")
        ),
    };
    errors.push(FieldError::invalid(&divisor.path, resource.text(), detail));
}

/// `envFrom`. Kubernetes names the list, not the item.
pub(super) fn sources(list: &At<'_>, errors: &mut Errors) {
    for source in list.items() {
        source.child("prefix").may(names::env_name, errors);
        let set = source.present(&["configMapRef", "secretRef"]);
        match set.len() {
            0 => errors.push(FieldError::invalid(
                &list.path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(
                &list.path,
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
