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
fn classes() {
    check(
        &DEVICE_CLASS,
        &[
            (
                "spec: {selectors: [{cel: {expression: 'true'}}], config: [{opaque: {driver: a.b, parameters: {x: 1}}}], extendedResourceName: a.b/c}",
                &[],
            ),
            (
                "spec: {selectors: [{}], config: [{}, {opaque: {driver: a_b, parameters: [1]}}], extendedResourceName: cpu}",
                &[
                    "spec.selectors[0].cel: Required value",
                    "spec.config[0].opaque: Required value",
                    "spec.config[1].opaque.driver: Invalid value: \"a_b\"",
                    "spec.config[1].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON",
                    "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
                ],
            ),
            (
                "spec: {selectors: [{cel: {expression: 'device.driver =='}}, {cel: {expression: 'device.nope == 1'}}, {cel: {expression: device.driver}}, {cel: {expression: \"device.attributes['a.b'].ok\"}}]}",
                &[
                    "spec.selectors[0].cel.expression: Invalid value: \"device.driver ==\": compilation failed: ERROR: <input>:1:17: Syntax error",
                    "spec.selectors[1].cel.expression: Invalid value: \"device.nope == 1\": compilation failed: ERROR: <input>:1:7: undefined field 'nope'",
                    "spec.selectors[2].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string",
                ],
            ),
        ],
    );
}

const CLAIM: &str = "{metadata: {name: c}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: d, tolerations: [{key: k}]}}]}}}";

#[test]
fn claims() {
    let made = created(&RESOURCE_CLAIM, CLAIM);
    let request = &made["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!((&request["allocationMode"], &request["count"]), (&"ExactCount".into(), &1.into()));
    assert_eq!(request["tolerations"][0]["operator"], "Equal");
    assert_eq!((RESOURCE_CLAIM.row)(&made, 0)[1], "pending");
    check(&RESOURCE_CLAIM, &[(CLAIM, &[])]);

    let odd = "spec: {devices: {requests: [{name: r, exactly: {deviceClassName: D, allocationMode: All, count: 3}}, {name: r}, {name: s, firstAvailable: [{name: a, deviceClassName: d}, {name: a, deviceClassName: d, allocationMode: X}]}], constraints: [{requests: [q, s/a], matchAttribute: a}, {}]}}";
    let expected = [
        "devices.requests[0].exactly.deviceClassName: Invalid value: \"D\"",
        "devices.requests[0].exactly.count: Invalid value: 3: must not be specified when allocationMode is 'All'",
        "devices.requests[1]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        "devices.requests[2].firstAvailable[1].allocationMode: Unsupported value: \"X\"",
        "devices.requests[2].firstAvailable[1]: Duplicate value: \"a\"",
        "devices.requests[1]: Duplicate value: \"r\"",
        "devices.constraints[0].requests[0]: Invalid value: \"q\": must be the name of a request in the claim",
        "devices.constraints[0].matchAttribute: Invalid value: \"a\": must include a domain",
        "devices.constraints[1]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\"",
    ];
    for (resource, text, path) in [
        (&RESOURCE_CLAIM, odd.to_owned(), "spec"),
        (&RESOURCE_CLAIM_TEMPLATE, format!("spec: {{{odd}}}"), "spec.spec"),
    ] {
        let expected: Vec<String> = expected.iter().map(|e| format!("{path}.{e}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(resource, &[(&text, &expected)]);
    }
}

#[test]
fn what_becomes_of_a_claim() {
    let old = created(&RESOURCE_CLAIM, CLAIM);
    let with = |status: Value| {
        let mut claim = old.clone();
        claim["status"] = status;
        claim
    };
    let update = |new: &Value, old: &Value, expected: &[&str]| {
        expect(&(RESOURCE_CLAIM.validate_update)(new, old), expected, &new["status"].to_string());
    };
    let result = json!({"request": "r", "driver": "a.b", "pool": "p/q", "device": "dev"});
    let allocation = json!({"devices": {"results": [result]}});
    let consumer = json!({"resource": "pods", "name": "p", "uid": "1"});
    let allocated = with(json!({"allocation": allocation, "reservedFor": [consumer]}));
    update(&allocated, &old, &[]);
    assert_eq!((RESOURCE_CLAIM.row)(&allocated, 0)[1], "allocated,reserved");
    let mut other = allocated.clone();
    other["status"]["allocation"]["devices"]["results"][0]["device"] = "other".into();
    update(&other, &allocated, &["status.allocation: Invalid value: {"]);
    update(
        &with(json!({"reservedFor": [consumer]})),
        &old,
        &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
    );
    update(
        &with(
            json!({"allocation": {"devices": {"results": [{"request": "x", "driver": "a"}], "config": [{"source": "Y"}]}}}),
        ),
        &old,
        &[
            "status.allocation.devices.results[0].request: Invalid value: \"x\": must be the name",
            "status.allocation.devices.results[0].pool: Required value",
            "status.allocation.devices.results[0].device: Required value",
            "status.allocation.devices.config[0].source: Unsupported value: \"Y\"",
            "status.allocation.devices.config[0].opaque: Required value",
        ],
    );
    let mut changed = old.clone();
    changed["spec"]["devices"]["requests"][0]["name"] = "s".into();
    update(&changed, &old, &["spec: Invalid value: {"]);
}

#[test]
fn slices() {
    let pool = "driver: a.b, pool: {name: p, resourceSliceCount: 1, generation: 0}";
    let slice = |rest: &str| format!("{{metadata: {{name: s}}, spec: {{{pool}, {rest}}}}}");
    let made = created(
        &RESOURCE_SLICE,
        &slice(
            "nodeName: n1, devices: [{name: d, attributes: {a.b/c: {version: 1.2.3-a+b}, x: {bool: true}}, capacity: {m: {value: 1Gi}}}]",
        ),
    );
    expect(&(RESOURCE_SLICE.validate)(&made), &[], "right");
    assert_eq!(
        Value::from((RESOURCE_SLICE.row)(&made, 0)),
        json!(["s", "n1", "a.b", "p", "<unknown>"])
    );
    check(
        &RESOURCE_SLICE,
        &[
            (
                "spec: {driver: a, pool: {name: P, resourceSliceCount: 0, generation: -1}, allNodes: false}",
                &[
                    "spec.pool.name: Invalid value: \"P\"",
                    "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                    "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                    "spec.allNodes: Invalid value: false: must be either unset or set to true",
                    "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`",
                ],
            ),
            (
                &slice(
                    "nodeName: n1, allNodes: true, devices: [{name: D, nodeName: n1, attributes: {a-b: {}, v: {version: '1'}}}, {name: e}, {name: e}]",
                ),
                &[
                    "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of",
                    "spec.devices[0].name: Invalid value: \"D\"",
                    "spec.devices[0].attributes[a-b]: Invalid value: \"a-b\": a valid C identifier",
                    "spec.devices[0].attributes[a-b]: Invalid value: \"\": exactly one value must be specified",
                    "spec.devices[0].attributes[v].version: Invalid value: \"1\": must be a string compatible",
                    "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes`",
                    "spec.devices[2]: Duplicate value: \"e\"",
                ],
            ),
        ],
    );
}
