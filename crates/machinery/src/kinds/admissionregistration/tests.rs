//! Webhooks, policies and bindings: defaults, rules, rows.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect, yaml};

const HOOK: &str = "
metadata: {name: c}
webhooks:
- name: a.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {service: {name: s, namespace: d}}
  rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]
";

const POLICY: &str = "
metadata: {name: p}
spec:
  matchConstraints:
    resourceRules: [{operations: [CREATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]
  validations: [{expression: 'true'}]
";

#[test]
fn a_webhook_is_defaulted() {
    for (resource, reinvocation) in
        [(&MUTATING_WEBHOOK, json!("Never")), (&VALIDATING_WEBHOOK, Value::Null)]
    {
        let made = created(resource, HOOK);
        let hook = &made["webhooks"][0];
        assert_eq!(hook["failurePolicy"], "Fail");
        assert_eq!(hook["matchPolicy"], "Equivalent");
        assert_eq!(hook["namespaceSelector"], json!({}));
        assert_eq!(hook["objectSelector"], json!({}));
        assert_eq!(hook["timeoutSeconds"], 10);
        assert_eq!(hook["rules"][0]["scope"], "*");
        assert_eq!(hook["clientConfig"]["service"]["port"], 443);
        assert_eq!(hook["reinvocationPolicy"], reinvocation);
        expect(&(resource.validate)(&made), &[], resource.kind);
        assert_eq!(Value::from((resource.row)(&made, 0)), json!(["c", 1, "<unknown>"]));
    }
}

#[test]
fn rules_of_webhooks() {
    for (from, to, expected) in [
        (
            "a.example.com",
            "a.b",
            &["webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three"][..],
        ),
        (
            "sideEffects: None",
            "sideEffects: Some",
            &[
                "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            ],
        ),
        (
            "  sideEffects: None\n",
            "",
            &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        ),
        (
            "sideEffects: None",
            "sideEffects: None\n  timeoutSeconds: 31",
            &[
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (
            "[v1]\n  side",
            "[v2, v2]\n  side",
            &[
                "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
                "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, v1beta1",
            ],
        ),
        (
            "{service: {name: s, namespace: d}}",
            "{}",
            &[
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ],
        ),
        (
            "operations: [CREATE], apiGroups: ['']",
            "operations: ['*', X], apiGroups: ['*', a]",
            &[
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"X\"]: if '*' is present, must not specify other operations",
                "webhooks[0].rules[0].operations[1]: Unsupported value: \"X\": supported values: \"*\", \"CONNECT\"",
                "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
            ],
        ),
        (
            "resources: [pods]",
            "resources: ['pods/*', pods/status, '*', a]",
            &[
                "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                "webhooks[0].rules[0].resources: Invalid value: [\"pods/*\",\"pods/status\",\"*\",\"a\"]: if '*' is present, must not specify other resources without subresources",
            ],
        ),
        (
            "sideEffects: None",
            "sideEffects: None\n  matchConditions: [{name: a, expression: ''}, {name: a, expression: 'true'}]",
            &[
                "webhooks[0].matchConditions[0].expression: Required value",
                "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
            ],
        ),
    ] {
        let changed = HOOK.replacen(from, to, 1);
        assert_ne!(changed, HOOK);
        let made = created(&VALIDATING_WEBHOOK, &changed);
        expect(&(VALIDATING_WEBHOOK.validate)(&made), expected, &changed);
    }
    let twice = HOOK.replace("webhooks:\n", "webhooks:\n- name: a.example.com\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  clientConfig: {url: 'https://x'}\n");
    let made = created(&MUTATING_WEBHOOK, &twice);
    expect(
        &(MUTATING_WEBHOOK.validate)(&made),
        &["webhooks[1].name: Duplicate value: \"a.example.com\""],
        "twice",
    );
}

#[test]
fn policies() {
    let made = created(&VALIDATING_POLICY, POLICY);
    assert_eq!(made["spec"]["failurePolicy"], "Fail");
    let constraints = &made["spec"]["matchConstraints"];
    assert_eq!(constraints["matchPolicy"], "Equivalent");
    assert_eq!(constraints["resourceRules"][0]["scope"], "*");
    expect(&(VALIDATING_POLICY.validate)(&made), &[], "right");
    let row = (VALIDATING_POLICY.row)(&made, 0);
    assert_eq!(Value::from(row), json!(["p", 1, "<unset>", "<unknown>"]));
    for (resource, spec, expected) in [
        (
            &VALIDATING_POLICY,
            "{paramKind: {apiVersion: a/b/c, kind: '1'}, variables: [{name: if, expression: ''}]}",
            &[
                "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                "spec.paramKind.kind: Invalid value: \"1\": may have mixed case, but should otherwise match: a DNS-1035",
                "spec.matchConstraints: Required value",
                "spec.variables[0].name: Invalid value: \"if\": name is not a valid CEL identifier",
                "spec.variables[0].expression: Required value: expression is not specified",
                "spec.validations: Required value: validations or auditAnnotations must contain",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain",
            ][..],
        ),
        (
            &VALIDATING_POLICY,
            "{matchConstraints: {}, validations: [{expression: ' ', message: \"a\\nb\", reason: X}], auditAnnotations: [{key: '', valueExpression: ''}]}",
            &[
                "spec.matchConstraints.resourceRules: Required value",
                "spec.validations[0].expression: Required value: expression is not specified",
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[0].reason: Unsupported value: \"X\"",
                "spec.auditAnnotations[0].key: Invalid value: \"p/\": name part must be non-empty",
                "spec.auditAnnotations[0].key: Invalid value: \"p/\": name part must consist",
                "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            ],
        ),
        (
            &MUTATING_POLICY,
            "{matchConstraints: {resourceRules: [{operations: [DELETE], apiGroups: [a], apiVersions: [v1], resources: [b]}]}, mutations: [{patchType: JSONPatch}, {patchType: X}]}",
            &[
                "spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: \"DELETE\"",
                "spec.reinvocationPolicy: Required value",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                "spec.mutations[1].patchType: Unsupported value: \"X\": supported values: \"ApplyConfiguration\"",
            ],
        ),
    ] {
        let made = created(resource, &format!("{{metadata: {{name: p}}, spec: {spec}}}"));
        expect(&(resource.validate)(&made), expected, spec);
    }
}

#[test]
fn types_of_expressions() {
    let of = |resource: &Resource, rest: &str| {
        let rules = "{resourceRules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}";
        let spec = format!("{{matchConstraints: {rules}, {rest}}}");
        let made = created(resource, &format!("{{metadata: {{name: p}}, spec: {spec}}}"));
        (resource.validate)(&made)
    };
    for (rest, expected) in [
        ("validations: [{expression: \"object.spec.x == 'a'\"}]", &[][..]),
        (
            "validations: [{expression: object.spec.x}, {expression: \"'a'\"}]",
            &[
                "spec.validations[0].expression: Invalid value: \"object.spec.x\": must evaluate to bool but got dyn",
                "spec.validations[1].expression: Invalid value: \"'a'\": must evaluate to bool but got string",
            ],
        ),
        (
            "validations: [{expression: 'true', messageExpression: '1'}], auditAnnotations: [{key: a, valueExpression: '1'}, {key: b, valueExpression: 'null'}]",
            &[
                "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int",
                "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type] but got int",
            ],
        ),
        (
            "matchConditions: [{name: a, expression: '1'}], validations: [{expression: params.x == 1}, {expression: variables.v == 1}]",
            &[
                "spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
                "spec.validations[0].expression: Invalid value: \"params.x == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')",
                "spec.validations[1].expression: Invalid value: \"variables.v == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'variables'",
            ],
        ),
        (
            "variables: [{name: v, expression: \"'a'\"}], validations: [{expression: variables.v == 1}, {expression: \"variables.v == 'a'\", messageExpression: \"authorizer.path('/').check('get').reason()\"}]",
            &[
                "spec.validations[0].expression: Invalid value: \"variables.v == 1\": compilation failed: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(string, int)'",
                "spec.validations[1].messageExpression: Invalid value: \"authorizer.path('/').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer'",
            ],
        ),
        (
            "validations: [{expression: \"authorizer.requestResource.check('x').allowed()\"}, {expression: request.nope == 1}]",
            &[
                "spec.validations[1].expression: Invalid value: \"request.nope == 1\": compilation failed: ERROR: <input>:1:8: undefined field 'nope'",
            ],
        ),
    ] {
        expect(&of(&VALIDATING_POLICY, rest), expected, rest);
    }
    for (kind, expression, expected) in [
        ("applyConfiguration", "Object{}", ""),
        ("applyConfiguration", "'teapot'", "must evaluate to Object but got string"),
        ("applyConfiguration", "Object.spec{}", "must evaluate to Object but got Object.spec"),
        ("applyConfiguration", "object", "must evaluate to Object but got dyn"),
        ("jsonPatch", "[JSONPatch{op: 'remove', path: '/x'}]", ""),
        ("jsonPatch", "[]", "must evaluate to list(JSONPatch) but got list(dyn)"),
        ("jsonPatch", "JSONPatch{}", "must evaluate to list(JSONPatch) but got JSONPatch"),
        (
            "jsonPatch",
            "[JSONPatch{operation: 'x'}]",
            "compilation failed: ERROR: <input>:1:21: expected type of field 'operation' is '' but \
             provided type is 'string'",
        ),
    ] {
        let ty = if kind == "jsonPatch" { "JSONPatch" } else { "ApplyConfiguration" };
        let rest = format!(
            "reinvocationPolicy: Never, mutations: [{{patchType: {ty}, {kind}: {{expression: \"{expression}\"}}}}]"
        );
        let shown = format!("spec.mutations[0].{kind}.expression: Invalid value: ");
        let shown = format!("{shown}{expression:?}: {expected}");
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[&shown] };
        expect(&of(&MUTATING_POLICY, &rest), expected, &rest);
    }
}

#[test]
fn bindings() {
    for (resource, spec, cell, expected) in [
        (
            &VALIDATING_BINDING,
            "{policyName: p, validationActions: [Deny], paramRef: {name: a, parameterNotFoundAction: Deny}, matchResources: {}}",
            "*/a",
            &[][..],
        ),
        (
            &VALIDATING_BINDING,
            "{validationActions: [Deny, Warn, Warn, X], paramRef: {}}",
            "<unset>",
            &[
                "spec.policyName: Required value",
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.validationActions[2]: Duplicate value: \"Warn\"",
                "spec.validationActions[3]: Unsupported value: \"X\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Warn\",\"X\"]: must not contain both",
            ],
        ),
        (
            &MUTATING_BINDING,
            "{policyName: A, paramRef: {name: b, namespace: d, selector: {matchLabels: {x: z}}, parameterNotFoundAction: Allow}, matchResources: {matchPolicy: X}}",
            "d/b",
            &[
                "spec.policyName: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                "spec.matchResouces.matchPolicy: Unsupported value: \"X\"",
            ],
        ),
    ] {
        let mut made = yaml(&format!("{{metadata: {{name: b}}, spec: {spec}}}"));
        (resource.default)(&mut made);
        expect(&(resource.validate)(&made), expected, spec);
        assert_eq!((resource.row)(&made, 0)[2], cell);
    }
}
