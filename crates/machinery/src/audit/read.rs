//! Policy files. A field that is not known is refused: a rule that is not followed keeps less than
//! its author thinks.

use onggi_api::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::{GroupResources, Level, Policy, Rule, Stage};
use crate::validation::names::dns1123_subdomain;
use crate::yaml;

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
    let value = yaml::parse(text).map_err(|error| error.to_string())?;
    let mut errors = Vec::new();
    let policy = policy(&value, &mut errors);
    if errors.is_empty() {
        return Ok(policy);
    }
    Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

type Errors = Vec<FieldError>;

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
    let omit_stages = fields.stages(errors);
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
        omit_stages: fields.stages(errors),
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

/// The fields of a map, and where it stands.
struct Fields<'a> {
    path: FieldPath,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, path: &FieldPath, errors: &mut Errors) -> Self {
        let map = value.as_object();
        if map.is_none() {
            errors.push(FieldError::type_invalid(path, value.clone(), "must be a map"));
        }
        Self { path: path.clone(), map }
    }

    fn only(&self, known: &[&str], errors: &mut Errors) {
        let names = self.map.into_iter().flat_map(Map::keys);
        for name in names.filter(|name| !known.contains(&name.as_str())) {
            let detail = format!("unknown field; known are {}", known.join(", "));
            errors.push(FieldError::forbidden(&self.path.child(name), detail));
        }
    }

    fn get(&self, name: &str) -> &'a Value {
        self.map.and_then(|map| map.get(name)).unwrap_or(&Value::Null)
    }

    fn wrong(&self, name: &str, must: &str, errors: &mut Errors) {
        let (path, value) = (self.path.child(name), self.get(name).clone());
        errors.push(FieldError::type_invalid(&path, value, format!("must be {must}")));
    }

    fn text(&self, name: &str, errors: &mut Errors) -> String {
        match self.get(name) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            _ => {
                self.wrong(name, "a text", errors);
                String::new()
            }
        }
    }

    fn flag(&self, name: &str, errors: &mut Errors) -> Option<bool> {
        match self.get(name) {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.wrong(name, "true or false", errors);
                None
            }
        }
    }

    fn list(&self, name: &str, errors: &mut Errors) -> &'a [Value] {
        match self.get(name) {
            Value::Null => &[],
            Value::Array(list) => list,
            _ => {
                self.wrong(name, "a list", errors);
                &[]
            }
        }
    }

    fn texts(&self, name: &str, errors: &mut Errors) -> Vec<String> {
        let mut texts = Vec::new();
        for (at, value) in self.list(name, errors).iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    let path = self.path.child(name).index(at);
                    errors.push(FieldError::type_invalid(&path, other.clone(), "must be a text"));
                }
            }
        }
        texts
    }

    fn stages(&self, errors: &mut Errors) -> Vec<Stage> {
        let path = self.path.child("omitStages");
        let known = STAGES.map(|(name, _)| name).join(",");
        let mut stages = Vec::new();
        for (at, found) in self.texts("omitStages", errors).into_iter().enumerate() {
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
}
