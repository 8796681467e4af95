//! Schemas and the objects beside them.

use serde_json::json;

use super::*;
use crate::validation::At;

fn schema() -> Schema {
    Schema::read(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "mode": {"type": "string", "enum": ["A", "B"]},
                "port": {"x-kubernetes-int-or-string": true},
                "when": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 3, "items": {"type": "string"}},
                "rows": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                    "items": {"type": "object", "required": ["id"], "properties": {
                        "id": {"type": "string"}, "size": {"type": "integer", "default": 5}}}},
                "maybe": {"type": "string", "nullable": true},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "x-kubernetes-preserve-unknown-fields": true},
                "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            }},
        },
    }))
}

fn errors(spec: Value, old: Option<Value>) -> Vec<String> {
    let object =
        |spec: Value| json!({"apiVersion": "a/v1", "kind": "K", "metadata": {}, "spec": spec});
    let found = validate(&object(spec), old.map(object).as_ref(), &schema());
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn values_are_checked_in_the_words_of_kubernetes() {
    for (spec, expected) in [
        (json!({"name": "ab"}), vec![]),
        (json!({}), vec!["spec.name: Required value"]),
        (
            json!({"name": "ab", "replicas": "x"}),
            vec![
                "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
            ],
        ),
        (
            json!({"name": "ab", "replicas": 11}),
            vec![
                "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
            ],
        ),
        (
            json!({"name": "A"}),
            vec![
                "spec.name: Invalid value: \"A\": spec.name in body should be at least 2 chars long",
            ],
        ),
        (json!({"name": "abcde"}), vec!["spec.name: Too long: may not be more than 4 bytes"]),
        (
            json!({"name": "ab", "mode": "C"}),
            vec!["spec.mode: Unsupported value: \"C\": supported values: \"A\", \"B\""],
        ),
        (
            json!({"name": "ab", "port": true}),
            vec![
                "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
            ],
        ),
        (
            json!({"name": "ab", "when": "today"}),
            vec![
                "spec.when: Invalid value: \"today\": spec.when in body must be of type date-time: \"today\"",
            ],
        ),
        (
            json!({"name": "ab", "tags": ["a", "b", "a", "c"]}),
            vec![
                "spec.tags: Too many: 4: must have at most 3 items",
                "spec.tags[2]: Duplicate value: \"a\"",
            ],
        ),
        (
            json!({"name": "ab", "rows": [{"id": "x"}, {"id": "x", "size": 1}]}),
            vec!["spec.rows[1]: Duplicate value: {\"id\":\"x\"}"],
        ),
        (
            json!({"name": "ab", "maybe": null, "mode": null}),
            vec![
                "spec.mode: Invalid value: \"null\": spec.mode in body must be of type string: \"null\"",
            ],
        ),
        (
            json!({"name": "ab", "template": {"spec": {}}}),
            vec!["spec.template.apiVersion: Required value", "spec.template.kind: Required value"],
        ),
        (
            json!({"name": "ab", "one": {}}),
            vec![
                "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found none valid",
                "spec.one.a: Required value",
            ],
        ),
    ] {
        assert_eq!(errors(spec.clone(), None), expected, "{spec}");
    }
}

#[test]
fn what_stays_as_it_was_is_let_be() {
    let old = json!({"name": "TOO LONG", "rows": [{"id": "a", "size": "x"}]});
    let new =
        json!({"name": "TOO LONG", "replicas": 3, "rows": [{"id": "b"}, {"id": "a", "size": "x"}]});
    assert_eq!(errors(new, Some(old.clone())), Vec::<String>::new());
    assert_eq!(errors(json!({"name": "OTHER", "rows": []}), Some(old)).len(), 1);
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "other": 1,
        "spec": {"name": "ab", "nope": 1, "labels": {"a": "b"}, "mode": null,
            "free": {"anything": {"at": "all"}, "known": {"a": "x", "gone": 1}},
            "rows": [{"id": "a", "gone": 1}],
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "gone": 1}, "spec": {"x": 1}}},
    });
    let unknown = prune(&mut object, &schema());
    assert_eq!(
        unknown,
        [
            "other",
            "spec.free.known.gone",
            "spec.nope",
            "spec.rows[0].gone",
            "spec.template.metadata.gone"
        ]
    );
    default(&mut object, &schema());
    drop_nulls(&mut object, &schema());
    assert_eq!(
        object["spec"],
        json!({"name": "ab", "replicas": 1, "labels": {"a": "b"},
            "free": {"anything": {"at": "all"}, "known": {"a": "x"}},
            "rows": [{"id": "a", "size": 5}],
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}}})
    );
}

fn structural(schema: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    structure::check(&At::root(schema), &mut errors);
    if errors.is_empty() {
        rules::check(&At::root(schema), &mut errors);
    }
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn schemas_must_be_structural() {
    for (schema, expected) in [
        (json!({"type": "object"}), vec![]),
        (json!({}), vec!["type: Required value: must not be empty at the root"]),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            vec![
                "properties[a].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            vec!["properties[a].items: Required value: must be specified"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            vec!["properties[a].pattern: Invalid value: \"(\": must be a valid regular expression"],
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            vec!["anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]}),
            vec!["properties[a]: Required value: because it is defined in anyOf[0].properties[a]"],
        ),
        (
            json!({"type": "object", "properties": {"p": {"x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}]}}}),
            vec![],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            vec!["properties[a].default: Invalid value: \"string\""],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            vec!["properties[metadata]: Forbidden: must not specify anything other than name"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}}}),
            vec![
                "properties[a].x-kubernetes-list-map-keys: Invalid value: [\"n\"]: entries must all",
            ],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.x > 1"}],
                "properties": {"y": {"type": "integer"}}}),
            vec!["undefined field 'x'"],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.y + 1"}],
                "properties": {"y": {"type": "integer"}}}),
            vec!["cel expression must evaluate to a bool"],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [
                {"rule": "dyn(true)"}, {"rule": "oldSelf.f"}, {"rule": "oldSelf.f", "optionalOldSelf": true},
                {"rule": "oldSelf.?f.orValue(true)"},
                {"rule": "true", "messageExpression": "dyn('a')"}],
                "properties": {"f": {"type": "boolean"}}}),
            vec![
                "validations[0].rule: Invalid value: {\"Rule\":\"dyn(true)\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: cel expression must evaluate to a bool",
                "\"OptionalOldSelf\":true}: cel expression must",
                "messageExpression must evaluate to a string",
            ],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.y == 'a'"}],
                "properties": {"y": {"type": "integer"}}}),
            vec!["found no matching overload for '_==_' applied to '(int, string)'"],
        ),
        (
            json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string",
                "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}}),
            vec![
                "oldSelf cannot be used on the uncorrelatable portion of the schema within properties[l]",
            ],
        ),
        (
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.y =="}],
                "properties": {"y": {"type": "integer"}}}),
            vec!["compilation failed: ERROR: <input>:1:10: Syntax error"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object"}},
                "x-kubernetes-validations": [{"rule": "self.metadata.name == 'cluster'"}]}),
            vec![],
        ),
    ] {
        let found = structural(&schema);
        assert_eq!(found.len(), expected.len(), "{schema}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{schema}: {found}");
        }
    }
}

#[test]
fn rules_are_run() {
    let schema = Schema::read(&json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "message": "min must not exceed max"},
            {"rule": "self.size >= oldSelf.size", "messageExpression": "'size may not shrink from ' + string(oldSelf.size)",
             "reason": "FieldValueForbidden", "fieldPath": ".size"},
            {"rule": "!oldSelf.hasValue() || self.max == oldSelf.value().max", "optionalOldSelf": true},
        ],
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "size": {"type": "integer"},
            "hosts": {"type": "array", "items": {"type": "string",
                "x-kubernetes-validations": [{"rule": "self.endsWith('.com')"}]}}},
    }}}));
    let rules = rules::compile(&schema).unwrap();
    let run = |new: Value, old: Option<Value>| -> Vec<String> {
        let object = |spec: Value| json!({"spec": spec});
        let found = rules::run(&rules, &schema, &object(new), old.map(object).as_ref());
        found.iter().map(ToString::to_string).collect()
    };
    let good = json!({"min": 1, "max": 2, "size": 3, "hosts": ["a.com"]});
    assert_eq!(run(good.clone(), None), Vec::<String>::new());
    assert_eq!(
        run(json!({"min": 3, "max": 2, "size": 3, "hosts": ["a.org"]}), None),
        [
            "spec: Invalid value: min must not exceed max",
            "spec.hosts[0]: Invalid value: \"a.org\": failed rule: self.endsWith('.com')",
        ]
    );
    assert_eq!(
        run(json!({"min": 1, "max": 5, "size": 2}), Some(good.clone())),
        [
            "spec.size: Forbidden: size may not shrink from 3",
            "spec: Invalid value: failed rule: !oldSelf.hasValue() || self.max == oldSelf.value().max",
        ]
    );
    assert_eq!(
        run(json!({"min": 1, "size": 3}), None),
        [
            "spec: Invalid value: \"object\": no such key: max evaluating rule: min must not exceed max"
        ]
    );
}
