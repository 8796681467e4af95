//! `v1 PersistentVolume`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::persistentvolumeclaim::{self as claim, positive, validate_access_modes};
use super::podspec;
use super::status_of;
use super::storage::driver_name;
use crate::resource::{Column, Resource, Scope};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, IMMUTABLE, names};
use crate::value::{at, is_set, set, set_default, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    scope: Scope::Cluster,
    subresources: &[status_of("", "v1", "PersistentVolume")],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Capacity"),
        Column::text("Access Modes"),
        Column::text("Reclaim Policy"),
        Column::text("Status"),
        Column::text("Claim"),
        Column::text("StorageClass"),
        Column::text("VolumeAttributesClass"),
        Column::text("Reason"),
        Column::AGE,
        Column::wide("VolumeMode"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({"phase": "Pending"})),
    validate,
    validate_update,
    answers_deleted: true,
    ..Resource::BASE
};

fn row(volume: &Value, now: i64) -> Vec<Value> {
    let text = |path| str_at(volume, path);
    let deleting = is_set(volume, "metadata.deletionTimestamp");
    let claimed = is_set(volume, "spec.claimRef");
    let holder = format!("{}/{}", text("spec.claimRef.namespace"), text("spec.claimRef.name"));
    vec![
        table::name(volume),
        text_or(text("spec.capacity.storage"), "0").into(),
        claim::access_modes(at(volume, "spec.accessModes")).into(),
        text("spec.persistentVolumeReclaimPolicy").into(),
        if deleting { "Terminating" } else { text("status.phase") }.into(),
        if claimed { holder } else { String::new() }.into(),
        claim::storage_class(volume).into(),
        text_or(text("spec.volumeAttributesClassName"), "<unset>").into(),
        text("status.reason").into(),
        table::age(volume, now),
        text_or(text("spec.volumeMode"), "<unset>").into(),
    ]
}

fn default(volume: &mut Value) {
    set_default_text(volume, "status.phase", "Pending");
    set_default_text(volume, "spec.persistentVolumeReclaimPolicy", "Retain");
    set_default(volume, "spec.volumeMode", "Filesystem");
    if is_set(volume, "spec.hostPath") {
        set_default(volume, "spec.hostPath.type", "");
    }
}

// === Rules ===

/// What a volume is, in the order in which Kubernetes looks; every other field of the `spec` says
/// how it is used.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

fn validate(volume: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(volume).child("spec");
    validate_access_modes(&spec.child("accessModes"), "", &mut errors);
    let capacity = spec.child("capacity");
    let amounts: Vec<(&str, At<'_>)> = capacity.entries().collect();
    if amounts.is_empty() {
        errors.push(capacity.required(""));
    }
    if !amounts.iter().any(|(name, _)| *name == "storage") || amounts.len() > 1 {
        let none = || Value::Object(serde_json::Map::new());
        let shown = if capacity.is_set() { capacity.value.clone() } else { none() };
        errors.push(FieldError::not_supported(&capacity.path, shown, &["storage"]));
    }
    for (_, amount) in &amounts {
        if amount.text().starts_with('-') {
            errors.push(amount.invalid("must be a valid resource quantity"));
        }
        positive(amount, &mut errors);
    }
    let reclaim = spec.child("persistentVolumeReclaimPolicy");
    reclaim.one_of(&["Delete", "Recycle", "Retain"], &mut errors);
    let affinity = spec.child("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.child("required");
        if required.is_set() {
            podspec::node_selector(&required, &mut errors);
        } else {
            errors.push(required.required("must specify required node constraints"));
        }
    }
    source(&spec, &mut errors);
    if spec.child("hostPath.path").text() == "/" && reclaim.text() == "Recycle" {
        errors.push(reclaim.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    spec.child("storageClassName").may(names::dns1123_subdomain, &mut errors);
    spec.child("volumeMode").one_of(&["Block", "Filesystem"], &mut errors);
    let attributes = spec.child("volumeAttributesClassName");
    if attributes.is_set() {
        if attributes.text().is_empty() {
            errors.push(attributes.required("an empty string is disallowed"));
        } else {
            attributes.must(names::dns1123_subdomain, &mut errors);
        }
        let csi = spec.child("csi");
        if !csi.is_set() {
            let detail = "has to be specified when using volumeAttributesClassName";
            errors.push(csi.required(detail));
        }
    }
    errors
}

fn source(spec: &At<'_>, errors: &mut Errors) {
    let set = spec.named(SOURCES);
    let Some(((name, first), more)) = set.split_first() else {
        errors.push(spec.required("must specify a volume type"));
        return;
    };
    one_source(name, first, spec, errors);
    for (name, extra) in more {
        // Kubernetes does not count this one.
        if *name == "flexVolume" {
            one_source(name, extra, spec, errors);
        } else {
            errors.push(extra.forbidden("may not specify more than 1 volume type"));
        }
    }
}

fn one_source(name: &str, source: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    match name {
        "local" => {
            let path = source.child("path");
            if path.must_be_set(errors) && path.text().split('/').any(|part| part == "..") {
                errors.push(path.invalid("must not contain '..'"));
            }
            let affinity = spec.child("nodeAffinity");
            if !affinity.is_set() {
                errors.push(affinity.required("Local volume requires node affinity"));
            }
        }
        "csi" => {
            driver_name(&source.child("driver"), errors);
            source.child("volumeHandle").must_be_set(errors);
            for secret in source.present(&[
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ]) {
                let (name, namespace) = (secret.child("name"), secret.child("namespace"));
                if name.must_be_set(errors) {
                    name.must(names::dns1123_subdomain, errors);
                }
                if namespace.must_be_set(errors) {
                    namespace.must(names::dns1123_label, errors);
                }
            }
        }
        _ => podspec::validate_source(name, source, spec, "", errors),
    }
}

fn validate_update(volume: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::root(volume).child("spec"), at(old, "spec"));
    if SOURCES.iter().any(|name| spec.value.get(*name) != before.get(*name)) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(spec.child("persistentvolumesource").forbidden(detail));
    }
    // Kubernetes leaves `spec` out of these paths.
    let bare = |name: &str| At::new(at(spec.value, name), onggi_api::FieldPath::new(name));
    let mode = bare("volumeMode");
    if mode.value != at(before, "volumeMode") {
        errors.push(mode.invalid(IMMUTABLE));
    }
    let affinity = bare("nodeAffinity");
    if is_set(before, "nodeAffinity") && affinity.value != at(before, "nodeAffinity") {
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.push(affinity.invalid(detail));
    }
    errors
}
