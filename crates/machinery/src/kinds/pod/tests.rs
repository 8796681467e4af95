//! Tables of defaults, rules and rows.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{created, expect, yaml};
use crate::table;

#[test]
fn defaults() {
    let pod = created(
        &RESOURCE,
        "
metadata: {name: p}
spec:
  hostNetwork: true
  serviceAccountName: sa
  containers:
  - name: a
    image: registry:5000/app
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 500m}, requests: {memory: 1Gi}}
    livenessProbe: {httpGet: {port: 80}}
    readinessProbe: {grpc: {port: 1}, periodSeconds: 2}
    lifecycle: {preStop: {httpGet: {port: 1, path: /bye}}}
    env:
    - {name: L, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: M, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: b, image: 'app:1', imagePullPolicy: Never}
  volumes:
  - {name: e}
  - {name: h, hostPath: {path: /x}}
  - {name: s, secret: {secretName: x}}
  - {name: c, configMap: {name: x, defaultMode: 256}}
  - name: p
    projected:
      sources:
      - {serviceAccountToken: {path: token}}
      - {downwardAPI: {items: [{path: f, fieldRef: {fieldPath: metadata.name}}]}}
",
    );
    let probe = |period, more: Value| {
        let mut probe = json!({
            "timeoutSeconds": 1, "periodSeconds": period, "successThreshold": 1,
            "failureThreshold": 3});
        probe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        probe
    };
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "hostNetwork": true,
            "serviceAccountName": "sa",
            "serviceAccount": "sa",
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
            "securityContext": {},
            "enableServiceLinks": true,
            "containers": [{
                "name": "a",
                "image": "registry:5000/app",
                "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
                "resources": {
                    "limits": {"cpu": "500m"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
                "livenessProbe":
                    probe(10, json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}})),
                "readinessProbe": probe(2, json!({"grpc": {"port": 1, "service": ""}})),
                "lifecycle":
                    {"preStop": {"httpGet": {"port": 1, "path": "/bye", "scheme": "HTTP"}}},
                "env": [
                    {"name": "L", "valueFrom":
                        {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}},
                    {"name": "M", "valueFrom":
                        {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                ],
            }, {
                "name": "b",
                "image": "app:1",
                "imagePullPolicy": "Never",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "resources": {},
            }],
            "volumes": [
                {"name": "e", "emptyDir": {}},
                {"name": "h", "hostPath": {"path": "/x", "type": ""}},
                {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
                {"name": "c", "configMap": {"name": "x", "defaultMode": 256}},
                {"name": "p", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"downwardAPI": {"items": [{"path": "f", "fieldRef":
                        {"fieldPath": "metadata.name", "apiVersion": "v1"}}]}},
                ]}},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    });
    assert_eq!(pod, expected, "{pod:#}");
    expect(&(RESOURCE.validate)(&pod), &[], "the defaulted pod");
}

// === Rows ===

const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

fn cells(pod: &str) -> Vec<String> {
    let row = (RESOURCE.row)(&yaml(pod), NOW);
    row.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
}

#[test]
fn a_whole_row() {
    let row = cells(
        "
metadata: {name: web-1, creationTimestamp: '2025-12-31T23:50:00Z'}
spec:
  nodeName: n1
  readinessGates: [{conditionType: x/y}, {conditionType: x/z}]
  containers: [{name: a}, {name: b}]
status:
  phase: Running
  podIPs: [{ip: 10.244.0.5}]
  conditions: [{type: x/y, status: 'True'}]
  containerStatuses:
  - {name: a, ready: true, restartCount: 1, state: {running: {}},
     lastState: {terminated: {finishedAt: '2025-12-31T23:55:00Z'}}}
  - {name: b, ready: false, state: {running: {}}}
",
    );
    let expected =
        ["web-1", "1/2", "Running", "1 (5m ago)", "10m", "10.244.0.5", "n1", "<none>", "1/2"];
    assert_eq!(row, expected);
}

#[test]
fn statuses() {
    for (pod, ready, status, restarts) in [
        ("status: {phase: Pending}", "0/0", "Pending", "0"),
        (
            "{spec: {containers: [{name: a}]}, status: {phase: Failed, reason: Evicted}}",
            "0/1",
            "Evicted",
            "0",
        ),
        (
            "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}",
            "0/0",
            "SchedulingGated",
            "0",
        ),
        (
            "
spec: {initContainers: [{name: i}, {name: j}], containers: [{name: a}]}
status:
  phase: Pending
  initContainerStatuses:
  - {name: i, restartCount: 2, state: {terminated: {exitCode: 0}}}
  - {name: j, state: {waiting: {reason: PodInitializing}}}
  containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]",
            "0/1",
            "Init:1/2",
            "2",
        ),
        (
            "
spec: {initContainers: [{name: i}], containers: [{name: a}]}
status:
  phase: Pending
  initContainerStatuses:
  - {name: i, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}},
     lastState: {terminated: {finishedAt: '2025-12-31T23:59:00Z'}}}",
            "0/1",
            "Init:CrashLoopBackOff",
            "3 (60s ago)",
        ),
        (
            "
spec: {initContainers: [{name: i}], containers: [{name: a}]}
status:
  phase: Failed
  initContainerStatuses: [{name: i, state: {terminated: {exitCode: 7}}}]",
            "0/1",
            "Init:ExitCode:7",
            "0",
        ),
        (
            "
spec: {initContainers: [{name: i, restartPolicy: Always}], containers: [{name: a}]}
status:
  phase: Running
  initContainerStatuses: [{name: i, started: true, ready: true, restartCount: 1, state: {running: {}}}]
  containerStatuses: [{name: a, ready: true, restartCount: 1, state: {running: {}}}]",
            "2/2",
            "Running",
            "2",
        ),
        (
            "
spec: {containers: [{name: a}, {name: b}]}
status:
  phase: Running
  containerStatuses:
  - {name: a, restartCount: 226, state: {waiting: {reason: CrashLoopBackOff}},
     lastState: {terminated: {finishedAt: '2025-12-31T22:00:00Z'}}}
  - {name: b, ready: true, state: {running: {}}}",
            "1/2",
            "CrashLoopBackOff",
            "226 (120m ago)",
        ),
        (
            "
spec: {containers: [{name: a}]}
status:
  phase: Succeeded
  containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]",
            "0/1",
            "Completed",
            "0",
        ),
        (
            "
spec: {containers: [{name: a}, {name: b}]}
status:
  phase: Running
  conditions: [{type: Ready, status: 'True'}]
  containerStatuses:
  - {name: a, state: {terminated: {exitCode: 0, reason: Completed}}}
  - {name: b, ready: true, state: {running: {}}}",
            "1/2",
            "Running",
            "0",
        ),
        (
            "
spec: {containers: [{name: a}]}
status:
  phase: Failed
  containerStatuses: [{name: a, state: {terminated: {exitCode: 137, signal: 9}}}]",
            "0/1",
            "Signal:9",
            "0",
        ),
        (
            "
metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}
spec: {containers: [{name: a}]}
status: {phase: Running, containerStatuses: [{name: a, ready: true, state: {running: {}}}]}",
            "1/1",
            "Terminating",
            "0",
        ),
        (
            "
metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}
status: {phase: Running, reason: NodeLost}",
            "0/0",
            "Unknown",
            "0",
        ),
    ] {
        let row = cells(pod);
        assert_eq!((&*row[1], &*row[2], &*row[3]), (ready, status, restarts), "{pod}");
    }
}

#[test]
fn a_table_of_pods() {
    let pod = yaml("{metadata: {name: p, labels: {a: b}}, spec: {containers: [{name: a}]}}");
    let include = table::IncludeObject::Metadata;
    let meta = json!({"resourceVersion": "7"});
    let table = table::render(&RESOURCE, [&pod].into_iter(), NOW, include, meta, true);
    assert_eq!(table["metadata"]["resourceVersion"], "7");
    assert_eq!(table["columnDefinitions"][5]["priority"], 1);
    assert_eq!(table["rows"][0]["cells"][4], "<unknown>");
    assert_eq!(table["rows"][0]["object"]["metadata"]["labels"]["a"], "b");
}

// === Updates ===

#[test]
fn updates() {
    const BASE: &str = "
spec:
  nodeName: n1
  activeDeadlineSeconds: 10
  tolerations: [{key: a, operator: Exists}]
  containers: [{name: a, image: 'x:1', env: [{name: A}]}]
";
    for (from, to, expected) in [
        ("x:1", "x:2", &[][..]),
        ("Seconds: 10", "Seconds: 5", &[]),
        (
            "Seconds: 10",
            "Seconds: 11",
            &["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to"],
        ),
        ("Exists}", "Exists}, {key: b, operator: Exists}", &[]),
        ("Exists}", "Exists, tolerationSeconds: 3}", &[]),
        ("key: a", "key: b", &["spec.tolerations: Forbidden: existing toleration can not be"]),
        (
            "nodeName: n1",
            "nodeName: n2",
            &[
                "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
            ],
        ),
        ("name: A}", "name: B}", &["spec: Forbidden: pod updates may not change fields"]),
        (
            "{name: A}]}",
            "{name: A}]}, {name: b}",
            &["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ] {
        let new = BASE.replace(from, to);
        assert_ne!(new, BASE);
        expect(&(RESOURCE.validate_update)(&yaml(&new), &yaml(BASE)), expected, &new);
    }
    let renamed = yaml(&BASE.replace("n1", "n2"));
    let errors = (RESOURCE.validate_update)(&renamed, &yaml(BASE));
    assert!(errors[0].detail.ends_with("changed: spec.nodeName"), "{}", errors[0].detail);
}

// === Requests and quality ===

#[test]
fn quality_of_service() {
    for (spec, class) in [
        ("{containers: [{name: a}]}", QosClass::BestEffort),
        ("{containers: [{resources: {limits: {cpu: '1', memory: 1Gi}}}]}", QosClass::Guaranteed),
        (
            "{containers: [{resources: {limits: {cpu: '1', memory: 1Gi}, requests: {cpu: 1000m}}}]}",
            QosClass::Guaranteed,
        ),
        (
            "{containers: [{resources: {limits: {cpu: '1', memory: 1Gi}, requests: {cpu: 500m}}}]}",
            QosClass::Burstable,
        ),
        (
            "{containers: [{resources: {limits: {cpu: '1', memory: 1Gi}}}, {name: b}]}",
            QosClass::Burstable,
        ),
        ("{containers: [{resources: {requests: {cpu: 1m}}}]}", QosClass::Burstable),
        ("{containers: [{resources: {requests: {cpu: '0'}}}]}", QosClass::BestEffort),
        (
            "{initContainers: [{resources: {requests: {cpu: 1m}}}], containers: [{name: a}]}",
            QosClass::Burstable,
        ),
    ] {
        let pod = json!({ "spec": yaml(spec) });
        assert_eq!(qos_class(&pod), class, "{spec}");
    }
}

#[test]
fn what_a_pod_asks_for() {
    for (init, containers, overhead, cpu) in [
        (&[][..], &["100m", "200m"][..], "0", 300),
        (&["1"], &["100m", "200m"], "0", 1000),
        (&["250m", "300m"], &["400m"], "50m", 450),
    ] {
        let list = |amounts: &[&str]| -> Value {
            amounts.iter().map(|cpu| json!({"resources": {"requests": {"cpu": cpu}}})).collect()
        };
        let pod = json!({"spec": {
            "initContainers": list(init), "containers": list(containers),
            "overhead": {"cpu": overhead}}});
        assert_eq!(requests(&pod)["cpu"], cpu, "{pod}");
    }
    let sidecars = yaml(
        "
spec:
  initContainers:
  - {name: i, resources: {requests: {memory: 1Gi}}}
  - {name: s, restartPolicy: Always, resources: {requests: {memory: 64Mi}}}
  - {name: j, resources: {requests: {memory: 128Mi}}}
  containers:
  - {name: a, resources: {requests: {memory: 32Mi}, limits: {memory: 64Mi, x.y/gpu: '2'}}}
",
    );
    let found = requests(&sidecars);
    assert_eq!((found["memory"], found["x.y/gpu"]), (1 << 30, 2));
    let mut late = sidecars.clone();
    late["spec"]["initContainers"][0]["resources"] = json!({});
    assert_eq!(requests(&late)["memory"], (64 + 128) << 20);
}
