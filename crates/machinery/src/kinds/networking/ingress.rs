//! `Ingress`.

use std::borrow::Cow;

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, GROUP, typed_reference};
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, is_ip, names};
use crate::value::{at, list_at, set, str_at};

/// The row.
pub const INGRESS: Resource = Resource {
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[status_of(GROUP, "v1", "Ingress")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Class"),
        Column::text("Hosts"),
        Column::text("Address"),
        Column::text("Ports"),
        Column::AGE,
    ],
    row,
    prepare_create: |ingress| set(ingress, "status", json!({"loadBalancer": {}})),
    validate,
    warnings,
    ..BASE
};

/// Names the class in manifests from before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn class_annotation(ingress: &Value) -> &str {
    let annotations = at(ingress, "metadata.annotations");
    annotations.get(CLASS_ANNOTATION).and_then(Value::as_str).unwrap_or("")
}

fn row(ingress: &Value, now: i64) -> Vec<Value> {
    let hosts: Vec<Cow<'_, str>> =
        list_at(ingress, "spec.rules").iter().map(|rule| str_at(rule, "host").into()).collect();
    let mut addresses: Vec<&str> = list_at(ingress, "status.loadBalancer.ingress")
        .iter()
        .map(|point| text_or(str_at(point, "ip"), str_at(point, "hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let class = str_at(ingress, "spec.ingressClassName");
    let ports = if list_at(ingress, "spec.tls").is_empty() { "80" } else { "80, 443" };
    vec![
        table::name(ingress),
        text_or(text_or(class, class_annotation(ingress)), "<none>").into(),
        hosts_text(hosts).into(),
        addresses.join(",").into(),
        ports.into(),
        table::age(ingress, now),
    ]
}

/// As lists are cut at three; rules without a host say nothing, and `*` stands for all.
fn hosts_text(hosts: Vec<Cow<'_, str>>) -> String {
    const SHOWN: usize = 3;
    let named: Vec<&Cow<'_, str>> = hosts.iter().filter(|host| !host.is_empty()).collect();
    let shown = named.iter().take(SHOWN).map(|host| &***host).collect::<Vec<_>>().join(",");
    match named.len() {
        0 => "*".to_owned(),
        1..=SHOWN => shown,
        _ => format!("{shown} + {} more...", hosts.len() - SHOWN),
    }
}

fn warnings(ingress: &Value) -> Vec<String> {
    let old = !class_annotation(ingress).is_empty();
    let text = format!(
        "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
    );
    old.then_some(text).into_iter().collect()
}

// === Rules ===

fn validate(ingress: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(ingress).child("spec");
    let (rules, default) = (spec.child("rules"), spec.child("defaultBackend"));
    if rules.items().next().is_none() && !default.is_set() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&spec.path, rules.value.clone(), detail));
    }
    if default.is_set() {
        backend(&default, &mut errors);
    }
    for rule in rules.items() {
        one_rule(&rule, &mut errors);
    }
    for tls in spec.each("tls") {
        tls.each("hosts").for_each(|host| host_name(&host, &mut errors));
        tls.child("secretName").may(names::dns1123_subdomain, &mut errors);
    }
    let class = spec.child("ingressClassName");
    class.if_set(names::dns1123_subdomain, &mut errors);
    class_once(ingress, &class, &mut errors);
    status(&At::root(ingress).child("status.loadBalancer"), &mut errors);
    errors
}

/// A new Ingress may name its class in both ways only when they agree.
fn class_once(ingress: &Value, class: &At<'_>, errors: &mut Errors) {
    let annotation = class_annotation(ingress);
    let is_new = str_at(ingress, "metadata.resourceVersion").is_empty();
    if is_new && class.is_set() && !annotation.is_empty() && annotation != class.text() {
        let path = onggi_api::FieldPath::new("annotations").child(CLASS_ANNOTATION);
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(FieldError::invalid(&path, annotation, detail));
    }
}

fn host_name(host: &At<'_>, errors: &mut Errors) {
    if host.text().contains('*') {
        host.must(names::wildcard_subdomain, errors);
    } else {
        host.must(names::dns1123_subdomain, errors);
    }
}

fn one_rule(rule: &At<'_>, errors: &mut Errors) {
    let host = rule.child("host");
    if is_ip(host.text()) {
        errors.push(host.invalid("must be a DNS name, not an IP address"));
    }
    if !host.text().is_empty() {
        host_name(&host, errors);
    }
    let http = rule.child("http");
    if !http.is_set() {
        return;
    }
    let paths = http.child("paths");
    if paths.items().next().is_none() {
        errors.push(paths.required(""));
    }
    for path in paths.items() {
        one_path(&path, errors);
    }
}

fn one_path(entry: &At<'_>, errors: &mut Errors) {
    const SEQUENCES: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
    const ENDINGS: &[&str] = &["/..", "/."];
    let (kind, path) = (entry.child("pathType"), entry.child("path"));
    if !kind.is_set() {
        return errors.push(kind.required("pathType must be specified"));
    }
    let text = path.text();
    // What is missing reads as the empty text in the error too.
    let invalid = |detail: String| FieldError::invalid(&path.path, text, detail);
    let relative =
        || (!text.starts_with('/')).then(|| invalid("must be an absolute path".to_owned()));
    match kind.text() {
        "Exact" | "Prefix" => {
            errors.extend(relative());
            for part in SEQUENCES.iter().filter(|part| text.contains(**part)) {
                errors.push(invalid(format!("must not contain '{part}'")));
            }
            for end in ENDINGS.iter().filter(|end| text.ends_with(**end)) {
                errors.push(invalid(format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" if text.is_empty() => {}
        "ImplementationSpecific" => errors.extend(relative()),
        _ => kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"], errors),
    }
    backend(&entry.child("backend"), errors);
}

fn backend(backend: &At<'_>, errors: &mut Errors) {
    let invalid = |detail: &str| FieldError::invalid(&backend.path, "", detail);
    let (resource, service) = (backend.child("resource"), backend.child("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => errors.push(invalid("cannot set both resource and service backends")),
        (true, false) => typed_reference(&resource, errors),
        (false, false) => errors.push(invalid("resource or service backend is required")),
        (false, true) => {
            let name = service.child("name");
            if name.must_be_set(errors) {
                name.must(names::dns1123_label, errors);
            }
            let (port, number) = (service.child("port.name"), service.child("port.number"));
            match (!port.text().is_empty(), number.int().unwrap_or(0) != 0) {
                (true, true) => errors.push(invalid("cannot set both port name & port number")),
                (true, false) => port.must(names::port_name, errors),
                (false, true) => number.port_number(errors),
                (false, false) => {
                    errors.push(backend.required("port name or number is required"));
                }
            }
        }
    }
}

fn status(balancer: &At<'_>, errors: &mut Errors) {
    for point in balancer.each("ingress") {
        let (ip, host) = (point.child("ip"), point.child("hostname"));
        if !ip.text().is_empty() && !is_ip(ip.text()) {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(ip.invalid(detail));
        }
        host.may(names::dns1123_subdomain, errors);
        if is_ip(host.text()) {
            errors.push(host.invalid("must be a DNS name, not an IP address"));
        }
    }
}
