//! What is wrong with a Service, and with a change of one.

use std::collections::{HashMap, HashSet};

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{has_cluster_ip, has_node_ports, needs_health_check, reachable_from_outside};
use crate::table::text_or;
use crate::validation::addresses::{BAD_CIDR, BAD_IP, Range, reachable};
use crate::validation::{At, Errors, IMMUTABLE, duplicates, is_ip, labels, names};
use crate::value::{at, i64_at, is_set, items_mut, list_at, remove, set, set_default, str_at};

/// The ports of a node that Services may have: the flag `--service-node-port-range`'s default.
pub const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const SESSION_MAX: i64 = 24 * 60 * 60;

pub(super) fn validate(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(service).child("spec");
    by_type(&spec, &mut errors);
    ports(&spec, &mut errors);
    labels::labels(&spec.child("selector"), &mut errors);
    session(&spec, &mut errors);
    spec.child("type").required_one_of(TYPES, &mut errors);
    addresses(&spec, &mut errors);
    families(&spec, &mut errors);
    balancer(&spec, service, &mut errors);
    policies(&spec, service, &mut errors);
    errors
}

fn by_type(spec: &At<'_>, errors: &mut Errors) {
    let headless = is_headless(spec);
    let ports = spec.child("ports");
    let kind = spec.child("type").text();
    match kind {
        "ExternalName" => {
            let clash = spec.present(&["clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
            let detail = "may not be set for ExternalName services";
            errors.extend(clash.iter().map(|field| field.forbidden(detail)));
            let name = spec.child("externalName");
            if name.must_be_set(errors) {
                let wrong = names::dns1123_subdomain(name.text().trim_end_matches('.'));
                errors.extend(wrong.into_iter().map(|detail| name.invalid(detail)));
            }
        }
        "LoadBalancer" | "NodePort" if headless => {
            let first = spec.path.child("clusterIPs").index(0);
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&first, "None", detail));
        }
        _ => {}
    }
    if kind != "ExternalName" && !headless && ports.items().next().is_none() {
        errors.push(ports.required(""));
    }
}

fn is_headless(spec: &At<'_>) -> bool {
    spec.child("clusterIP").text() == "None"
}

// === Ports ===

fn ports(spec: &At<'_>, errors: &mut Errors) {
    let list = spec.child("ports");
    let several = list.items().count() > 1;
    duplicates(list.items(), "name", errors);
    let mut seen = HashSet::new();
    let mut on_nodes = HashSet::new();
    for port in list.items() {
        one_port(&port, several, spec, errors);
        let protocol = port.child("protocol").text();
        let number = port.child("port").int();
        if !seen.insert((protocol, number)) {
            let mut found = FieldError::duplicate(&port.path, json!({}));
            let number = number.unwrap_or(0);
            found.shown = Some(format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\
                 \"TargetPort\":0,\"NodePort\":0}}"
            ));
            errors.push(found);
        }
        let node_port = port.child("nodePort");
        let given = node_port.int().filter(|number| *number != 0);
        if given.is_some() && !on_nodes.insert((protocol, given)) {
            errors.push(node_port.duplicate());
        }
    }
}

fn one_port(port: &At<'_>, several: bool, spec: &At<'_>, errors: &mut Errors) {
    let name = port.child("name");
    if !several || name.must_be_set(errors) {
        name.may(names::dns1123_label, errors);
    }
    port.child("port").port_number(errors);
    port.child("protocol").required_one_of(&["SCTP", "TCP", "UDP"], errors);
    port.child("targetPort").port_or_name(errors);
    port.child("appProtocol").if_set(names::qualified_name, errors);
    let node_port = port.child("nodePort");
    match node_port.int().unwrap_or(0) {
        0 => {}
        _ if spec.child("type").text() == "ClusterIP" => {
            errors.push(node_port.forbidden("may not be used when `type` is 'ClusterIP'"));
        }
        number if !NODE_PORTS.contains(&number) => errors.push(node_port.invalid(format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            NODE_PORTS.start(),
            NODE_PORTS.end()
        ))),
        _ => {}
    }
}

// === Addresses and policies ===

fn session(spec: &At<'_>, errors: &mut Errors) {
    let affinity = spec.child("sessionAffinity");
    affinity.required_one_of(&["ClientIP", "None"], errors);
    let seconds = spec.child("sessionAffinityConfig.clientIP.timeoutSeconds");
    if seconds.int().is_some_and(|seconds| !(1..=SESSION_MAX).contains(&seconds)) {
        let detail = format!("must be greater than 0 and less than {SESSION_MAX}");
        errors.push(seconds.invalid(detail));
    }
}

fn addresses(spec: &At<'_>, errors: &mut Errors) {
    for ip in spec.each("externalIPs") {
        if !reachable(&ip, errors) {
            errors.push(ip.invalid(BAD_IP));
        }
    }
    if spec.child("type").text() == "ExternalName" {
        return;
    }
    let (first, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
    let count = all.items().count();
    let listed = all.items().next();
    match (first.text(), &listed) {
        ("", Some(_)) => {
            errors.push(all.invalid("must be empty when `clusterIP` is not specified"));
        }
        (address, Some(item)) if address != item.text() => {
            errors.push(all.invalid("first value must match `clusterIP`"));
        }
        ("" | "None", _) | (_, Some(_)) => {}
        (address, None) if !is_ip(address) => errors.push(first.invalid(BAD_IP)),
        _ => {}
    }
    let none = listed.is_some_and(|item| item.text() == "None");
    if none && count > 1 {
        errors.push(all.invalid("'None' must be the first and only value"));
    }
    for ip in all.items().skip(usize::from(none)).filter(|ip| !is_ip(ip.text())) {
        errors.push(ip.invalid(BAD_IP));
    }
    if count > 2 {
        errors.push(all.invalid("may only hold up to 2 values"));
    }
    let is_v6 = |ip: &At<'_>| ip.text().contains(':');
    let sixes = all.items().filter(is_v6).count();
    if count > 1 && !none && (sixes == 0 || sixes == count || count > 2) {
        errors.push(all.invalid("may specify no more than one IP for each IP family"));
    }
    if none {
        return;
    }
    for (index, (ip, family)) in all.items().zip(spec.each("ipFamilies")).enumerate() {
        let right = if is_v6(&ip) { "IPv6" } else { "IPv4" };
        if is_ip(ip.text()) && FAMILIES.contains(&family.text()) && family.text() != right {
            let wanted = family.text();
            let detail =
                format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.push(ip.invalid(detail));
        }
    }
}

const FAMILIES: &[&str] = &["IPv4", "IPv6"];

fn families(spec: &At<'_>, errors: &mut Errors) {
    if spec.child("type").text() == "ExternalName" {
        return;
    }
    let policy = spec.child("ipFamilyPolicy");
    policy.one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    let mut seen = HashSet::new();
    for family in spec.each("ipFamilies") {
        family.one_of(FAMILIES, errors);
        if !seen.insert(family.text()) {
            errors.push(family.duplicate());
        }
    }
}

/// The older way to say `loadBalancerSourceRanges`.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// What only a load balancer has.
fn balancer(spec: &At<'_>, service: &Value, errors: &mut Errors) {
    const ALONE: &str = "may only be used when `type` is 'LoadBalancer'";
    let is_balancer = spec.child("type").text() == "LoadBalancer";
    let ranges = spec.child("loadBalancerSourceRanges");
    let mut old = None;
    if ranges.items().next().is_none() {
        old = at(service, "metadata.annotations").get(SOURCE_RANGES).and_then(Value::as_str);
    }
    if let Some(old) = old {
        let path = At::root(service).path.child("metadata").child("annotations").key(SOURCE_RANGES);
        if !is_balancer {
            errors.push(FieldError::forbidden(&path, ALONE));
        }
        for range in old.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            if Range::parse(range).is_none() {
                errors.push(FieldError::invalid(&path, range, BAD_CIDR));
            }
        }
    }
    if ranges.items().next().is_some() {
        // So Kubernetes writes it.
        let path = spec.path.child("LoadBalancerSourceRanges");
        if !is_balancer {
            errors.push(FieldError::forbidden(&path, ALONE));
        }
        for (index, range) in ranges.items().enumerate() {
            let text = range.text().trim();
            if Range::parse(text).is_none() {
                errors.push(FieldError::invalid(&path.index(index), text, BAD_CIDR));
            }
        }
    }
    let (ports, class) =
        (spec.child("allocateLoadBalancerNodePorts"), spec.child("loadBalancerClass"));
    for field in [&ports, &class] {
        if field.is_set() && !is_balancer {
            errors.push(field.forbidden(ALONE));
        }
    }
    if is_balancer && class.is_set() {
        class.must(names::qualified_name, errors);
    }
}

fn policies(spec: &At<'_>, service: &Value, errors: &mut Errors) {
    let internal = spec.child("internalTrafficPolicy");
    if internal.is_set() && !POLICIES.contains(&internal.text()) {
        errors.push(FieldError::not_supported(&internal.path, internal.text(), POLICIES));
    }
    let external = spec.child("externalTrafficPolicy");
    if reachable_from_outside(service) {
        external.required_one_of(POLICIES, errors);
    } else if external.is_set() {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let health = spec.child("healthCheckNodePort");
    match health.int().unwrap_or(0) {
        0 => {}
        _ if needs_health_check(service) => health.port_number(errors),
        _ => errors.push(health.invalid(
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )),
    }
    let distribution = spec.child("trafficDistribution");
    distribution.one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"], errors);
}

// === Changes ===

/// The first address stays as long as the Service has one; so do the class of its load balancer and
/// the port that this asks.
pub(super) fn validate_update(service: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(service).child("spec");
    if has_cluster_ip(service) && has_cluster_ip(old) {
        let new = spec.child("clusterIPs");
        let before = str_at(old, "spec.clusterIP");
        let first = match new.items().next() {
            Some(address) => address.text(),
            None => str_at(service, "spec.clusterIP"),
        };
        if !before.is_empty() && first != before {
            let path = new.path.index(0);
            errors.push(FieldError::invalid(&path, new.value.clone(), "may not change once set"));
        }
    }
    let class = spec.child("loadBalancerClass");
    let is_balancer = |service| str_at(service, "spec.type") == "LoadBalancer";
    let same_class = class.value == at(old, "spec.loadBalancerClass");
    if is_balancer(service) && is_balancer(old) && !same_class {
        errors.push(class.invalid("may not change once set"));
    }
    let health = spec.child("healthCheckNodePort");
    if needs_health_check(service)
        && needs_health_check(old)
        // What an earlier version did not give is given now.
        && is_set(old, "spec.healthCheckNodePort")
        && health.value != at(old, "spec.healthCheckNodePort")
    {
        errors.push(health.forbidden(IMMUTABLE));
    }
    errors
}

/// What the server gave out and an updater left out is kept; what the old type had and the new one
/// cannot have is dropped, unless the updater changed it and should be told.
pub(super) fn prepare_update(service: &mut Value, old: &Value) {
    let same = |field| at(service, field) == at(old, field);
    if same("spec.clusterIPs") && !same("spec.clusterIP") {
        // An older client changed the address and knows nothing of the list.
        remove(service, "spec.clusterIPs");
    }
    list_cluster_ip(service);
    keep_given(service, old);
    drop_unfit(service, old);
}

/// The first of the addresses is the address.
pub(super) fn list_cluster_ip(service: &mut Value) {
    let address = str_at(service, "spec.clusterIP").to_owned();
    if !address.is_empty() {
        set_default(service, "spec.clusterIPs", vec![address]);
    }
}

fn keep_given(service: &mut Value, old: &Value) {
    if has_cluster_ip(service) && has_cluster_ip(old) {
        let asked = is_set(service, "spec.clusterIP") || is_set(service, "spec.clusterIPs");
        let addresses: &[&str] = if asked { &[] } else { &["spec.clusterIP", "spec.clusterIPs"] };
        for field in addresses.iter().chain(&["spec.ipFamilies", "spec.ipFamilyPolicy"]) {
            if is_set(old, field) {
                set_default(service, field, at(old, field).clone());
            }
        }
    }
    const HEALTH: &str = "spec.healthCheckNodePort";
    if needs_health_check(service) && needs_health_check(old) && is_set(old, HEALTH) {
        set_default(service, HEALTH, at(old, HEALTH).clone());
    }
    if has_node_ports(service) && has_node_ports(old) {
        keep_node_ports(service, list_at(old, "spec.ports"));
    }
}

/// A port that was there before (the same number and protocol) keeps its port of the node, unless
/// another one asks for it now.
fn keep_node_ports(service: &mut Value, old: &[Value]) {
    fn key(port: &Value) -> (&str, Option<i64>) {
        (text_or(str_at(port, "protocol"), "TCP"), i64_at(port, "port"))
    }
    let mut before: HashMap<(&str, Option<i64>), Option<i64>> = HashMap::new();
    for port in old {
        before.entry(key(port)).or_insert_with(|| i64_at(port, "nodePort"));
    }
    let asked: HashSet<i64> =
        list_at(service, "spec.ports").iter().filter_map(|p| i64_at(p, "nodePort")).collect();
    for port in items_mut(service, "spec.ports") {
        match before.get(&key(port)).copied().flatten() {
            Some(number)
                if i64_at(port, "nodePort").unwrap_or(0) == 0 && !asked.contains(&number) =>
            {
                set(port, "nodePort", number);
            }
            _ => {}
        }
    }
}

fn drop_unfit(service: &mut Value, old: &Value) {
    let lost = |has: fn(&Value) -> bool| has(old) && !has(service);
    let (address, node_ports) = (lost(has_cluster_ip), lost(has_node_ports));
    let (outside, health) = (lost(reachable_from_outside), lost(needs_health_check));
    let drop_same = |service: &mut Value, field: &str| {
        if at(service, field) == at(old, field) {
            remove(service, field);
        }
    };
    if address {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            drop_same(service, &format!("spec.{field}"));
        }
        drop_same(service, "spec.internalTrafficPolicy");
    }
    if outside {
        drop_same(service, "spec.externalTrafficPolicy");
    }
    if str_at(old, "spec.type") == "LoadBalancer" && str_at(service, "spec.type") != "LoadBalancer"
    {
        drop_same(service, "spec.allocateLoadBalancerNodePorts");
        drop_same(service, "spec.loadBalancerClass");
    }
    if health {
        drop_same(service, "spec.healthCheckNodePort");
    }
    if node_ports {
        let before: HashSet<i64> =
            list_at(old, "spec.ports").iter().filter_map(|p| i64_at(p, "nodePort")).collect();
        for port in items_mut(service, "spec.ports") {
            if i64_at(port, "nodePort").is_some_and(|number| before.contains(&number)) {
                remove(port, "nodePort");
            }
        }
    }
}
