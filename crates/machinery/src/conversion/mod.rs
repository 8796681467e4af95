//! Old versions of the API read as new ones. Kubernetes has removed them; manifests that people
//! have still say them, and here they work, with a warning that says what to write.

mod ingress;
mod workloads;

use onggi_api::{GroupVersion, GroupVersionKind};
use serde_json::Value;

use crate::resource::{self, Resource};
use crate::schema::{self, DecodeProblem, Decoded, FieldValidation};

/// A version of a kind that is no more.
#[derive(Debug, Clone, Copy)]
pub struct Legacy {
    /// The old group.
    pub group: &'static str,
    /// The old version.
    pub version: &'static str,
    /// The plural, then and now.
    pub plural: &'static str,
    /// The kind, then and now.
    pub kind: &'static str,
    /// The group and version that it is read as.
    pub current: (&'static str, &'static str),
    /// The releases of Kubernetes that deprecated and that removed it: `("1.8", "1.16")`.
    pub since: (&'static str, &'static str),
    /// Gives the object the shape of the current version, with the defaults that the old version
    /// had and the current has otherwise. Tells what it filled in.
    convert: fn(&mut Value) -> Vec<String>,
}

/// Every old version, of kinds that are served and of others.
pub fn all() -> &'static [Legacy] {
    TABLE
}

/// The old version that a path names.
pub fn legacy(group: &str, version: &str, plural: &str) -> Option<&'static Legacy> {
    TABLE.iter().find(|l| l.group == group && l.version == version && l.plural == plural)
}

/// The old version that an object says it has.
pub fn legacy_kind(group: &str, version: &str, kind: &str) -> Option<&'static Legacy> {
    TABLE.iter().find(|l| l.group == group && l.version == version && l.kind == kind)
}

impl Legacy {
    /// The row of the current version, where it is served.
    pub fn resource(&self) -> Option<&'static Resource> {
        resource::by_gvr(self.current.0, self.current.1, self.plural)
    }

    /// The kind that it is read as.
    pub fn current_kind(&self) -> GroupVersionKind {
        let (group, version) = self.current;
        GroupVersionKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: self.kind.to_owned(),
        }
    }

    /// `extensions/v1beta1`.
    pub fn api_version(&self) -> String {
        GroupVersion { group: self.group.to_owned(), version: self.version.to_owned() }.to_string()
    }

    /// Makes the current version of an object; gives the warnings. An object of another shape than
    /// its kind's is changed as far as it can be: the check against the schema comes after.
    pub fn to_current(&self, object: &mut Value) -> Vec<String> {
        let current = self.current_kind().api_version();
        let mut warnings = vec![format!(
            "{old} {kind} is deprecated in v{deprecated}+, unavailable in v{removed}+; use {current} \
             {kind}, as which it is read here",
            old = self.api_version(),
            kind = self.kind,
            deprecated = self.since.0,
            removed = self.since.1,
        )];
        warnings.extend((self.convert)(object));
        if let Value::Object(map) = object {
            map.insert("apiVersion".to_owned(), current.into());
        }
        warnings
    }

    /// Reads a body of the old version as [`schema::decode`] does one of the current version.
    pub fn decode(
        &self,
        body: &[u8],
        content_type: &str,
        validation: FieldValidation,
    ) -> Result<Decoded, DecodeProblem> {
        let schema::Parsed { mut value, duplicates } =
            schema::parse(body, content_type, self.kind)?;
        let found = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if !found.is_empty() && found != self.api_version() {
            let found = found.to_owned();
            return Err(DecodeProblem::ApiVersion { found, expected: self.api_version() });
        }
        let mut warnings = self.to_current(&mut value);
        let kind = self.current_kind();
        warnings.extend(schema::admit_with(&mut value, &kind, validation, duplicates)?);
        Ok(Decoded { value, warnings })
    }
}

const fn row(
    from: (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    current: (&'static str, &'static str),
    since: (&'static str, &'static str),
    convert: fn(&mut Value) -> Vec<String>,
) -> Legacy {
    Legacy { group: from.0, version: from.1, plural, kind, current, since, convert }
}

/// Nothing but the version has changed.
fn same(_: &mut Value) -> Vec<String> {
    Vec::new()
}

const EXTENSIONS: (&str, &str) = ("extensions", "v1beta1");
const APPS1: (&str, &str) = ("apps", "v1beta1");
const APPS2: (&str, &str) = ("apps", "v1beta2");
const APPS: (&str, &str) = ("apps", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const RBAC1: (&str, &str) = ("rbac.authorization.k8s.io", "v1beta1");
/// Of the workloads.
const V1_16: (&str, &str) = ("1.9", "1.16");
const V1_22: (&str, &str) = ("1.19", "1.22");
const V1_25: (&str, &str) = ("1.21", "1.25");

/// Every old version, one a line.
const TABLE: &[Legacy] = &[
    row(
        EXTENSIONS,
        "deployments",
        "Deployment",
        APPS,
        ("1.8", "1.16"),
        workloads::deployment_extensions,
    ),
    row(APPS1, "deployments", "Deployment", APPS, V1_16, workloads::deployment_apps_v1beta1),
    row(APPS2, "deployments", "Deployment", APPS, V1_16, same),
    row(
        EXTENSIONS,
        "replicasets",
        "ReplicaSet",
        APPS,
        ("1.8", "1.16"),
        workloads::selector_from_template,
    ),
    row(APPS2, "replicasets", "ReplicaSet", APPS, V1_16, same),
    row(
        EXTENSIONS,
        "daemonsets",
        "DaemonSet",
        APPS,
        ("1.8", "1.16"),
        workloads::daemon_set_extensions,
    ),
    row(APPS2, "daemonsets", "DaemonSet", APPS, V1_16, same),
    row(APPS1, "statefulsets", "StatefulSet", APPS, V1_16, workloads::stateful_set_apps_v1beta1),
    row(APPS2, "statefulsets", "StatefulSet", APPS, V1_16, same),
    row(EXTENSIONS, "networkpolicies", "NetworkPolicy", NETWORKING, ("1.9", "1.16"), same),
    row(EXTENSIONS, "ingresses", "Ingress", NETWORKING, ("1.14", "1.22"), ingress::convert),
    row(
        ("networking.k8s.io", "v1beta1"),
        "ingresses",
        "Ingress",
        NETWORKING,
        V1_22,
        ingress::convert,
    ),
    row(
        ("networking.k8s.io", "v1beta1"),
        "ingressclasses",
        "IngressClass",
        NETWORKING,
        V1_22,
        same,
    ),
    row(RBAC1, "roles", "Role", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "rolebindings", "RoleBinding", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "clusterroles", "ClusterRole", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "clusterrolebindings", "ClusterRoleBinding", RBAC, ("1.17", "1.22"), same),
    row(("batch", "v1beta1"), "cronjobs", "CronJob", ("batch", "v1"), V1_25, same),
    row(
        ("coordination.k8s.io", "v1beta1"),
        "leases",
        "Lease",
        ("coordination.k8s.io", "v1"),
        V1_22,
        same,
    ),
    row(
        ("scheduling.k8s.io", "v1beta1"),
        "priorityclasses",
        "PriorityClass",
        ("scheduling.k8s.io", "v1"),
        ("1.14", "1.22"),
        same,
    ),
    row(
        ("storage.k8s.io", "v1beta1"),
        "storageclasses",
        "StorageClass",
        ("storage.k8s.io", "v1"),
        V1_22,
        same,
    ),
];

#[cfg(test)]
mod tests;
