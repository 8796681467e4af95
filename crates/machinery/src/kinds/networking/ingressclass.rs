//! `IngressClass`.

use onggi_api::FieldError;
use serde_json::Value;

use super::{BASE, typed_reference};
use crate::resource::{Column, Resource, Scope};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{at, is_set, set_default, str_at};

/// The row.
pub const INGRESS_CLASS: Resource = Resource {
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    has_generation: true,
    columns: &[Column::NAME, Column::text("Controller"), Column::text("Parameters"), Column::AGE],
    row,
    default: |class| {
        if is_set(class, "spec.parameters") {
            set_default(class, "spec.parameters.scope", "Cluster");
        }
    },
    validate,
    validate_update: |class, old| {
        let mut errors = Errors::new();
        let controller = At::root(class).child("spec.controller");
        controller.unchanged(at(old, "spec.controller"), &mut errors);
        errors
    },
    ..BASE
};

fn row(class: &Value, now: i64) -> Vec<Value> {
    let parameters = at(class, "spec.parameters");
    let text = match (str_at(parameters, "apiGroup"), str_at(parameters, "kind")) {
        ("", "") => "<none>".to_owned(),
        ("", kind) => format!("{kind}/{}", str_at(parameters, "name")),
        (group, kind) => format!("{kind}.{group}/{}", str_at(parameters, "name")),
    };
    vec![
        table::name(class),
        str_at(class, "spec.controller").into(),
        text_or(&text, "<none>").into(),
        table::age(class, now),
    ]
}

const CONTROLLER_MAX: usize = 250;

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(class).child("spec");
    let controller = spec.child("controller");
    controller.at_most(CONTROLLER_MAX, &mut errors);
    domain_path(&controller, &mut errors);
    let parameters = spec.child("parameters");
    if parameters.is_set() {
        typed_reference(&parameters, &mut errors);
        let (scope, namespace) = (parameters.child("scope"), parameters.child("namespace"));
        scope.required_one_of(&["Cluster", "Namespace"], &mut errors);
        match (scope.text(), namespace.is_set()) {
            ("Namespace", false) => {
                errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
            }
            ("Namespace", true) => namespace.must(names::dns1123_label, &mut errors),
            ("Cluster", true) => {
                errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
            }
            _ => {}
        }
    }
    errors
}

/// `acme.io/foo`.
fn domain_path(at: &At<'_>, errors: &mut Errors) {
    const PUNCTUATION: &str = "/-._~%!$&'()*+,;=:";
    if !at.must_be_set(errors) {
        return;
    }
    let (host, path) = match at.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => (host, path),
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            return errors.push(at.invalid(detail));
        }
    };
    let wrong = names::dns1123_subdomain(host);
    errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&at.path, host, e)));
    if !path.chars().all(|c| c.is_ascii_alphanumeric() || PUNCTUATION.contains(c)) {
        let detail =
            "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(&at.path, path, detail));
    }
}
