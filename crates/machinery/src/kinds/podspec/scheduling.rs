//! What is wrong with where a pod wants to run: tolerations, affinity, spreading.

use crate::validation::{At, Errors, duplicates, labels, names};

/// What a taint does.
pub(in crate::kinds) const TAINT_EFFECTS: &[&str] =
    &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const SPREAD_ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];

pub(super) fn validate(spec: &At<'_>, errors: &mut Errors) {
    for item in spec.each("tolerations") {
        toleration(&item, errors);
    }
    node_affinity(&spec.child("affinity.nodeAffinity"), errors);
    for name in ["affinity.podAffinity", "affinity.podAntiAffinity"] {
        pod_affinity(&spec.child(name), errors);
    }
    for item in spec.each("topologySpreadConstraints") {
        spread(&item, errors);
    }
    duplicates(spec.each("schedulingGates"), "name", errors);
    for gate in spec.each("schedulingGates") {
        gate.child("name").must(names::qualified_name, errors);
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
        "" | "Equal" => value.must(names::label_value, errors),
        "Exists" if !value.text().is_empty() => {
            errors.push(operator.invalid("value must be empty when `operator` is 'Exists'"));
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
        let terms = required.child("nodeSelectorTerms");
        if terms.items().next().is_none() {
            errors.push(terms.required("must have at least one node selector term"));
        }
        terms.items().for_each(|term| node_selector_term(&term, errors));
    }
    for preferred in affinity.each("preferredDuringSchedulingIgnoredDuringExecution") {
        weight(&preferred, errors);
        node_selector_term(&preferred.child("preference"), errors);
    }
}

fn node_selector_term(term: &At<'_>, errors: &mut Errors) {
    for expression in term.each("matchExpressions").chain(term.each("matchFields")) {
        let (operator, values) = (expression.child("operator"), expression.child("values"));
        expression.child("key").must(names::qualified_name, errors);
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
    topology_key(&term.child("topologyKey"), errors);
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

fn spread(constraint: &At<'_>, errors: &mut Errors) {
    let skew = constraint.child("maxSkew");
    if skew.int().unwrap_or(0) <= 0 {
        errors.push(skew.invalid("must be greater than zero"));
    }
    topology_key(&constraint.child("topologyKey"), errors);
    constraint.child("whenUnsatisfiable").required_one_of(SPREAD_ACTIONS, errors);
    labels::selector(&constraint.child("labelSelector"), errors);
}
