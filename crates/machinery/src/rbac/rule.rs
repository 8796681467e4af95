//! One rule of a Role or ClusterRole (`rbac.authorization.k8s.io/v1 PolicyRule`).

use std::fmt;

use serde_json::{Map, Value, json};

use crate::value::list_at;

/// What may be done, with what. `*` stands for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PolicyRule {
    /// `get`, `list` …
    pub verbs: Vec<String>,
    /// API groups; empty text is core.
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`.
    pub resources: Vec<String>,
    /// Empty: all names.
    pub resource_names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for everything below.
    pub non_resource_urls: Vec<String>,
}

const ALL: &str = "*";

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == wanted)
}

/// Whether a pattern with an optional `*` at its end covers a path.
pub(super) fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.ends_with(ALL) && path.starts_with(pattern.trim_end_matches(ALL))
}

impl PolicyRule {
    /// Reads one rule; what is missing is empty.
    pub fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            let texts = list_at(rule, field).iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Self {
            verbs: texts("verbs"),
            api_groups: texts("apiGroups"),
            resources: texts("resources"),
            resource_names: texts("resourceNames"),
            non_resource_urls: texts("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn of_role(role: &Value) -> Vec<Self> {
        list_at(role, "rules").iter().map(Self::read).collect()
    }

    /// As a Role holds it: empty lists are left out.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (field, texts) in self.lists() {
            if !texts.is_empty() || field == "verbs" {
                map.insert(field.to_owned(), json!(texts));
            }
        }
        Value::Object(map)
    }

    fn lists(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("nonResourceURLs", &self.non_resource_urls),
            ("resourceNames", &self.resource_names),
            ("verbs", &self.verbs),
        ]
    }

    /// Whether it allows a verb on a resource; `name` is empty for collections.
    pub fn allows_resource(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        subresource: &str,
        name: &str,
    ) -> bool {
        has(&self.verbs, verb)
            && has(&self.api_groups, group)
            && self.resources.iter().any(|entry| names(entry, resource, subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == name))
    }

    /// Whether it allows a verb on a path.
    pub fn allows_path(&self, verb: &str, path: &str) -> bool {
        has(&self.verbs, verb)
            && self.non_resource_urls.iter().any(|pattern| path_matches(pattern, path))
    }
}

/// Whether an entry of `resources` means a resource.
fn names(entry: &str, resource: &str, subresource: &str) -> bool {
    match entry.split_once('/') {
        _ if entry == ALL => true,
        None => subresource.is_empty() && entry == resource,
        Some((first, second)) => {
            !subresource.is_empty() && second == subresource && (first == ALL || first == resource)
        }
    }
}

/// As Kubernetes writes a rule in its error texts.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TITLES: [&str; 5] =
            ["APIGroups", "Resources", "NonResourceURLs", "ResourceNames", "Verbs"];
        let parts: Vec<String> = TITLES
            .iter()
            .zip(self.lists())
            .filter(|(_, (_, texts))| !texts.is_empty())
            .map(|(title, (_, texts))| {
                let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
                format!("{title}:[{}]", texts.join(" "))
            })
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources() {
        let rule = |value: Value| PolicyRule::read(&value);
        let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        let scale = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}));
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        let named = rule(json!({
            "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"],
        }));
        for (rule, verb, group, resource, sub, name, allowed) in [
            (&pods, "get", "", "pods", "", "p", true),
            (&pods, "get", "", "pods", "log", "p", false),
            (&pods, "list", "", "pods", "", "", false),
            (&pods, "get", "apps", "pods", "", "p", false),
            (&scale, "update", "apps", "deployments", "scale", "d", true),
            (&scale, "update", "apps", "deployments", "", "d", false),
            (&all, "escalate", "x", "y", "z", "", true),
            (&named, "get", "", "secrets", "", "a", true),
            (&named, "get", "", "secrets", "", "b", false),
            (&named, "get", "", "secrets", "", "", false),
        ] {
            let found = rule.allows_resource(verb, group, resource, sub, name);
            assert_eq!(found, allowed, "{rule} {verb} {group}/{resource}/{sub} {name}");
        }
    }

    #[test]
    fn paths() {
        let rule = PolicyRule::read(&json!({
            "verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"],
        }));
        for (path, allowed) in [
            ("/healthz", true),
            ("/healthz/x", false),
            ("/apis/apps", true),
            ("/apis", false),
            ("/apis/", true),
        ] {
            assert_eq!(rule.allows_path("get", path), allowed, "{path}");
        }
        assert!(!rule.allows_path("post", "/healthz"));
    }

    #[test]
    fn text() {
        let rule = PolicyRule::read(&json!({
            "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"],
        }));
        let text = r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#;
        assert_eq!(rule.to_string(), text);
    }
}
