//! Which requests a webhook, a policy or a binding is for: rules, selectors, equivalent versions.

use onggi_api::Status;
use onggi_machinery::admission::review::{self, Question};
use onggi_machinery::admission::rules::{self, Target};
use onggi_machinery::resource::Resource;
use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::Value;

use super::{Attributes, lookup, versions};
use crate::registry::Registry;

/// `MatchResources`, and the part of a webhook that is the same.
pub(super) struct Matching {
    rules: Vec<Value>,
    excluded: Vec<Value>,
    /// No rules at all mean every request.
    all: bool,
    equivalent: bool,
    /// `Err`: what is wrong with the selector.
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

impl Matching {
    /// Reads it; `rules` names the field that holds the rules.
    pub(super) fn read(holder: &Value, rules: &str) -> Self {
        let selector = |field: &str| match at(holder, field) {
            Value::Null => Ok(LabelSelector::everything()),
            selector => LabelSelector::from_object(selector).map_err(|error| error.to_string()),
        };
        let list = list_at(holder, rules).to_vec();
        Self {
            all: list.is_empty() && rules == "resourceRules",
            rules: list,
            excluded: list_at(holder, "excludeResourceRules").to_vec(),
            equivalent: str_at(holder, "matchPolicy") != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// The version in which the request is matched; `None` where it is not. A selector that cannot
    /// be read is an error only for requests that the rules are for.
    pub(super) async fn row(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<Option<&'static Resource>, Status> {
        let objects = self.objects.as_ref();
        if objects.is_ok_and(|selector| !has_labels(selector, attributes, object)) {
            return Ok(None);
        }
        if self.by_rules(registry, &self.excluded, attributes).is_some() {
            return Ok(None);
        }
        let row = match self.all {
            true => Some(attributes.row),
            false => self.by_rules(registry, &self.rules, attributes),
        };
        let Some(row) = row else { return Ok(None) };
        self.objects.as_ref().map_err(Status::internal)?;
        let namespaces = self.namespaces.as_ref().map_err(Status::internal)?;
        let selected = in_namespace(registry, namespaces, attributes, object).await?;
        Ok(selected.then_some(row))
    }

    fn by_rules(
        &self,
        registry: &Registry,
        rules: &[Value],
        attributes: &Attributes<'_>,
    ) -> Option<&'static Resource> {
        let mut target = attributes.target();
        if rules.iter().any(|rule| rules::matches(rule, &target)) {
            return Some(attributes.row);
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        versions::equivalents(registry, attributes.row).into_iter().find(|other| {
            (target.group, target.version) = (other.group, other.version);
            rules.iter().any(|rule| rules::matches(rule, &target))
        })
    }
}

/// The request as rules see it, in another version of its kind.
pub(super) fn target_in<'a>(attributes: &Attributes<'a>, row: &'static Resource) -> Target<'a> {
    Target { group: row.group, version: row.version, ..attributes.target() }
}

/// Group, version and kind of what is sent, in another version of its kind.
pub(super) fn kind_in(
    attributes: &Attributes<'_>,
    row: &'static Resource,
) -> (&'static str, &'static str, &'static str) {
    let part = row.subresource(attributes.subresource);
    part.map_or((row.group, row.version, row.kind), |part| part.kind)
}

/// Whether the object, as it is or as it was, has the labels.
fn has_labels(selector: &LabelSelector, attributes: &Attributes<'_>, object: &Value) -> bool {
    // What has no metadata, such as the options of an exec, is selected by an empty selector alone.
    let matches = |object: &Value| {
        object.is_object() && selector.matches_value(&object["metadata"]["labels"])
    };
    selector.is_everything() || matches(object) || attributes.old.is_some_and(matches)
}

/// Whether the namespace has the labels; what lives in the cluster is never left out.
async fn in_namespace(
    registry: &Registry,
    selector: &LabelSelector,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<bool, Status> {
    let place = attributes.place();
    if selector.is_everything() || place.is_empty() && !attributes.part("", "namespaces") {
        return Ok(true);
    }
    // Of a namespace that is made or changed, its labels as they will be.
    if attributes.about("", "namespaces") && attributes.writes() {
        return Ok(selector.matches_value(&object["metadata"]["labels"]));
    }
    match lookup::find(registry, "", "namespaces", "", place).await? {
        Some(namespace) => Ok(selector.matches(&namespace.head().labels)),
        None => Err(Status::not_found("namespaces", place)),
    }
}

/// The request as expressions see it.
pub(super) fn request(attributes: &Attributes<'_>, row: &'static Resource) -> Value {
    let user = attributes.user().to_value();
    let options = attributes.options_value();
    let question = Question {
        uid: "",
        kind: kind_in(attributes, row),
        target: target_in(attributes, row),
        request_kind: attributes.kind(),
        request_version: attributes.row.version,
        user: &user,
        object: &Value::Null,
        old_object: &Value::Null,
        dry_run: attributes.dry_run(),
        options: &options,
    };
    let mut request = review::request(&question);
    if let Some(fields) = request.as_object_mut() {
        // They are variables of their own.
        for field in ["uid", "object", "oldObject"] {
            fields.remove(field);
        }
    }
    request
}
