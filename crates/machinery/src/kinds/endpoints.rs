//! `v1 Endpoints`: the older form of `EndpointSlice`, kept for clients that read it.

use std::borrow::Cow;

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::addresses::{BAD_IP, reachable};
use crate::validation::{At, Errors, names};
use crate::value::{at, i64_at, items_mut, list_at, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    columns: &[Column::NAME, Column::text("Endpoints"), Column::AGE],
    row,
    default,
    validate_create: validate,
    validate_update,
    deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let mut shown: Vec<Cow<'_, str>> = Vec::new();
    for subset in list_at(object, "subsets") {
        let addresses = || list_at(subset, "addresses").iter().map(|a| str_at(a, "ip"));
        let ports = list_at(subset, "ports");
        if ports.is_empty() {
            shown.extend(addresses().map(Cow::from));
        }
        for port in ports {
            let port = i64_at(port, "port").unwrap_or(0);
            shown.extend(addresses().map(|ip| Cow::from(host_port(ip, port))));
        }
    }
    let shown = table::first_three(&shown, "<none>");
    vec![table::name(object), shown.into(), table::age(object, now)]
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn default(object: &mut Value) {
    for subset in items_mut(object, "subsets") {
        for port in items_mut(subset, "ports") {
            set_default_text(port, "protocol", "TCP");
        }
    }
}

/// What was stored before there was a rule stays as it is until it is changed.
fn validate_update(object: &Value, old: &Value) -> Errors {
    let errors = validate(object);
    if !errors.is_empty() && at(object, "subsets") == at(old, "subsets") {
        return Errors::new();
    }
    errors
}

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    for subset in At::root(object).each("subsets") {
        let (ready, waiting) = (subset.child("addresses"), subset.child("notReadyAddresses"));
        let mut addresses = ready.items().chain(waiting.items()).peekable();
        if addresses.peek().is_none() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in addresses {
            self::address(&address, &mut errors);
        }
        let several = subset.each("ports").count() > 1;
        for port in subset.each("ports") {
            let name = port.child("name");
            if several {
                name.must_be_set(&mut errors);
            }
            name.may(names::dns1123_label, &mut errors);
            port.child("port").port_number(&mut errors);
            port.child("protocol").required_one_of(&["SCTP", "TCP", "UDP"], &mut errors);
            port.child("appProtocol").may(names::qualified_name, &mut errors);
        }
    }
    errors
}

fn address(address: &At<'_>, errors: &mut Errors) {
    let ip = address.child("ip");
    if !reachable(&ip, errors) {
        errors.push(ip.invalid(BAD_IP));
    }
    address.child("hostname").may(names::dns1123_label, errors);
    address.child("nodeName").may(names::dns1123_subdomain, errors);
    if ip.text().parse::<std::net::IpAddr>().is_err() {
        errors.push(ip.invalid("must be a valid IP address"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, expect};
    use crate::value::set;

    #[test]
    fn rules() {
        for (subset, expected) in [
            (
                "{addresses: [{ip: 10.0.0.1, hostname: a, nodeName: n1}], ports: [{port: 80}]}",
                &[][..],
            ),
            ("{ports: [{port: 80}]}", &["subsets[0]: Required value: must specify `addresses`"]),
            (
                "{addresses: [{ip: 127.0.0.1}], notReadyAddresses: [{ip: 169.254.169.254}, {ip: '::'}]}",
                &[
                    "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback",
                    "subsets[0].notReadyAddresses[0].ip: Invalid value: \"169.254.169.254\": may not be in the link-local",
                    "subsets[0].notReadyAddresses[1].ip: Invalid value: \"::\": may not be unspecified (::)",
                ],
            ),
            (
                "{addresses: [{ip: x, hostname: A, nodeName: '_'}], ports: [{port: 0, appProtocol: 'a b'}, {name: b, port: 1}]}",
                &[
                    "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g.",
                    "subsets[0].addresses[0].hostname: Invalid value: \"A\"",
                    "subsets[0].addresses[0].nodeName: Invalid value: \"_\"",
                    "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address",
                    "subsets[0].ports[0].name: Required value",
                    "subsets[0].ports[0].port: Invalid value: 0",
                    "subsets[0].ports[0].appProtocol: Invalid value: \"a b\"",
                ],
            ),
        ] {
            let object =
                created(&RESOURCE, &format!("{{metadata: {{name: e}}, subsets: [{subset}]}}"));
            expect(&(RESOURCE.validate_create)(&object), expected, subset);
        }
    }

    #[test]
    fn what_is_there_may_stay() {
        let old =
            created(&RESOURCE, "{metadata: {name: e}, subsets: [{addresses: [{ip: 127.0.0.1}]}]}");
        let mut new = old.clone();
        set(&mut new, "metadata.labels", serde_json::json!({"a": "b"}));
        expect(&(RESOURCE.validate_update)(&new, &old), &[], "a label");
        new["subsets"][0]["addresses"][0]["ip"] = "127.0.0.2".into();
        let expected = "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.2\": may not be in";
        expect(&(RESOURCE.validate_update)(&new, &old), &[expected], "another address");
    }
}
