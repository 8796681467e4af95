//! What is wrong with a container.

use std::collections::HashSet;

use onggi_api::{FieldError, Quantity};
use serde_json::Value;

use super::{PULL_POLICIES, env, probe, security};
use crate::validation::{At, Errors, duplicates, names};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
/// Resources that a container may ask for without a domain in front.
const PLAIN_RESOURCES: &[&str] = &["cpu", "ephemeral-storage", "memory"];

/// What the containers of a pod need to know of it.
pub(super) struct Pod<'a> {
    /// Names of its volumes.
    pub(super) volumes: HashSet<&'a str>,
    /// `terminationGracePeriodSeconds`.
    pub(super) grace: i64,
    /// `hostNetwork`.
    pub(super) host_network: bool,
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
    policy.required_one_of(&["FallbackToLogsOnError", "File"], errors);
    ports(&container.child("ports"), pod, errors);
    env::variables(&container.child("env"), errors);
    env::sources(&container.child("envFrom"), errors);
    mounts(container, pod, errors);
    resources(&container.child("resources"), errors);
    security::container(&container.child("securityContext"), errors);
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

fn ports(ports: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
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
            if pod.host_network && host.int() != number.int() {
                let detail = "must match `hostPort` when `hostNetwork` is true";
                errors.push(number.invalid(detail));
            }
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
        let key = format!("{protocol}/{ip}/{number}");
        if !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(&host.path, key));
        }
    }
}

// === Mounts ===

fn mounts(container: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let privileged = container.child("securityContext.privileged").flag();
    let mut paths = HashSet::new();
    for mount in container.each("volumeMounts") {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        if name.must_be_set(errors) && !pod.volumes.contains(name.text()) {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        if path.must_be_set(errors) && !paths.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
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
    }
}

/// A path that stays below where it begins.
pub(super) fn relative_path(path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if path.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        wrong.push("must not contain '..'".to_owned());
    }
    wrong
}

// === Resources ===

/// `resources` of a container: names, amounts, and no request above its limit.
pub(super) fn resources(resources: &At<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    for map in [&limits, &requests] {
        for (name, amount) in map.entries() {
            resource_amount(name, &amount, errors);
        }
    }
    for (name, amount) in requests.entries() {
        let Some(limit) = limits.value.get(name).and_then(Value::as_str) else { continue };
        let (Ok(asked), Ok(most)) = (amount.text().parse::<Quantity>(), limit.parse::<Quantity>())
        else {
            continue;
        };
        let detail = if !overcommits(name) && asked != most {
            format!("must be equal to {name} limit of {limit}")
        } else if asked > most {
            format!("must be less than or equal to {name} limit of {limit}")
        } else {
            continue;
        };
        errors.push(FieldError::invalid(&requests.path, amount.text(), detail));
    }
}

fn resource_amount(name: &str, amount: &At<'_>, errors: &mut Errors) {
    for detail in names::qualified_name(name) {
        errors.push(FieldError::invalid(&amount.path, name, detail));
    }
    let plain = !name.contains('/') && !name.starts_with("hugepages-");
    if plain && !PLAIN_RESOURCES.contains(&name) {
        for detail in [
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        ] {
            errors.push(FieldError::invalid(&amount.path, name, detail));
        }
    }
    let Ok(quantity) = amount.text().parse::<Quantity>() else { return };
    if quantity.is_negative() {
        errors.push(amount.invalid("must be greater than or equal to 0"));
    }
    if !plain && !quantity.is_whole() {
        errors.push(amount.invalid("must be an integer"));
    }
}

/// Whether more may be promised than there is: not for devices and huge pages.
fn overcommits(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.contains("kubernetes.io/"))
}
