//! The table itself, and the smaller kinds: defaults, rules and rows.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::testing::{created, expect, yaml};
use super::*;
use crate::resource::Resource;

#[test]
fn names_are_unique() {
    let mut paths = HashSet::new();
    let mut typed = HashSet::new();
    for resource in RESOURCES {
        assert!(paths.insert((resource.group, resource.plural)), "{}", resource.kind);
        for name in resource.short_names.iter().chain([&resource.singular]) {
            assert!(typed.insert(*name), "{name}");
        }
        assert_eq!(resource.singular, resource.kind.to_ascii_lowercase());
        assert_eq!(resource.has_status, resource.subresource("status").is_some());
    }
}

#[test]
fn nothing_panics_on_an_empty_object() {
    for resource in RESOURCES {
        for empty in [serde_json::json!({}), serde_json::json!({"spec": 1, "metadata": []})] {
            let mut object = empty.clone();
            (resource.prepare_create)(&mut object);
            (resource.default)(&mut object);
            (resource.prepare_update)(&mut object, &empty);
            (resource.validate)(&object);
            (resource.validate_update)(&object, &empty);
            (resource.warnings)(&object);
            (resource.row)(&object, 0);
        }
    }
}

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

const DEPLOYMENT: &str = "
metadata: {name: web, creationTimestamp: '2025-12-31T23:00:00Z'}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: a, image: 'x:1', resources: {limits: {cpu: '1'}}}]}
";

#[test]
fn a_deployment_is_defaulted() {
    let deployment = created(&deployment::RESOURCE, DEPLOYMENT);
    let mut spec = deployment["spec"].clone();
    let template = spec["template"]["spec"].take();
    spec["template"].take();
    assert_eq!(
        spec,
        json!({
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": null,
        })
    );
    assert_eq!(template["restartPolicy"], "Always");
    assert_eq!(template["containers"][0]["imagePullPolicy"], "IfNotPresent");
    // Those two are for pods alone.
    assert_eq!(template.get("enableServiceLinks"), None);
    assert_eq!(template["containers"][0]["resources"].get("requests"), None);
    assert_eq!(deployment["status"], json!({}));
    let recreate = DEPLOYMENT.replace("  selector", "  strategy: {type: Recreate}\n  selector");
    let recreate = created(&deployment::RESOURCE, &recreate);
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn rules_of_a_deployment() {
    for (from, to, expected) in [
        ("app: web}}\n  template", "app: web}}\n  replicas: 0\n  template", &[][..]),
        (
            "  selector: {matchLabels: {app: web}}\n",
            "",
            &[
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            "selector: {matchLabels: {app: web}}",
            "selector: {}",
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            "labels: {app: web}}\n    spec",
            "labels: {run: web}}\n    spec",
            &[
                "spec.template.metadata.labels: Invalid value: {\"run\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            "spec: {containers",
            "spec: {restartPolicy: Never, containers",
            &[
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ],
        ),
        (
            "  selector",
            "  replicas: -1\n  minReadySeconds: 600\n  selector",
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ],
        ),
        (
            "  selector",
            "  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}\n  selector",
            &[
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ],
        ),
        (
            "  selector",
            "  strategy: {rollingUpdate: {maxSurge: half, maxUnavailable: 101%}}\n  selector",
            &[
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": a valid percent string must be",
            ],
        ),
        (
            "  selector",
            "  strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}\n  selector",
            &[
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ],
        ),
    ] {
        let changed = DEPLOYMENT.replacen(from, to, 1);
        assert_ne!(changed, DEPLOYMENT);
        let deployment = created(&deployment::RESOURCE, &changed);
        expect(&(deployment::RESOURCE.validate)(&deployment), expected, &changed);
    }
}

#[test]
fn the_selector_stays() {
    for resource in [&deployment::RESOURCE, &replicaset::RESOURCE] {
        let (old, new) = (yaml(DEPLOYMENT), yaml(&DEPLOYMENT.replace("app: web", "app: x")));
        expect(
            &(resource.validate_update)(&new, &old),
            &[
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable",
            ],
            resource.kind,
        );
    }
}

#[test]
fn rows() {
    check_row(
        &deployment::RESOURCE,
        &DEPLOYMENT.replace(
            "spec:\n",
            "status: {readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1}\nspec:\n  replicas: 3\n",
        ),
        json!(["web", "1/3", 2, 1, "60m", "a", "x:1", "app=web"]),
    );
    check_row(
        &replicaset::RESOURCE,
        &DEPLOYMENT.replace("spec:\n", "status: {replicas: 2}\nspec:\n  replicas: 3\n"),
        json!(["web", 3, 2, 0, "60m", "a", "x:1", "app=web"]),
    );
    check_row(
        &node::RESOURCE,
        "
metadata: {name: n1, labels: {node-role.kubernetes.io/control-plane: '', kubernetes.io/role: db}}
spec: {unschedulable: true}
status:
  conditions: [{type: Ready, status: 'True'}]
  addresses: [{type: InternalIP, address: 10.0.0.1}]
  nodeInfo: {kubeletVersion: v1.36.0, osImage: Debian, kernelVersion: '6'}",
        json!([
            "n1",
            "Ready,SchedulingDisabled",
            "control-plane,db",
            "<unknown>",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6",
            "<unknown>"
        ]),
    );
    check_row(
        &event::RESOURCE,
        "
metadata: {name: e}
type: Warning
reason: BackOff
message: ' back-off '
involvedObject: {kind: Pod, name: p, fieldPath: 'spec.containers{a}'}
source: {component: kubelet, host: n1}
firstTimestamp: '2025-12-31T23:50:00Z'
lastTimestamp: '2025-12-31T23:59:30Z'
count: 7",
        json!([
            "30s",
            "Warning",
            "BackOff",
            "pod/p",
            "spec.containers{a}",
            "kubelet, n1",
            "back-off",
            "10m",
            7,
            "e"
        ]),
    );
    check_row(
        &event::RESOURCE,
        "
metadata: {name: e}
eventTime: '2025-12-31T23:50:00.000001Z'
reportingComponent: sched
involvedObject: {kind: Node}",
        json!(["10m", "", "", "node", "", "sched", "", "10m", 1, "e"]),
    );
    check_row(
        &endpointslice::RESOURCE,
        "
metadata: {name: s}
addressType: IPv4
ports: [{port: 80}, {name: x}, {}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [10.0.0.3]}, {addresses: [10.0.0.4]}]",
        json!(["s", "IPv4", "80,x,*", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...", "<unknown>"]),
    );
    check_row(
        &endpoints::RESOURCE,
        "{metadata: {name: e}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: '::1'}], ports: [{port: 80}]}]}",
        json!(["e", "10.0.0.1:80,[::1]:80", "<unknown>"]),
    );
    check_row(
        &secret::RESOURCE,
        "{metadata: {name: s}, type: Opaque, data: {a: eA==}}",
        json!(["s", "Opaque", 1, "<unknown>"]),
    );
    check_row(
        &configmap::RESOURCE,
        "{metadata: {name: c}, data: {a: x}, binaryData: {b: eA==}}",
        json!(["c", 2, "<unknown>"]),
    );
    check_row(
        &lease::RESOURCE,
        "{metadata: {name: l}, spec: {holderIdentity: n1}}",
        json!(["l", "n1", "<unknown>"]),
    );
}

#[track_caller]
fn check_row(resource: &Resource, object: &str, expected: Value) {
    assert_eq!(Value::from((resource.row)(&yaml(object), NOW)), expected);
}

#[test]
fn a_namespace() {
    let made = created(
        &namespace::RESOURCE,
        "{metadata: {name: a}, spec: {finalizers: [x/y]}, status: {phase: Odd}}",
    );
    assert_eq!(
        made,
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["x/y", "kubernetes"]},
            "status": {"phase": "Active"},
        })
    );
    let mut new = yaml("{metadata: {name: a}, spec: {finalizers: []}}");
    (namespace::RESOURCE.prepare_update)(&mut new, &made);
    assert_eq!(new["spec"], made["spec"]);
}

#[test]
fn rules_of_the_others() {
    for (resource, object, expected) in [
        (
            &node::RESOURCE,
            "spec: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: a b}]}",
            &[
                "metadata.taints[1]: Duplicate value: {",
                "metadata.taints[2].key: Invalid value: \"a b\": name part must consist of",
                "metadata.taints[2].effect: Required value",
            ][..],
        ),
        (
            &lease::RESOURCE,
            "spec: {leaseDurationSeconds: 0, leaseTransitions: -1}",
            &[
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            &event::RESOURCE,
            "{metadata: {namespace: a}, involvedObject: {namespace: b}}",
            &["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"],
        ),
        (&event::RESOURCE, "{metadata: {namespace: default}, involvedObject: {kind: Node}}", &[]),
        (
            &namespace::RESOURCE,
            "spec: {finalizers: [kubernetes, mine]}",
            &["spec.finalizers: Invalid value: \"mine\": name is neither a standard"],
        ),
    ] {
        let mut object = yaml(object);
        (resource.default)(&mut object);
        expect(&(resource.validate)(&object), expected, resource.kind);
    }
    for (resource, object, expected) in [
        (
            &endpointslice::RESOURCE,
            "{addressType: IPv4, ports: [{port: 1}, {port: 2}], endpoints: [{addresses: ['::1']}, {}]}",
            &[
                "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address",
                "endpoints[1].addresses: Required value: must contain at least 1 address",
                "ports[1].name: Duplicate value: \"\"",
            ][..],
        ),
        (
            &endpoints::RESOURCE,
            "subsets: [{ports: [{port: 1}, {port: 2, name: b}]}, {addresses: [{ip: x}]}]",
            &[
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
                "subsets[0].ports[0].name: Required value",
                "subsets[1].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g.",
                "subsets[1].addresses[0].ip: Invalid value: \"x\": must be a valid IP address",
            ],
        ),
    ] {
        let mut object = yaml(object);
        (resource.default)(&mut object);
        expect(&(resource.validate_create)(&object), expected, resource.kind);
    }
    let (old, new) = (yaml("spec: {podCIDR: 10.0.0.0/24}"), yaml("spec: {podCIDR: 10.0.1.0/24}"));
    expect(
        &(node::RESOURCE.validate_update)(&new, &old),
        &["spec.podCIDR: Forbidden: node updates may not change podCIDR except from \"\" to valid"],
        "node",
    );
}
