//! Names that change, and what refers to them; the order of the objects.

use onggi_machinery::value::str_at;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::Resource;
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

/// Sorts as `kubectl kustomize` does: by kind, then by group, version, namespace and name.
pub(super) fn order(objects: &mut [Value]) {
    let place = |list: &[&str], kind: &str| list.iter().position(|k| *k == kind);
    objects.sort_by_cached_key(|object| {
        let kind = str_at(object, "kind");
        let rank = match (place(FIRST, kind), place(LAST, kind)) {
            (Some(at), _) => (0, at),
            (None, None) => (1, 0),
            (None, Some(at)) => (2, at),
        };
        let api_version = str_at(object, "apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("~G", api_version));
        let text = |path: &str| str_at(object, path).to_owned();
        let id = format!("{group}_{version}_{kind}");
        (rank, id, text("metadata.namespace"), text("metadata.name"))
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
    let mut hashed = json!({
        "kind": field("kind"),
        "name": name,
        "data": field("data"),
    });
    if str_at(object, "kind") == "Secret" {
        hashed["type"] = field("type");
    }
    for extra in ["binaryData", "stringData"] {
        if let Some(map) = object.get(extra) {
            hashed[extra] = map.clone();
        }
    }
    let digest = hex::encode(Sha256::digest(compact(&hashed)));
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
pub(super) fn mend(resources: &mut [Resource]) {
    let renamed: Vec<Renamed> = resources
        .iter()
        .filter(|resource| !resource.before.is_empty())
        .map(|resource| Renamed {
            kind: resource.kind().to_owned(),
            namespace: str_at(&resource.value, "metadata.namespace").to_owned(),
            before: resource.before.clone(),
            now: resource.name().to_owned(),
        })
        .collect();
    if renamed.is_empty() {
        return;
    }
    for resource in resources.iter_mut() {
        let namespace = str_at(&resource.value, "metadata.namespace").to_owned();
        let names = Names { renamed: &renamed, namespace: &namespace };
        let Some(object) = resource.value.as_object_mut() else { continue };
        for (key, value) in object.iter_mut().filter(|(key, _)| *key != "metadata") {
            names.visit(key, value);
        }
    }
}

struct Renamed {
    kind: String,
    namespace: String,
    before: Vec<String>,
    now: String,
}

struct Names<'a> {
    renamed: &'a [Renamed],
    /// Of the object that refers.
    namespace: &'a str,
}

impl Names<'_> {
    /// Goes through a value and renames what stands behind keys that refer.
    fn visit(&self, key: &str, value: &mut Value) {
        match key {
            "configMap" | "configMapRef" | "configMapKeyRef" => {
                self.field(value, "name", "ConfigMap")
            }
            "secretRef" | "secretKeyRef" => self.field(value, "name", "Secret"),
            "secret" => {
                self.field(value, "secretName", "Secret");
                self.field(value, "name", "Secret");
            }
            "persistentVolumeClaim" => {
                self.field(value, "claimName", "PersistentVolumeClaim");
            }
            "service" => self.field(value, "name", "Service"),
            "serviceAccountName" | "serviceAccount" => self.text(value, "ServiceAccount"),
            "serviceName" => self.text(value, "Service"),
            "volumeName" => self.text(value, "PersistentVolume"),
            "priorityClassName" => self.text(value, "PriorityClass"),
            "storageClassName" => self.text(value, "StorageClass"),
            "scaleTargetRef" | "roleRef" | "targetRef" => self.of_kind(value),
            "imagePullSecrets" | "secrets" => self.each(value, |names, item| {
                names.field(item, "name", "Secret");
            }),
            "tls" => self.each(value, |names, item| names.field(item, "secretName", "Secret")),
            "subjects" => self.each(value, Self::of_kind),
            _ => {}
        }
        match value {
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| self.visit(key, value)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.visit("", item)),
            _ => {}
        }
    }

    fn each(&self, value: &mut Value, visit: impl Fn(&Self, &mut Value)) {
        for item in value.as_array_mut().into_iter().flatten() {
            visit(self, item);
        }
    }

    fn of_kind(&self, value: &mut Value) {
        let kind = str_at(value, "kind").to_owned();
        self.field(value, "name", &kind);
    }

    fn field(&self, value: &mut Value, field: &str, kind: &str) {
        if let Some(text) = value.get_mut(field) {
            self.text(text, kind);
        }
    }

    fn text(&self, value: &mut Value, kind: &str) {
        let Some(name) = value.as_str() else { return };
        let fits = |r: &&Renamed| r.kind == kind && r.before.iter().any(|before| before == name);
        let mut found = self.renamed.iter().filter(fits);
        // Where two had the name, the one of the same namespace is meant.
        let near = found.clone().find(|r| r.namespace == self.namespace);
        if let Some(renamed) = near.or_else(|| found.next()) {
            *value = renamed.now.as_str().into();
        }
    }
}
