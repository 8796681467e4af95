//! What parts of a pod say about one another.

use super::{check, container, spec};
use crate::kinds::pod::RESOURCE;
use crate::kinds::testing::{created, expect, yaml};
use crate::kinds::{deployment, podtemplate};

#[test]
fn gates() {
    spec("schedulingGates: [{name: a/b}, {name: c}]", &[]);
    spec(
        "schedulingGates: [{name: a}, {name: a}, {name: 'a b'}]",
        &[
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
            "spec.schedulingGates[2]: Invalid value: \"a b\": name part must consist of",
        ],
    );
    let pod = "
metadata: {name: p}
spec: {nodeName: n1, schedulingGates: [{name: a}], containers: [{name: a, image: x}]}";
    expect(
        &(RESOURCE.validate_create)(&created(&RESOURCE, pod)),
        &["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
        pod,
    );
}

#[test]
fn the_host() {
    spec("hostUsers: false", &[]);
    spec(
        "hostUsers: false\nhostNetwork: true\nhostPID: true\nhostIPC: true",
        &[
            "spec.hostNetwork: Forbidden: when `hostUsers` is false",
            "spec.HostPID: Forbidden: when `hostUsers` is false",
            "spec.HostIPC: Forbidden: when `hostUsers` is false",
        ],
    );
    spec(
        "hostPID: true\nshareProcessNamespace: true",
        &[
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both",
        ],
    );
}

#[test]
fn operating_systems() {
    spec("os: {name: linux}", &[]);
    spec("os: {name: Plan9}", &["spec.os: Unsupported value: \"Plan9\""]);
    spec("os: {name: ''}", &["spec.os.name: Required value"]);
    spec(
        "os: {name: linux}\nsecurityContext: {windowsOptions: {runAsUserName: a}}",
        &["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a"],
    );
    spec(
        "os: {name: windows}\nhostPID: true\nsecurityContext: {fsGroup: 1, seLinuxOptions: {user: a}}",
        &[
            "spec.securityContext.seLinuxOptions: Forbidden: cannot be set for a windows pod",
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
        ],
    );
    check(
        "
metadata: {name: p}
spec:
  os: {name: windows}
  containers: [{name: a, image: x, securityContext: {privileged: true, runAsUser: 1}}]",
        &[
            "C.securityContext.privileged: Forbidden: cannot be set for a windows pod",
            "C.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ],
    );
}

#[test]
fn spreading() {
    spec(
        "
topologySpreadConstraints:
- {maxSkew: 1, minDomains: 2, topologyKey: z, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: Honor,
   labelSelector: {matchLabels: {a: b}}, matchLabelKeys: [c]}
- {maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}",
        &[],
    );
    let at = |index: usize, rest: &str| format!("spec.topologySpreadConstraints[{index}]{rest}");
    let expected = [
        at(0, ".minDomains: Invalid value: 0: must be greater than zero"),
        at(1, ".minDomains: Invalid value: 2: can only use minDomains if"),
        at(1, ".{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, ScheduleAnyway}\""),
        at(2, ".nodeAffinityPolicy: Unsupported value: \"Odd\""),
        at(2, ".nodeTaintsPolicy: Unsupported value: \"Odd\""),
        at(2, ".matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"),
        at(3, ".topologyKey: Required value: can not be empty"),
        at(3, ".matchLabelKeys[0]: Invalid value: \"a b\""),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    spec(
        "
topologySpreadConstraints:
- {maxSkew: 1, minDomains: 0, topologyKey: z, whenUnsatisfiable: DoNotSchedule}
- {maxSkew: 1, minDomains: 2, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}
- {maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, nodeAffinityPolicy: Odd, nodeTaintsPolicy: Odd, matchLabelKeys: [a]}
- {maxSkew: 1, topologyKey: '', whenUnsatisfiable: DoNotSchedule, labelSelector: {}, matchLabelKeys: [a b]}",
        &expected,
    );
}

#[test]
fn claims() {
    check(
        "
metadata: {name: p}
spec:
  resourceClaims: [{name: g, resourceClaimName: c}, {name: h, resourceClaimTemplateName: t}]
  containers:
  - {name: a, image: x, resources: {claims: [{name: g}, {name: h, request: r}, {name: h, request: s}]}}",
        &[],
    );
    check(
        "
metadata: {name: p}
spec:
  resourceClaims: [{name: g}, {name: g, resourceClaimName: c, resourceClaimTemplateName: t}, {name: A, resourceClaimName: C}]
  containers:
  - {name: a, image: x, resources: {claims: [{name: g}, {name: g}, {name: z}]}}",
        &[
            "spec.resourceClaims[0]: Invalid value: ",
            "spec.resourceClaims[1].name: Duplicate value: \"g\"",
            "spec.resourceClaims[1]: Invalid value: ",
            "spec.resourceClaims[2].name: Invalid value: \"A\"",
            "spec.resourceClaims[2].resourceClaimName: Invalid value: \"C\"",
            "C.resources.claims[1]: Duplicate value: \"g\"",
            "C.resources.claims[2]: Not found: \"z\": must be one of the names in pod.spec.resourceClaims: A, g",
        ],
    );
}

#[test]
fn devices() {
    const POD: &str = "
metadata: {name: p}
spec:
  volumes:
  - {name: b, persistentVolumeClaim: {claimName: c}}
  - {name: e, emptyDir: {}}
  containers:
  - {name: a, image: x, DEVICES}";
    let with = |devices: &str, expected: &[&str]| check(&POD.replace("DEVICES", devices), expected);
    with("volumeDevices: [{name: b, devicePath: /dev/b}]", &[]);
    with(
        "volumeDevices: [{name: e, devicePath: /dev/../b}, {name: z, devicePath: ''}]",
        &[
            "C.volumeDevices[0].name: Invalid value: \"e\": can only use volume source type of",
            "C.volumeDevices[0].devicePath: Invalid value: \"/dev/../b\": can not contain backsteps",
            "C.volumeDevices[1].name: Not found: \"z\"",
            "C.volumeDevices[1].devicePath: Required value",
        ],
    );
    with(
        "volumeMounts: [{name: b, mountPath: /a}], volumeDevices: [{name: b, devicePath: /a}]",
        &[
            "C.volumeMounts[0].name: Invalid value: \"b\": must not already exist in volumeDevices",
            "C.volumeMounts[0].mountPath: Invalid value: \"/a\": must not already exist as a path",
            "C.volumeDevices[0].name: Invalid value: \"b\": must not already exist in volumeMounts",
            "C.volumeDevices[0].devicePath: Invalid value: \"/a\": must not already exist as a path",
        ],
    );
}

#[test]
fn resources_of_the_pod() {
    const POD: &str = "
metadata: {name: p}
spec:
  resources: POD
  containers:
  - {name: a, image: x, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi}}}
  - {name: b, image: x, resources: {requests: {cpu: 1}}}";
    let with = |resources: &str, expected: &[&str]| check(&POD.replace("POD", resources), expected);
    with("{requests: {cpu: 2, memory: 1Gi}, limits: {memory: 2Gi}}", &[]);
    with(
        "{requests: {cpu: 1}, limits: {memory: 1Gi}}",
        &[
            "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
            "spec.resources.containers[0][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi",
        ],
    );
    with(
        "{requests: {cpu: 4, ephemeral-storage: 1Gi}, limits: {cpu: 3}}",
        &[
            "spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\"",
            "spec.resources.requests: Invalid value: \"4\": must be less than or equal to cpu limit",
        ],
    );
}

#[test]
fn restarts() {
    container(
        "restartPolicy: Never\nrestartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]",
        &[],
    );
    container(
        "restartPolicyRules: [{action: Stop}]",
        &[
            "C.restartPolicy: Required value: must specify restartPolicy when restart rules are",
            "C.restartPolicyRules[0].action: Unsupported value: \"Stop\"",
            "C.restartPolicyRules[0].exitCodes: Required value: must be specified",
        ],
    );
}

#[test]
fn mounts_below_mounts() {
    container(
        "volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled}]",
        &[],
    );
    container(
        "volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}, {name: v, mountPath: /b, recursiveReadOnly: Odd}]",
        &[
            "C.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is",
            "C.volumeMounts.recursiveReadOnly: Unsupported value: \"Odd\"",
        ],
    );
}

#[test]
fn sources_of_volumes() {
    for (source, expected) in [
        ("iscsi: {targetPortal: t, iqn: 'iqn.2001-04.com.example:s', lun: 0}", &[][..]),
        (
            "iscsi: {targetPortal: '', iqn: nobody, lun: 256, chapAuthSession: true}",
            &[
                "V.iscsi.targetPortal: Required value",
                "V.iscsi.iqn: Invalid value: \"nobody\": must be valid format starting with iqn",
                "V.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "V.iscsi.secretRef: Required value",
            ],
        ),
        (
            "nfs: {server: '', path: a}",
            &[
                "V.nfs.server: Required value",
                "V.nfs.path: Invalid value: \"a\": must be an absolute path",
            ],
        ),
        (
            "gitRepo: {repository: '', directory: /a}",
            &[
                "V.gitRepo.repository: Required value",
                "V.gitRepo.directory: Invalid value: \"/a\": must be a relative path",
            ],
        ),
        (
            "rbd: {monitors: [], image: ''}",
            &["V.rbd.monitors: Required value", "V.rbd.image: Required value"],
        ),
        ("cephfs: {monitors: []}", &["V.cephfs.monitors: Required value"]),
        ("fc: {}", &["V.fc.targetWWNs: Required value: must specify either"]),
        ("fc: {targetWWNs: [a]}", &["V.fc.lun: Required value: lun is required if"]),
        (
            "azureFile: {secretName: '', shareName: ''}",
            &["V.azureFile.secretName: Required value", "V.azureFile.shareName: Required value"],
        ),
        (
            "azureDisk: {diskName: a, diskURI: 'https://x', kind: Managed}",
            &["V.azureDisk.diskURI: Unsupported value: \"https://x\""],
        ),
        ("csi: {driver: ''}", &["V.csi.driver: Required value"]),
        ("csi: {driver: a.b, nodePublishSecretRef: {name: s}}", &[]),
        (
            "flexVolume: {driver: a/b, options: {kubernetes.io/x: z}}",
            &["V.flexVolume.options[kubernetes.io/x]: Invalid value: \"kubernetes.io/x\""],
        ),
        (
            "projected: {sources: [{secret: {name: ''}, configMap: {name: c}}]}",
            &[
                "V.projected.sources[0].secret.name: Required value",
                "V.projected.sources[0]: Forbidden: may not specify more than 1 volume type per",
            ],
        ),
        (
            "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}",
            &[],
        ),
        ("ephemeral: {}", &["V.ephemeral.volumeClaimTemplate: Required value"]),
    ] {
        let pod = format!(
            "metadata: {{name: p}}\nspec:\n  containers: [{{name: a, image: x}}]\n  volumes: [{{name: v, {source}}}]"
        );
        let expected: Vec<String> =
            expected.iter().map(|text| text.replace("V.", "spec.volumes[0].")).collect();
        check(&pod, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn templates_have_no_ephemeral_containers() {
    let template = yaml(
        "
metadata: {name: t}
template: {spec: {ephemeralContainers: [{name: e, image: x}], containers: [{name: a, image: x}]}}",
    );
    for (resource, object, path) in [
        (&podtemplate::RESOURCE, template.clone(), "template"),
        (
            &deployment::RESOURCE,
            serde_json::json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": template["template"]["spec"]}}}),
            "spec.template",
        ),
    ] {
        let mut object = object;
        (resource.default)(&mut object);
        let expected = format!(
            "{path}.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"
        );
        expect(&(resource.validate)(&object), &[&expected], resource.kind);
    }
}
