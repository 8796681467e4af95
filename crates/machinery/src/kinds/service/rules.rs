//! What is wrong with a Service, and with a change of one.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{has_cluster_ip, has_node_ports, reachable_from_outside};
use crate::table::text_or;
use crate::validation::{At, Errors, duplicates, is_ip, labels, names};
use crate::value::{at, i64_at, is_set, items_mut, list_at, remove, set, set_default, str_at};

/// The ports of a node that Services may have: the flag `--service-node-port-range`'s default.
pub const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const SESSION_MAX: i64 = 24 * 60 * 60;

pub(super) fn validate(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(service).child("spec");
    spec.child("type").required_one_of(TYPES, &mut errors);
    by_type(&spec, &mut errors);
    ports(&spec, &mut errors);
    labels::labels(&spec.child("selector"), &mut errors);
    session(&spec, &mut errors);
    addresses(&spec, &mut errors);
    policies(&spec, service, &mut errors);
    errors
}

fn by_type(spec: &At<'_>, errors: &mut Errors) {
    let headless = is_headless(spec);
    let ports = spec.child("ports");
    let kind = spec.child("type").text();
    match kind {
        "ExternalName" => {
            let clash = spec.present(&["clusterIP", "clusterIPs"]);
            let clash = clash.iter().filter(|field| field.value != "");
            errors.extend(clash.map(|f| f.forbidden("may not be set for ExternalName services")));
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
            let value = json!({"protocol": protocol, "port": number});
            errors.push(FieldError::duplicate(&port.path, value));
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
    const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    let external = spec.each("externalIPs");
    let cluster = spec.each("clusterIPs").filter(|ip| ip.text() != "None");
    for ip in external.chain(cluster).filter(|ip| !is_ip(ip.text())) {
        errors.push(ip.invalid(BAD_IP));
    }
    let (first, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
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
    for range in spec.each("loadBalancerSourceRanges") {
        let (ip, bits) = range.text().trim().split_once('/').unwrap_or_default();
        if !is_ip(ip) || bits.parse::<u8>().is_err() {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(range.invalid(detail));
        }
    }
}

fn policies(spec: &At<'_>, service: &Value, errors: &mut Errors) {
    spec.child("internalTrafficPolicy").one_of(POLICIES, errors);
    let external = spec.child("externalTrafficPolicy");
    if reachable_from_outside(service) {
        external.required_one_of(POLICIES, errors);
    } else if external.is_set() {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let distribution = spec.child("trafficDistribution");
    distribution.one_of(&["PreferClose", "PreferSameNode", "PreferSameZone"], errors);
    let families = spec.child("ipFamilyPolicy");
    families.one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    for family in spec.each("ipFamilies") {
        family.one_of(&["IPv4", "IPv6"], errors);
    }
}

// === Changes ===

/// The first address stays as long as the Service has one.
pub(super) fn validate_update(service: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if !has_cluster_ip(service) || !has_cluster_ip(old) {
        return errors;
    }
    let new = At::root(service).child("spec.clusterIPs");
    let before = str_at(old, "spec.clusterIP");
    let first = match new.items().next() {
        Some(address) => address.text(),
        None => str_at(service, "spec.clusterIP"),
    };
    if !before.is_empty() && first != before {
        let path = new.path.index(0);
        errors.push(FieldError::invalid(&path, new.value.clone(), "may not change once set"));
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
    if has_node_ports(service) && has_node_ports(old) {
        keep_node_ports(service, list_at(old, "spec.ports"));
    }
}

/// A port that was there before (the same number and protocol) keeps its port of the node, unless
/// another one asks for it now.
fn keep_node_ports(service: &mut Value, old: &[Value]) {
    let key =
        |port: &Value| (text_or(str_at(port, "protocol"), "TCP").to_owned(), i64_at(port, "port"));
    let asked: HashSet<i64> =
        list_at(service, "spec.ports").iter().filter_map(|p| i64_at(p, "nodePort")).collect();
    for port in items_mut(service, "spec.ports") {
        let given =
            old.iter().find(|old| key(old) == key(port)).and_then(|p| i64_at(p, "nodePort"));
        match given {
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
    let outside = lost(reachable_from_outside);
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
    }
    if node_ports {
        let before: Vec<i64> =
            list_at(old, "spec.ports").iter().filter_map(|p| i64_at(p, "nodePort")).collect();
        for port in items_mut(service, "spec.ports") {
            if i64_at(port, "nodePort").is_some_and(|number| before.contains(&number)) {
                remove(port, "nodePort");
            }
        }
    }
}
