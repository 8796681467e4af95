//! `policy/v1 PodDisruptionBudget`.

use serde_json::{Value, json};

use super::{deployment, status_of};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, conditions, labels};
use crate::value::{at, i64_at, set, set_default};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[status_of("policy", "v1", "PodDisruptionBudget")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Min Available"),
        Column::text("Max Unavailable"),
        Column::integer("Allowed Disruptions"),
        Column::AGE,
    ],
    row,
    default,
    prepare_create,
    validate,
    ..Resource::BASE
};

/// Counts in the status that are written even when they are 0.
const COUNTS: [&str; 4] =
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

fn row(budget: &Value, now: i64) -> Vec<Value> {
    let share = |path| match at(budget, path) {
        Value::Null => "N/A".into(),
        Value::Number(count) => count.to_string().into(),
        percent => percent.clone(),
    };
    vec![
        table::name(budget),
        share("spec.minAvailable"),
        share("spec.maxUnavailable"),
        i64_at(budget, "status.disruptionsAllowed").unwrap_or(0).into(),
        table::age(budget, now),
    ]
}

fn prepare_create(budget: &mut Value) {
    set(budget, "status", json!({}));
    default(budget);
}

fn default(budget: &mut Value) {
    for count in COUNTS {
        set_default(budget, &format!("status.{count}"), 0);
    }
}

fn validate(budget: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(budget);
    let spec = root.child("spec");
    let (least, most) = (spec.child("minAvailable"), spec.child("maxUnavailable"));
    if least.is_set() && most.is_set() {
        errors.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
    }
    for share in [least, most].into_iter().filter(At::is_set) {
        deployment::share(&share, true, &mut errors);
    }
    labels::selector(&spec.child("selector"), &mut errors);
    let eviction = spec.child("unhealthyPodEvictionPolicy");
    eviction.one_of(&["AlwaysAllow", "IfHealthyBudget"], &mut errors);
    let status = root.child("status");
    conditions(&status.child("conditions"), &mut errors);
    COUNTS.map(|count| status.child(count)).iter().for_each(|c| c.not_negative(&mut errors));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, expect};

    #[test]
    fn rules_and_row() {
        let object = created(
            &RESOURCE,
            "{metadata: {name: b}, spec: {minAvailable: 50%, selector: {matchLabels: {a: b}}}}",
        );
        assert_eq!(object["status"]["expectedPods"], 0);
        expect(&validate(&object), &[], "right");
        assert_eq!(Value::from(row(&object, 0)), json!(["b", "50%", "N/A", 0, "<unknown>"]));
        let both = "spec: {minAvailable: -1, maxUnavailable: 101%, unhealthyPodEvictionPolicy: X}";
        expect(
            &validate(&created(&RESOURCE, both)),
            &[
                "spec: Invalid value: {",
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"X\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ],
            both,
        );
    }
}
