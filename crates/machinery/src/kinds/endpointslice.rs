//! `discovery.k8s.io/v1 EndpointSlice`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use onggi_api::FieldError;
use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::addresses::reachable;
use crate::validation::{At, Errors, labels, names};
use crate::value::{at, i64_at, items_mut, list_at, remove, set_default, str_at};

/// Names the Service that a slice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    has_generation: true,
    columns: &[
        Column::NAME,
        Column::text("AddressType"),
        Column::text("Ports"),
        Column::text("Endpoints"),
        Column::AGE,
    ],
    row,
    default,
    prepare_create,
    validate_create,
    validate_update,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<Cow<'_, str>> = list_at(object, "ports").iter().map(port_text).collect();
    let addresses: Vec<Cow<'_, str>> = list_at(object, "endpoints")
        .iter()
        .flat_map(|endpoint| list_at(endpoint, "addresses"))
        .map(|address| address.as_str().unwrap_or("").into())
        .collect();
    vec![
        table::name(object),
        str_at(object, "addressType").into(),
        table::first_three(&ports, "<unset>").into(),
        table::first_three(&addresses, "<unset>").into(),
        table::age(object, now),
    ]
}

fn port_text(port: &Value) -> Cow<'_, str> {
    match (i64_at(port, "port"), port.get("name").and_then(Value::as_str)) {
        (Some(number), _) => number.to_string().into(),
        (None, Some(name)) => name.into(),
        (None, None) => "*".into(),
    }
}

fn default(object: &mut Value) {
    for port in items_mut(object, "ports") {
        set_default(port, "name", "");
        set_default(port, "protocol", "TCP");
    }
}

/// What older versions had.
fn prepare_create(object: &mut Value) {
    for endpoint in items_mut(object, "endpoints") {
        remove(endpoint, "deprecatedTopology");
    }
}

// === Rules ===

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

fn validate_create(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(object);
    root.child("addressType").required_one_of(&["FQDN", "IPv4", "IPv6"], &mut errors);
    errors.extend(endpoints(&root));
    ports(&root, &mut errors);
    errors
}

fn endpoints(root: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let kind = root.child("addressType");
    let endpoints = root.child("endpoints");
    let count = endpoints.items().count();
    if count > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&endpoints.path, count, ENDPOINTS_MAX));
    }
    for endpoint in endpoints.items() {
        addresses(&endpoint.child("addresses"), kind.text(), &mut errors);
        endpoint.child("hostname").if_set(names::dns1123_label, &mut errors);
        endpoint.child("nodeName").if_set(names::dns1123_subdomain, &mut errors);
        topology(&endpoint.child("deprecatedTopology"), &mut errors);
        for hints in ["hints.forZones", "hints.forNodes"] {
            hint(&endpoint.child(hints), &mut errors);
        }
    }
    errors
}

fn ports(root: &At<'_>, errors: &mut Errors) {
    let ports = root.child("ports");
    let count = ports.items().count();
    if count > PORTS_MAX {
        errors.push(FieldError::too_many(&ports.path, count, PORTS_MAX));
    }
    let mut seen = HashSet::new();
    for port in ports.items() {
        let name = port.child("name");
        name.may(names::dns1123_label, errors);
        // The empty name is one too.
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        let protocol = port.child("protocol");
        if !["SCTP", "TCP", "UDP"].contains(&protocol.text()) {
            let known = &["SCTP", "TCP", "UDP"];
            errors.push(FieldError::not_supported(&protocol.path, protocol.text(), known));
        }
        port.child("appProtocol").if_set(names::qualified_name, errors);
    }
}

fn addresses(addresses: &At<'_>, kind: &str, errors: &mut Errors) {
    let count = addresses.items().count();
    if count == 0 {
        errors.push(addresses.required("must contain at least 1 address"));
    }
    if count > ADDRESSES_MAX {
        errors.push(FieldError::too_many(&addresses.path, count, ADDRESSES_MAX));
    }
    for address in addresses.items() {
        let text = address.text();
        match kind {
            "IPv4" if text.parse::<Ipv4Addr>().is_err() => {
                errors.push(address.invalid("must be a valid IPv4 address"));
            }
            "IPv6" if text.parse::<Ipv6Addr>().is_err() => {
                errors.push(address.invalid("must be a valid IPv6 address"));
            }
            "IPv4" | "IPv6" => {
                reachable(&address, errors);
            }
            "FQDN" => address.must(names::dns1123_subdomain, errors),
            _ => {}
        }
    }
}

/// Where an endpoint is, of `discovery.k8s.io/v1beta1`.
fn topology(topology: &At<'_>, errors: &mut Errors) {
    let count = topology.entries().count();
    if count > TOPOLOGY_MAX {
        errors.push(FieldError::too_many(&topology.path, count, TOPOLOGY_MAX));
    }
    labels::labels(topology, errors);
}

/// Zones or nodes that an endpoint is meant for.
fn hint(hints: &At<'_>, errors: &mut Errors) {
    let count = hints.items().count();
    if count > HINTS_MAX {
        errors.push(FieldError::too_many(&hints.path, count, HINTS_MAX));
    }
    let mut seen = HashSet::new();
    for hint in hints.items() {
        let name = hint.child("name");
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        } else if name.must_be_set(errors) {
            name.must(names::label_value, errors);
        }
    }
}

/// Endpoints that were stored before there was a rule stay as they are until they are changed.
fn validate_update(object: &Value, old: &Value) -> Errors {
    let root = At::root(object);
    let mut errors = endpoints(&root);
    if !errors.is_empty() && at(object, "endpoints") == at(old, "endpoints") {
        errors.clear();
    }
    ports(&root, &mut errors);
    At::root(object).child("addressType").unchanged(at(old, "addressType"), &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, expect};

    const SLICE: &str =
        "{metadata: {name: s}, addressType: TYPE, endpoints: [{addresses: [ADDRESS]}]}";

    #[test]
    fn addresses_that_others_can_reach() {
        for (kind, address, expected) in [
            ("IPv4", "10.0.0.1", ""),
            ("IPv6", "'fd00::1'", ""),
            ("FQDN", "localhost", ""),
            ("IPv4", "127.0.0.1", "Invalid value: \"127.0.0.1\": may not be in the loopback range"),
            (
                "IPv4",
                "169.254.169.254",
                "Invalid value: \"169.254.169.254\": may not be in the link-local",
            ),
            (
                "IPv6",
                "'ff02::1'",
                "Invalid value: \"ff02::1\": may not be in the link-local multicast",
            ),
            ("IPv6", "'::'", "Invalid value: \"::\": may not be unspecified (::)"),
            ("IPv4", "'::1'", "Invalid value: \"::1\": must be a valid IPv4 address"),
        ] {
            let text = SLICE.replace("TYPE", kind).replace("ADDRESS", address);
            let slice = created(&RESOURCE, &text);
            let expected = format!("endpoints[0].addresses[0]: {expected}");
            let expected: &[&str] = if expected.ends_with(": ") { &[] } else { &[&expected] };
            expect(&(RESOURCE.validate_create)(&slice), expected, &text);
            expect(&(RESOURCE.validate_update)(&slice, &slice), &[], "what is there may stay");
            let other = created(&RESOURCE, &SLICE.replace("TYPE", kind).replace("ADDRESS", "x"));
            expect(&(RESOURCE.validate_update)(&slice, &other), expected, "and not come");
        }
    }
}
