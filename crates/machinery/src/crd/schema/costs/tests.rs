//! The cases are those of Kubernetes (`apiextensions/validation/validation_test.go`).

use onggi_api::FieldPath;
use serde_json::{Value, json};

use super::check;
use crate::validation::{At, Errors};

const HELP: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength \
                    where arrays, maps, and strings are declared)";

fn found(field: Value, stored: bool) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"f": field}});
    let mut errors = Errors::new();
    check(&At::new(&schema, FieldPath::new("s")), stored, &mut errors);
    errors.iter().map(|error| format!("{}: {}", error.path, error.message())).collect()
}

fn nested(items: Value, values: Value, key: Value) -> Value {
    let merge = |mut base: Value, more: Value| {
        let more = more.as_object().cloned().unwrap_or_default();
        base.as_object_mut().unwrap().extend(more);
        base
    };
    let object = json!({"type": "object", "required": ["key"], "properties": {"key": key}});
    let map = merge(json!({"type": "object", "additionalProperties": object}), values);
    let rule = json!([{"rule": "self.all(x, x.all(y, x[y].key == x[y].key))"}]);
    let list = json!({"type": "array", "items": map, "x-kubernetes-validations": rule});
    merge(list, items)
}

#[test]
fn a_rule_in_loops_needs_bounds() {
    let text = json!({"type": "string"});
    let short = json!({"type": "string", "maxLength": 10});
    let number = json!({"type": "number"});
    let rule = "s.properties[f].x-kubernetes-validations[0].rule: Forbidden: ";
    let refused = [
        format!("{rule}estimated rule cost exceeds budget by factor of more than 100x {HELP}"),
        format!(
            "{rule}contributed to estimated rule cost total exceeding cost limit for entire \
             OpenAPIv3 schema"
        ),
        format!(
            "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire \
             OpenAPIv3 schema exceeds budget by factor of more than 100x {HELP}"
        ),
    ];
    let none = || json!({});
    assert_eq!(found(nested(none(), none(), text.clone()), false), refused);
    assert_eq!(found(nested(none(), none(), short.clone()), false), refused);
    // What is stored counts in the sum only.
    assert_eq!(found(nested(none(), none(), text), true), refused[1..]);
    let all = nested(json!({"maxItems": 10}), json!({"maxProperties": 10}), short);
    assert!(found(all, false).is_empty());
    let outer = nested(json!({"maxItems": 4}), none(), number);
    assert!(found(outer, false).is_empty());
}

#[test]
fn a_rule_counts_as_often_as_its_part_may_be_there() {
    let texts = |wrap: Value| {
        let rule = json!([{"rule": "self.contains('keyword')"}]);
        let part = json!({"type": "string", "maxLength": 5000, "x-kubernetes-validations": rule});
        let mut wrap = wrap;
        let name = if wrap["type"] == "array" { "items" } else { "additionalProperties" };
        wrap[name] = part;
        wrap
    };
    let list = texts(json!({"type": "array", "maxItems": 100_000}));
    let map = texts(json!({"type": "object", "maxProperties": 1000}));
    let cheap = json!({"type": "integer",
        "x-kubernetes-validations": [{"rule": "self > 50 && self < 100"}]});
    let whole = json!({"type": "object", "properties": {"list": list, "map": map, "n": cheap}});
    let places: Vec<String> = found(whole, false)
        .iter()
        .filter_map(|text| {
            Some(text.split_once(": ")?.0.trim_start_matches("s.properties[f].").to_owned())
        })
        .collect();
    assert_eq!(
        places,
        [
            "properties[list].items.x-kubernetes-validations[0].rule",
            "properties[list].items.x-kubernetes-validations[0].rule",
            "properties[map].additionalProperties.x-kubernetes-validations[0].rule",
            "s",
        ]
    );
}

#[test]
fn messages_count_once() {
    let list = |message: &str| {
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [
            {"rule": "true", "messageExpression": message},
        ]})
    };
    // Each text of three megabytes is copied again with each that comes after it.
    let sum = (0..8).map(|at| format!("self[{at}]")).collect::<Vec<_>>().join(" + ");
    let dear = found(list(&sum), false);
    assert_eq!(
        dear,
        [format!(
            "s.properties[f].x-kubernetes-validations[0].messageExpression: Forbidden: estimated \
             messageExpression cost exceeds budget by factor of 1.101006x {HELP}"
        )]
    );
    assert!(found(list(&sum), true).is_empty());
    assert_eq!(found(list("string(self[0]) + string(self[1])"), false).len(), 3);
    assert!(found(list("'first: ' + self[0]"), false).is_empty());
}

/// A schema that expressions cannot see has no cost, nor has a rule that is wrong.
#[test]
fn what_cannot_be_compiled_is_not_estimated() {
    let rule = |rule: &str| json!([{"rule": rule}]);
    let open = json!({"x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": rule("true")});
    assert!(found(open, false).is_empty());
    let wrong = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": rule("self.all(x, self.all(y, x == y) && nope)")});
    assert!(found(wrong, false).is_empty());
}
