//! What is wrong with a pod's specification
//! (`pkg/apis/core/validation/validation.go`, ValidatePodSpec).

use std::collections::HashSet;

use onggi_api::FieldError;

use super::container::{self, Pod};
use super::volume::{self, Volumes};
use super::{os, requirements, scheduling, security};
use crate::validation::{At, Errors, duplicates, is_ip, labels, names};

/// Values of `imagePullPolicy`.
pub const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// The rules for `spec` of a template, after defaulting.
pub fn validate(spec: &At<'_>, errors: &mut Errors) {
    validate_with_volumes(spec, &[], errors);
}

/// The rules for `spec` of a pod.
pub fn validate_pod(pod: &At<'_>, errors: &mut Errors) {
    let spec = pod.child("spec");
    let volumes =
        volume::volumes(&spec.child("volumes"), pod.child("metadata.name").text(), errors);
    whole(&spec, volumes, true, errors);
    scheduling::merged_keys(&spec, pod.child("metadata.labels").value, errors);
}

/// The same as of a template, where claims are volumes too.
pub(in crate::kinds) fn validate_with_volumes<'a>(
    spec: &At<'a>,
    claims: &[&'a str],
    errors: &mut Errors,
) {
    let mut volumes = volume::volumes(&spec.child("volumes"), "", errors);
    volumes.extend(claims.iter().map(|claim| (*claim, "persistentVolumeClaim")));
    whole(spec, volumes, false, errors);
}

fn whole<'a>(spec: &At<'a>, volumes: Volumes<'a>, is_pod: bool, errors: &mut Errors) {
    let pod = Pod {
        spec: spec.clone(),
        volumes,
        claims: requirements::Claims::of(spec.value),
        grace: spec.child("terminationGracePeriodSeconds").int().unwrap_or(0),
        host_users: spec.child("hostUsers").value != false,
    };
    requirements::claims(spec, errors);
    containers(spec, &pod, errors);
    init_containers(spec, &pod, errors);
    requirements::pod(spec, errors);
    container::ports_of_host(spec, is_pod, errors);
    spec.child("restartPolicy").required_one_of(RESTART_POLICIES, errors);
    spec.child("dnsPolicy").required_one_of(DNS_POLICIES, errors);
    labels::labels(&spec.child("nodeSelector"), errors);
    security::pod(spec, errors);
    scheduling::affinity(spec, errors);
    dns(spec, errors);
    for gate in spec.each("readinessGates") {
        gate.child("conditionType").must(names::qualified_name, errors);
    }
    scheduling::gates(spec, errors);
    scheduling::spread_constraints(&spec.child("topologySpreadConstraints"), errors);
    os::host(spec, errors);
    os::hostname(spec, errors);
    identity(spec, errors);
    requirements::overhead(spec, errors);
    os::validate(spec, errors);
}

fn containers(spec: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    let list = spec.child("containers");
    if list.items().next().is_none() {
        errors.push(list.required(""));
    }
    duplicates(list.items(), "name", errors);
    for item in list.items() {
        container::validate(&item, pod, errors);
        container::lifecycle_and_probes(&item, pod, errors);
        container::restart(&item, errors);
    }
    container::host_port_conflicts(&list, errors);
}

/// Their names are unique among all containers. Only sidecars, which go on running, have probes
/// and hooks.
fn init_containers(spec: &At<'_>, pod: &Pod<'_>, errors: &mut Errors) {
    const ONE_SHOT: &str = "may not be set for init containers without restartPolicy=Always";
    let list = spec.child("initContainers");
    if list.items().next().is_none() {
        return;
    }
    duplicates(list.items(), "name", errors);
    let others: HashSet<&str> = spec.each("containers").map(|c| c.child("name").text()).collect();
    for item in list.items() {
        container::validate(&item, pod, errors);
        container::restart(&item, errors);
        let name = item.child("name");
        if !name.text().is_empty() && others.contains(name.text()) {
            errors.push(name.duplicate());
        }
        if super::is_sidecar(item.value) {
            container::lifecycle_and_probes(&item, pod, errors);
        } else {
            let set =
                item.present(&["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"]);
            errors.extend(set.iter().map(|field| field.forbidden(ONE_SHOT)));
            container::no_restart_on_resize(&item, errors);
        }
    }
}

fn identity(spec: &At<'_>, errors: &mut Errors) {
    spec.child("serviceAccountName").may(names::dns1123_subdomain, errors);
    spec.child("nodeName").may(names::dns1123_subdomain, errors);
    spec.child("activeDeadlineSeconds").between(1, i64::from(i32::MAX), errors);
    spec.child("hostname").may(names::dns1123_label, errors);
    spec.child("subdomain").may(names::dns1123_label, errors);
    spec.each("tolerations").for_each(|item| scheduling::toleration(&item, errors));
    for alias in spec.each("hostAliases") {
        let ip = alias.child("ip");
        if !is_ip(ip.text()) {
            errors
                .push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
        for name in alias.each("hostnames") {
            name.must(names::dns1123_subdomain, errors);
        }
    }
    spec.child("priorityClassName").may(names::dns1123_subdomain, errors);
    spec.child("runtimeClassName").if_set(names::dns1123_subdomain, errors);
    let preemption = spec.child("preemptionPolicy");
    if preemption.is_set() {
        preemption.required_one_of(&["PreemptLowerPriority", "Never"], errors);
    }
}

fn dns(spec: &At<'_>, errors: &mut Errors) {
    let config = spec.child("dnsConfig");
    let servers = config.child("nameservers");
    if spec.child("dnsPolicy").text() == "None" {
        if !config.is_set() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            return errors.push(config.required(detail));
        }
        if servers.items().next().is_none() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.push(servers.required(detail));
        }
    }
    if servers.items().count() > 3 {
        errors.push(servers.invalid("must not have more than 3 nameservers"));
    }
    for server in servers.items().filter(|server| !is_ip(server.text())) {
        errors
            .push(server.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
    searches(&config.child("searches"), errors);
    for option in config.each("options") {
        if option.child("name").text().is_empty() {
            errors.push(option.required("must not be empty"));
        }
    }
}

/// What the C library can hold.
const SEARCHES_MAX: usize = 32;
const SEARCHES_TEXT_MAX: usize = 2048;

fn searches(list: &At<'_>, errors: &mut Errors) {
    let count = list.items().count();
    if count > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(list.invalid(detail));
    }
    let length: usize = list.items().map(|search| search.text().len() + 1).sum();
    if length > SEARCHES_TEXT_MAX + 1 {
        errors.push(list.invalid(format!(
            "must not have more than {SEARCHES_TEXT_MAX} characters (including spaces) in the \
             search list"
        )));
    }
    for search in list.items().filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        let wrong = names::subdomain_with_underscores(name).into_iter();
        errors.extend(wrong.map(|detail| FieldError::invalid(&search.path, name, detail)));
    }
}
