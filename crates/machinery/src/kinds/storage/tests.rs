//! Defaults, rules and rows of the kinds of this group.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect, yaml};

fn check(resource: &Resource, object: &str, expected: &[&str], row: Value) {
    let object = created(resource, object);
    expect(&(resource.validate)(&object), expected, resource.kind);
    assert_eq!(Value::from((resource.row)(&object, 0)), row);
}

#[test]
fn right_ones() {
    check(
        &STORAGE_CLASS,
        "{metadata: {name: s, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: A.b/c}",
        &[],
        json!(["s (default)", "A.b/c", "Delete", "Immediate", false, "<unknown>"]),
    );
    check(
        &VOLUME_ATTRIBUTES_CLASS,
        "{metadata: {name: v}, driverName: a.b, parameters: {k: v}}",
        &[],
        json!(["v", "a.b", "<unknown>"]),
    );
    check(
        &CSI_DRIVER,
        "{metadata: {name: a.b}, spec: {podInfoOnMount: true, tokenRequests: [{audience: x}]}}",
        &[],
        json!(["a.b", true, true, false, "x", false, "Persistent", "<unknown>"]),
    );
    check(
        &CSI_NODE,
        "{metadata: {name: c}, spec: {drivers: [{name: a.b, nodeID: i, topologyKeys: [x]}]}}",
        &[],
        json!(["c", 1, "<unknown>"]),
    );
    check(
        &CSI_STORAGE_CAPACITY,
        "{metadata: {name: c}, storageClassName: s, capacity: 1Gi}",
        &[],
        json!(["c", "s", "1Gi"]),
    );
    check(
        &VOLUME_ATTACHMENT,
        "{metadata: {name: c}, spec: {attacher: a.b, nodeName: n1, source: {persistentVolumeName: p}}}",
        &[],
        json!(["c", "a.b", "p", "n1", false, "<unknown>"]),
    );
}

#[test]
fn wrong_ones() {
    for (resource, object, expected) in [
        (
            &STORAGE_CLASS,
            "{provisioner: '', reclaimPolicy: Recycle, volumeBindingMode: X, parameters: {'': x}}",
            &[
                "provisioner: Required value",
                "parameters: Invalid value: \"\": field can not be empty.",
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
                "volumeBindingMode: Unsupported value: \"X\"",
            ][..],
        ),
        (
            &VOLUME_ATTRIBUTES_CLASS,
            "{driverName: 'a b'}",
            &[
                "driverName: Invalid value: \"a b\": name part must consist of",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        ),
        (
            &CSI_DRIVER,
            "{metadata: {name: a.b}, spec: {volumeLifecycleModes: [X], tokenRequests: [{audience: a, expirationSeconds: 5}, {audience: a}]}}",
            &[
                "spec.volumeLifecycleModes[0]: Unsupported value: \"X\": supported values: \"Ephemeral\", \"Persistent\"",
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            ],
        ),
        (
            &CSI_NODE,
            "{spec: {drivers: [{name: a, nodeID: ''}, {name: a, nodeID: b, topologyKeys: [x, x]}]}}",
            &[
                "spec.drivers[0].nodeID: Required value",
                "spec.drivers[1].name: Duplicate value: \"a\"",
                "spec.drivers[1].topologyKeys[1]: Duplicate value: \"x\"",
            ],
        ),
        (
            &CSI_STORAGE_CAPACITY,
            "{storageClassName: '', capacity: -1Gi}",
            &[
                "storageClassName: Invalid value: \"\": a lowercase RFC 1123",
                "capacity: Invalid value: \"-1Gi\": must be greater than or equal to 0",
            ],
        ),
        (
            &VOLUME_ATTACHMENT,
            "{spec: {attacher: a, nodeName: '', source: {}}}",
            &[
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and",
                "spec.nodeName: Invalid value: \"\": a lowercase RFC 1123",
            ],
        ),
    ] {
        expect(&(resource.validate)(&yaml(object)), expected, object);
    }
}

#[test]
fn what_stays() {
    let update = |resource: &Resource, new: &str, old: &str, expected: &[&str]| {
        expect(&(resource.validate_update)(&yaml(new), &yaml(old)), expected, new);
    };
    update(
        &STORAGE_CLASS,
        "{provisioner: a, parameters: {k: w}, volumeBindingMode: X}",
        "{provisioner: b, parameters: {k: v}, volumeBindingMode: W}",
        &[
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "volumeBindingMode: Invalid value: \"X\": field is immutable",
        ],
    );
    update(
        &CSI_NODE,
        "spec: {drivers: [{name: a, nodeID: j}, {name: b, nodeID: k}]}",
        "spec: {drivers: [{name: a, nodeID: i}]}",
        &["spec.drivers[0].nodeID: Invalid value: \"j\": field is immutable"],
    );
    // A change of a driver is counted, a write that changes nothing is not.
    let old = created(&CSI_DRIVER, "{metadata: {name: a}, spec: {podInfoOnMount: true}}");
    let mut same = old.clone();
    (CSI_DRIVER.prepare_update)(&mut same, &old);
    assert_eq!(same, old);
    let mut new = old.clone();
    new["spec"]["podInfoOnMount"] = false.into();
    (CSI_DRIVER.prepare_update)(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 1);
}
