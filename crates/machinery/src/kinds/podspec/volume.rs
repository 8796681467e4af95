//! What is wrong with volumes.

use std::collections::{HashMap, HashSet};

use onggi_api::{FieldError, Quantity};

use super::container::relative_path;
use super::{PULL_POLICIES, env, projected, source};
use crate::kinds::persistentvolumeclaim;
use crate::validation::{At, Errors, duplicates, labels, names};

/// What a volume can be. Where it is several, the first of these counts.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// The volumes of a pod: name, and what it is.
pub(super) type Volumes<'a> = HashMap<&'a str, &'static str>;

/// The rules for all volumes of a pod, whose name is empty in a template; gives what there is.
pub(super) fn volumes<'a>(volumes: &At<'a>, pod: &str, errors: &mut Errors) -> Volumes<'a> {
    duplicates(volumes.items(), "name", errors);
    let mut known = Volumes::new();
    for volume in volumes.items() {
        let name = volume.child("name");
        let kind = one_source(&volume, pod, errors);
        if name.must_be_set(errors) {
            name.must(names::dns1123_label, errors);
            known.insert(name.text(), kind);
        }
    }
    if !pod.is_empty() && known.values().any(|kind| *kind == "ephemeral") {
        foreign_claims(volumes, pod, errors);
    }
    known
}

fn one_source(volume: &At<'_>, pod: &str, errors: &mut Errors) -> &'static str {
    let fields = volume.value.as_object().into_iter().flatten();
    let set = fields
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, _)| SOURCES.iter().position(|source| source == key));
    let first = set.clone().min().and_then(|place| SOURCES.get(place)).copied();
    let Some(first) = first else {
        errors.push(volume.required("must specify a volume type"));
        return "";
    };
    for extra in set.filter_map(|place| SOURCES.get(place)).filter(|source| **source != first) {
        let detail = "may not specify more than 1 volume type";
        errors.push(volume.child(extra).forbidden(detail));
    }
    validate_source(first, &volume.child(first), volume, pod, errors);
    first
}

/// The rules for a source, where a PersistentVolume has the same as a pod.
pub(in crate::kinds) fn validate_source(
    kind: &str,
    source: &At<'_>,
    volume: &At<'_>,
    pod: &str,
    errors: &mut Errors,
) {
    match kind {
        "emptyDir" => {
            let limit = source.child("sizeLimit");
            if limit.text().parse::<Quantity>().is_ok_and(|limit| limit.is_negative()) {
                errors.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
            }
        }
        "hostPath" => host_path(source, errors),
        "secret" => {
            source.child("secretName").must_be_set(errors);
            mode(&source.child("defaultMode"), errors);
            files(source, errors);
        }
        "configMap" => {
            source.child("name").must_be_set(errors);
            mode(&source.child("defaultMode"), errors);
            files(source, errors);
        }
        "downwardAPI" => {
            mode(&source.child("defaultMode"), errors);
            downward_files(source, errors);
        }
        "projected" => projected::validate(source, errors),
        "persistentVolumeClaim" => {
            source.child("claimName").must_be_set(errors);
        }
        "nfs" => nfs(source, errors),
        "image" => {
            source.child("reference").must_be_set(errors);
            source.child("pullPolicy").required_one_of(PULL_POLICIES, errors);
        }
        "ephemeral" => ephemeral(source, volume, pod, errors),
        _ => source::validate(kind, source, volume, errors),
    }
}

fn host_path(source: &At<'_>, errors: &mut Errors) {
    let path = source.child("path");
    if path.must_be_set(errors) {
        if path.text().split('/').any(|part| part == "..") {
            errors.push(path.invalid("must not contain '..'"));
        }
        source.child("type").one_of(HOST_PATH_TYPES, errors);
    }
}

fn nfs(source: &At<'_>, errors: &mut Errors) {
    source.child("server").must_be_set(errors);
    let path = source.child("path");
    path.must_be_set(errors);
    if !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
}

// === Claims that are made for the pod ===

/// Of the metadata of a template these are taken over.
const TEMPLATE_METADATA: &[&str] = &["annotations", "labels"];

fn ephemeral(source: &At<'_>, volume: &At<'_>, pod: &str, errors: &mut Errors) {
    let template = source.child("volumeClaimTemplate");
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    let metadata = template.child("metadata");
    labels::labels(&metadata.child("labels"), errors);
    let fields = metadata.value.as_object().into_iter().flatten();
    for (field, _) in fields.filter(|(field, _)| !TEMPLATE_METADATA.contains(&field.as_str())) {
        errors.push(template.child(field).forbidden("cannot be set"));
    }
    persistentvolumeclaim::validate_spec(&template.child("spec"), errors);
    let name = volume.child("name");
    if !pod.is_empty() && !name.text().is_empty() {
        let claim = format!("{pod}-{}", name.text());
        let wrong = names::dns1123_subdomain(&claim);
        errors.extend(wrong.iter().map(|e| name.invalid(format!("PVC name {claim:?}: {e}"))));
    }
}

/// A claim that is made for a volume of the pod is that volume's alone.
fn foreign_claims(volumes: &At<'_>, pod: &str, errors: &mut Errors) {
    let made: HashSet<&str> = volumes
        .items()
        .filter(|volume| volume.child("ephemeral").is_set())
        .map(|volume| volume.child("name").text())
        .collect();
    for volume in volumes.items() {
        let claim = volume.child("persistentVolumeClaim.claimName");
        let of = claim.text().strip_prefix(pod).and_then(|rest| rest.strip_prefix('-'));
        if of.is_some_and(|of| made.contains(of)) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.push(claim.invalid(detail));
        }
    }
}

// === Files ===

/// `items` of a Secret or ConfigMap: which key becomes which file.
pub(super) fn files(source: &At<'_>, errors: &mut Errors) {
    for item in source.each("items") {
        item.child("key").must_be_set(errors);
        file_path(&item.child("path"), errors);
        mode(&item.child("mode"), errors);
    }
}

pub(super) fn file_path(path: &At<'_>, errors: &mut Errors) {
    if path.must_be_set(errors) {
        path.must(local_path, errors);
    }
}

/// A path below where it begins, whose name is none of the node's own.
pub(super) fn local_path(path: &str) -> Vec<String> {
    let mut wrong = relative_path(path);
    if path.starts_with("..") && !path.starts_with("../") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

pub(super) fn mode(mode: &At<'_>, errors: &mut Errors) {
    if mode.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(mode.invalid("must be a number between 0 and 0777 (octal), both inclusive"));
    }
}

pub(super) fn downward_files(source: &At<'_>, errors: &mut Errors) {
    for item in source.each("items") {
        file_path(&item.child("path"), errors);
        let (field, amount) = (item.child("fieldRef"), item.child("resourceFieldRef"));
        match (field.is_set(), amount.is_set()) {
            (true, true) => errors.push(
                item.invalid("fieldRef and resourceFieldRef can not be specified simultaneously"),
            ),
            (false, false) => {
                errors.push(item.required("one of fieldRef and resourceFieldRef is required"))
            }
            _ => {}
        }
        env::field_ref(&field, env::FILE_FIELDS, errors);
        if amount.is_set() {
            amount.child("containerName").must_be_set(errors);
        }
        env::resource_ref(&amount, errors);
        mode(&item.child("mode"), errors);
    }
}
