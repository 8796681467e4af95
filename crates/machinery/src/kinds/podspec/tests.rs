//! Tables of defaults, rules and rows.

mod combinations;

use crate::kinds::pod::RESOURCE;
use crate::kinds::testing::{created, expect};
use crate::validation::At;

const BASE: &str = "
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 30
  volumes:
  - {name: v, emptyDir: {}}
  containers:
  - name: a
    image: x
";

/// The base with lines put behind its first container.
fn container(lines: &str, expected: &[&str]) {
    check(&format!("{BASE}    {}", lines.trim().replace('\n', "\n    ")), expected);
}

/// The base with lines put into its specification.
fn spec(lines: &str, expected: &[&str]) {
    check(
        &BASE.replace("spec:\n", &format!("spec:\n  {}\n", lines.trim().replace('\n', "\n  "))),
        expected,
    );
}

#[track_caller]
fn check(pod: &str, expected: &[&str]) {
    let expected: Vec<String> =
        expected.iter().map(|e| e.replace("C.", "spec.containers[0].")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expect(&(RESOURCE.validate)(&created(&RESOURCE, pod)), &expected, pod);
}

#[test]
fn names_and_images() {
    check(BASE, &[]);
    check("spec: {}", &["spec.containers: Required value"]);
    check("{}", &["spec.containers: Required value"]);
    check(
        "spec: {containers: [{name: A, image: ' x'}, {}]}",
        &[
            "C.name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of",
            "C.image: Invalid value: \" x\": must not have leading or trailing whitespace",
            "spec.containers[1].name: Required value",
            "spec.containers[1].image: Required value",
        ],
    );
    check(
        "spec: {containers: [{name: a, image: x}, {name: a, image: x}]}",
        &["spec.containers[1].name: Duplicate value: \"a\""],
    );
    check(
        "spec: {initContainers: [{name: a, image: x, livenessProbe: {exec: {command: [x]}}}], containers: [{name: a, image: x}]}",
        &[
            "spec.initContainers[0].name: Duplicate value: \"a\"",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn ports() {
    container("ports: [{containerPort: 80, name: http}, {containerPort: 81}]", &[]);
    container(
        "
ports:
- {containerPort: 70000, name: http}
- {name: http, containerPort: 0}
- {containerPort: 1, hostPort: 70000, protocol: ICMP, name: '8080'}",
        &[
            "C.ports[1].name: Duplicate value: \"http\"",
            "C.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "C.ports[1].containerPort: Required value",
            "C.ports[2].name: Invalid value: \"8080\": must contain at least one letter (a-z)",
            "C.ports[2].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "C.ports[2].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
    container(
        "ports: [{containerPort: 1, hostPort: 8}, {containerPort: 2, hostPort: 8}]",
        &["C.ports[1].hostPort: Duplicate value: \"TCP//8\""],
    );
}

#[test]
fn variables() {
    container("env: [{name: a.b-c}, {name: M, valueFrom: {secretKeyRef: {name: s, key: k}}}]", &[]);
    container(
        "env: [{name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}]",
        &[],
    );
    container(
        "
env:
- {name: 'a=b'}
- {name: B, value: x, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: C, valueFrom: {}}
- {name: D, valueFrom: {configMapKeyRef: {name: c, key: k}, secretKeyRef: {name: s, key: ''}}}
- {name: E, valueFrom: {fieldRef: {fieldPath: spec.containers}}}
- {name: F, valueFrom: {resourceFieldRef: {resource: cpu}}}
envFrom:
- {}
- {prefix: p_, configMapRef: {name: c}}
- {secretRef: {name: ''}}",
        &[
            "C.env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable",
            "C.env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "C.env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`",
            "C.env[3].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
            "C.env[3].valueFrom.secretKeyRef.key: Required value",
            "C.env[4].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.containers\": error converting fieldPath: field",
            "C.env[5].valueFrom.resourceFieldRef.resource: Unsupported value: \"cpu\"",
            "C.envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            "C.envFrom[2].secretRef.name: Required value",
        ],
    );
}

#[test]
fn volumes_and_mounts() {
    container(
        "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b, subPath: c}]",
        &[],
    );
    container(
        "
volumeMounts:
- {name: w, mountPath: /a}
- {name: v, mountPath: /a, subPath: ../x}
- {name: v, mountPath: ''}
- {name: v, mountPath: /c, mountPropagation: Bidirectional}",
        &[
            "C.volumeMounts[0].name: Not found: \"w\"",
            "C.volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            "C.volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..'",
            "C.volumeMounts[2].mountPath: Required value",
            "C.volumeMounts[3].mountPropagation: Forbidden: Bidirectional mount propagation is",
        ],
    );
    check(
        "
spec:
  containers: [{name: a, image: x}]
  volumes:
  - {name: a, emptyDir: {}, hostPath: {path: /x}}
  - {name: a, configMap: {defaultMode: 512}}
  - {name: c, secret: {secretName: s, items: [{key: k, path: /abs}]}}
  - {name: d, hostPath: {path: a/../b, type: Odd}}
  - {name: e, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 10}}]}}
  - {name: f, persistentVolumeClaim: {claimName: ''}}",
        &[
            "spec.volumes[1].name: Duplicate value: \"a\"",
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[1].configMap.name: Required value",
            "spec.volumes[1].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777",
            "spec.volumes[2].secret.items[0].path: Invalid value: \"/abs\": must be a relative path",
            "spec.volumes[3].hostPath.path: Invalid value: \"a/../b\": must not contain '..'",
            "spec.volumes[3].hostPath.type: Unsupported value: \"Odd\"",
            "spec.volumes[4].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes",
            "spec.volumes[5].persistentVolumeClaim.claimName: Required value",
            "spec.volumes[4].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ],
    );
}

#[test]
fn probes_and_hooks() {
    container("startupProbe: {tcpSocket: {port: http}}", &[]);
    container(
        "
livenessProbe: {successThreshold: 2, exec: {command: []}}
readinessProbe: {httpGet: {port: 0, scheme: FTP}, tcpSocket: {port: 1}, terminationGracePeriodSeconds: 3}
startupProbe: {timeoutSeconds: -1}
lifecycle: {postStart: {}, preStop: {sleep: {seconds: 31}}}",
        &[
            "C.lifecycle.postStart: Required value: must specify a handler type",
            "C.lifecycle.preStop.sleep.seconds: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            "C.livenessProbe.exec.command: Required value",
            "C.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "C.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            "C.readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "C.readinessProbe.httpGet.scheme: Unsupported value: \"FTP\"",
            "C.readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must not be set for readinessProbes",
            "C.startupProbe: Required value: must specify a handler type",
            "C.startupProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn resources() {
    container("resources: {limits: {cpu: 1, memory: 1Gi, x.y/gpu: 1}, requests: {cpu: 250m}}", &[]);
    container(
        "
resources:
  limits: {memory: 1Gi, x.y/gpu: '2', disk: '1'}
  requests: {memory: 2Gi, cpu: '-1', x.y/gpu: '1'}",
        &[
            "C.resources.limits[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
            "C.resources.limits[disk]: Invalid value: \"disk\": must be a standard resource for containers",
            "C.resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            "C.resources.requests[disk]: Invalid value: \"disk\": must be a standard resource type",
            "C.resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for",
            "C.resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
            "C.resources.requests: Invalid value: \"1\": must be equal to x.y/gpu limit of 2",
        ],
    );
}

#[test]
fn security() {
    container(
        "
securityContext:
  runAsUser: -1
  privileged: true
  allowPrivilegeEscalation: false
  seccompProfile: {type: Localhost}",
        &[
            "C.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "C.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            "C.securityContext: Invalid value: {",
        ],
    );
}

#[test]
fn kernel_parameters() {
    let lines = |host: &str| {
        format!(
            "{host}
securityContext:
  sysctls:
  - {{name: foo-, value: bar}}
  - {{name: kernel.shmmax, value: '100000000'}}
  - {{name: safe-and-unsafe, value: '1'}}
  - {{name: bar.., value: '42'}}
  - {{name: net/ipv4/ip_local_port_range, value: 1 2}}
  - {{name: safe-and-unsafe, value: '2'}}
  - {{value: '3'}}"
        )
    };
    let of = |index: usize, detail: &str| {
        format!("spec.securityContext.sysctls[{index}].name: {detail}")
    };
    let shape = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let invalid =
        |index, name: &str, why: &str| of(index, &format!("Invalid value: {name:?}: {why}"));
    let mut expected = vec![
        invalid(0, "foo-", shape),
        invalid(3, "bar..", shape),
        of(5, "Duplicate value: \"safe-and-unsafe\""),
        of(6, "Required value"),
    ];
    let same = |expected: &[String], host| {
        spec(&lines(host), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    same(&expected, "hostPID: true");
    expected.insert(1, invalid(1, "kernel.shmmax", "may not be specified when 'hostIPC' is true"));
    let network = "may not be specified when 'hostNetwork' is true";
    expected.insert(3, invalid(4, "net/ipv4/ip_local_port_range", network));
    same(&expected, "hostIPC: true\nhostNetwork: true");
}

#[test]
fn policies_and_places() {
    spec(
        "
restartPolicy: Sometimes
dnsPolicy: None
activeDeadlineSeconds: 0
serviceAccountName: A
hostname: a.b
nodeSelector: {a: 'b c'}
tolerations:
- {key: a, operator: Exists, value: x}
- {operator: Equal}
- {key: a, effect: NoSchedule, tolerationSeconds: 1}
topologySpreadConstraints:
- {maxSkew: 0, topologyKey: z, whenUnsatisfiable: Maybe}",
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "spec.nodeSelector: Invalid value: \"b c\"",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\"",
            "spec.serviceAccountName: Invalid value: \"A\"",
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            "spec.hostname: Invalid value: \"a.b\"",
            "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
            "spec.tolerations[1].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
            "spec.tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ],
    );
    spec(
        "
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - {weight: 0, podAffinityTerm: {labelSelector: {matchExpressions: [{key: a, operator: In}]}}}",
        &[
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].values: Required value",
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty",
        ],
    );
}

#[test]
fn tags() {
    for (image, tag) in [
        ("a", Some("latest")),
        ("a:1", Some("1")),
        ("host:5000/a", Some("latest")),
        ("host:5000/a:1", Some("1")),
        ("a@sha256:00", None),
        ("a:1@sha256:00", Some("1")),
        ("", Some("latest")),
    ] {
        assert_eq!(super::image_tag(image), tag, "{image}");
    }
}

#[test]
fn advice() {
    let pod = created(
        &RESOURCE,
        "
spec:
  nodeSelector: {beta.kubernetes.io/os: linux}
  imagePullSecrets: [{name: ''}]
  containers:
  - name: a
    image: x
    env: [{name: A, value: x}, {name: A, value: two}, {name: A, value: '$(A):z'}]
    ports: [{containerPort: 1}, {containerPort: 1, name: x}]
    resources: {limits: {memory: 100m}}
",
    );
    let warnings = super::warnings(&At::root(&pod).child("spec"));
    assert_eq!(
        warnings,
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.imagePullSecrets[0].name: invalid empty name \"\"",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ]
    );
}

#[test]
fn names_are_compared_with_all_others() {
    use serde_json::json;

    use crate::kinds::testing::Dice;

    let mut dice = Dice(9);
    for _ in 0..200 {
        const NAMES: &[&str] = &["a", "b", "c", "d"];
        let mut named = |most| dice.list(most, |dice| json!({"name": dice.one(NAMES)}));
        let (containers, starts) = (named(3), named(3));
        let volumes = dice.list(5, |dice| match dice.roll(2) {
            0 => json!({"name": dice.one(NAMES), "ephemeral": {}}),
            _ => {
                let claim = format!("{}-{}", dice.one(&["p", "q"]), dice.one(NAMES));
                json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}})
            }
        });
        let sysctls = dice.list(4, |dice| json!({"name": dice.one(NAMES), "value": "1"}));
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": containers, "initContainers": starts, "volumes": volumes,
            "securityContext": {"sysctls": sysctls},
        }});
        let found: Vec<String> = (RESOURCE.validate)(&pod)
            .iter()
            .map(ToString::to_string)
            .filter(|text| {
                text.contains("initContainers") && text.contains("Duplicate")
                    || text.contains("sysctls") && text.contains("Duplicate")
                    || text.contains("a PVC that gets created for an ephemeral volume")
            })
            .collect();
        let list = |list: &serde_json::Value| list.as_array().unwrap().clone();
        let (containers, starts) = (list(&containers), list(&starts));
        let (volumes, sysctls) = (list(&volumes), list(&sysctls));
        let mut expected = Vec::new();
        for (n, volume) in volumes.iter().enumerate() {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str().unwrap_or_default();
            let made = |v: &serde_json::Value| {
                v["ephemeral"].is_object() && claim == format!("p-{}", v["name"].as_str().unwrap())
            };
            if volumes.iter().any(made) {
                expected.push(format!(
                    "spec.volumes[{n}].persistentVolumeClaim.claimName: Invalid value: {claim:?}: \
                     must not reference a PVC that gets created for an ephemeral volume"
                ));
            }
        }
        let twice = |path: String, item: &serde_json::Value| {
            format!("{path}.name: Duplicate value: {}", item["name"])
        };
        for (n, start) in starts.iter().enumerate().filter(|(n, s)| starts[..*n].contains(s)) {
            expected.push(twice(format!("spec.initContainers[{n}]"), start));
        }
        for (n, start) in starts.iter().enumerate().filter(|(_, s)| containers.contains(s)) {
            expected.push(twice(format!("spec.initContainers[{n}]"), start));
        }
        for (n, item) in sysctls.iter().enumerate().filter(|(n, s)| sysctls[..*n].contains(s)) {
            expected.push(twice(format!("spec.securityContext.sysctls[{n}]"), item));
        }
        assert_eq!(found, expected, "{pod}");
    }
}
