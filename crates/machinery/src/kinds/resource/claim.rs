//! `ResourceClaim` and `ResourceClaimTemplate`.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, GROUP, rules, status};
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, labels, names};
use crate::value::{at, at_mut, i64_at, is_set, items_mut, list_at, set, set_default_text, str_at};

/// The row of `ResourceClaim`.
pub const RESOURCE_CLAIM: Resource = Resource {
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    subresources: &[status_of(GROUP, "v1", "ResourceClaim")],
    has_status: true,
    columns: &[Column::NAME, Column::text("State"), Column::AGE],
    row: |claim, now| vec![table::name(claim), state(claim).into(), table::age(claim, now)],
    default: |claim| default_devices(claim, "spec.devices"),
    prepare_create: |claim| set(claim, "status", json!({})),
    validate: |claim| {
        let mut errors = Errors::new();
        devices(&At::root(claim).child("spec.devices"), &mut errors);
        errors
    },
    validate_update: |claim, old| {
        let mut errors = Errors::new();
        At::root(claim).child("spec").unchanged(at(old, "spec"), &mut errors);
        status::validate(claim, old, &mut errors);
        errors
    },
    answers_deleted: true,
    ..BASE
};

/// The row of `ResourceClaimTemplate`.
pub const RESOURCE_CLAIM_TEMPLATE: Resource = Resource {
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    default: |template| default_devices(template, "spec.spec.devices"),
    validate: |template| {
        let mut errors = Errors::new();
        let spec = At::root(template).child("spec");
        labels::labels(&spec.child("metadata.labels"), &mut errors);
        devices(&spec.child("spec.devices"), &mut errors);
        errors
    },
    validate_update: |template, old| {
        let mut errors = Errors::new();
        At::root(template).child("spec").unchanged(at(old, "spec"), &mut errors);
        errors
    },
    answers_deleted: true,
    ..BASE
};

fn state(claim: &Value) -> String {
    let deleted = is_set(claim, "metadata.deletionTimestamp");
    let allocated = is_set(claim, "status.allocation");
    let reserved = !list_at(claim, "status.reservedFor").is_empty();
    let states = [
        ("deleted", deleted),
        ("pending", !allocated && !deleted),
        ("allocated", allocated),
        ("reserved", allocated && reserved),
    ];
    let shown: Vec<&str> = states.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    shown.join(",")
}

// === Defaults ===

fn default_devices(object: &mut Value, path: &str) {
    let Some(devices) = at_mut(object, path) else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = at_mut(request, "exactly").filter(|e| e.is_object()) {
            default_request(exactly);
        }
        items_mut(request, "firstAvailable").filter(|r| r.is_object()).for_each(default_request);
    }
}

fn default_request(request: &mut Value) {
    set_default_text(request, "allocationMode", "ExactCount");
    if str_at(request, "allocationMode") == "ExactCount"
        && i64_at(request, "count").unwrap_or(0) == 0
    {
        set(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        set_default_text(toleration, "operator", "Equal");
    }
}

// === Rules ===

const ALTERNATIVES_MAX: usize = 8;

/// The names of the requests of a claim; those of alternatives stand behind a slash.
pub(super) fn request_names(devices: &At<'_>) -> HashSet<String> {
    let mut names = HashSet::new();
    for request in devices.each("requests") {
        let name = request.child("name").text();
        names.insert(name.to_owned());
        let alternatives = request.each("firstAvailable");
        names.extend(alternatives.map(|sub| format!("{name}/{}", sub.child("name").text())));
    }
    names
}

fn devices(devices: &At<'_>, errors: &mut Errors) {
    let requests = devices.child("requests");
    rules::limited(&requests, rules::LIST_MAX, errors);
    requests.items().for_each(|request| one_request(&request, errors));
    rules::unique(&requests, |request| request.child("name").text(), errors);
    let known = request_names(devices);
    let constraints = devices.child("constraints");
    rules::limited(&constraints, rules::LIST_MAX, errors);
    for constraint in constraints.items() {
        request_references(&constraint.child("requests"), &known, errors);
        let both = constraint.present(&["matchAttribute", "distinctAttribute"]);
        match &both[..] {
            [attribute] => attribute.must(|name| rules::qualified(name, true), errors),
            _ => errors.push(constraint.required(
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but \
                 multiple fields are set",
            )),
        }
    }
    let config = devices.child("config");
    rules::limited(&config, rules::LIST_MAX, errors);
    for each in config.items() {
        request_references(&each.child("requests"), &known, errors);
        rules::configuration(&each, errors);
    }
}

pub(super) fn request_references(list: &At<'_>, known: &HashSet<String>, errors: &mut Errors) {
    rules::limited(list, rules::LIST_MAX, errors);
    list.items().for_each(|name| request_reference(&name, known, errors));
    rules::unique(list, |name| name.text(), errors);
}

pub(super) fn request_reference(name: &At<'_>, known: &HashSet<String>, errors: &mut Errors) {
    if !known.contains(name.text()) {
        errors.push(name.invalid(
            "must be the name of a request in the claim or the name of a request and a subrequest \
             separated by '/'",
        ));
    }
}

fn one_request(request: &At<'_>, errors: &mut Errors) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    rules::label_name(&request.child("name"), errors);
    let (exactly, first) = (request.child("exactly"), request.child("firstAvailable"));
    match (exactly.is_set(), first.items().next().is_some()) {
        (false, false) => errors.push(request.required(ONE)),
        (true, true) => {
            let detail = format!("{ONE}, but multiple fields are set");
            errors.push(FieldError::invalid(&request.path, Value::Null, detail));
        }
        (true, false) => device_request(&exactly, errors),
        (false, true) => {
            rules::limited(&first, ALTERNATIVES_MAX, errors);
            for alternative in first.items() {
                rules::label_name(&alternative.child("name"), errors);
                device_request(&alternative, errors);
            }
            rules::unique(&first, |alternative| alternative.child("name").text(), errors);
        }
    }
}

fn device_request(request: &At<'_>, errors: &mut Errors) {
    let class = request.child("deviceClassName");
    if class.must_be_set(errors) {
        class.must(names::dns1123_subdomain, errors);
    }
    rules::selectors(&request.child("selectors"), errors);
    let (mode, count) = (request.child("allocationMode"), request.child("count"));
    let number = count.int().unwrap_or(0);
    let invalid = |detail: &str| FieldError::invalid(&count.path, number, detail);
    match mode.text() {
        "All" if number != 0 => {
            errors.push(invalid("must not be specified when allocationMode is 'All'"));
        }
        "ExactCount" if number <= 0 => errors.push(invalid("must be greater than zero")),
        "All" | "ExactCount" => {}
        other => errors.push(FieldError::not_supported(&mode.path, other, &["All", "ExactCount"])),
    }
    for toleration in request.each("tolerations") {
        toleration.child("key").may(names::qualified_name, errors);
        let operator = toleration.child("operator");
        operator.one_of(&["Equal", "Exists"], errors);
        let value = toleration.child("value");
        match operator.text() {
            "Exists" if !value.text().is_empty() => {
                errors.push(value.invalid("must be empty for operator `Exists`"));
            }
            _ => value.may(names::label_value, errors),
        }
        let effect = toleration.child("effect");
        effect.one_of(&["NoExecute", "NoSchedule", "None"], errors);
    }
}
