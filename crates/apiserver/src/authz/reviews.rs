//! `authorization.k8s.io`: may somebody do something (`SubjectAccessReview` and its kin), and what
//! may I do at all (`SelfSubjectRulesReview`).

use onggi_api::{FieldError, FieldPath, Status};
use onggi_machinery::rbac::PolicyRule;
use onggi_machinery::resource::Resource;
use onggi_machinery::selector::{FieldSelector, LabelSelector};
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Map, Value, json};

use super::{Attributes, Chain, Decision, Target};
use crate::authn::User;

/// Whose access is reviewed.
enum Whose {
    /// Of the user that `spec` names.
    Named,
    /// The same, in the namespace of the request.
    NamedHere,
    /// Of whoever asks.
    Own,
}

/// Answers a review; `namespace` is that of the request.
pub(crate) async fn answer(
    chain: &Chain,
    user: &User,
    row: &Resource,
    namespace: &str,
    review: Value,
) -> Result<Value, Status> {
    let whose = match row.kind {
        "SelfSubjectRulesReview" => return rules(chain, user, review),
        "SelfSubjectAccessReview" => Whose::Own,
        "LocalSubjectAccessReview" => Whose::NamedHere,
        _ => Whose::Named,
    };
    access(chain, user, row, &whose, namespace, review).await
}

async fn access(
    chain: &Chain,
    user: &User,
    row: &Resource,
    whose: &Whose,
    namespace: &str,
    mut review: Value,
) -> Result<Value, Status> {
    let mut errors = validate(&review, whose);
    let local = str_at(&review, "metadata.namespace");
    if matches!(whose, Whose::NamedHere) && local != namespace && !local.is_empty() {
        let path = FieldPath::new("metadata.namespace");
        errors.push(FieldError::invalid(&path, local, "must match the namespace of the request"));
    }
    if !errors.is_empty() {
        // Kubernetes does not say the kind here.
        return Err(Status::invalid(&format!(".{}", row.group), "", &errors));
    }
    let spec = &review["spec"];
    let named = match whose {
        Whose::Own => user.clone(),
        Whose::Named | Whose::NamedHere => subject(spec),
    };
    let mut problems = Vec::new();
    let resource = &spec["resourceAttributes"];
    let selector = field_selector(&resource["fieldSelector"], &mut problems);
    check_labels(&resource["labelSelector"], &mut problems);
    let target = if resource.is_object() {
        Target::Resource {
            group: str_at(resource, "group"),
            resource: str_at(resource, "resource"),
            subresource: str_at(resource, "subresource"),
            namespace: str_at(resource, "namespace"),
            name: str_at(resource, "name"),
            selector: &selector,
        }
    } else {
        Target::Path(str_at(spec, "nonResourceAttributes.path"))
    };
    let from = if resource.is_object() { resource } else { &spec["nonResourceAttributes"] };
    let decision =
        chain.ask(&Attributes { user: &named, verb: str_at(from, "verb"), target }).await;
    let mut status = Map::new();
    let (allowed, why) = match &decision {
        Decision::Allow(why) => (true, why),
        Decision::Deny(why) | Decision::NoOpinion(why) => (false, why),
    };
    status.insert("allowed".into(), allowed.into());
    if matches!(decision, Decision::Deny(_)) {
        status.insert("denied".into(), true.into());
    }
    let reason = why.to_string();
    if !reason.is_empty() {
        status.insert("reason".into(), reason.into());
    }
    if !problems.is_empty() {
        status.insert("evaluationError".into(), problems.join("; ").into());
    }
    review["status"] = status.into();
    Ok(review)
}

fn subject(spec: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: str_at(spec, "user").into(),
        uid: str_at(spec, "uid").into(),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), texts(values))).collect(),
        ..User::default()
    }
}

fn validate(review: &Value, whose: &Whose) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let field = |name: &str| FieldPath::new(format!("spec.{name}"));
    if resource.is_object() && path.is_object() {
        let text = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid(&field("nonResourceAttributes"), path.clone(), text));
    }
    if !resource.is_object() && !path.is_object() {
        let text = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(&field("resourceAttributes"), Value::Null, text));
    }
    if !matches!(whose, Whose::Own)
        && str_at(spec, "user").is_empty()
        && list_at(spec, "groups").is_empty()
    {
        let text = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&field("user"), "", text));
    }
    for (name, parsed) in [("fieldSelector", "fields"), ("labelSelector", "labels")] {
        let selector = &resource[name];
        let raw = !str_at(selector, "rawSelector").is_empty();
        let requirements = !list_at(selector, "requirements").is_empty();
        let path = field("resourceAttributes").child(name);
        if raw && requirements {
            let text = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(&path.child("rawSelector"), parsed, text));
        }
        if selector.is_object() && !raw && !requirements {
            let text = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(&path.child("requirements"), text));
        }
    }
    let metadata = review["metadata"].as_object();
    let local = matches!(whose, Whose::NamedHere);
    let more = metadata.into_iter().flatten().any(|(key, value)| {
        !(local && key == "namespace") && key != "managedFields" && !value.is_null()
    });
    if more {
        let text = if local { "must be empty except for namespace" } else { "must be empty" };
        let metadata = review["metadata"].clone();
        errors.push(FieldError::invalid(&FieldPath::new("metadata"), metadata, text));
    }
    if local {
        let (asked, own) = (str_at(resource, "namespace"), str_at(review, "metadata.namespace"));
        if resource.is_object() && asked != own {
            let path = FieldPath::new("spec.resourceAttributes.namespace");
            errors.push(FieldError::invalid(&path, asked, "must match metadata.namespace"));
        }
        if path.is_object() {
            let text = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&field("nonResourceAttributes"), path.clone(), text));
        }
    }
    errors
}

/// The field selector as text; what of it cannot be read is left out, which asks for more.
fn field_selector(selector: &Value, problems: &mut Vec<String>) -> String {
    let raw = str_at(selector, "rawSelector");
    let mut parts = Vec::new();
    let mut bad = false;
    if !raw.is_empty() {
        match FieldSelector::parse(raw) {
            Ok(_) => parts.push(raw.to_owned()),
            Err(_) => bad = true,
        }
    }
    for requirement in list_at(selector, "requirements") {
        let (key, values) = (str_at(requirement, "key"), list_at(requirement, "values"));
        match (str_at(requirement, "operator"), values) {
            ("In", [Value::String(value)]) => parts.push(format!("{key}={value}")),
            ("NotIn", [Value::String(value)]) => parts.push(format!("{key}!={value}")),
            _ => bad = true,
        }
    }
    if bad {
        problems.push(ignored("fieldSelector", parts.is_empty()));
    }
    parts.join(",")
}

fn check_labels(selector: &Value, problems: &mut Vec<String>) {
    let raw = str_at(selector, "rawSelector");
    let requirements = list_at(selector, "requirements");
    let known = |requirement: &&Value| {
        matches!(str_at(requirement, "operator"), "In" | "NotIn" | "Exists" | "DoesNotExist")
    };
    let good = requirements.iter().filter(known).count();
    if good < requirements.len() || LabelSelector::parse(raw).is_err() {
        problems.push(ignored("labelSelector", good == 0));
    }
}

fn ignored(selector: &str, all: bool) -> String {
    let how = if all { "" } else { "partially " };
    format!("spec.resourceAttributes.{selector} {how}ignored due to parse error")
}

fn rules(chain: &Chain, user: &User, mut review: Value) -> Result<Value, Status> {
    let namespace = str_at(&review, "spec.namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let found = chain.rules(user, namespace);
    let (paths, resources): (Vec<_>, Vec<_>) =
        found.rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
    let list =
        |rules: Vec<&PolicyRule>| rules.into_iter().map(PolicyRule::to_value).collect::<Vec<_>>();
    let mut status = json!({
        "resourceRules": list(resources),
        "nonResourceRules": list(paths),
        "incomplete": found.incomplete,
    });
    if !found.errors.is_empty() {
        status["evaluationError"] = found.errors.join(", ").into();
    }
    review["status"] = status;
    Ok(review)
}
