//! `FlowSchema`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{BASE, GROUP, bootstrap, conditions};
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{at, find, i64_at, is_set, list_at, set, str_at};

/// The row.
pub const FLOW_SCHEMA: Resource = Resource {
    kind: "FlowSchema",
    plural: "flowschemas",
    singular: "flowschema",
    subresources: &[status_of(GROUP, "v1", "FlowSchema")],
    columns: &[
        Column::NAME,
        Column::text("PriorityLevel"),
        Column::text("MatchingPrecedence"),
        Column::text("DistinguisherMethod"),
        Column::AGE,
        Column::text("MissingPL"),
    ],
    row,
    default,
    prepare_create: |schema| set(schema, "status", json!({})),
    validate,
    ..BASE
};

const PRECEDENCE_DEFAULT: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;

fn row(schema: &Value, now: i64) -> Vec<Value> {
    let dangling = find(list_at(schema, "status.conditions"), "type", "Dangling");
    vec![
        table::name(schema),
        str_at(schema, "spec.priorityLevelConfiguration.name").into(),
        i64_at(schema, "spec.matchingPrecedence").unwrap_or(0).into(),
        text_or(str_at(schema, "spec.distinguisherMethod.type"), "<none>").into(),
        table::age(schema, now),
        dangling.map_or("?", |condition| str_at(condition, "status")).into(),
    ]
}

fn default(schema: &mut Value) {
    if i64_at(schema, "spec.matchingPrecedence").unwrap_or(0) == 0 && is_set(schema, "spec") {
        set(schema, "spec.matchingPrecedence", PRECEDENCE_DEFAULT);
    }
}

fn validate(schema: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(schema);
    let (spec, name) = (root.child("spec"), str_at(schema, "metadata.name"));
    let precedence = spec.child("matchingPrecedence");
    match precedence.int().unwrap_or(0) {
        ..=0 => errors.push(precedence.invalid("must be a positive value")),
        1 if name != "exempt" => errors.push(
            precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"),
        ),
        number if number > PRECEDENCE_MAX => {
            errors.push(precedence.invalid(format!("must not be greater than {PRECEDENCE_MAX}")));
        }
        _ => {}
    }
    spec.child("distinguisherMethod.type").one_of(&["ByNamespace", "ByUser"], &mut errors);
    let level = spec.child("priorityLevelConfiguration.name");
    if level.text().is_empty() {
        errors.push(level.required("must reference a priority level"));
    } else {
        level.must(names::dns1123_subdomain, &mut errors);
    }
    spec.each("rules").for_each(|rule| one_rule(&rule, &mut errors));
    let fixed = bootstrap::mandatory_schemas().find(|s| str_at(s, "metadata.name") == name);
    if fixed.is_some_and(|fixed| at(&fixed, "spec") != spec.value) {
        errors.push(spec.invalid(format!("spec of '{name}' must equal the fixed value")));
    }
    conditions(&root.child("status.conditions"), &mut errors);
    errors
}

fn one_rule(rule: &At<'_>, errors: &mut Errors) {
    let subjects = rule.child("subjects");
    if subjects.items().next().is_none() {
        errors.push(subjects.required("subjects must contain at least one value"));
    }
    subjects.items().for_each(|each| subject(&each, errors));
    let (resources, paths) = (rule.child("resourceRules"), rule.child("nonResourceRules"));
    if resources.items().chain(paths.items()).next().is_none() {
        errors.push(
            rule.required("at least one of resourceRules and nonResourceRules has to be non-empty"),
        );
    }
    resources.items().for_each(|each| resource_rule(&each, errors));
    paths.items().for_each(|each| path_rule(&each, errors));
}

/// Only the member that the kind names may be there.
fn subject(subject: &At<'_>, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = subject.child("kind");
    let Some((_, wanted)) = KINDS.iter().find(|(known, _)| *known == kind.text()) else {
        let known = ["Group", "ServiceAccount", "User"];
        return errors.push(FieldError::not_supported(&kind.path, kind.text(), &known));
    };
    let found = subject.child(wanted);
    if !found.is_set() {
        let detail = format!("{wanted} is required when subject kind is '{}'", kind.text());
        errors.push(found.required(detail));
    } else {
        let name = found.child("name");
        if name.must_be_set(errors) && *wanted == "serviceAccount" && name.text() != "*" {
            name.must(names::dns1123_subdomain, errors);
        }
        if *wanted == "serviceAccount" {
            let namespace = found.child("namespace");
            if namespace.text().is_empty() {
                errors.push(namespace.required("must specify namespace for service account"));
            }
            namespace.may(names::dns1123_label, errors);
        }
    }
    for (of, member) in KINDS.iter().filter(|(_, member)| member != wanted) {
        let other = subject.child(member);
        if other.is_set() {
            let detail = format!("{member} is forbidden when subject kind is not '{of}'");
            errors.push(other.forbidden(detail));
        }
    }
}

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn verbs(rule: &At<'_>, errors: &mut Errors) {
    let verbs = rule.child("verbs");
    let known = |verb: At<'_>| VERBS.contains(&verb.text());
    if !wildcard_alone(&verbs, "verbs must contain at least one value", "verbs", errors)
        && !verbs.items().all(known)
    {
        errors.push(FieldError::not_supported(&verbs.path, verbs.value.clone(), VERBS));
    }
}

/// Complains of an empty list, and of a wildcard that is not alone; says whether there was
/// anything to say, or nothing more to look at.
fn wildcard_alone(list: &At<'_>, empty: &str, what: &str, errors: &mut Errors) -> bool {
    let count = list.items().count();
    let wildcard = list.items().any(|item| item.text() == "*");
    if count == 0 {
        errors.push(list.required(empty));
    }
    if wildcard && count > 1 {
        errors.push(list.invalid(format!("if '*' is present, must not specify other {what}")));
    }
    wildcard || count == 0
}

fn resource_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(rule, errors);
    let (groups, resources) = (rule.child("apiGroups"), rule.child("resources"));
    let no_group = "resource rules must supply at least one api group";
    wildcard_alone(&groups, no_group, "api groups", errors);
    let no_resource = "resource rules must supply at least one resource";
    wildcard_alone(&resources, no_resource, "resources", errors);
    let namespaces = rule.child("namespaces");
    if namespaces.items().next().is_none() {
        if !rule.child("clusterScope").flag() {
            errors.push(namespaces.required(
                "resource rules that are not cluster scoped must supply at least one namespace",
            ));
        }
        return;
    }
    if wildcard_alone(&namespaces, "", "namespaces", errors) {
        return;
    }
    for namespace in namespaces.items() {
        let wrong = names::dns1123_label(namespace.text());
        errors.extend(wrong.into_iter().map(|detail| {
            namespace.invalid(format!(
                "each member of this list must be '*' or a DNS-1123 label; {detail}"
            ))
        }));
    }
}

fn path_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(rule, errors);
    let paths = rule.child("nonResourceURLs");
    let empty = "nonResourceURLs must contain at least one value";
    if wildcard_alone(&paths, empty, "non-resource URLs", errors) {
        return;
    }
    for path in paths.items() {
        errors.extend(odd_path(path.text()).map(|detail| path.invalid(detail)));
    }
}

fn odd_path(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || wildcards == 1 && !path.ends_with("/*") => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
