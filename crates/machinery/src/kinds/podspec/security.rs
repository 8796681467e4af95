//! What is wrong with security contexts.

use std::collections::HashSet;

use super::container::relative_path;
use crate::validation::{At, Errors};

const ID_MAX: i64 = i32::MAX as i64;
/// The length of a name.
const SYSCTL_MAX: usize = 253;
/// As errors have it.
const SYSCTL: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// The longest path of a file.
const PROFILE_MAX: usize = 4095;
const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// Of the pod.
pub(super) fn pod(spec: &At<'_>, errors: &mut Errors) {
    let context = &spec.child("securityContext");
    ids(context, errors);
    context.child("fsGroup").between(0, ID_MAX, errors);
    for group in context.each("supplementalGroups") {
        group.between(0, ID_MAX, errors);
    }
    let policy = context.child("fsGroupChangePolicy");
    policy.one_of(&["Always", "OnRootMismatch"], errors);
    context.child("supplementalGroupsPolicy").one_of(&["Merge", "Strict"], errors);
    context.child("seLinuxChangePolicy").one_of(&["MountOption", "Recursive"], errors);
    sysctls(spec, context, errors);
}

fn sysctls(spec: &At<'_>, context: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for sysctl in context.each("sysctls") {
        let name = sysctl.child("name");
        let text = name.text();
        if text.is_empty() {
            errors.push(name.required(""));
        } else if !is_sysctl(text) {
            errors.push(name.invalid(format!(
                "must have at most {SYSCTL_MAX} characters and match regex {SYSCTL}"
            )));
        } else if seen.contains(text) {
            errors.push(name.duplicate());
        }
        // What belongs to the node is not changed for a pod.
        let namespaces: &[(&str, &[&str])] = &[
            ("hostNetwork", &["net."]),
            ("hostIPC", &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."]),
        ];
        let dotted = text.replace('/', ".");
        for (host, prefixes) in namespaces {
            if spec.child(host).flag() && prefixes.iter().any(|prefix| dotted.starts_with(prefix)) {
                errors.push(name.invalid(format!("may not be specified when '{host}' is true")));
            }
        }
        seen.insert(text);
    }
}

/// Segments that begin and end with a letter or digit, divided by dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(segment)
}

/// Of a container.
pub(super) fn container(context: &At<'_>, host_users: bool, errors: &mut Errors) {
    if !context.is_set() {
        return;
    }
    ids(context, errors);
    let mount = context.child("procMount");
    mount.one_of(&["Default", "Unmasked"], errors);
    if host_users && mount.text() == "Unmasked" {
        errors.push(mount.invalid("`hostUsers` must be false to use `Unmasked`"));
    }
    let escalation = context.child("allowPrivilegeEscalation");
    if !escalation.is_set() || escalation.flag() {
        return;
    }
    if context.child("privileged").flag() {
        errors
            .push(context.invalid(
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ));
    }
    // Without the prefix it goes through in Kubernetes, and charts rely on that.
    if context.each("capabilities.add").any(|cap| cap.text() == "CAP_SYS_ADMIN") {
        errors.push(context.invalid(
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ));
    }
}

/// What both may say.
fn ids(context: &At<'_>, errors: &mut Errors) {
    context.child("runAsUser").between(0, ID_MAX, errors);
    context.child("runAsGroup").between(0, ID_MAX, errors);
    profile(&context.child("seccompProfile"), "seccomp", errors);
    profile(&context.child("appArmorProfile"), "AppArmor", errors);
}

fn profile(profile: &At<'_>, what: &str, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (kind, file) = (profile.child("type"), profile.child("localhostProfile"));
    if kind.text().is_empty() {
        let field = if what == "seccomp" { "seccompProfile" } else { "appArmorProfile" };
        errors.push(kind.required(format!("type is required when {field} is set")));
    } else {
        kind.one_of(PROFILES, errors);
    }
    let missing = || file.required(format!("must be set when {what} type is Localhost"));
    match (kind.text(), file.is_set()) {
        ("Localhost", false) => errors.push(missing()),
        ("Localhost", true) if what == "seccomp" => file.must(relative_path, errors),
        ("Localhost", true) => {
            if file.text().trim() != file.text() {
                errors.push(file.invalid("must not be padded with whitespace"));
            } else if file.text().is_empty() {
                errors.push(missing());
            }
            file.at_most(PROFILE_MAX, errors);
        }
        (_, false) => {}
        (_, true) => {
            errors.push(file.invalid(format!("can only be set when {what} type is Localhost")))
        }
    }
}
