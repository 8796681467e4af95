//! What is wrong with where a pod wants to run: tolerations, affinity, spreading.

use std::collections::{HashMap, HashSet};

use onggi_api::FieldError;
use serde_json::Value;

use crate::validation::{At, Errors, labels, names};
use crate::value::{at, list_at, str_at};

/// What a taint does.
pub(in crate::kinds) const TAINT_EFFECTS: &[&str] =
    &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const SPREAD_ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];

pub(super) fn affinity(spec: &At<'_>, errors: &mut Errors) {
    node_affinity(&spec.child("affinity.nodeAffinity"), errors);
    for name in ["affinity.podAffinity", "affinity.podAntiAffinity"] {
        pod_affinity(&spec.child(name), errors);
    }
}

pub(super) fn gates(spec: &At<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for gate in spec.each("schedulingGates") {
        let name = gate.child("name").text();
        let wrong = names::qualified_name(name).into_iter();
        errors.extend(wrong.map(|detail| FieldError::invalid(&gate.path, name, detail)));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&gate.path, name));
        }
    }
}

pub(in crate::kinds) fn toleration(toleration: &At<'_>, errors: &mut Errors) {
    let (key, value) = (toleration.child("key"), toleration.child("value"));
    let (operator, effect) = (toleration.child("operator"), toleration.child("effect"));
    key.may(names::qualified_name, errors);
    if key.text().is_empty() && operator.text() != "Exists" {
        errors.push(operator.invalid(
            "operator must be Exists when `key` is empty, which means \"match all values and all \
             keys\"",
        ));
    }
    if toleration.child("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
        errors.push(effect.invalid("effect must be 'NoExecute' when `tolerationSeconds` is set"));
    }
    match operator.text() {
        "" | "Equal" => {
            let wrong = names::label_value(value.text());
            if !wrong.is_empty() {
                let detail = wrong.join(";");
                errors.push(FieldError::invalid(&operator.path, value.text(), detail));
            }
        }
        "Exists" if !value.text().is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(&operator.path, value.text(), detail));
        }
        _ => operator.one_of(&["Equal", "Exists"], errors),
    }
    if !effect.text().is_empty() {
        effect.one_of(TAINT_EFFECTS, errors);
    }
}

// === Affinity ===

fn node_affinity(affinity: &At<'_>, errors: &mut Errors) {
    let required = affinity.child("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, errors);
    }
    for preferred in affinity.each("preferredDuringSchedulingIgnoredDuringExecution") {
        weight(&preferred, errors);
        node_selector_term(&preferred.child("preference"), false, errors);
    }
}

/// A `NodeSelector` that nodes must fit.
pub(in crate::kinds) fn node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.child("nodeSelectorTerms");
    if terms.items().next().is_none() {
        errors.push(terms.required("must have at least one node selector term"));
    }
    terms.items().for_each(|term| node_selector_term(&term, true, errors));
}

/// `strict`: values must be what labels can have, too.
fn node_selector_term(term: &At<'_>, strict: bool, errors: &mut Errors) {
    for expression in term.each("matchExpressions") {
        let (operator, values) = (expression.child("operator"), expression.child("values"));
        let count = values.items().count();
        match operator.text() {
            "In" | "NotIn" if count == 0 => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"))
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                errors.push(values.forbidden(
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                ))
            }
            "Gt" | "Lt" if count != 1 => errors.push(
                values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"),
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        expression.child("key").must(names::qualified_name, errors);
        if strict {
            values.items().for_each(|value| value.must(names::label_value, errors));
        }
    }
    for expression in term.each("matchFields") {
        let (operator, values) = (expression.child("operator"), expression.child("values"));
        match operator.text() {
            "In" | "NotIn" if values.items().count() != 1 => errors.push(values.required(
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            "In" | "NotIn" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        let key = expression.child("key");
        if key.text() == "metadata.name" {
            values.items().for_each(|value| value.must(names::dns1123_subdomain, errors));
        } else {
            errors.push(key.invalid("not a valid field selector key"));
        }
    }
}

fn pod_affinity(affinity: &At<'_>, errors: &mut Errors) {
    for term in affinity.each("requiredDuringSchedulingIgnoredDuringExecution") {
        pod_affinity_term(&term, errors);
    }
    for preferred in affinity.each("preferredDuringSchedulingIgnoredDuringExecution") {
        weight(&preferred, errors);
        pod_affinity_term(&preferred.child("podAffinityTerm"), errors);
    }
}

fn pod_affinity_term(term: &At<'_>, errors: &mut Errors) {
    labels::selector(&term.child("labelSelector"), errors);
    labels::selector(&term.child("namespaceSelector"), errors);
    for name in term.each("namespaces") {
        let wrong = names::dns1123_label(name.text()).into_iter();
        let path = term.path.child("namespace");
        errors.extend(wrong.map(|detail| FieldError::invalid(&path, name.text(), detail)));
    }
    let unlike: HashSet<&str> = term.each("mismatchLabelKeys").map(|key| key.text()).collect();
    match_label_keys(term, "matchLabelKeys", errors);
    match_label_keys(term, "mismatchLabelKeys", errors);
    for key in term.each("matchLabelKeys") {
        if unlike.contains(key.text()) {
            errors.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
    topology_key(&term.child("topologyKey"), errors);
}

/// Labels of the pod itself that those it is compared with have, or have not.
fn match_label_keys(holder: &At<'_>, field: &str, errors: &mut Errors) {
    let keys = holder.child(field);
    if keys.items().next().is_none() {
        return;
    }
    if !holder.child("labelSelector").is_set() {
        errors.push(keys.forbidden("must not be specified when labelSelector is not set"));
        return;
    }
    keys.items().for_each(|key| key.must(names::qualified_name, errors));
}

fn topology_key(key: &At<'_>, errors: &mut Errors) {
    if key.text().is_empty() {
        errors.push(key.required("can not be empty"));
    } else {
        key.must(names::qualified_name, errors);
    }
}

fn weight(preferred: &At<'_>, errors: &mut Errors) {
    let weight = preferred.child("weight");
    if !(1..=100).contains(&weight.int().unwrap_or(0)) {
        errors.push(weight.invalid("must be in the range 1-100"));
    }
}

// === Spreading ===

pub(super) fn spread_constraints(list: &At<'_>, errors: &mut Errors) {
    // How often each pair is still to come.
    let mut later: HashMap<(&str, &str), usize> = HashMap::new();
    for constraint in list.items().skip(1) {
        *later.entry(pair(constraint.value)).or_default() += 1;
    }
    for (index, constraint) in list.items().enumerate() {
        spread(&constraint, errors);
        let (key, action) = pair(constraint.value);
        let Some(left) = later.get_mut(&(key, action)) else { continue };
        *left -= usize::from(index > 0);
        if *left > 0 {
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(&path, format!("{{{key}, {action}}}")));
        }
    }
}

/// What no two constraints may have in common.
fn pair(constraint: &Value) -> (&str, &str) {
    (str_at(constraint, "topologyKey"), str_at(constraint, "whenUnsatisfiable"))
}

fn spread(constraint: &At<'_>, errors: &mut Errors) {
    const POSITIVE: &str = "must be greater than zero";
    let skew = constraint.child("maxSkew");
    if skew.int().unwrap_or(0) <= 0 {
        errors.push(FieldError::invalid(&skew.path, skew.int().unwrap_or(0), POSITIVE));
    }
    let key = constraint.child("topologyKey");
    if key.text().is_empty() {
        errors.push(key.required("can not be empty"));
    }
    let action = constraint.child("whenUnsatisfiable");
    if !SPREAD_ACTIONS.contains(&action.text()) {
        errors.push(FieldError::not_supported(&action.path, action.text(), SPREAD_ACTIONS));
    }
    let domains = constraint.child("minDomains");
    if domains.int().is_some_and(|count| count <= 0) {
        errors.push(domains.invalid(POSITIVE));
    }
    if domains.is_set() && action.text() != "DoNotSchedule" {
        errors.push(domains.invalid(format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            action.text()
        )));
    }
    for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        constraint.child(field).one_of(&["Honor", "Ignore"], errors);
    }
    match_label_keys(constraint, "matchLabelKeys", errors);
    labels::selector(&constraint.child("labelSelector"), errors);
}

/// A pod's own label that `matchLabelKeys` takes is not selected a second time.
pub(super) fn merged_keys(spec: &At<'_>, marks: &Value, errors: &mut Errors) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for constraint in spec.each("topologySpreadConstraints") {
        merged(&constraint, marks, errors);
    }
    let affinity = spec.child("affinity");
    if !affinity.is_set() {
        return;
    }
    for side in ["podAffinity", "podAntiAffinity"].map(|side| affinity.child(side)) {
        side.each(required).for_each(|term| merged(&term, marks, errors));
        let terms = side.each(preferred).map(|weighted| weighted.child("podAffinityTerm"));
        terms.for_each(|term| merged(&term, marks, errors));
    }
}

fn merged(holder: &At<'_>, marks: &Value, errors: &mut Errors) {
    let mut keys = holder.each("matchLabelKeys").enumerate().peekable();
    if keys.peek().is_none() {
        return;
    }
    let labels = at(holder.value, "labelSelector.matchLabels");
    let expressions = list_at(holder.value, "labelSelector.matchExpressions");
    let expressions: HashSet<&str> = expressions.iter().map(|e| str_at(e, "key")).collect();
    for (index, key) in keys {
        let text = key.text();
        let selected = labels.get(text).is_some() || expressions.contains(text);
        if selected && marks.get(text).is_some() {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&holder.path.index(index), text, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use onggi_api::FieldPath;
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::Dice;

    #[test]
    fn constraints_are_compared_with_all_that_follow() {
        let mut dice = Dice(4);
        for _ in 0..300 {
            let list = dice.list(6, |dice| {
                json!({
                    "maxSkew": 1,
                    "topologyKey": dice.one(&["a", "b", "c"]),
                    "whenUnsatisfiable": dice.one(SPREAD_ACTIONS),
                })
            });
            let mut errors = Errors::new();
            spread_constraints(&At::new(&list, FieldPath::new("s")), &mut errors);
            let found: Vec<String> = errors.iter().map(|error| error.path.to_string()).collect();
            let items = list.as_array().unwrap();
            let expected: Vec<String> = (0..items.len())
                .filter(|n| items[n + 1..].iter().any(|later| pair(later) == pair(&items[*n])))
                .map(|n| format!("s[{n}].{{topologyKey, whenUnsatisfiable}}"))
                .collect();
            assert_eq!(found, expected, "{list}");
        }
    }

    #[test]
    fn keys_are_compared_with_labels() {
        let mut dice = Dice(5);
        const KEYS: &[&str] = &["a", "b", "c", "d"];
        for _ in 0..300 {
            let keys = dice.list(4, |dice| dice.one(KEYS).into());
            let unlike = dice.list(4, |dice| dice.one(KEYS).into());
            let expressions =
                dice.list(3, |dice| json!({"key": dice.one(KEYS), "operator": "Exists"}));
            let term = json!({
                "topologyKey": "t", "matchLabelKeys": keys, "mismatchLabelKeys": unlike,
                "labelSelector": {"matchLabels": {"a": "x"}, "matchExpressions": expressions},
            });
            let all = keys.as_array().unwrap();
            let places = |wrong: &dyn Fn(&Value) -> bool| -> Vec<usize> {
                (0..all.len()).filter(|n| wrong(&all[*n])).collect()
            };
            let texts = |errors: Errors| -> Vec<String> {
                errors.iter().map(|error| error.path.to_string()).collect()
            };
            let at = At::new(&term, FieldPath::new("t"));
            let mut errors = Errors::new();
            pod_affinity_term(&at, &mut errors);
            let both = places(&|key| unlike.as_array().unwrap().contains(key));
            let both: Vec<String> = both.iter().map(|n| format!("t.matchLabelKeys[{n}]")).collect();
            assert_eq!(texts(errors), both, "{term}");
            let mut errors = Errors::new();
            merged(&at, &json!({"a": "1", "b": "1", "c": "1"}), &mut errors);
            let selected = places(&|key| {
                let of = |e: &Value| e["key"] == *key;
                key != "d" && (key == "a" || expressions.as_array().unwrap().iter().any(of))
            });
            let selected: Vec<String> = selected.iter().map(|n| format!("t[{n}]")).collect();
            assert_eq!(texts(errors), selected, "{term}");
        }
    }
}
