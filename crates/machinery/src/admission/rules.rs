//! Which requests a webhook or policy is for: rules over operation, group, version, resource and
//! scope (`admissionregistration.k8s.io/v1 RuleWithOperations`).

use serde_json::Value;

use crate::value::{list_at, str_at};

/// What is asked of the server, as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub operation: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// Version of the group.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for what lives in the cluster; a namespace's own is its name.
    pub namespace: &'a str,
    /// Empty while the object has none.
    pub name: &'a str,
}

impl Target<'_> {
    fn cluster_scoped(&self) -> bool {
        let namespace = (self.group, self.version, self.resource) == ("", "v1", "namespaces");
        namespace || self.namespace.is_empty()
    }
}

/// Whether the rule is for the request.
pub fn matches(rule: &Value, target: &Target<'_>) -> bool {
    let has = |list: &str, wanted: &str| {
        list_at(rule, list).iter().any(|item| item == "*" || item == wanted)
    };
    let scope = match str_at(rule, "scope") {
        "" | "*" => true,
        "Namespaced" => !target.cluster_scoped(),
        "Cluster" => target.cluster_scoped(),
        _ => false,
    };
    scope
        && has("operations", target.operation)
        && has("apiGroups", target.group)
        && has("apiVersions", target.version)
        && list_at(rule, "resources").iter().any(|resource| resource_matches(resource, target))
        && name_matches(rule, target)
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resource_matches(resource: &Value, target: &Target<'_>) -> bool {
    let resource = resource.as_str().unwrap_or_default();
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    (resource == "*" || resource == target.resource) && (part == "*" || part == target.subresource)
}

/// `resourceNames`, which the rules of policies have.
fn name_matches(rule: &Value, target: &Target<'_>) -> bool {
    let names = list_at(rule, "resourceNames");
    names.is_empty() || names.iter().any(|name| name == target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_asked() {
        let pod = Target {
            operation: "CREATE",
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            namespace: "default",
            name: "p",
        };
        let status = Target { operation: "UPDATE", subresource: "status", ..pod };
        let namespace = Target { resource: "namespaces", namespace: "n", name: "n", ..pod };
        let rule = |operations: Value, resources: Value, scope: &str| {
            json!({
                "operations": operations, "apiGroups": [""], "apiVersions": ["*"],
                "resources": resources, "scope": scope,
            })
        };
        for (rule, target, expected) in [
            (rule(json!(["CREATE"]), json!(["pods"]), "*"), &pod, true),
            (rule(json!(["*"]), json!(["*"]), "Namespaced"), &pod, true),
            (rule(json!(["*"]), json!(["*"]), "Cluster"), &pod, false),
            (rule(json!(["UPDATE"]), json!(["pods"]), "*"), &pod, false),
            (rule(json!(["*"]), json!(["*"]), "*"), &status, false),
            (rule(json!(["*"]), json!(["*/*"]), "*"), &status, true),
            (rule(json!(["*"]), json!(["pods/status"]), "*"), &status, true),
            (rule(json!(["*"]), json!(["pods/*"]), "*"), &status, true),
            (rule(json!(["*"]), json!(["*/scale"]), "*"), &status, false),
            (rule(json!(["*"]), json!(["namespaces"]), "Cluster"), &namespace, true),
            (rule(json!(["*"]), json!(["namespaces"]), "Namespaced"), &namespace, false),
        ] {
            assert_eq!(matches(&rule, target), expected, "{rule} {target:?}");
        }
        let mut named = rule(json!(["*"]), json!(["pods"]), "*");
        named["resourceNames"] = json!(["q"]);
        assert!(!matches(&named, &pod));
    }
}
