//! A CustomResourceDefinition, read once.

use std::cmp::{Ordering, Reverse};

use serde_json::Value;

use super::names;
use crate::resource::Scope;
use crate::value::{at, bool_at, find, i64_at, is_set, list_at, str_at};

/// What the object says, in the form that is worked with.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// `metadata.name`: `PLURAL.GROUP`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`: grows with each change of the spec.
    pub generation: i64,
    /// `spec.group`.
    pub group: String,
    /// `spec.scope`.
    pub scope: Scope,
    /// `status.acceptedNames`: those under which it is served.
    pub names: Names,
    /// `spec.versions`, in its order.
    pub versions: Vec<Version>,
    /// `spec.conversion`.
    pub conversion: Conversion,
    /// `spec.preserveUnknownFields`: nothing is pruned (definitions of the time before v1).
    pub preserve_unknown_fields: bool,
    /// Whether the condition `Established` is true.
    pub established: bool,
    /// Whether it has all the names that it wants.
    pub accepted: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// `spec.names`, `status.acceptedNames`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

/// One of `spec.versions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// `v1beta1`.
    pub name: String,
    /// Whether requests for it are answered.
    pub served: bool,
    /// Whether objects are stored so.
    pub storage: bool,
    /// What users of a deprecated version are told.
    pub warning: Option<String>,
    /// `schema.openAPIV3Schema`; null where there is none.
    pub schema: Value,
    /// Whether `status` is a subresource.
    pub status: bool,
    /// `subresources.scale`.
    pub scale: Option<ScalePaths>,
    /// `additionalPrinterColumns`.
    pub columns: Vec<Value>,
    /// `selectableFields`, as dotted paths without the leading dot.
    pub selectable: Vec<String>,
}

/// Where the parts of a `Scale` stand in an object; dotted paths without the leading dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// `specReplicasPath`.
    pub replicas: String,
    /// `statusReplicasPath`.
    pub status_replicas: String,
    /// `labelSelectorPath`.
    pub selector: Option<String>,
}

/// `spec.conversion`.
#[derive(Debug, Clone, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// By a webhook.
    Webhook {
        /// `webhook.clientConfig`.
        client_config: Value,
        /// `webhook.conversionReviewVersions`.
        review_versions: Vec<String>,
    },
}

fn texts(value: &Value, path: &str) -> Vec<String> {
    list_at(value, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn undotted(path: &str) -> String {
    path.strip_prefix('.').unwrap_or(path).to_owned()
}

impl Names {
    /// Reads `spec.names` or `status.acceptedNames`.
    pub fn read(value: &Value) -> Self {
        let text = |field| str_at(value, field).to_owned();
        Self {
            plural: text("plural"),
            singular: text("singular"),
            kind: text("kind"),
            list_kind: text("listKind"),
            short_names: texts(value, "shortNames"),
            categories: texts(value, "categories"),
        }
    }
}

impl Definition {
    /// Reads a definition that has been validated; what is missing reads as empty.
    pub fn read(object: &Value) -> Self {
        let spec = at(object, "spec");
        let conditions = list_at(object, "status.conditions");
        let holds =
            |kind| find(conditions, "type", kind).is_some_and(|c| str_at(c, "status") == "True");
        let webhook = at(spec, "conversion.webhook");
        Self {
            name: str_at(object, "metadata.name").to_owned(),
            uid: str_at(object, "metadata.uid").to_owned(),
            generation: i64_at(object, "metadata.generation").unwrap_or(0),
            group: str_at(spec, "group").to_owned(),
            scope: match str_at(spec, "scope") {
                "Cluster" => Scope::Cluster,
                _ => Scope::Namespaced,
            },
            names: Names::read(at(object, "status.acceptedNames")),
            versions: list_at(spec, "versions").iter().map(Version::read).collect(),
            conversion: match str_at(spec, "conversion.strategy") {
                "Webhook" => Conversion::Webhook {
                    client_config: at(webhook, "clientConfig").clone(),
                    review_versions: texts(webhook, "conversionReviewVersions"),
                },
                _ => Conversion::None,
            },
            preserve_unknown_fields: bool_at(spec, "preserveUnknownFields"),
            established: holds(names::ESTABLISHED),
            accepted: holds(names::NAMES_ACCEPTED),
            deleting: is_set(object, "metadata.deletionTimestamp"),
        }
    }

    /// The version that is stored.
    pub fn storage(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }

    /// A version by its name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The versions that are served, the one to be preferred first.
    pub fn served(&self) -> Vec<&Version> {
        let mut served: Vec<_> = self.versions.iter().filter(|version| version.served).collect();
        served.sort_by(|a, b| by_priority(&a.name, &b.name));
        served
    }
}

impl Version {
    fn read(version: &Value) -> Self {
        let scale = at(version, "subresources.scale");
        let deprecated = bool_at(version, "deprecated");
        let warning = str_at(version, "deprecationWarning");
        let selectable = list_at(version, "selectableFields");
        Self {
            name: str_at(version, "name").to_owned(),
            served: bool_at(version, "served"),
            storage: bool_at(version, "storage"),
            warning: deprecated.then(|| warning.to_owned()),
            schema: at(version, "schema.openAPIV3Schema").clone(),
            status: is_set(version, "subresources.status"),
            scale: (!scale.is_null()).then(|| ScalePaths {
                replicas: undotted(str_at(scale, "specReplicasPath")),
                status_replicas: undotted(str_at(scale, "statusReplicasPath")),
                selector: match str_at(scale, "labelSelectorPath") {
                    "" => None,
                    path => Some(undotted(path)),
                },
            }),
            columns: list_at(version, "additionalPrinterColumns").to_vec(),
            selectable: selectable.iter().map(|f| undotted(str_at(f, "jsonPath"))).collect(),
        }
    }
}

/// The order of versions in a group: stable ones first, then beta, then alpha, each the highest
/// number first; other names last, by letter (`k8s.io/apimachinery/pkg/version`).
pub fn by_priority(a: &str, b: &str) -> Ordering {
    match (parts(a), parts(b)) {
        (Some(a), Some(b)) => Reverse(a).cmp(&Reverse(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major, minor.
fn parts(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let number = |text: &str| match text.starts_with('0') {
        true => None,
        false => text.parse().ok(),
    };
    let major = number(major)?;
    let (stability, minor) = match rest {
        "" => (2, 0),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => (1, number(minor)?),
            (_, Some(minor)) => (0, number(minor)?),
            _ => return None,
        },
    };
    Some((stability, major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order() {
        let mut versions = vec![
            "foo1",
            "v1",
            "v1alpha1",
            "v2beta1",
            "v10",
            "v11alpha2",
            "v3beta1",
            "v12alpha1",
            "v11beta2",
            "foo10",
            "v01",
        ];
        versions.sort_by(|a, b| by_priority(a, b));
        let expected = [
            "v10",
            "v1",
            "v11beta2",
            "v3beta1",
            "v2beta1",
            "v12alpha1",
            "v11alpha2",
            "v1alpha1",
            "foo1",
            "foo10",
            "v01",
        ];
        assert_eq!(versions, expected);
    }
}
