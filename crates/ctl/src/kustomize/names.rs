//! Names that change, and what refers to them; the order of the objects.

use onggi_machinery::value::{at, str_at};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::{Config, NameReference};
use super::fieldspec::{FieldSpec, Leaf};
use super::file::LegacyOrder;
use super::id::Id;
use super::resource::Resource;
use crate::output::json::compact;

/// Kinds that others need, in the order in which they are created (Kustomize's legacy order).
const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

impl LegacyOrder {
    pub(super) fn builtin() -> Self {
        let texts = |list: &[&str]| list.iter().map(|kind| (*kind).to_owned()).collect();
        Self { order_first: texts(FIRST), order_last: texts(LAST) }
    }

    /// Where a kind stands among the others.
    pub(super) fn rank(&self, kind: &str) -> Rank {
        let place = |list: &[String]| list.iter().position(|k| k == kind);
        match (place(&self.order_first), place(&self.order_last)) {
            (Some(at), _) => (0, at),
            (None, None) => (1, 0),
            (None, Some(at)) => (2, at),
        }
    }
}

/// First, between or last, and the place there.
pub(super) type Rank = (u8, usize);

/// What kinds of one rank are sorted by; what is empty comes behind what is not.
pub(super) fn sort_text(group: &str, version: &str, kind: &str) -> String {
    let or = |text: &str, other: &str| {
        if text.is_empty() { other.to_owned() } else { text.to_owned() }
    };
    format!("{}_{}_{}", or(group, "~G"), or(version, "~V"), or(kind, "~K"))
}

/// Sorts as `kubectl kustomize` does: by kind, then by group, version, namespace and name; objects
/// without a namespace behind those of their kind that have one.
pub(super) fn order(resources: &mut [Resource], order: &LegacyOrder) {
    resources.sort_by_cached_key(|resource| {
        let gvk = resource.gvk();
        // The cluster's own namespaces come before what others call so.
        let is_foreign = gvk.kind == "Namespace" && !gvk.group.is_empty();
        let namespace = match resource.namespace() {
            "" => "~X",
            namespace => namespace,
        };
        (
            order.rank(&gvk.kind),
            is_foreign,
            sort_text(&gvk.group, &gvk.version, &gvk.kind),
            format!("{namespace}|{}", resource.name()),
        )
    });
}

/// Puts the hash of what it holds behind the name of each generated object.
pub(super) fn add_hashes(resources: &mut [Resource]) {
    for resource in resources.iter_mut().filter(|resource| resource.hashed) {
        let name = format!("{}-{}", resource.name(), hash(&resource.value, ""));
        resource.rename(name);
    }
}

/// Kustomize's hash: SHA-256 of some fields as JSON, ten digits of it, without those that could
/// make words. Kustomize itself looks for the name in the wrong place and finds none.
pub(crate) fn hash(object: &Value, name: &str) -> String {
    let field = |name: &str| object.get(name).cloned().unwrap_or_else(|| "".into());
    let text = match str_at(object, "kind") {
        "ConfigMap" | "Secret" => {
            let mut hashed = json!({"kind": field("kind"), "name": name, "data": field("data")});
            if str_at(object, "kind") == "Secret" {
                hashed["type"] = field("type");
            }
            for extra in ["binaryData", "stringData"] {
                if let Some(map) = object.get(extra) {
                    hashed[extra] = map.clone();
                }
            }
            compact(&hashed)
        }
        // Of other kinds the whole.
        _ => compact(object),
    };
    let digest = hex::encode(Sha256::digest(text));
    let readable = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        c => c,
    };
    digest.chars().take(10).map(readable).collect()
}

/// Lets references say the present names.
pub(super) fn mend(resources: &mut [Resource], config: &Config) -> Result<(), String> {
    // What is referred to is looked at as it was when this began: only names matter.
    let all: Vec<Candidate> = resources.iter().map(Candidate::of).collect();
    for resource in resources.iter_mut() {
        let mut value = std::mem::take(&mut resource.value);
        let mended = mend_one(&mut value, resource, &all, config);
        resource.value = value;
        mended?;
    }
    Ok(())
}

fn mend_one(
    value: &mut Value,
    resource: &Resource,
    all: &[Candidate],
    config: &Config,
) -> Result<(), String> {
    let id = Id::of(value);
    let referrer = Referrer {
        resource,
        role: role_of(value),
        namespaces: role_binding_namespaces(value, &id)?,
        id: id.clone(),
    };
    let near: Vec<&Candidate> = all.iter().filter(|c| referrer.may_mean(c)).collect();
    for reference in &config.name_reference {
        for spec in reference.field_specs.iter().filter(|spec| spec.fits(&id.gvk)) {
            let field = Field { reference, spec, referrer: &referrer, near: &near };
            spec.visit(value, Leaf::None, &mut |value| field.mend(value)).map_err(|text| {
                format!("updating name reference in '{}' field of '{id}': {text}", spec.path)
            })?;
        }
    }
    Ok(())
}

/// What may be referred to.
struct Candidate {
    id: Id,
    before: Vec<Id>,
    resource: Resource,
}

impl Candidate {
    fn of(resource: &Resource) -> Self {
        let bare = Resource { value: Value::Null, ..resource.clone() };
        Self { id: resource.id(), before: resource.before.clone(), resource: bare }
    }
}

struct Referrer<'a> {
    resource: &'a Resource,
    id: Id,
    /// Group and kind of its `roleRef`.
    role: Option<(String, String)>,
    /// Of its subjects, where it is a RoleBinding.
    namespaces: Vec<String>,
}

impl Referrer<'_> {
    /// Whether the two can know each other: both in one namespace, or one of the cluster.
    fn may_mean(&self, candidate: &Candidate) -> bool {
        self.id.gvk.is_of_cluster()
            || candidate.id.gvk.is_of_cluster()
            || self.id.effective_namespace() == candidate.id.effective_namespace()
            || self.namespaces.contains(&candidate.id.namespace)
    }
}

fn role_of(value: &Value) -> Option<(String, String)> {
    let role = value.get("roleRef")?;
    Some((str_at(role, "apiGroup").to_owned(), str_at(role, "kind").to_owned()))
}

fn role_binding_namespaces(value: &Value, id: &Id) -> Result<Vec<String>, String> {
    if str_at(value, "kind") != "RoleBinding" {
        return Ok(Vec::new());
    }
    let subjects = at(value, "subjects").as_array().into_iter().flatten();
    let accounts = subjects.filter(|subject| str_at(subject, "kind") == "ServiceAccount");
    let namespaces = accounts.filter_map(|subject| subject.get("namespace"));
    let blank = || format!("Invalid Input: namespace is blank for resource {:?}", id.to_string());
    namespaces.map(|name| name.as_str().map(str::to_owned).ok_or_else(blank)).collect()
}

/// A field that holds a name.
struct Field<'a> {
    reference: &'a NameReference,
    spec: &'a FieldSpec,
    referrer: &'a Referrer<'a>,
    near: &'a [&'a Candidate],
}

impl Field<'_> {
    fn mend(&self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(name) => {
                if let Some(found) = self.choose(name, self.near, false)? {
                    name.clone_from(&found.id.name);
                }
                Ok(())
            }
            Value::Object(_) => self.mend_map(value),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.mend(item)),
            Value::Null => Ok(()),
            _ => Err("node must be a scalar, sequence or map".to_owned()),
        }
    }

    /// `{name, namespace}`: both say the present ones afterwards.
    fn mend_map(&self, value: &mut Value) -> Result<(), String> {
        let Some(name) = value.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return Err("path config error; no 'name' field in node".to_owned());
        };
        let near: Vec<&Candidate> = match value.get("namespace").and_then(Value::as_str) {
            None => self.near.to_vec(),
            Some(namespace) => {
                let first = |c: &&&Candidate| c.before.first().unwrap_or(&c.id).is_in(namespace);
                let then: Vec<&Candidate> = self.near.iter().filter(first).copied().collect();
                if then.is_empty() {
                    let now = |c: &&&Candidate| c.id.is_in(namespace);
                    self.near.iter().filter(now).copied().collect()
                } else {
                    then
                }
            }
        };
        if let Some(found) = self.choose(&name, &near, true)? {
            value["name"] = found.id.name.as_str().into();
            if !found.id.namespace.is_empty() {
                value["namespace"] = found.id.namespace.as_str().into();
            }
        }
        Ok(())
    }

    /// The one that is meant by an old name; two that are the same for the purpose are one.
    fn choose<'c>(
        &self,
        name: &str,
        near: &[&'c Candidate],
        with_namespace: bool,
    ) -> Result<Option<&'c Candidate>, String> {
        let referrer = self.referrer;
        let of_role = |c: &Candidate| {
            let Some((group, kind)) = &referrer.role else { return true };
            !self.spec.path.ends_with("roleRef/name")
                || c.before.iter().any(|id| id.gvk.group == *group && id.gvk.kind == *kind)
        };
        let here = |c: &Candidate| {
            referrer.id.gvk.is_of_cluster()
                || c.id.gvk.is_of_cluster()
                || c.id.gvk.kind == "ServiceAccount"
                || referrer.id.effective_namespace() == c.id.effective_namespace()
        };
        let mut found: Vec<&Candidate> = near
            .iter()
            .copied()
            .filter(|c| c.before.iter().any(|id| id.name == name))
            .filter(|c| c.before.iter().any(|id| self.reference.fits(&id.gvk)))
            .filter(|c| of_role(c) && here(c))
            .collect();
        // One alone may stand in any layer; several are told apart by their prefixes and suffixes,
        // at first by those that both have.
        for allow_none in [true, false] {
            if found.len() > 1 {
                found.retain(|c| c.resource.is_of_same_layer(referrer.resource, allow_none));
            }
        }
        let Some(first) = found.first().copied() else { return Ok(None) };
        let same = |c: &&Candidate| {
            c.id.name == first.id.name && (!with_namespace || c.id.namespace == first.id.namespace)
        };
        if found.iter().all(same) {
            return Ok(Some(first));
        }
        let ids: Vec<String> = found.iter().map(|c| c.id.to_string()).collect();
        Err(format!("found multiple possible referrals: {}", ids.join(", ")))
    }
}

impl Id {
    fn is_in(&self, namespace: &str) -> bool {
        !self.gvk.is_of_cluster() && self.effective_namespace() == namespace
    }
}
