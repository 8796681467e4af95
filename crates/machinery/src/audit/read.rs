//! Policy files. A field that is not known is refused: a rule that is not followed keeps less than
//! its author thinks.

use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

use super::{GroupResources, Level, Policy, Rule, Stage};
use crate::fields::{self, Errors, Fields};
use crate::validation::names::dns1123_subdomain;

const LEVELS: [(&str, Level); 4] = [
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];

const STAGES: [(&str, Stage); 4] = [
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];

/// A policy from YAML or JSON; the error names every rule and field that is wrong.
pub fn read(text: &str) -> Result<Policy, String> {
    fields::read(text, policy)
}

fn policy(value: &Value, errors: &mut Errors) -> Policy {
    let root = FieldPath::root();
    let fields = Fields::of(value, &root, errors);
    for (name, wanted) in [("apiVersion", "audit.k8s.io/v1"), ("kind", "Policy")] {
        match value.get(name).and_then(Value::as_str) {
            Some(found) if found == wanted => {}
            Some(found) => {
                errors.push(FieldError::not_supported(&root.child(name), found, &[wanted]));
            }
            None => errors.push(FieldError::required(&root.child(name), wanted)),
        }
    }
    let known = ["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"];
    fields.only(&known, errors);
    let omit_stages = stages(&fields, errors);
    let omit_managed_fields = fields.flag("omitManagedFields", errors).unwrap_or(false);
    let path = root.child("rules");
    let list = fields.list("rules", errors);
    if list.is_empty() {
        errors.push(FieldError::required(&path, "there must be at least one rule"));
    }
    let rules = list.iter().enumerate().map(|(at, value)| {
        let mut rule = rule(value, &path.index(at), omit_managed_fields, errors);
        rule.omit_stages.extend(&omit_stages);
        rule
    });
    Policy { rules: rules.collect(), omit_stages }
}

fn rule(value: &Value, path: &FieldPath, omit_managed_fields: bool, errors: &mut Errors) -> Rule {
    let fields = Fields::of(value, path, errors);
    let known = [
        "level",
        "users",
        "userGroups",
        "verbs",
        "resources",
        "namespaces",
        "nonResourceURLs",
        "omitStages",
        "omitManagedFields",
    ];
    fields.only(&known, errors);
    let at = path.child("level");
    let names = LEVELS.map(|(name, _)| name);
    let level = match fields.get("level") {
        Value::Null => {
            errors.push(FieldError::required(&at, ""));
            None
        }
        found => {
            let level = LEVELS.iter().find(|(name, _)| found == name).map(|(_, level)| *level);
            if level.is_none() {
                errors.push(FieldError::not_supported(&at, found.clone(), &names));
            }
            level
        }
    };
    let path = path.child("nonResourceURLs");
    let non_resource_urls = fields.texts("nonResourceURLs", errors);
    for (at, url) in non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        let mut wrong = |detail: &str| {
            errors.push(FieldError::invalid(&path.index(at), url.as_str(), detail));
        };
        if !url.starts_with('/') {
            wrong("non-resource URL rules must begin with a '/' character");
        }
        if url.find('*').is_some_and(|star| star + 1 < url.len()) {
            wrong("non-resource URL wildcards '*' must be the final character of the rule");
        }
    }
    let resources = resources(&fields, errors);
    let namespaces = fields.texts("namespaces", errors);
    let of_resources = !resources.is_empty() || !namespaces.is_empty();
    if of_resources && !non_resource_urls.is_empty() {
        let detail = "rules cannot apply to both regular resources and non-resource URLs";
        errors.push(FieldError::invalid(&path, non_resource_urls.clone(), detail));
    }
    Rule {
        level: level.unwrap_or(Level::None),
        users: fields.texts("users", errors),
        user_groups: fields.texts("userGroups", errors),
        verbs: fields.texts("verbs", errors),
        resources,
        namespaces,
        non_resource_urls,
        omit_stages: stages(&fields, errors),
        omit_managed_fields: fields
            .flag("omitManagedFields", errors)
            .unwrap_or(omit_managed_fields),
    }
}

fn resources(rule: &Fields<'_>, errors: &mut Errors) -> Vec<GroupResources> {
    let path = rule.path.child("resources");
    let entries = rule.list("resources", errors).iter().enumerate();
    entries
        .map(|(at, value)| {
            let path = path.index(at);
            let fields = Fields::of(value, &path, errors);
            fields.only(&["group", "resources", "resourceNames"], errors);
            let group = fields.text("group", errors);
            if !group.is_empty() {
                for detail in dns1123_subdomain(&group) {
                    errors.push(FieldError::invalid(&path.child("group"), group.as_str(), detail));
                }
            }
            let entry = GroupResources {
                group,
                resources: fields.texts("resources", errors),
                resource_names: fields.texts("resourceNames", errors),
            };
            if !entry.resource_names.is_empty() && entry.resources.is_empty() {
                let (at, names) = (path.child("resourceNames"), entry.resource_names.clone());
                let detail = "using resourceNames requires at least one resource";
                errors.push(FieldError::invalid(&at, names, detail));
            }
            entry
        })
        .collect()
}

fn stages(fields: &Fields<'_>, errors: &mut Errors) -> Vec<Stage> {
    let path = fields.path.child("omitStages");
    let known = STAGES.map(|(name, _)| name).join(",");
    let mut stages = Vec::new();
    for (at, found) in fields.texts("omitStages", errors).into_iter().enumerate() {
        match STAGES.iter().find(|(name, _)| *name == found) {
            Some((_, stage)) => stages.push(*stage),
            None => {
                let detail = format!("allowed stages are {known}");
                errors.push(FieldError::invalid(&path.index(at), found, detail));
            }
        }
    }
    stages
}
