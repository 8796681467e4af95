//! What an object is called, now and before, and which kinds live outside namespaces.

use onggi_machinery::value::str_at;
use serde::Deserialize;
use serde_json::Value;

/// Group, version and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gvk {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// The name of an object among all of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) gvk: Gvk,
    pub(super) name: String,
    pub(super) namespace: String,
}

/// Which objects are meant; what is empty fits everything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wanted {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) api_version: String,
}

/// Kinds of the cluster, as Kustomize knows them: those of Kubernetes v1.21.
const OF_CLUSTER: &[(&str, &str)] = &[
    ("", "ComponentStatus"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("authentication.k8s.io", "TokenReview"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("networking.k8s.io", "IngressClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodSecurityPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
];

impl Gvk {
    pub(super) fn of(object: &Value) -> Self {
        Self::parse(str_at(object, "apiVersion"), str_at(object, "kind"))
    }

    pub(super) fn parse(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    pub(super) fn is_of_cluster(&self) -> bool {
        OF_CLUSTER.contains(&(self.group.as_str(), self.kind.as_str()))
    }
}

/// As Kustomize writes it in its errors: `Deployment.v1.apps`, `[noVer]` where it is empty.
impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or = |text: &str, other: &str| {
            if text.is_empty() { other.to_owned() } else { text.to_owned() }
        };
        let (kind, version) = (or(&self.kind, "[noKind]"), or(&self.version, "[noVer]"));
        write!(f, "{kind}.{version}.{}", or(&self.group, "[noGrp]"))
    }
}

impl Id {
    pub(super) fn of(object: &Value) -> Self {
        Self {
            gvk: Gvk::of(object),
            name: str_at(object, "metadata.name").to_owned(),
            namespace: str_at(object, "metadata.namespace").to_owned(),
        }
    }

    /// `default` where none is named.
    pub(super) fn effective_namespace(&self) -> &str {
        match self.namespace.as_str() {
            _ if self.gvk.is_of_cluster() => "",
            "" => "default",
            namespace => namespace,
        }
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        self.gvk == other.gvk
            && self.name == other.name
            && self.effective_namespace() == other.effective_namespace()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let namespace = if self.namespace.is_empty() { "[noNs]" } else { &self.namespace };
        write!(f, "{}/{}.{namespace}", self.gvk, self.name)
    }
}

impl Wanted {
    pub(super) fn gvk(&self) -> Gvk {
        if self.api_version.is_empty() {
            let text = |text: &String| text.clone();
            return Gvk {
                group: text(&self.group),
                version: text(&self.version),
                kind: text(&self.kind),
            };
        }
        Gvk::parse(&self.api_version, &self.kind)
    }

    /// Whether an id is one of those that are meant, word for word.
    pub(super) fn fits(&self, id: &Id) -> bool {
        let same = |wanted: &str, text: &str| wanted.is_empty() || wanted == text;
        let gvk = self.gvk();
        same(&gvk.group, &id.gvk.group)
            && same(&gvk.version, &id.gvk.version)
            && same(&gvk.kind, &id.gvk.kind)
            && same(&self.name, &id.name)
            && (self.namespace.is_empty() || self.namespace == id.effective_namespace())
    }
}
