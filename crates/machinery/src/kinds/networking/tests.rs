//! Defaults, rules and rows of the kinds of this group.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect};

fn check(resource: &Resource, rows: &[(&str, &[&str])]) {
    for (object, expected) in rows {
        expect(&(resource.validate)(&created(resource, object)), expected, object);
    }
}

#[test]
fn ingresses() {
    check(
        &INGRESS,
        &[
            ("spec: {defaultBackend: {service: {name: s, port: {number: 80}}}}", &[]),
            ("spec: {}", &["spec: Invalid value: null: either `defaultBackend` or `rules` must"]),
            (
                "spec: {defaultBackend: {service: {name: 1s, port: {number: 0}}}}",
                &["spec.defaultBackend: Required value: port name or number is required"],
            ),
            (
                "spec: {rules: [{host: 10.0.0.1, http: {paths: [{pathType: Exact, path: a//b/.., backend: {}}]}}, {host: 'a.*'}]}",
                &[
                    "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP",
                    "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must be an absolute path",
                    "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must not contain '//'",
                    "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": cannot end with '/..'",
                    "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend",
                    "spec.rules[1].host: Invalid value: \"a.*\": a wildcard DNS-1123 subdomain must",
                ],
            ),
            (
                "{metadata: {annotations: {kubernetes.io/ingress.class: a}}, spec: {ingressClassName: b, rules: [{host: '*.a.b', http: {paths: [{pathType: X, backend: {resource: {kind: K, name: r}}}]}}]}}",
                &[
                    "spec.rules[0].http.paths[0].pathType: Unsupported value: \"X\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
                    "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName`",
                ],
            ),
        ],
    );
    let object = created(
        &INGRESS,
        "{metadata: {name: i}, spec: {ingressClassName: c, tls: [{}], rules: [{host: a.b}, {}, {host: c.d}, {host: e.f}, {host: g.h}]}}",
    );
    assert_eq!(
        Value::from((INGRESS.row)(&object, 0)),
        json!(["i", "c", "a.b,c.d,e.f + 2 more...", "", "80, 443", "<unknown>"])
    );
}

#[test]
fn classes() {
    let object = created(
        &INGRESS_CLASS,
        "{metadata: {name: c}, spec: {controller: a.b/c, parameters: {apiGroup: g.h, kind: K, name: n1}}}",
    );
    assert_eq!(object["spec"]["parameters"]["scope"], "Cluster");
    assert_eq!((INGRESS_CLASS.row)(&object, 0)[2], "K.g.h/n1");
    check(
        &INGRESS_CLASS,
        &[
            ("spec: {}", &["spec.controller: Required value"]),
            (
                "spec: {controller: a, parameters: {kind: K, scope: Namespace}}",
                &[
                    "spec.controller: Invalid value: \"a\": must be a domain-prefixed path",
                    "spec.parameters.name: Required value",
                    "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
                ],
            ),
        ],
    );
}

#[test]
fn policies() {
    let object = created(
        &NETWORK_POLICY,
        "{metadata: {name: p}, spec: {podSelector: {matchLabels: {a: b}}, egress: [{ports: [{port: 1}]}]}}",
    );
    assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!((NETWORK_POLICY.row)(&object, 0)[1], "a=b");
    check(
        &NETWORK_POLICY,
        &[(
            "spec: {podSelector: {}, ingress: [{ports: [{port: a, endPort: 2}, {endPort: 2}, {port: 9, endPort: 8}], from: [{}, {podSelector: {}, ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8, 10.1.0.0/16, x]}}]}], policyTypes: [Up]}",
            &[
                "spec.ingress[0].ports[0].endPort: Invalid value: 2: may not be specified when `port` is non-numeric",
                "spec.ingress[0].ports[1].endPort: Invalid value: 2: may not be specified when `port` is not",
                "spec.ingress[0].ports[2].endPort: Invalid value: 9: must be greater than or equal to `port`",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset",
                "spec.ingress[0].from[1].ipBlock.except[2]: Invalid value: \"x\": must be a valid CIDR",
                "spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer",
                "spec.policyTypes[0]: Unsupported value: \"Up\"",
            ],
        )],
    );
}

#[test]
fn addresses() {
    check(
        &IP_ADDRESS,
        &[
            ("spec: {}", &["spec.parentRef: Required value"]),
            ("spec: {parentRef: {name: a}}", &["spec.parentRef.resource: Required value"]),
        ],
    );
    let object = created(
        &IP_ADDRESS,
        "{metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, namespace: d, name: s}}}",
    );
    assert_eq!(Value::from((IP_ADDRESS.row)(&object, 0)), json!(["10.0.0.1", "services/d/s"]));
    let named = |name: &str| names::by_rule(IP_ADDRESS.name, name, false);
    assert!(named("10.0.0.1").is_empty() && named("fd00::1").is_empty());
    assert!(!named("a").is_empty() && !named("fd00:0::1").is_empty());
    check(
        &SERVICE_CIDR,
        &[
            ("spec: {cidrs: [10.0.0.0/16, 'fd00::/64']}", &[]),
            ("spec: {}", &["spec.cidrs: Required value: at least one CIDR required"]),
            (
                "spec: {cidrs: [10.0.0.0/16, 10.1.0.0/16]}",
                &[
                    "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/16\",\"10.1.0.0/16\"]}: may specify no more than one IP",
                ],
            ),
            (
                "spec: {cidrs: [10.0.0.1/16]}",
                &["spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits"],
            ),
            ("spec: {cidrs: [x]}", &["spec.cidrs[0]: Invalid value: \"x\": must be a valid CIDR"]),
        ],
    );
}
