//! What is wrong with security contexts.

use onggi_api::FieldError;

use crate::validation::{At, Errors};

const ID_MAX: i64 = i32::MAX as i64;
const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// Of the pod.
pub(super) fn pod(context: &At<'_>, errors: &mut Errors) {
    ids(context, errors);
    context.child("fsGroup").between(0, ID_MAX, errors);
    for group in context.each("supplementalGroups") {
        group.between(0, ID_MAX, errors);
    }
    let policy = context.child("fsGroupChangePolicy");
    policy.one_of(&["Always", "OnRootMismatch"], errors);
    context.child("supplementalGroupsPolicy").one_of(&["Merge", "Strict"], errors);
}

/// Of a container.
pub(super) fn container(context: &At<'_>, errors: &mut Errors) {
    ids(context, errors);
    context.child("procMount").one_of(&["Default", "Unmasked"], errors);
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
    // With or without the prefix: Docker took both.
    let admin = |cap: At<'_>| matches!(cap.text(), "SYS_ADMIN" | "CAP_SYS_ADMIN");
    if context.each("capabilities.add").any(admin) {
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
        errors.push(kind.required("type is required when profile is set"));
    } else {
        kind.one_of(PROFILES, errors);
    }
    match (kind.text(), file.is_set()) {
        ("Localhost", false) => errors.push(FieldError::required(
            &file.path,
            format!("must be set when {what} type is Localhost"),
        )),
        ("Localhost", true) | (_, false) => {}
        (_, true) => {
            errors.push(file.invalid(format!("can only be set when {what} type is Localhost")))
        }
    }
}
