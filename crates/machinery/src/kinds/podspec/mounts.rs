//! What is wrong with where a container sees volumes: `volumeMounts`, and `volumeDevices` for those
//! that are blocks.

use std::collections::HashSet;

use onggi_api::FieldError;

use super::container::{goes_up, relative_path};
use super::volume::Volumes;
use crate::validation::{At, Errors};

const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const RECURSIVE: &[&str] = &["Disabled", "Enabled", "IfPossible"];

pub(super) fn validate(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let privileged = container.child("securityContext.privileged").flag();
    let list = container.child("volumeMounts");
    let mut paths = HashSet::new();
    for mount in list.items() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        if name.must_be_set(errors) && !volumes.contains_key(name.text()) {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        if path.must_be_set(errors) && !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
        for device in container.each("volumeDevices") {
            if !name.text().is_empty() && device.child("name").text() == name.text() {
                errors.push(name.invalid("must not already exist in volumeDevices"));
            }
            if !path.text().is_empty() && device.child("devicePath").text() == path.text() {
                let detail = "must not already exist as a path in volumeDevices";
                errors.push(path.invalid(detail));
            }
        }
        let (sub, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
        for relative in [&sub, &expression] {
            relative.may(relative_path, errors);
        }
        if !sub.text().is_empty() && !expression.text().is_empty() {
            errors.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
        }
        let propagation = mount.child("mountPropagation");
        propagation.one_of(PROPAGATIONS, errors);
        if propagation.text() == "Bidirectional" && !privileged {
            errors.push(propagation.forbidden(
                "Bidirectional mount propagation is available only to privileged containers",
            ));
        }
        read_only(&mount, &list, errors);
    }
    devices(container, volumes, errors);
}

/// Whether mounts below a mount are read-only too. Kubernetes names the list, not the item.
fn read_only(mount: &At<'_>, list: &At<'_>, errors: &mut Errors) {
    let recursive = mount.child("recursiveReadOnly");
    if !recursive.is_set() {
        return;
    }
    let path = || list.path.child("recursiveReadOnly");
    match recursive.text() {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.child("readOnly").flag() {
                let detail = "may only be specified when readOnly is true";
                errors.push(FieldError::forbidden(&path(), detail));
            }
            if !matches!(mount.child("mountPropagation").text(), "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(FieldError::forbidden(&path(), detail));
            }
        }
        other => errors.push(FieldError::not_supported(&path(), other, RECURSIVE)),
    }
}

fn devices(container: &At<'_>, volumes: &Volumes<'_>, errors: &mut Errors) {
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    for device in container.each("volumeDevices") {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        name.must_be_set(errors);
        if names.contains(&name.text()) {
            errors.push(name.invalid("must be unique"));
        }
        match volumes.get(name.text()) {
            None => errors.push(FieldError::not_found(&name.path, name.text())),
            Some(&("persistentVolumeClaim" | "ephemeral")) => {}
            Some(_) => errors.push(name.invalid(
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block \
                 mode",
            )),
        }
        path.must_be_set(errors);
        if paths.contains(&path.text()) {
            errors.push(FieldError::invalid(&path.path, path.text(), "must be unique"));
        }
        if goes_up(path.text()) {
            errors.push(path.invalid("can not contain backsteps ('..')"));
        } else {
            paths.push(path.text());
        }
        for mount in container.each("volumeMounts") {
            if !name.text().is_empty() && mount.child("name").text() == name.text() {
                errors.push(name.invalid("must not already exist in volumeMounts"));
            }
            if !path.text().is_empty() && mount.child("mountPath").text() == path.text() {
                errors.push(path.invalid("must not already exist as a path in volumeMounts"));
            }
        }
        if !name.text().is_empty() {
            names.push(name.text());
        }
    }
}
