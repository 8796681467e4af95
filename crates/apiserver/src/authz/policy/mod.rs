//! The roles and bindings that every cluster begins with, read from a table of our own.

mod reconcile;

use onggi_machinery::rbac::PolicyRule;
use serde_json::{Map, Value, json};

pub(crate) use reconcile::{Plan, plan};

const DEFAULT: &str = include_str!("default.txt");
const NODE: &str = include_str!("node.txt");

pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
/// Where it is `"false"`, an object of the table is left as people made it.
pub(crate) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// Every object of the table, in its order: roles before their bindings.
pub(crate) fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    let mut bindings = Vec::new();
    for line in lines(DEFAULT) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(' ') {
            if let Some(rules) = objects.last_mut().and_then(|role| role["rules"].as_array_mut()) {
                rules.extend(rules_of(&words).iter().map(PolicyRule::to_value));
            }
            continue;
        }
        match words.as_slice() {
            ["clusterrole", name, labels @ ..] => {
                objects.push(role("ClusterRole", "", name, labels));
            }
            ["aggregate", name, from, labels @ ..] => {
                let mut role = role("ClusterRole", "", name, labels);
                let selector = json!({"matchLabels": {format!("{GROUP}/{from}"): "true"}});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
                objects.push(role);
            }
            ["controller", name] => {
                let full = format!("system:controller:{name}");
                objects.push(role("ClusterRole", "", &full, &[]));
                let account = format!("sa:kube-system/{name}");
                bindings.push(binding("", &full, ("ClusterRole", &full), &[account.as_str()]));
            }
            ["role", namespace, name] => objects.push(role("Role", namespace, name, &[])),
            ["to", name, subjects @ ..] => {
                bindings.push(binding("", name, ("ClusterRole", name), subjects));
            }
            ["rolebinding", namespace, name, to, subjects @ ..] => {
                bindings.push(binding(namespace, name, ("Role", to), subjects));
            }
            _ => tracing::error!(line, "a line of the default policy cannot be read"),
        }
    }
    objects.extend(bindings);
    objects
}

/// What a node may do as such.
pub(crate) fn node_rules() -> Vec<PolicyRule> {
    let words = |line: &'static str| line.split_whitespace().collect::<Vec<_>>();
    lines(NODE).flat_map(|line| rules_of(&words(line))).collect()
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn rules_of(words: &[&str]) -> Vec<PolicyRule> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match words {
        ["EVENTS"] => vec![PolicyRule {
            verbs: owned(&["create", "patch", "update"]),
            api_groups: owned(&["", "events.k8s.io"]),
            resources: owned(&["events"]),
            ..PolicyRule::default()
        }],
        ["NODE"] => node_rules(),
        [verbs, groups, what @ ..] if groups.ends_with(':') => {
            let at = what.iter().position(|word| *word == "=").unwrap_or(what.len());
            let groups = groups.trim_end_matches(':').split(',');
            vec![PolicyRule {
                verbs: self::verbs(verbs),
                api_groups: groups.map(|g| if g == "core" { "" } else { g }.to_owned()).collect(),
                resources: owned(&what[..at]),
                resource_names: owned(what.get(at + 1..).unwrap_or_default()),
                ..PolicyRule::default()
            }]
        }
        [verbs, paths @ ..] => vec![PolicyRule {
            verbs: self::verbs(verbs),
            non_resource_urls: owned(paths),
            ..PolicyRule::default()
        }],
        [] => Vec::new(),
    }
}

fn verbs(text: &str) -> Vec<String> {
    let mut verbs: Vec<String> = text
        .split(',')
        .flat_map(|verb| match verb {
            "READ" => READ.to_vec(),
            "WRITE" => WRITE.to_vec(),
            one => vec![one],
        })
        .map(str::to_owned)
        .collect();
    verbs.sort();
    verbs
}

fn metadata(namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

fn role(kind: &str, namespace: &str, name: &str, labels: &[&str]) -> Value {
    let mut metadata = metadata(namespace, name);
    for label in labels {
        metadata["labels"][format!("{GROUP}/{label}")] = "true".into();
    }
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata, "rules": []})
}

fn binding(namespace: &str, name: &str, (kind, to): (&str, &str), subjects: &[&str]) -> Value {
    let subjects: Vec<Value> = subjects.iter().filter_map(|text| subject(text)).collect();
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" },
        "metadata": metadata(namespace, name),
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": to},
        "subjects": subjects,
    })
}

fn subject(text: &str) -> Option<Value> {
    let mut subject = Map::new();
    let mut set = |field: &str, text: &str| subject.insert(field.to_owned(), text.into());
    match text.split_once(':')? {
        ("sa", account) => {
            let (namespace, name) = account.split_once('/')?;
            set("kind", "ServiceAccount");
            set("namespace", namespace);
            set("name", name);
        }
        (kind, name) => {
            set("apiGroup", GROUP);
            set("kind", if kind == "user" { "User" } else { "Group" });
            set("name", name);
        }
    }
    Some(Value::Object(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let objects = objects();
        let of = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).count();
        assert!(of("ClusterRole") > 60, "{}", of("ClusterRole"));
        assert_eq!((of("Role"), of("RoleBinding")), (7, 7));
        let find = |name: &str| {
            objects
                .iter()
                .find(|o| o["metadata"]["name"] == name)
                .unwrap_or_else(|| panic!("{name}"))
        };
        let admin = find("cluster-admin");
        assert_eq!(
            admin["rules"],
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ])
        );
        let edit = find("edit");
        assert_eq!(edit["metadata"]["labels"][format!("{GROUP}/aggregate-to-admin")], "true");
        let label = format!("{GROUP}/aggregate-to-edit");
        assert_eq!(
            edit["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"][label],
            "true"
        );
        let signers = &find("system:controller:certificate-controller")["rules"][3];
        assert_eq!(signers["resourceNames"].as_array().map(Vec::len), Some(4));
        assert!(find("system:node")["rules"].as_array().unwrap().len() > 20);
        // Each binding's role is in the table.
        for binding in objects.iter().filter(|o| o["kind"] == "ClusterRoleBinding") {
            find(binding["roleRef"]["name"].as_str().unwrap());
        }
    }
}
