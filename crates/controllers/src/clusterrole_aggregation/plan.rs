//! The rules that a ClusterRole with an `aggregationRule` should hold.

use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

/// The rules of all others that one of the selectors selects, by name, each once; `None`: it has
/// them already, or gathers nothing.
pub(crate) fn plan(role: &Value, all: &[Value]) -> Option<Vec<Value>> {
    let selectors = list_at(role, "aggregationRule.clusterRoleSelectors");
    // A selector that cannot be read selects nothing, so that nobody gets more by it.
    let selectors: Vec<LabelSelector> = selectors
        .iter()
        .map(|selector| {
            LabelSelector::from_object(selector).unwrap_or_else(|_| LabelSelector::nothing())
        })
        .collect();
    if !role["aggregationRule"].is_object() {
        return None;
    }
    let own = str_at(role, "metadata.name");
    let mut others: Vec<&Value> = all
        .iter()
        .filter(|other| str_at(other, "metadata.name") != own)
        .filter(|other| selectors.iter().any(|s| s.matches_value(&other["metadata"]["labels"])))
        .collect();
    others.sort_by_key(|other| str_at(other, "metadata.name"));
    let mut rules: Vec<Value> = Vec::new();
    for rule in others.into_iter().flat_map(|other| list_at(other, "rules")) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    (list_at(role, "rules") != rules).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_gathered() {
        let role = |name: &str, labels: Value, rules: Value| json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        let all = [
            role("b", json!({"to": "view"}), json!(["2", "1"])),
            role("a", json!({"to": "view"}), json!(["1"])),
            role("c", json!({"to": "edit"}), json!(["3"])),
        ];
        let mut view = role("view", json!({"to": "view"}), json!([]));
        assert_eq!(plan(&view, &all), None, "it gathers nothing");
        view["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]});
        assert_eq!(plan(&view, &all), Some(vec![json!("1"), json!("2")]));
        view["rules"] = json!(["1", "2"]);
        assert_eq!(plan(&view, &all), None, "it has them");
        view["aggregationRule"]["clusterRoleSelectors"] = json!([]);
        assert_eq!(plan(&view, &all), Some(vec![]));
    }
}
