//! What brings a stored role or binding to where the table wants it. People may have added to it:
//! what is more than the table's stays, what is missing comes back.

use onggi_machinery::rbac::{PolicyRule, missing};
use onggi_machinery::value::{list_at, map_mut};
use serde_json::{Value, json};

use super::AUTOUPDATE;

/// What to do with an object of the table that is there already.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// It has all it should have, or people keep it as it is.
    Nothing,
    /// Written so.
    Update(Value),
    /// A binding to another role, which cannot be changed: made anew.
    Replace(Value),
}

/// Compares what is stored with what the table wants.
pub(crate) fn plan(stored: &Value, wanted: &Value) -> Plan {
    let protected = stored["metadata"]["annotations"][AUTOUPDATE] == "false";
    if protected {
        return Plan::Nothing;
    }
    let mut new = stored.clone();
    for field in ["labels", "annotations"] {
        let Some(texts) = wanted["metadata"][field].as_object() else { continue };
        let map = map_mut(&mut new["metadata"], field);
        for (key, text) in texts {
            map.entry(key.clone()).or_insert_with(|| text.clone());
        }
    }
    if wanted.get("roleRef").is_some() {
        let lacking: Vec<Value> = list_at(wanted, "subjects")
            .iter()
            .filter(|subject| !list_at(stored, "subjects").iter().any(|s| same_subject(s, subject)))
            .cloned()
            .collect();
        append(&mut new, "subjects", lacking);
        if new["roleRef"] != wanted["roleRef"] {
            new["roleRef"] = wanted["roleRef"].clone();
            let metadata = map_mut(&mut new, "metadata");
            metadata.retain(|key, _| {
                matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations")
            });
            return Plan::Replace(new);
        }
    } else if wanted.get("aggregationRule").is_some() {
        let selectors = "aggregationRule.clusterRoleSelectors";
        let lacking: Vec<Value> = list_at(wanted, selectors)
            .iter()
            .filter(|selector| !list_at(stored, selectors).contains(selector))
            .cloned()
            .collect();
        append(map_value(&mut new, "aggregationRule"), "clusterRoleSelectors", lacking);
    } else {
        let lacking = missing(&PolicyRule::of_role(stored), &PolicyRule::of_role(wanted));
        append(&mut new, "rules", lacking.iter().map(PolicyRule::to_value).collect());
    }
    if new == *stored { Plan::Nothing } else { Plan::Update(new) }
}

fn map_value<'v>(value: &'v mut Value, field: &str) -> &'v mut Value {
    let slot = &mut value[field];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot
}

fn append(object: &mut Value, field: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    match object[field].as_array_mut() {
        Some(list) => list.extend(items),
        None => object[field] = items.into(),
    }
}

fn same_subject(one: &Value, other: &Value) -> bool {
    ["kind", "name", "namespace"].iter().all(|field| {
        let text = |v: &Value| v[*field].as_str().unwrap_or_default().to_owned();
        text(one) == text(other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(rules: Value, autoupdate: &str) -> Value {
        json!({"metadata": {"name": "r", "annotations": {AUTOUPDATE: autoupdate}}, "rules": rules})
    }

    #[test]
    fn missing_permissions_come_back_and_more_stays() {
        let rule =
            |verbs: &[&str]| json!({"apiGroups": [""], "resources": ["pods"], "verbs": verbs});
        let wanted = role(json!([rule(&["get", "list"])]), "true");
        for (stored, expected) in [
            (role(json!([rule(&["*"])]), "true"), Plan::Nothing),
            (role(json!([]), "false"), Plan::Nothing),
            (
                role(json!([rule(&["get", "delete"])]), "true"),
                Plan::Update(role(json!([rule(&["get", "delete"]), rule(&["list"])]), "true")),
            ),
        ] {
            assert_eq!(plan(&stored, &wanted), expected);
        }
    }

    #[test]
    fn bindings() {
        let binding = |to: &str, subjects: &[&str]| {
            let subjects: Vec<Value> =
                subjects.iter().map(|name| json!({"kind": "User", "name": name})).collect();
            json!({
                "metadata": {"name": "b", "annotations": {AUTOUPDATE: "true"}},
                "roleRef": {"kind": "ClusterRole", "name": to},
                "subjects": subjects,
            })
        };
        let wanted = binding("r", &["a"]);
        assert_eq!(plan(&binding("r", &["a", "b"]), &wanted), Plan::Nothing);
        assert_eq!(plan(&binding("r", &["b"]), &wanted), Plan::Update(binding("r", &["b", "a"])));
        let other = plan(&binding("x", &["b"]), &wanted);
        assert_eq!(other, Plan::Replace(binding("r", &["b", "a"])));
    }
}
