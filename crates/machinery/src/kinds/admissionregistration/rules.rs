//! Rules that webhooks, policies and bindings share.

use std::collections::HashSet;

use onggi_api::FieldError;
use serde_json::Value;

use crate::admission::environment;
use crate::cel::{Declarations, Type, compile, is_identifier};
use crate::validation::{At, Errors, duplicates, labels, names};

pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(super) const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const MATCH_CONDITIONS_MAX: usize = 64;

/// Operations, groups, versions and resources that something cares about.
pub(super) fn rule(rule: &At<'_>, errors: &mut Errors) {
    let operations = rule.child("operations");
    wildcard_alone(&operations, "operations", errors);
    for operation in operations.items() {
        if !OPERATIONS.contains(&operation.text()) {
            errors.push(FieldError::not_supported(&operation.path, operation.text(), OPERATIONS));
        }
    }
    wildcard_alone(&rule.child("apiGroups"), "API groups", errors);
    let versions = rule.child("apiVersions");
    wildcard_alone(&versions, "API versions", errors);
    for version in versions.items().filter(|version| version.text().is_empty()) {
        errors.push(version.required(""));
    }
    resources(&rule.child("resources"), errors);
    rule.child("scope").one_of(SCOPES, errors);
}

fn wildcard_alone(list: &At<'_>, what: &str, errors: &mut Errors) {
    let count = list.items().count();
    if count == 0 {
        errors.push(list.required(""));
    }
    if count > 1 && list.items().any(|item| item.text() == "*") {
        errors.push(list.invalid(format!("if '*' is present, must not specify other {what}")));
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/status`, `*`, `*/*`; none that another one covers.
fn resources(list: &At<'_>, errors: &mut Errors) {
    if list.items().next().is_none() {
        errors.push(list.required(""));
    }
    let (mut all_parts, mut all_owners) = (HashSet::new(), HashSet::new());
    let mut plain = false;
    for item in list.items() {
        let text = item.text();
        if text.is_empty() {
            errors.push(item.required(""));
            continue;
        }
        let Some((owner, part)) = text.split_once('/') else {
            plain = text != "*";
            continue;
        };
        if all_parts.contains(owner) {
            let detail = format!("if '{owner}/*' is present, must not specify {text}");
            errors.push(item.invalid(detail));
        }
        if all_owners.contains(part) {
            let detail = format!("if '*/{part}' is present, must not specify {text}");
            errors.push(item.invalid(detail));
        }
        if part == "*" {
            all_parts.insert(owner);
        }
        if owner == "*" {
            all_owners.insert(part);
        }
    }
    let has = |wanted: &str| list.items().any(|item| item.text() == wanted);
    if list.items().count() > 1 && has("*/*") {
        errors.push(list.invalid("if '*/*' is present, must not specify other resources"));
    }
    if has("*") && plain {
        errors.push(
            list.invalid(
                "if '*' is present, must not specify other resources without subresources",
            ),
        );
    }
}

/// `MatchResources`, where it is.
pub(super) fn match_resources(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    at.child("matchPolicy").required_one_of(MATCH_POLICIES, errors);
    for selector in ["namespaceSelector", "objectSelector"].map(|field| at.child(field)) {
        if selector.is_set() {
            labels::selector(&selector, errors);
        } else {
            errors.push(selector.required(""));
        }
    }
    for named in at.each("resourceRules").chain(at.each("excludeResourceRules")) {
        let mut seen = HashSet::new();
        for name in named.each("resourceNames") {
            name.must(names::path_segment, errors);
            if !seen.insert(name.text()) {
                errors.push(name.duplicate());
            }
        }
        rule(&named, errors);
    }
}

/// Conditions in CEL that must all hold.
pub(super) fn match_conditions(list: &At<'_>, names_of: &Declarations, errors: &mut Errors) {
    let count = list.items().count();
    if count > MATCH_CONDITIONS_MAX {
        errors.push(FieldError::too_many(&list.path, count, MATCH_CONDITIONS_MAX));
    }
    for condition in list.items() {
        expression(&condition.child("expression"), names_of, "", &["bool"], errors);
        let name = condition.child("name");
        if name.must_be_set(errors) {
            name.must(names::qualified_name, errors);
        }
    }
    duplicates(list.items(), "name", errors);
}

/// An expression that must be there, and be one of one of these types (of any, where there are
/// none); gives its type.
pub(super) fn expression(
    expression: &At<'_>,
    names: &Declarations,
    detail: &str,
    types: &[&str],
    errors: &mut Errors,
) -> Option<Type<'static>> {
    if expression.text().trim().is_empty() {
        errors.push(expression.required(detail));
        return None;
    }
    let program = match compile(expression.text().trim(), names) {
        Ok(program) => program,
        Err(error) => {
            errors.push(expression.invalid(format!("compilation failed: {error}")));
            return None;
        }
    };
    let found = program.ty().text();
    match types {
        [] => {}
        types if types.contains(&found.as_str()) => {}
        [one] => {
            errors.push(expression.invalid(format!("must evaluate to {one} but got {found}")));
        }
        types => {
            let types = types.join(" ");
            let detail = format!("must evaluate to one of [{types}] but got {found}");
            errors.push(expression.invalid(detail));
        }
    }
    Some(program.ty().clone())
}

/// What a policy has in common with the other kind of policy; gives what its other expressions may
/// name.
pub(super) fn policy(spec: &At<'_>, errors: &mut Errors) -> Declarations {
    spec.child("failurePolicy").required_one_of(FAILURE_POLICIES, errors);
    param_kind(&spec.child("paramKind"), errors);
    let constraints = spec.child("matchConstraints");
    if constraints.is_set() {
        match_resources(&constraints, errors);
        let rules = constraints.child("resourceRules");
        if rules.items().next().is_none() {
            errors.push(rules.required(""));
        }
    } else {
        errors.push(constraints.required(""));
    }
    let mut names_of = environment::of_policy(spec.child("paramKind").is_set());
    match_conditions(&spec.child("matchConditions"), &names_of, errors);
    if spec.each("variables").next().is_some() {
        names_of = names_of.with_variables();
    }
    for variable in spec.each("variables") {
        let name = variable.child("name");
        if name.text().trim().is_empty() {
            errors.push(name.required("name is not specified"));
        } else if !is_identifier(name.text()) {
            errors.push(name.invalid("name is not a valid CEL identifier"));
        }
        let text = variable.child("expression");
        let found = expression(&text, &names_of, "expression is not specified", &[], errors);
        names_of.declare(name.text(), found.unwrap_or(Type::Dyn));
    }
    names_of
}

fn param_kind(kind: &At<'_>, errors: &mut Errors) {
    if !kind.is_set() {
        return;
    }
    let version_of = kind.child("apiVersion");
    let joined = |wrong: Vec<String>| (!wrong.is_empty()).then(|| wrong.join(","));
    match version_of.text().split('/').collect::<Vec<_>>()[..] {
        [""] => errors.push(version_of.required("")),
        [version] | [_, version] => {
            let group = version_of.text().split_once('/').map_or("", |(group, _)| group);
            if !group.is_empty() {
                let wrong = joined(names::dns1123_subdomain(group));
                errors.extend(wrong.map(|e| FieldError::invalid(&version_of.path, group, e)));
            }
            if version.is_empty() {
                errors.push(version_of.invalid("version must be specified"));
            } else {
                let wrong = joined(names::dns1035_label(version));
                errors.extend(wrong.map(|e| FieldError::invalid(&version_of.path, version, e)));
            }
        }
        _ => errors.push(
            version_of.invalid(format!("unexpected GroupVersion string: {}", version_of.text())),
        ),
    }
    let name = kind.child("kind");
    if name.must_be_set(errors) {
        let wrong = joined(names::dns1035_label(&name.text().to_lowercase()));
        errors.extend(wrong.map(|e| {
            name.invalid(format!("may have mixed case, but should otherwise match: {e}"))
        }));
    }
}

/// Which objects a binding hands to its policy: one by name, or some by label.
pub(super) fn param_ref(reference: &At<'_>, errors: &mut Errors) {
    const EITHER: &str = "name and selector are mutually exclusive";
    if !reference.is_set() {
        return;
    }
    let (name, selector) = (reference.child("name"), reference.child("selector"));
    let named = !name.text().is_empty();
    name.may(names::path_segment, errors);
    if selector.is_set() {
        if named {
            errors.push(name.forbidden(EITHER));
        }
        labels::selector(&selector, errors);
        if named {
            errors.push(selector.forbidden(EITHER));
        }
    } else if !named {
        errors.push(reference.required("one of name or selector must be specified"));
    }
    reference.child("parameterNotFoundAction").required_one_of(&["Deny", "Allow"], errors);
}

/// The name of the policy that a binding puts to work.
pub(super) fn policy_name(spec: &At<'_>, errors: &mut Errors) {
    let name = spec.child("policyName");
    if name.must_be_set(errors) {
        name.must(names::dns1123_subdomain, errors);
    }
}

/// `apps/v1/Deployment`: the cell for a policy's kind of parameters.
pub(super) fn param_kind_text(kind: &Value) -> String {
    use crate::value::str_at;
    match kind.is_object() {
        true => format!("{}/{}", str_at(kind, "apiVersion"), str_at(kind, "kind")),
        false => "<unset>".to_owned(),
    }
}
