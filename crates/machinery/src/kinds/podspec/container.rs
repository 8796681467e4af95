//! What is wrong with a container.

use std::collections::HashSet;

use onggi_api::FieldError;

use super::volume::Volumes;
use super::{PULL_POLICIES, env, mounts, probe, requirements, security};
use crate::validation::{At, Errors, duplicates, names};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// What the containers of a pod need to know of it.
pub(super) struct Pod<'a> {
    /// Its `spec`.
    pub(super) spec: At<'a>,
    /// Its volumes.
    pub(super) volumes: Volumes<'a>,
    /// Its claims of devices.
    pub(super) claims: requirements::Claims<'a>,
    /// `terminationGracePeriodSeconds`.
    pub(super) grace: i64,
    /// `hostUsers`, which is true where nothing is said.
    pub(super) host_users: bool,
}

/// What holds for init containers too.
pub(super) fn validate(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let name = container.child("name");
    if name.must_be_set(errors) {
        name.must(names::dns1123_label, errors);
    }
    image(&container.child("image"), errors);
    container.child("imagePullPolicy").required_one_of(PULL_POLICIES, errors);
    let policy = container.child("terminationMessagePolicy");
    policy.required_one_of(&["File", "FallbackToLogsOnError"], errors);
    ports(&container.child("ports"), errors);
    env::variables(&container.child("env"), &pod.volumes, errors);
    env::sources(&container.child("envFrom"), errors);
    mounts::validate(container, &pod.volumes, errors);
    requirements::container(&container.child("resources"), &pod.claims, errors);
    resize_policy(container, pod, errors);
    security::container(&container.child("securityContext"), pod.host_users, errors);
}

/// What only containers have that go on running.
pub(super) fn lifecycle_and_probes(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let hooks = container.child("lifecycle");
    for hook in hooks.present(&["postStart", "preStop"]) {
        probe::hook(&hook, pod.grace, errors);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        probe::probe(&container.child(name), name, errors);
    }
}

fn image(image: &At<'_>, errors: &mut Errors) {
    if image.must_be_set(errors) && image.text().trim() != image.text() {
        errors.push(image.invalid("must not have leading or trailing whitespace"));
    }
}

// === Ports ===

fn ports(ports: &At<'_>, errors: &mut Errors) {
    duplicates(ports.items(), "name", errors);
    for port in ports.items() {
        port.child("name").may(names::port_name, errors);
        let (number, host) = (port.child("containerPort"), port.child("hostPort"));
        if number.int().unwrap_or(0) == 0 {
            errors.push(number.required(""));
        } else {
            number.port_number(errors);
        }
        if host.int().unwrap_or(0) != 0 {
            host.port_number(errors);
        }
        port.child("protocol").required_one_of(PROTOCOLS, errors);
    }
}

/// Two containers cannot have one port of the host.
pub(super) fn host_port_conflicts(containers: &At<'_>, errors: &mut Errors) {
    let mut taken = HashSet::new();
    for port in containers.items().flat_map(|container| container.each("ports")) {
        let host = port.child("hostPort");
        let Some(number) = host.int().filter(|number| *number != 0) else { continue };
        let (protocol, ip) = (port.child("protocol").text(), port.child("hostIP").text());
        if !taken.insert((protocol, ip, number)) {
            errors.push(FieldError::duplicate(&host.path, format!("{protocol}/{ip}/{number}")));
        }
    }
}

/// On the host's network a container's port is the host's. In a template it may be left out: the
/// pod gets it.
pub(super) fn ports_of_host(spec: &At<'_>, is_pod: bool, errors: &mut Errors) {
    if !spec.child("hostNetwork").flag() {
        return;
    }
    for port in spec.each("containers").flat_map(|container| container.each("ports")) {
        let host = port.child("hostPort");
        let number = host.int().unwrap_or(0);
        if (is_pod || number != 0) && Some(number) != port.child("containerPort").int() {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(&host.path, number, detail));
        }
    }
}

// === Ends and changes ===

const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;

/// When a container is started again, where that is not the pod's to say.
pub(super) fn restart(container: &At<'_>, errors: &mut Errors) {
    let (policy, rules) = (container.child("restartPolicy"), container.child("restartPolicyRules"));
    policy.one_of(RESTART_POLICIES, errors);
    let count = rules.items().count();
    if count > 0 && !policy.is_set() {
        errors.push(policy.required("must specify restartPolicy when restart rules are used"));
    }
    if count > RULES_MAX {
        errors.push(FieldError::too_many(&rules.path, count, RULES_MAX));
    }
    let known = |field: &At<'_>, known: &[&str], errors: &mut Errors| {
        if !known.contains(&field.text()) {
            errors.push(FieldError::not_supported(&field.path, field.text(), known));
        }
    };
    for rule in rules.items() {
        known(&rule.child("action"), &["Restart", "RestartAllContainers"], errors);
        let codes = rule.child("exitCodes");
        if !codes.is_set() {
            errors.push(codes.required("must be specified"));
            continue;
        }
        known(&codes.child("operator"), &["In", "NotIn"], errors);
        let values = codes.child("values");
        let count = values.items().count();
        if count > CODES_MAX {
            errors.push(FieldError::too_many(&values.path, count, CODES_MAX));
        }
    }
}

/// Whether a container is started again when its resources change. Kubernetes names the list, not
/// the item.
fn resize_policy(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    const RESOURCES: &[&str] = &["cpu", "memory"];
    const POLICIES: &[&str] = &["NotRequired", "RestartContainer"];
    let list = container.child("resizePolicy");
    let never = pod.spec.child("restartPolicy").text() == "Never";
    let mut seen = HashSet::new();
    for item in list.items() {
        let (name, policy) =
            (item.child("resourceName").text(), item.child("restartPolicy").text());
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&item.path, name));
        }
        for (text, known) in [(name, RESOURCES), (policy, POLICIES)] {
            if text.is_empty() {
                errors.push(list.required(""));
            } else if !known.contains(&text) {
                errors.push(FieldError::not_supported(&list.path, text, known));
            }
        }
        if never && policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&list.path, policy, detail));
        }
    }
}

/// What ends before the others begin is not started again.
pub(super) fn no_restart_on_resize(container: &At<'_>, errors: &mut Errors) {
    for item in container.each("resizePolicy") {
        let policy = item.child("restartPolicy");
        if policy.text() == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.push(policy.invalid(detail));
        }
    }
}

/// A path that stays below where it begins.
pub(super) fn relative_path(path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if path.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    if goes_up(path) {
        wrong.push("must not contain '..'".to_owned());
    }
    wrong
}

/// Whether a path leaves where it is.
pub(super) fn goes_up(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
