//! Roles and bindings: defaults, rules, rows.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect, yaml};

#[test]
fn rules_of_roles() {
    for (resource, object, expected) in [
        (&ROLE, "rules: [{verbs: [get], apiGroups: [''], resources: [pods]}]", &[][..]),
        (
            &ROLE,
            "rules: [{resources: [a]}, {verbs: [get], nonResourceURLs: [/x], resources: [b]}]",
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[1].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply",
                "rules[1].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both",
            ],
        ),
        (&CLUSTER_ROLE, "rules: [{verbs: [get], nonResourceURLs: [/x]}]", &[]),
        (
            &CLUSTER_ROLE,
            "{rules: [{verbs: [get], apiGroups: ['']}], aggregationRule: {}}",
            &[
                "rules[0].resources: Required value: resource rules must supply at least one resource",
                "aggregationRule.clusterRoleSelectors: Required value: at least one",
            ],
        ),
        (
            &CLUSTER_ROLE,
            "aggregationRule: {clusterRoleSelectors: [{matchLabels: {a b: c}}]}",
            &[
                "aggregationRule.clusterRoleSelectors[0].matchLabels: Invalid value: \"a b\"",
                "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
            ],
        ),
    ] {
        expect(&(resource.validate)(&created(resource, object)), expected, object);
    }
}

#[test]
fn bindings() {
    let binding = created(
        &ROLE_BINDING,
        "{metadata: {name: b}, roleRef: {kind: Role, name: r}, subjects: [
            {kind: User, name: u}, {kind: Group, name: g}, {kind: Group, name: h},
            {kind: ServiceAccount, name: s, namespace: space}]}",
    );
    assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
    assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
    assert_eq!(binding["subjects"][3].get("apiGroup"), None);
    expect(&(ROLE_BINDING.validate)(&binding), &[], "right");
    assert_eq!(
        Value::from((ROLE_BINDING.row)(&binding, 0)),
        json!(["b", "Role/r", "<unknown>", "u", "g, h", "space/s"])
    );
    let mut other = binding.clone();
    other["roleRef"]["name"] = "q".into();
    expect(
        &(ROLE_BINDING.validate_update)(&other, &binding),
        &[
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"q\"}: cannot change roleRef",
        ],
        "another role",
    );
}

#[test]
fn rules_of_bindings() {
    for (resource, object, expected) in [
        (
            &ROLE_BINDING,
            "{roleRef: {kind: X, apiGroup: other}, subjects: [{kind: User}, {kind: Z, name: z}]}",
            &[
                "roleRef.apiGroup: Unsupported value: \"other\": supported values: \"rbac.authorization.k8s.io\"",
                "roleRef.kind: Unsupported value: \"X\": supported values: \"Role\", \"ClusterRole\"",
                "roleRef.name: Required value",
                "subjects[0].name: Required value",
                "subjects[1].kind: Unsupported value: \"Z\"",
            ][..],
        ),
        (
            &CLUSTER_ROLE_BINDING,
            "{roleRef: {kind: Role, name: a/b}, subjects: [{kind: ServiceAccount, name: A, apiGroup: g}]}",
            &[
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
                "subjects[0].name: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
                "subjects[0].apiGroup: Unsupported value: \"g\": supported values: \"\"",
                "subjects[0].namespace: Required value",
            ],
        ),
    ] {
        let mut object = yaml(object);
        (resource.default)(&mut object);
        expect(&(resource.validate)(&object), expected, resource.kind);
    }
}
