//! Whether some rules hold all that others grant: nobody gives away what they do not have.

use super::PolicyRule;
use super::rule::path_matches;

/// What of `granted` none of `held` covers, in atoms of one verb and one resource or path each.
///
/// An atom is covered by one rule as a whole or not at all, so comparing atom by atom is exact.
pub fn missing(held: &[PolicyRule], granted: &[PolicyRule]) -> Vec<PolicyRule> {
    let atoms = granted.iter().flat_map(atoms);
    atoms.filter(|atom| !held.iter().any(|rule| covers(rule, atom))).collect()
}

/// Rules of one resource each, those of the same resource put together: for people to read.
pub fn compact(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut out: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let simple = rule.resources.len() == 1
            && rule.api_groups.len() == 1
            && rule.resource_names.len() <= 1
            && rule.non_resource_urls.is_empty();
        let same = |known: &&mut PolicyRule| {
            (&known.resources, &known.api_groups, &known.resource_names)
                == (&rule.resources, &rule.api_groups, &rule.resource_names)
                && known.non_resource_urls.is_empty()
        };
        match out.iter_mut().find(same).filter(|_| simple) {
            Some(known) => {
                for verb in rule.verbs {
                    if !known.verbs.contains(&verb) {
                        known.verbs.push(verb);
                    }
                }
            }
            None => out.push(rule),
        }
    }
    out
}

fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut out = Vec::new();
    let one = |text: &String| vec![text.clone()];
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let atom = PolicyRule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    out.push(atom);
                    continue;
                }
                out.extend(
                    rule.resource_names
                        .iter()
                        .map(|name| PolicyRule { resource_names: one(name), ..atom.clone() }),
                );
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            let urls = one(url);
            out.push(PolicyRule {
                verbs: one(verb),
                non_resource_urls: urls,
                ..PolicyRule::default()
            });
        }
    }
    out
}

/// Whether a rule holds an atom.
fn covers(rule: &PolicyRule, atom: &PolicyRule) -> bool {
    let all = |held: &[String], wanted: &[String]| {
        held.iter().any(|entry| entry == "*") || wanted.iter().all(|entry| held.contains(entry))
    };
    let names = rule.resource_names.is_empty()
        || !atom.resource_names.is_empty()
            && atom.resource_names.iter().all(|name| rule.resource_names.contains(name));
    all(&rule.verbs, &atom.verbs)
        && all(&rule.api_groups, &atom.api_groups)
        && resources(&rule.resources, &atom.resources)
        && names
        && atom
            .non_resource_urls
            .iter()
            .all(|url| rule.non_resource_urls.iter().any(|pattern| path_matches(pattern, url)))
}

fn resources(held: &[String], wanted: &[String]) -> bool {
    held.iter().any(|entry| entry == "*")
        || wanted.iter().all(|resource| {
            held.contains(resource)
                || resource
                    .split_once('/')
                    .is_some_and(|(_, sub)| held.contains(&format!("*/{sub}")))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        PolicyRule::read(&json!({
            "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
        }))
    }

    #[test]
    fn what_is_missing() {
        let url =
            |text: &str| PolicyRule::read(&json!({"verbs": ["get"], "nonResourceURLs": [text]}));
        let read = rule(&["get", "list"], &[""], &["pods", "secrets"], &[]);
        for (held, granted, expected) in [
            (vec![read.clone()], rule(&["get"], &[""], &["pods"], &[]), ""),
            (vec![read.clone()], rule(&["get"], &[""], &["pods"], &["p"]), ""),
            (
                vec![read],
                rule(&["get", "update", "delete"], &[""], &["pods"], &[]),
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["update" "delete"]}"#,
            ),
            (vec![rule(&["*"], &["*"], &["*"], &[])], rule(&["x"], &["y"], &["z/s"], &[]), ""),
            (vec![rule(&["*"], &["*"], &["*/s"], &[])], rule(&["x"], &["y"], &["z/s"], &[]), ""),
            (
                vec![rule(&["get"], &[""], &["pods"], &["p"])],
                rule(&["get"], &[""], &["pods"], &[]),
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#,
            ),
            (vec![url("/api/*")], url("/api/v1"), ""),
            (vec![url("/api")], url("/api/*"), r#"{NonResourceURLs:["/api/*"], Verbs:["get"]}"#),
        ] {
            let left = compact(missing(&held, &[granted]));
            let texts: Vec<String> = left.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("; "), expected);
        }
    }
}
