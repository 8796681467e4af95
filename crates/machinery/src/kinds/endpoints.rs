//! `v1 Endpoints`: the older form of `EndpointSlice`, kept for clients that read it.

use std::borrow::Cow;

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, is_ip, names};
use crate::value::{i64_at, items_mut, list_at, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    columns: &[Column::NAME, Column::text("Endpoints"), Column::AGE],
    row,
    default,
    validate,
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

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    for subset in At::root(object).each("subsets") {
        let (ready, waiting) = (subset.child("addresses"), subset.child("notReadyAddresses"));
        let mut addresses = ready.items().chain(waiting.items()).peekable();
        if addresses.peek().is_none() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for ip in addresses.map(|address| address.child("ip")).filter(|ip| !is_ip(ip.text())) {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(ip.invalid(detail));
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
        }
    }
    errors
}
