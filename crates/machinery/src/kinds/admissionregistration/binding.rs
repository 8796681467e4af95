//! `ValidatingAdmissionPolicyBinding` and `MutatingAdmissionPolicyBinding`: what a policy applies
//! to, and with which parameters.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use super::rules::{match_resources, param_ref, policy_name};
use super::{BASE, default_match_resources};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, str_at};

/// The row of `ValidatingAdmissionPolicyBinding`.
pub const VALIDATING_BINDING: Resource = Resource {
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    validate: |binding| {
        let mut errors = validate(binding);
        actions(&At::root(binding).child("spec.validationActions"), &mut errors);
        errors
    },
    ..BINDINGS
};

/// The row of `MutatingAdmissionPolicyBinding`.
pub const MUTATING_BINDING: Resource = Resource {
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    ..BINDINGS
};

const BINDINGS: Resource = Resource {
    columns: &[Column::NAME, Column::text("PolicyName"), Column::text("ParamRef"), Column::AGE],
    row,
    default: |binding| default_match_resources(binding, "spec.matchResources"),
    validate,
    ..BASE
};

fn row(binding: &Value, now: i64) -> Vec<Value> {
    let reference = at(binding, "spec.paramRef");
    let parameters = match (str_at(reference, "namespace"), str_at(reference, "name")) {
        (_, "") if at(reference, "selector").is_object() => {
            table::selector_text(at(reference, "selector"))
        }
        (_, "") => "<unset>".to_owned(),
        // Whether the kind has namespaces cannot be told from here.
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![
        table::name(binding),
        str_at(binding, "spec.policyName").into(),
        parameters.into(),
        table::age(binding, now),
    ]
}

fn validate(binding: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(binding).child("spec");
    policy_name(&spec, &mut errors);
    param_ref(&spec.child("paramRef"), &mut errors);
    // Kubernetes spells the path so.
    let resources = spec.child("matchResources");
    let spelled = At::new(resources.value, spec.path.child("matchResouces"));
    match_resources(&spelled, &mut errors);
    errors
}

fn actions(actions: &At<'_>, errors: &mut Errors) {
    const KNOWN: &[&str] = &["Audit", "Deny", "Warn"];
    let mut seen = HashSet::new();
    for action in actions.items() {
        if !KNOWN.contains(&action.text()) {
            errors.push(FieldError::not_supported(&action.path, action.text(), KNOWN));
        }
        if !seen.insert(action.text()) {
            errors.push(action.duplicate());
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.push(actions.invalid(
            "must not contain both Deny and Warn (repeating the same validation failure \
             information in the API response and headers serves no purpose)",
        ));
    }
    if seen.is_empty() {
        errors.push(actions.required("at least one validation action is required"));
    }
}
