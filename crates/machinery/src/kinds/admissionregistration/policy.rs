//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::rules::{self, REINVOCATION_POLICIES, expression};
use super::{BASE, default_match_resources};
use crate::admission::environment;
use crate::cel::Declarations;
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, conditions, duplicates, names};
use crate::value::{at, is_set, list_at, set, set_default_text, str_at};

/// The row of `ValidatingAdmissionPolicy`.
pub const VALIDATING_POLICY: Resource = Resource {
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    subresources: &[status_of(BASE.group, "v1", "ValidatingAdmissionPolicy")],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::integer("Validations"),
        Column::text("ParamKind"),
        Column::AGE,
    ],
    row: |policy, now| row(policy, "spec.validations", now),
    default,
    prepare_create: |policy| set(policy, "status", json!({})),
    validate: validate_validating,
    ..BASE
};

/// The row of `MutatingAdmissionPolicy`.
pub const MUTATING_POLICY: Resource = Resource {
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    columns: &[Column::NAME, Column::integer("Mutations"), Column::text("ParamKind"), Column::AGE],
    row: |policy, now| row(policy, "spec.mutations", now),
    default,
    validate: validate_mutating,
    ..BASE
};

const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_EXPRESSION_MAX: usize = 5 * 1024;
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];

fn row(policy: &Value, list: &str, now: i64) -> Vec<Value> {
    vec![
        table::name(policy),
        list_at(policy, list).len().into(),
        rules::param_kind_text(at(policy, "spec.paramKind")).into(),
        table::age(policy, now),
    ]
}

fn default(policy: &mut Value) {
    if is_set(policy, "spec") {
        set_default_text(policy, "spec.failurePolicy", "Fail");
    }
    default_match_resources(policy, "spec.matchConstraints");
}

fn validate_validating(policy: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(policy);
    let spec = root.child("spec");
    let names_of = rules::policy(&spec, &mut errors);
    let messages = environment::of_messages(&names_of);
    let (validations, annotations) = (spec.child("validations"), spec.child("auditAnnotations"));
    if validations.items().chain(annotations.items()).next().is_none() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(validations.required(detail));
        errors.push(annotations.required(detail));
    }
    for validation in validations.items() {
        one_validation(&validation, &names_of, &messages, &mut errors);
    }
    if annotations.items().count() > ANNOTATIONS_MAX {
        let detail = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.push(annotations.invalid(detail));
    }
    for annotation in annotations.items() {
        one_annotation(&annotation, str_at(policy, "metadata.name"), &names_of, &mut errors);
    }
    duplicates(annotations.items(), "key", &mut errors);
    conditions(&root.child("status.conditions"), &mut errors);
    errors
}

fn one_validation(
    validation: &At<'_>,
    names_of: &Declarations,
    messages: &Declarations,
    errors: &mut Errors,
) {
    let text = validation.child("expression");
    expression(&text, names_of, "expression is not specified", &["bool"], errors);
    let computed = validation.child("messageExpression");
    if !computed.text().is_empty() && computed.text().trim().is_empty() {
        errors.push(computed.invalid("must be non-empty if specified"));
    } else if !computed.text().is_empty() {
        expression(&computed, messages, "", &["string"], errors);
    }
    let message = validation.child("message");
    if !message.text().is_empty() && message.text().trim().is_empty() {
        errors.push(message.invalid("message must be non-empty if specified"));
    } else if message.text().trim().contains(['\n', '\r']) {
        errors.push(message.invalid("message must not contain line breaks"));
    }
    validation.child("reason").one_of(REASONS, errors);
}

/// The key becomes that of an annotation, behind the policy's name.
fn one_annotation(annotation: &At<'_>, policy: &str, names_of: &Declarations, errors: &mut Errors) {
    let key = annotation.child("key");
    if policy.is_empty() {
        errors.push(key.invalid("requires metadata.name be non-empty"));
    } else {
        let full = format!("{policy}/{}", key.text());
        let wrong = names::qualified_name(&full);
        errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&key.path, full.clone(), e)));
    }
    let value = annotation.child("valueExpression");
    if value.text().trim().len() > ANNOTATION_EXPRESSION_MAX {
        let detail = format!("must not exceed {ANNOTATION_EXPRESSION_MAX} bytes in length");
        errors.push(value.required(detail));
    } else {
        let types = ["string", "null_type"];
        expression(&value, names_of, "valueExpression is not specified", &types, errors);
    }
}

fn validate_mutating(policy: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(policy).child("spec");
    let names_of = rules::policy(&spec, &mut errors).with_patches();
    // What is deleted cannot be changed any more.
    let rules = spec.each("matchConstraints.resourceRules");
    for operation in rules.flat_map(|rule| rule.each("operations")) {
        if operation.text() == "DELETE" {
            let known = ["*", "CONNECT", "CREATE", "UPDATE"];
            errors.push(FieldError::not_supported(&operation.path, "DELETE", &known));
        }
    }
    spec.child("reinvocationPolicy").required_one_of(REINVOCATION_POLICIES, &mut errors);
    let mutations = spec.child("mutations");
    if mutations.items().next().is_none() {
        errors.push(mutations.required("mutations must contain at least one item"));
    }
    for mutation in mutations.items() {
        one_mutation(&mutation, &names_of, &mut errors);
    }
    errors
}

fn one_mutation(mutation: &At<'_>, names_of: &Declarations, errors: &mut Errors) {
    let kind = mutation.child("patchType");
    let (wanted, other, ty) = match kind.text() {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", "Object"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration", "list(JSONPatch)"),
        _ => return kind.required_one_of(&["ApplyConfiguration", "JSONPatch"], errors),
    };
    let (wanted, other) = (mutation.child(wanted), mutation.child(other));
    if other.is_set() {
        let detail = format!("must not be specified when patchType is {}", kind.text());
        errors.push(other.forbidden(detail));
    }
    if wanted.is_set() {
        let text = wanted.child("expression");
        expression(&text, names_of, "expression is not specified", &[ty], errors);
    } else {
        errors
            .push(wanted.required(format!("must be specified when patchType is {}", kind.text())));
    }
}
