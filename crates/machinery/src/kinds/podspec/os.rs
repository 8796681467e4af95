//! What is wrong with what a pod asks of its operating system: its name, and the parts of the host
//! that it sees.

use onggi_api::FieldError;

use crate::validation::{At, Errors, names};

const NAMES: &[&str] = &["linux", "windows"];
/// What Windows knows nothing of; of a pod.
const NOT_WINDOWS: &[&str] = &[
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
];
/// Of a container.
const NOT_WINDOWS_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// Containers of every sort.
fn containers<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> + use<'a> {
    let of = |list| spec.each(list);
    of("initContainers").chain(of("containers")).chain(of("ephemeralContainers"))
}

pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    let os = spec.child("os");
    if !os.is_set() {
        return;
    }
    match os.child("name").text() {
        "" => errors.push(os.child("name").required("")),
        "linux" => linux(spec, errors),
        "windows" => windows(spec, errors),
        other => errors.push(FieldError::not_supported(&os.path, other, NAMES)),
    }
}

fn linux(spec: &At<'_>, errors: &mut Errors) {
    let all = std::iter::once(spec.clone()).chain(containers(spec));
    for options in all.map(|part| part.child("securityContext.windowsOptions")) {
        if options.is_set() {
            errors.push(options.forbidden("windows options cannot be set for a linux pod"));
        }
    }
}

fn windows(spec: &At<'_>, errors: &mut Errors) {
    const DETAIL: &str = "cannot be set for a windows pod";
    for field in NOT_WINDOWS.iter().map(|path| spec.child(path)) {
        // `hostUsers: false` says something, `hostPID: false` does not; the schema knows which.
        if field.is_set() {
            errors.push(field.forbidden(DETAIL));
        }
    }
    for context in containers(spec).map(|container| container.child("securityContext")) {
        let fields = NOT_WINDOWS_CONTAINER.iter().map(|path| context.child(path));
        errors.extend(fields.filter(At::is_set).map(|field| field.forbidden(DETAIL)));
    }
}

/// The namespaces of the host: a pod with users of its own sees none of the others.
pub(super) fn host(spec: &At<'_>, errors: &mut Errors) {
    const DETAIL: &str = "when `hostUsers` is false";
    if spec.child("shareProcessNamespace").flag() && spec.child("hostPID").flag() {
        let path = spec.path.child("securityContext").child("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path, true, detail));
    }
    if spec.child("hostUsers").value != false {
        return;
    }
    for (field, shown) in
        [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
    {
        if spec.child(field).flag() {
            errors.push(FieldError::forbidden(&spec.path.child(shown), DETAIL));
        }
    }
    for devices in containers(spec).map(|container| container.child("volumeDevices")) {
        if devices.items().next().is_some() {
            errors.push(devices.forbidden(DETAIL));
        }
    }
}

/// `hostnameOverride`.
pub(super) fn hostname(spec: &At<'_>, errors: &mut Errors) {
    const MAX: usize = 64;
    let name = spec.child("hostnameOverride");
    if !name.is_set() {
        return;
    }
    for field in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.child(field).flag() {
            let detail = format!("may not be specified when {field} is true");
            errors.push(name.forbidden(detail));
        }
    }
    name.at_most(MAX, errors);
    name.must(names::dns1123_subdomain, errors);
}
