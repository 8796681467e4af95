//! Defaults, rules and rows of both kinds, and that the first objects keep the rules.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect};

#[test]
fn the_first_objects_are_right() {
    let mut count = 0;
    for (resource, object) in flow_schemas()
        .map(|s| (FLOW_SCHEMA, s))
        .chain(priority_levels().map(|l| (PRIORITY_LEVEL, l)))
    {
        let made = created(&resource, &object.to_string());
        assert_eq!(made["spec"], object["spec"], "defaults change nothing");
        expect(&(resource.validate)(&made), &[], &object["metadata"]["name"].to_string());
        count += 1;
    }
    assert_eq!(count, 21);
}

#[test]
fn flow_schemas_have_rules() {
    let name = "metadata: {name: f}";
    for (spec, expected) in [
        (
            "{priorityLevelConfiguration: {name: p}, rules: [{subjects: [{kind: User, user: {name: u}}], resourceRules: [{verbs: [get], apiGroups: [''], resources: [pods], namespaces: ['*']}]}]}",
            &[][..],
        ),
        (
            "{matchingPrecedence: 1, distinguisherMethod: {type: X}, priorityLevelConfiguration: {name: ''}, rules: [{}]}",
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have",
                "spec.distinguisherMethod.type: Unsupported value: \"X\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules",
            ],
        ),
        (
            "{matchingPrecedence: 10001, priorityLevelConfiguration: {name: p}, rules: [{subjects: [{kind: Group, user: {name: u}}, {kind: ServiceAccount, serviceAccount: {name: '*', namespace: ''}}], resourceRules: [{verbs: [x], apiGroups: [], resources: ['*', a], namespaces: [A]}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: [a, '/*/b']}]}]}",
            &[
                "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
                "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
                "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
                "spec.rules[0].subjects[1].serviceAccount.namespace: Required value: must specify namespace",
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"x\"]: supported values: \"create\"",
                "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply",
                "spec.rules[0].resourceRules[0].resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources",
                "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/*/b\": wildcard can only",
            ],
        ),
    ] {
        let made = created(&FLOW_SCHEMA, &format!("{{{name}, spec: {spec}}}"));
        expect(&(FLOW_SCHEMA.validate)(&made), expected, spec);
    }
    let made = created(
        &FLOW_SCHEMA,
        "{metadata: {name: f}, spec: {priorityLevelConfiguration: {name: p}}}",
    );
    assert_eq!(
        Value::from((FLOW_SCHEMA.row)(&made, 0)),
        json!(["f", "p", 1000, "<none>", "<unknown>", "?"])
    );
    let other = "{metadata: {name: exempt}, spec: {matchingPrecedence: 1, priorityLevelConfiguration: {name: p}}}";
    expect(
        &(FLOW_SCHEMA.validate)(&created(&FLOW_SCHEMA, other)),
        &[
            "spec: Invalid value: {\"matchingPrecedence\":1,\"priorityLevelConfiguration\":{\"name\":\"p\"}}: spec of 'exempt' must equal the fixed value",
        ],
        other,
    );
}

#[test]
fn priority_levels_have_rules() {
    let made = created(
        &PRIORITY_LEVEL,
        "{metadata: {name: l}, spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {queues: 0}}}}}",
    );
    expect(&(PRIORITY_LEVEL.validate)(&made), &[], "right");
    assert_eq!(
        Value::from((PRIORITY_LEVEL.row)(&made, 0)),
        json!(["l", "Limited", 30, 64, 8, 50, "<unknown>"])
    );
    for (object, expected) in [
        (
            "{metadata: {name: l}, spec: {type: Limited, limited: {lendablePercent: 101, borrowingLimitPercent: -1, limitResponse: {type: Queue, queuing: {queues: 10000000, handSize: 9, queueLengthLimit: -1}}}}}",
            &[
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 9: required entropy bits of deckSize 10000000 and handSize 9 should not be greater than 60",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative",
            ][..],
        ),
        (
            "{metadata: {name: l}, spec: {type: Exempt, limited: {limitResponse: {type: Reject}}}}",
            &[
                "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
                "spec.limited: Forbidden: must be nil if the type is not Limited",
                "spec.exempt: Required value: must not be empty when type is Exempt",
            ],
        ),
    ] {
        let made = created(&PRIORITY_LEVEL, object);
        expect(&(PRIORITY_LEVEL.validate)(&made), expected, object);
    }
}
