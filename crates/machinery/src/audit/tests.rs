//! Policies as tables.

use super::*;

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ['system:kube-proxy'], verbs: [watch]}
- {level: None, userGroups: ['system:nodes'], resources: [{group: '', resources: [nodes, nodes/status]}]}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: Metadata, resources: [{resources: [secrets, '*/token']}], omitStages: [ResponseStarted]}
- {level: Request, resources: [{resources: ['pods/*'], resourceNames: [web]}], omitManagedFields: false}
- {level: RequestResponse, resources: [{group: apps}]}
- {level: Request, namespaces: [kube-system, '']}
- {level: Metadata, userGroups: ['system:authenticated']}
";

#[test]
fn the_first_rule_that_speaks_of_a_request_counts() {
    let policy = read(POLICY).unwrap();
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (nodes, all) = (groups(&["x", "system:nodes"]), groups(&["system:authenticated"]));
    let of = |group, plural: &'static str, namespace, name| {
        let (resource, subresource) = plural.split_once('/').unwrap_or((plural, ""));
        Target::Resource { group, resource, subresource, namespace, name }
    };
    use Level::{Metadata, None as Nothing, Request, RequestResponse};
    let (jo, node) = (Some(("jo", &all[..])), Some(("system:node:n", &nodes[..])));
    let proxy = Some(("system:kube-proxy", &all[..]));
    for (user, verb, target, expected) in [
        (proxy, "watch", of("", "services", "", ""), Nothing),
        (proxy, "list", of("", "services", "d", ""), Metadata),
        (node, "update", of("", "nodes/status", "", "n"), Nothing),
        (node, "get", of("", "nodes/proxy", "", "n"), Request),
        (jo, "get", Target::Path("/healthz/ping"), Nothing),
        (jo, "get", Target::Path("/version"), Nothing),
        (jo, "get", Target::Path("/version/x"), Metadata),
        (jo, "get", of("", "secrets", "kube-system", "s"), Metadata),
        (jo, "create", of("", "serviceaccounts/token", "kube-system", "a"), Metadata),
        (jo, "create", of("", "pods/exec", "d", "web"), Request),
        (jo, "get", of("", "pods", "d", "web"), Request),
        (jo, "create", of("", "pods/exec", "d", "other"), Metadata),
        (jo, "create", of("apps", "deployments/scale", "d", "w"), RequestResponse),
        (jo, "delete", of("", "namespaces", "", "n"), Request),
        (jo, "create", of("", "pods", "kube-system", ""), Request),
        // Whose credentials were refused.
        (None, "get", of("", "pods", "d", ""), Nothing),
        (None, "get", of("apps", "deployments", "d", ""), RequestResponse),
    ] {
        let kept = policy.keeps(&Attributes { user, verb, target });
        assert_eq!(kept.level, expected, "{user:?} {verb} {target:?}");
    }
    let kept = |target| policy.keeps(&Attributes { user: jo, verb: "get", target });
    let secrets = kept(of("", "secrets", "d", "s"));
    assert_eq!(secrets.omit_stages, [Stage::ResponseStarted, Stage::RequestReceived]);
    assert!(secrets.omit_managed_fields);
    assert!(!kept(of("", "pods/log", "d", "web")).omit_managed_fields);
}

#[test]
fn what_is_wrong_is_named_by_rule_and_field() {
    let wrong = |rules: &str| {
        read(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}")).unwrap_err()
    };
    for (rules, expected) in [
        ("[]", "rules: Required value: there must be at least one rule"),
        ("[{level: None}, {users: [a]}]", "rules[1].level: Required value"),
        (
            "[{level: All}]",
            r#"rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request", "RequestResponse""#,
        ),
        (
            "[{level: None, user: [a]}]",
            "rules[0].user: Forbidden: unknown field; known are level, users, userGroups, verbs, resources, namespaces, nonResourceURLs, omitStages, omitManagedFields",
        ),
        ("[{level: None, verbs: get}]", r#"rules[0].verbs: Invalid value: "get": must be a list"#),
        (
            "[{level: None, nonResourceURLs: [healthz, '/a*b']}]",
            r#"rules[0].nonResourceURLs[0]: Invalid value: "healthz": non-resource URL rules must begin with a '/' character; rules[0].nonResourceURLs[1]: Invalid value: "/a*b": non-resource URL wildcards '*' must be the final character of the rule"#,
        ),
        (
            "[{level: None, nonResourceURLs: [/a], namespaces: [d]}]",
            r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs"#,
        ),
        (
            "[{level: None, resources: [{group: '', resourceNames: [x]}]}]",
            r#"rules[0].resources[0].resourceNames: Invalid value: ["x"]: using resourceNames requires at least one resource"#,
        ),
        (
            "[{level: None, omitStages: [Done]}]",
            r#"rules[0].omitStages[0]: Invalid value: "Done": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"#,
        ),
    ] {
        assert_eq!(wrong(rules), expected);
    }
    let group = wrong("[{level: None, resources: [{group: apps/v1}]}]");
    assert!(group.starts_with(r#"rules[0].resources[0].group: Invalid value: "apps/v1": "#));
    let other = read("apiVersion: v1\nrules: [{level: None}]").unwrap_err();
    assert_eq!(
        other,
        r#"apiVersion: Unsupported value: "v1": supported values: "audit.k8s.io/v1"; kind: Required value: Policy"#
    );
}
