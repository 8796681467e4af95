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
    let blocks = Taken::by(container, "volumeDevices", "devicePath");
    for mount in list.items() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        if name.must_be_set(errors) && !volumes.contains_key(name.text()) {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        if path.must_be_set(errors) && !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
        if blocks.names.contains(name.text()) {
            errors.push(name.invalid("must not already exist in volumeDevices"));
        }
        if blocks.paths.contains(path.text()) {
            errors.push(path.invalid("must not already exist as a path in volumeDevices"));
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

/// What the items of a list of a container have; none of it is empty.
#[derive(Default)]
struct Taken<'a> {
    names: HashSet<&'a str>,
    paths: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    /// By the items of a list, whose paths stand in the field `path`.
    fn by(container: &At<'a>, list: &str, path: &str) -> Self {
        let mut taken = Self::default();
        for item in container.each(list) {
            taken.names.insert(item.child("name").text());
            taken.paths.insert(item.child(path).text());
        }
        taken.names.remove("");
        taken.paths.remove("");
        taken
    }
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
    let mut list = container.each("volumeDevices").peekable();
    if list.peek().is_none() {
        return;
    }
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    let mounted = Taken::by(container, "volumeMounts", "mountPath");
    for device in list {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        name.must_be_set(errors);
        if names.contains(name.text()) {
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
        if paths.contains(path.text()) {
            errors.push(FieldError::invalid(&path.path, path.text(), "must be unique"));
        }
        if goes_up(path.text()) {
            errors.push(path.invalid("can not contain backsteps ('..')"));
        } else {
            paths.insert(path.text());
        }
        if mounted.names.contains(name.text()) {
            errors.push(name.invalid("must not already exist in volumeMounts"));
        }
        if mounted.paths.contains(path.text()) {
            errors.push(path.invalid("must not already exist as a path in volumeMounts"));
        }
        if !name.text().is_empty() {
            names.insert(name.text());
        }
    }
}

#[cfg(test)]
mod tests {
    use onggi_api::FieldPath;
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::testing::Dice;

    #[test]
    fn mounts_and_devices_are_compared_with_all_others() {
        const NAMES: &[&str] = &["", "a", "b", "c"];
        let volumes: Volumes<'_> =
            NAMES[1..].iter().map(|name| (*name, "persistentVolumeClaim")).collect();
        let mut dice = Dice(6);
        for _ in 0..500 {
            let mut list = |path: &str| {
                dice.list(
                    4,
                    |dice| json!({"name": dice.one(NAMES), path: dice.one(&["", "x", "y"])}),
                )
            };
            let (mounts, blocks) = (list("mountPath"), list("devicePath"));
            let container = json!({"volumeMounts": mounts, "volumeDevices": blocks});
            let mut errors = Errors::new();
            validate(&At::new(&container, FieldPath::new("c")), &volumes, &mut errors);
            let found: Vec<String> = errors
                .iter()
                .filter(|error| error.detail.starts_with("must "))
                .map(|error| format!("{}: {}", error.path, error.detail))
                .collect();
            let mut expected = Vec::new();
            let (mounts, blocks) = (mounts.as_array().unwrap(), blocks.as_array().unwrap());
            let has = |list: &[Value], field: &str, text: &Value| {
                list.iter().any(|item| item[field] == *text)
            };
            for (n, mount) in mounts.iter().enumerate() {
                let (name, path) = (&mount["name"], &mount["mountPath"]);
                let mut say = |what: &str| expected.push(format!("c.volumeMounts[{n}].{what}"));
                if path != "" && has(&mounts[..n], "mountPath", path) {
                    say("mountPath: must be unique");
                }
                if name != "" && has(blocks, "name", name) {
                    say("name: must not already exist in volumeDevices");
                }
                if path != "" && has(blocks, "devicePath", path) {
                    say("mountPath: must not already exist as a path in volumeDevices");
                }
            }
            for (n, block) in blocks.iter().enumerate() {
                let (name, path) = (&block["name"], &block["devicePath"]);
                let mut say = |what: &str| expected.push(format!("c.volumeDevices[{n}].{what}"));
                if name != "" && has(&blocks[..n], "name", name) {
                    say("name: must be unique");
                }
                if has(&blocks[..n], "devicePath", path) {
                    say("devicePath: must be unique");
                }
                if name != "" && has(mounts, "name", name) {
                    say("name: must not already exist in volumeMounts");
                }
                if path != "" && has(mounts, "mountPath", path) {
                    say("devicePath: must not already exist as a path in volumeMounts");
                }
            }
            assert_eq!(found, expected, "{container}");
        }
    }
}
