//! What is wrong with volumes.

use std::collections::HashSet;

use super::container::relative_path;
use super::{PULL_POLICIES, env};
use crate::validation::{At, Errors, duplicates, names};

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
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// The rules for all volumes of a pod; gives their names.
pub(super) fn volumes<'a>(volumes: &At<'a>, errors: &mut Errors) -> HashSet<&'a str> {
    duplicates(volumes.items(), "name", errors);
    let mut known = HashSet::new();
    for volume in volumes.items() {
        let name = volume.child("name");
        if name.must_be_set(errors) {
            name.must(names::dns1123_label, errors);
            known.insert(name.text());
        }
        one_source(&volume, errors);
    }
    known
}

fn one_source(volume: &At<'_>, errors: &mut Errors) {
    let fields = volume.value.as_object().into_iter().flatten();
    let set: Vec<&str> = fields
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, _)| key.as_str())
        .collect();
    let Some((first, more)) = set.split_first() else {
        errors.push(volume.required("must specify a volume type"));
        return;
    };
    for extra in more {
        let detail = "may not specify more than 1 volume type";
        errors.push(volume.child(extra).forbidden(detail));
    }
    source(first, &volume.child(first), errors);
}

fn source(kind: &str, source: &At<'_>, errors: &mut Errors) {
    match kind {
        "hostPath" => host_path(source, errors),
        "secret" => {
            source.child("secretName").must_be_set(errors);
            files(source, errors);
        }
        "configMap" => {
            source.child("name").must_be_set(errors);
            files(source, errors);
        }
        "downwardAPI" => {
            mode(&source.child("defaultMode"), errors);
            downward_files(source, errors);
        }
        "projected" => projected(source, errors),
        "persistentVolumeClaim" => {
            source.child("claimName").must_be_set(errors);
        }
        "nfs" => nfs(source, errors),
        "csi" => {
            source.child("driver").must_be_set(errors);
        }
        "image" => {
            source.child("reference").must_be_set(errors);
            source.child("pullPolicy").one_of(PULL_POLICIES, errors);
        }
        _ => {}
    }
}

fn host_path(source: &At<'_>, errors: &mut Errors) {
    let path = source.child("path");
    if path.must_be_set(errors) && path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
    source.child("type").one_of(HOST_PATH_TYPES, errors);
}

fn nfs(source: &At<'_>, errors: &mut Errors) {
    source.child("server").must_be_set(errors);
    let path = source.child("path");
    if path.must_be_set(errors) && !path.text().starts_with('/') {
        errors.push(path.invalid("must be an absolute path"));
    }
}

/// `items` of a Secret or ConfigMap: which key becomes which file.
fn files(source: &At<'_>, errors: &mut Errors) {
    mode(&source.child("defaultMode"), errors);
    for item in source.each("items") {
        item.child("key").must_be_set(errors);
        file_path(&item.child("path"), errors);
        mode(&item.child("mode"), errors);
    }
}

fn file_path(path: &At<'_>, errors: &mut Errors) {
    if path.must_be_set(errors) {
        path.must(relative_path, errors);
        if path.text().starts_with("..") && !path.text().starts_with("../") {
            errors.push(path.invalid("must not start with '..'"));
        }
    }
}

fn mode(mode: &At<'_>, errors: &mut Errors) {
    if mode.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(mode.invalid("must be a number between 0 and 0777 (octal), both inclusive"));
    }
}

fn downward_files(source: &At<'_>, errors: &mut Errors) {
    for item in source.each("items") {
        file_path(&item.child("path"), errors);
        mode(&item.child("mode"), errors);
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
    }
}

fn projected(volume: &At<'_>, errors: &mut Errors) {
    mode(&volume.child("defaultMode"), errors);
    for source in volume.each("sources") {
        let set = source.present(&[
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ]);
        for extra in set.iter().skip(1) {
            errors.push(extra.forbidden("may not specify more than 1 volume type"));
        }
        for reference in source.present(&["secret", "configMap"]) {
            reference.child("name").must_be_set(errors);
            files(&reference, errors);
        }
        downward_files(&source.child("downwardAPI"), errors);
        token(&source.child("serviceAccountToken"), errors);
    }
}

fn token(token: &At<'_>, errors: &mut Errors) {
    if !token.is_set() {
        return;
    }
    file_path(&token.child("path"), errors);
    let seconds = token.child("expirationSeconds");
    match seconds.int().unwrap_or(TOKEN_SECONDS_MIN) {
        ..TOKEN_SECONDS_MIN => {
            errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
        TOKEN_SECONDS_MIN..=TOKEN_SECONDS_MAX => {}
        _ => errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds")),
    }
}
