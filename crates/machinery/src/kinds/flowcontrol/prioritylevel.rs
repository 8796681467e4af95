//! `PriorityLevelConfiguration`.

use serde_json::{Value, json};

use super::{BASE, GROUP, bootstrap, conditions};
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, i64_at, is_set, set, set_default, str_at};

/// The row.
pub const PRIORITY_LEVEL: Resource = Resource {
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    subresources: &[status_of(GROUP, "v1", "PriorityLevelConfiguration")],
    columns: &[
        Column::NAME,
        Column::text("Type"),
        Column::text("NominalConcurrencyShares"),
        Column::text("Queues"),
        Column::text("HandSize"),
        Column::text("QueueLengthLimit"),
        Column::AGE,
    ],
    row,
    default,
    prepare_create: |level| set(level, "status", json!({})),
    validate,
    ..BASE
};

fn row(level: &Value, now: i64) -> Vec<Value> {
    let number = |path| match i64_at(level, path) {
        Some(number) => Value::from(number),
        None => "<none>".into(),
    };
    vec![
        table::name(level),
        str_at(level, "spec.type").into(),
        number("spec.limited.nominalConcurrencyShares"),
        number("spec.limited.limitResponse.queuing.queues"),
        number("spec.limited.limitResponse.queuing.handSize"),
        number("spec.limited.limitResponse.queuing.queueLengthLimit"),
        table::age(level, now),
    ]
}

fn default(level: &mut Value) {
    if is_set(level, "spec.exempt") {
        set_default(level, "spec.exempt.nominalConcurrencyShares", 0);
        set_default(level, "spec.exempt.lendablePercent", 0);
    }
    if is_set(level, "spec.limited") {
        set_default(level, "spec.limited.nominalConcurrencyShares", 30);
        set_default(level, "spec.limited.lendablePercent", 0);
    }
    let queuing = "spec.limited.limitResponse.queuing";
    if is_set(level, queuing) {
        for (field, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
            let path = format!("{queuing}.{field}");
            // Protobuf cannot say that it is missing.
            if i64_at(level, &path).unwrap_or(0) == 0 {
                set(level, &path, number);
            }
        }
    }
}

const QUEUES_MAX: i64 = 10_000_000;
/// How many bits a hash gives to choose queues by.
const HASH_BITS: f64 = 60.0;

fn validate(level: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(level);
    let (spec, name) = (root.child("spec"), str_at(level, "metadata.name"));
    let (kind, exempt, limited) = (spec.child("type"), spec.child("exempt"), spec.child("limited"));
    if (name == "exempt") != (kind.text() == "Exempt") {
        errors.push(kind.invalid("must be 'Exempt' if and only if `name` is 'exempt'"));
    }
    match kind.text() {
        "Exempt" => {
            if limited.is_set() {
                errors.push(limited.forbidden("must be nil if the type is not Limited"));
            }
            if exempt.is_set() {
                shares(&exempt, &mut errors);
            } else {
                errors.push(exempt.required("must not be empty when type is Exempt"));
            }
        }
        "Limited" => {
            if exempt.is_set() {
                errors.push(exempt.forbidden("must be nil if the type is Limited"));
            }
            if limited.is_set() {
                shares(&limited, &mut errors);
                limit_response(&limited.child("limitResponse"), &mut errors);
                let borrowing = limited.child("borrowingLimitPercent");
                if borrowing.int().is_some_and(|percent| percent < 0) {
                    let detail = "if specified, must be a non-negative integer";
                    errors.push(borrowing.invalid(detail));
                }
            } else {
                errors.push(limited.required("must not be empty when type is Limited"));
            }
        }
        _ => kind.required_one_of(&["Exempt", "Limited"], &mut errors),
    }
    let fixed = bootstrap::mandatory_levels().find(|l| str_at(l, "metadata.name") == name);
    if fixed.is_some_and(|fixed| fixed_part(at(&fixed, "spec")) != fixed_part(spec.value)) {
        errors.push(spec.invalid(format!("spec of '{name}' must equal the fixed value")));
    }
    conditions(&root.child("status.conditions"), &mut errors);
    errors
}

/// The numbers of the exempt level may be chosen.
fn fixed_part(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.remove("exempt");
    }
    spec
}

fn shares(level: &At<'_>, errors: &mut Errors) {
    let shares = level.child("nominalConcurrencyShares");
    if shares.int().is_some_and(|number| number < 0) {
        errors.push(shares.invalid("must be a non-negative integer"));
    }
    level.child("lendablePercent").between(0, 100, errors);
}

fn limit_response(response: &At<'_>, errors: &mut Errors) {
    let (kind, queuing) = (response.child("type"), response.child("queuing"));
    match kind.text() {
        "Reject" => {
            if queuing.is_set() {
                errors.push(
                    queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
                );
            }
        }
        "Queue" => {
            if queuing.is_set() {
                queues(&queuing, errors);
            } else {
                errors.push(
                    queuing.required("must not be empty if limited.limitResponse.type is Limited"),
                );
            }
        }
        other => errors.push(onggi_api::FieldError::not_supported(
            &kind.path,
            other,
            &["Queue", "Reject"],
        )),
    }
}

fn queues(queuing: &At<'_>, errors: &mut Errors) {
    let [length, queues, hand] =
        ["queueLengthLimit", "queues", "handSize"].map(|field| queuing.child(field));
    let number = |at: &At<'_>| at.int().unwrap_or(0);
    if number(&length) <= 0 {
        errors.push(length.invalid("must be positive"));
    }
    let (deck, dealt) = (number(&queues), number(&hand));
    if deck <= 0 {
        errors.push(queues.invalid("must be positive"));
    } else if deck > QUEUES_MAX {
        errors.push(queues.invalid(format!("must not be greater than {QUEUES_MAX}")));
    }
    if dealt <= 0 {
        errors.push(hand.invalid("must be positive"));
    } else if dealt > deck {
        errors.push(hand.invalid(format!("should not be greater than queues ({deck})")));
    } else if bits_needed(deck, dealt) > HASH_BITS {
        errors.push(hand.invalid(format!(
            "required entropy bits of deckSize {deck} and handSize {dealt} should not be greater \
             than {HASH_BITS}"
        )));
    }
}

/// The bits that it takes to deal a hand of so many different queues.
fn bits_needed(deck: i64, hand: i64) -> f64 {
    // Each queue but the last takes a bit or more: no more than this many need to be looked at.
    let dealt = (0..hand.min(1 + HASH_BITS as i64)).map(|gone| (deck - gone).max(1) as f64);
    dealt.map(f64::log2).sum::<f64>().ceil()
}
