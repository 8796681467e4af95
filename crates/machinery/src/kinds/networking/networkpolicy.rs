//! `NetworkPolicy`.

use serde_json::Value;

use super::BASE;
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, addresses, labels, names};
use crate::value::{at, is_set, items_mut, list_at, set_default, set_default_text};

/// The row.
pub const NETWORK_POLICY: Resource = Resource {
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    has_generation: true,
    columns: &[Column::NAME, Column::text("Pod-Selector"), Column::AGE],
    row: |policy, now| {
        let selector = table::selector_text(at(policy, "spec.podSelector"));
        vec![table::name(policy), text_or(&selector, "<none>").into(), table::age(policy, now)]
    },
    default,
    validate,
    ..BASE
};

fn default(policy: &mut Value) {
    for rules in ["spec.ingress", "spec.egress"] {
        for rule in items_mut(policy, rules) {
            for port in items_mut(rule, "ports") {
                set_default_text(port, "protocol", "TCP");
            }
        }
    }
    if is_set(policy, "spec") {
        let outward = !list_at(policy, "spec.egress").is_empty();
        let types = if outward { vec!["Ingress", "Egress"] } else { vec!["Ingress"] };
        set_default(policy, "spec.policyTypes", types);
    }
}

fn validate(policy: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(policy).child("spec");
    labels::selector(&spec.child("podSelector"), &mut errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.each(rules) {
            rule.each("ports").for_each(|each| port(&each, &mut errors));
            rule.each(peers).for_each(|each| peer(&each, &mut errors));
        }
    }
    let types = spec.child("policyTypes");
    if types.items().count() > 2 {
        errors.push(types.invalid("may not specify more than two policyTypes"));
        return errors;
    }
    types.items().for_each(|kind| kind.one_of(&["Ingress", "Egress"], &mut errors));
    errors
}

fn port(at: &At<'_>, errors: &mut Errors) {
    at.child("protocol").one_of(&["TCP", "UDP", "SCTP"], errors);
    let (port, end) = (at.child("port"), at.child("endPort"));
    if !port.is_set() {
        if end.is_set() {
            errors.push(end.invalid("may not be specified when `port` is not specified"));
        }
        return;
    }
    if port.value.is_string() {
        if end.is_set() {
            errors.push(end.invalid("may not be specified when `port` is non-numeric"));
        }
        return port.must(names::port_name, errors);
    }
    port.port_number(errors);
    if let Some(last) = end.int() {
        if last < port.int().unwrap_or(0) {
            let detail = "must be greater than or equal to `port`";
            errors.push(onggi_api::FieldError::invalid(&end.path, port.value.clone(), detail));
        }
        end.port_number(errors);
    }
}

fn peer(peer: &At<'_>, errors: &mut Errors) {
    let present = peer.named(&["podSelector", "namespaceSelector", "ipBlock"]);
    let selectors = present.iter().filter(|(name, _)| *name != "ipBlock");
    selectors.for_each(|(_, selector)| labels::selector(selector, errors));
    let block = peer.child("ipBlock");
    if block.is_set() {
        ip_block(&block, errors);
    }
    if present.is_empty() {
        errors.push(peer.required("must specify a peer"));
    } else if present.len() > 1 && block.is_set() {
        errors.push(peer.forbidden("may not specify both ipBlock and another peer"));
    }
}

fn ip_block(block: &At<'_>, errors: &mut Errors) {
    let cidr = block.child("cidr");
    if !cidr.must_be_set(errors) {
        return;
    }
    let Some(whole) = addresses::Range::parse(cidr.text()) else {
        return errors.push(cidr.invalid(addresses::BAD_CIDR));
    };
    for except in block.each("except") {
        match addresses::Range::parse(except.text()) {
            None => errors.push(except.invalid(addresses::BAD_CIDR)),
            Some(part) if !whole.strictly_covers(&part) => {
                errors.push(except.invalid("must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}
