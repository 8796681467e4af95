//! Which fields the transformers work on: Kustomize's own tables, and what files of
//! `configurations` add to them.

use serde::Deserialize;

use super::fieldspec::FieldSpec;
use super::file::LegacyOrder;
use super::id::Gvk;
use super::names;

/// The field specifications of every transformer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Config {
    pub(super) name_prefix: Vec<FieldSpec>,
    pub(super) name_suffix: Vec<FieldSpec>,
    pub(super) namespace: Vec<FieldSpec>,
    pub(super) common_labels: Vec<FieldSpec>,
    pub(super) labels: Vec<FieldSpec>,
    pub(super) template_labels: Vec<FieldSpec>,
    pub(super) common_annotations: Vec<FieldSpec>,
    pub(super) name_reference: Vec<NameReference>,
    pub(super) var_reference: Vec<FieldSpec>,
    pub(super) images: Vec<FieldSpec>,
    pub(super) replicas: Vec<FieldSpec>,
}

/// Fields that hold the name of an object of a kind.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NameReference {
    group: String,
    version: String,
    kind: String,
    pub(super) field_specs: Vec<FieldSpec>,
}

/// Where kinds keep the spec of their pods.
const PODS: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("PodTemplate", "template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
];

/// The same for references to service accounts, claims and priorities.
const WORKLOADS: &[(&str, &str)] = &[
    ("Pod", "spec"),
    ("StatefulSet", "spec/template/spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

impl NameReference {
    fn new(group: &str, version: &str, kind: &str, field_specs: Vec<FieldSpec>) -> Self {
        let [group, version, kind] = [group, version, kind].map(str::to_owned);
        Self { group, version, kind, field_specs }
    }

    /// Whether an object of that kind is meant.
    pub(super) fn fits(&self, gvk: &Gvk) -> bool {
        let same = |wanted: &str, text: &str| wanted.is_empty() || wanted == text;
        same(&self.group, &gvk.group)
            && same(&self.version, &gvk.version)
            && same(&self.kind, &gvk.kind)
    }
}

fn below(places: &[(&str, &str)], paths: &[&str]) -> Vec<FieldSpec> {
    let all = places.iter().flat_map(|(kind, place)| {
        paths.iter().map(move |path| FieldSpec::new(kind, &format!("{place}/{path}"), false))
    });
    all.collect()
}

impl Config {
    /// Kustomize's own.
    pub(super) fn builtin() -> Self {
        let templates = template_labels();
        Self {
            name_prefix: vec![FieldSpec::new("", "metadata/name", false)],
            name_suffix: vec![FieldSpec::new("", "metadata/name", false)],
            namespace: vec![
                FieldSpec::new("Namespace", "metadata/name", true),
                FieldSpec::of(
                    "apiregistration.k8s.io",
                    "APIService",
                    "spec/service/namespace",
                    true,
                ),
                FieldSpec::of(
                    "apiextensions.k8s.io",
                    "CustomResourceDefinition",
                    "spec/conversion/webhook/clientConfig/service/namespace",
                    false,
                ),
            ],
            common_labels: common_labels(),
            labels: Vec::new(),
            template_labels: templates,
            common_annotations: annotations(),
            name_reference: references(),
            var_reference: variables(),
            images: [
                "spec/containers[]/image",
                "spec/initContainers[]/image",
                "spec/volumes[]/image/reference",
                "spec/template/spec/containers[]/image",
                "spec/template/spec/initContainers[]/image",
                "spec/template/spec/volumes[]/image/reference",
            ]
            .iter()
            .map(|path| FieldSpec::new("", path, true))
            .collect(),
            replicas: ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
                .iter()
                .map(|kind| FieldSpec::new(kind, "spec/replicas", true))
                .collect(),
        }
    }

    /// Adds what another has more. Two that differ only in whether fields are made clash.
    pub(super) fn merge(&mut self, more: Self) -> Result<(), String> {
        for (into, from) in [
            (&mut self.name_prefix, more.name_prefix),
            (&mut self.name_suffix, more.name_suffix),
            (&mut self.namespace, more.namespace),
            (&mut self.common_labels, more.common_labels),
            (&mut self.labels, more.labels),
            (&mut self.template_labels, more.template_labels),
            (&mut self.common_annotations, more.common_annotations),
            (&mut self.var_reference, more.var_reference),
            (&mut self.images, more.images),
            (&mut self.replicas, more.replicas),
        ] {
            merge(into, from)?;
            into.sort_by_cached_key(|spec| place(&spec.group, &spec.version, &spec.kind));
        }
        for reference in more.name_reference {
            let same = |r: &&mut NameReference| {
                (&r.group, &r.version, &r.kind)
                    == (&reference.group, &reference.version, &reference.kind)
            };
            match self.name_reference.iter_mut().find(same) {
                Some(known) => merge(&mut known.field_specs, reference.field_specs)?,
                None => self.name_reference.push(reference),
            }
        }
        Ok(())
    }
}

/// The order of specifications: it says which of two that overlap is there first.
fn place(group: &str, version: &str, kind: &str) -> (names::Rank, String) {
    (LegacyOrder::builtin().rank(kind), names::sort_text(group, version, kind))
}

/// Adds what is new. A specification that one of narrower kinds stands before counts as known, as
/// in Kustomize: prefixes for some kinds of one's own are then prefixes for these alone.
pub(super) fn merge(into: &mut Vec<FieldSpec>, from: Vec<FieldSpec>) -> Result<(), String> {
    for spec in from {
        let same = |other: &&FieldSpec| {
            let covers = |wide: &str, narrow: &str| wide.is_empty() || wide == narrow;
            spec.path == other.path
                && covers(&spec.group, &other.group)
                && covers(&spec.version, &other.version)
                && covers(&spec.kind, &other.kind)
        };
        match into.iter().find(same) {
            Some(known) if known.create != spec.create => {
                return Err(format!("conflicting fieldspecs: {} of {:?}", spec.path, spec.kind));
            }
            Some(_) => {}
            None => into.push(spec),
        }
    }
    Ok(())
}

fn template_labels() -> Vec<FieldSpec> {
    let mut specs = vec![FieldSpec::new("", "metadata/labels", true)];
    specs.extend(templates("labels"));
    let claims = "spec/volumeClaimTemplates[]/metadata/labels";
    specs.push(FieldSpec::of("apps", "StatefulSet", claims, true));
    specs
}

fn annotations() -> Vec<FieldSpec> {
    let mut specs = vec![FieldSpec::new("", "metadata/annotations", true)];
    specs.extend(templates("annotations"));
    specs
}

fn templates(field: &str) -> Vec<FieldSpec> {
    let path = |above: &str| format!("{above}/metadata/{field}");
    let template = path("spec/template");
    let controller = FieldSpec::new("ReplicationController", &template, true);
    let mut specs = vec![FieldSpec { version: "v1".to_owned(), ..controller }];
    for kind in ["Deployment", "ReplicaSet", "DaemonSet"] {
        specs.push(FieldSpec::new(kind, &template, true));
    }
    let group = if field == "labels" { "apps" } else { "" };
    specs.push(FieldSpec::of(group, "StatefulSet", &template, true));
    specs.push(FieldSpec::of("batch", "Job", &template, true));
    specs.push(FieldSpec::of("batch", "CronJob", &path("spec/jobTemplate"), true));
    specs.push(FieldSpec::of("batch", "CronJob", &path("spec/jobTemplate/spec/template"), true));
    specs
}

fn common_labels() -> Vec<FieldSpec> {
    let v1 = |kind: &str| FieldSpec {
        version: "v1".to_owned(),
        ..FieldSpec::new(kind, "spec/selector", true)
    };
    let mut specs = vec![v1("Service"), v1("ReplicationController")];
    let labels = "spec/selector/matchLabels";
    specs.push(FieldSpec::new("Deployment", labels, true));
    specs.push(FieldSpec::new("ReplicaSet", labels, true));
    specs.push(FieldSpec::new("DaemonSet", labels, true));
    specs.push(FieldSpec::of("apps", "StatefulSet", labels, true));
    for kind in ["Deployment", "StatefulSet"] {
        for near in ["podAffinity", "podAntiAffinity"] {
            for rest in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector",
                "requiredDuringSchedulingIgnoredDuringExecution/labelSelector",
            ] {
                let path = format!("spec/template/spec/affinity/{near}/{rest}/matchLabels");
                specs.push(FieldSpec::of("apps", kind, &path, false));
            }
        }
        let path = "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels";
        specs.push(FieldSpec::of("apps", kind, path, false));
    }
    for (group, kind, path) in [
        ("batch", "Job", labels),
        ("batch", "CronJob", "spec/jobTemplate/spec/selector/matchLabels"),
        ("policy", "PodDisruptionBudget", labels),
        ("networking.k8s.io", "NetworkPolicy", "spec/podSelector/matchLabels"),
        ("networking.k8s.io", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels"),
        ("networking.k8s.io", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels"),
    ] {
        specs.push(FieldSpec::of(group, kind, path, false));
    }
    specs.extend(template_labels());
    specs
}

fn references() -> Vec<NameReference> {
    let plain = |kind: &str, path: &str| FieldSpec::new(kind, path, false);
    let mut maps = below(
        PODS,
        &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
    );
    maps.extend([
        plain("Node", "spec/configSource/configMap"),
        plain("Role", "rules/resourceNames"),
        plain("ClusterRole", "rules/resourceNames"),
        plain(
            "Ingress",
            "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap",
        ),
    ]);
    let mut secrets = below(
        PODS,
        &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
    );
    secrets.extend([
        plain("Ingress", "spec/tls/secretName"),
        plain("Ingress", "metadata/annotations/ingress.kubernetes.io\\/auth-secret"),
        plain("Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret"),
        plain("Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret"),
        plain("ServiceAccount", "imagePullSecrets/name"),
        plain("StorageClass", "parameters/secretName"),
        plain("StorageClass", "parameters/adminSecretName"),
        plain("StorageClass", "parameters/userSecretName"),
        plain("StorageClass", "parameters/secretRef"),
        plain("Role", "rules/resourceNames"),
        plain("ClusterRole", "rules/resourceNames"),
        FieldSpec {
            version: "v1".to_owned(),
            ..FieldSpec::of(
                "serving.knative.dev",
                "Service",
                "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
                false,
            )
        },
        plain("PersistentVolume", "spec/azureFile/secretName"),
    ]);
    let services = vec![
        FieldSpec::of("apps", "StatefulSet", "spec/serviceName", false),
        plain("Ingress", "spec/rules/http/paths/backend/serviceName"),
        plain("Ingress", "spec/backend/serviceName"),
        plain("Ingress", "spec/rules/http/paths/backend/service/name"),
        plain("Ingress", "spec/defaultBackend/service/name"),
        FieldSpec::of("apiregistration.k8s.io", "APIService", "spec/service/name", false),
        FieldSpec::of(
            ADMISSION,
            "ValidatingWebhookConfiguration",
            "webhooks/clientConfig/service",
            false,
        ),
        FieldSpec::of(
            ADMISSION,
            "MutatingWebhookConfiguration",
            "webhooks/clientConfig/service",
            false,
        ),
    ];
    let role = |kind: &str| FieldSpec::of(RBAC, kind, "roleRef/name", false);
    let subjects = |kind: &str| FieldSpec::of(RBAC, kind, "subjects", false);
    let mut accounts = vec![subjects("RoleBinding"), subjects("ClusterRoleBinding")];
    accounts.extend(below(WORKLOADS, &["serviceAccountName"]));
    let scaled = || vec![plain("HorizontalPodAutoscaler", "spec/scaleTargetRef/name")];
    let mut found: Vec<NameReference> =
        ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
            .iter()
            .map(|kind| NameReference::new("", "", kind, scaled()))
            .collect();
    let volumes = vec![
        plain("PersistentVolumeClaim", "spec/volumeName"),
        plain("ClusterRole", "rules/resourceNames"),
    ];
    let classes = vec![
        plain("PersistentVolume", "spec/storageClassName"),
        plain("PersistentVolumeClaim", "spec/storageClassName"),
        plain("StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
    ];
    let claims = below(WORKLOADS, &["volumes/persistentVolumeClaim/claimName"]);
    found.extend([
        NameReference::new("", "v1", "ConfigMap", maps),
        NameReference::new("", "v1", "Secret", secrets),
        NameReference::new("", "v1", "Service", services),
        NameReference::new(RBAC, "", "Role", vec![role("RoleBinding")]),
        NameReference::new(
            RBAC,
            "",
            "ClusterRole",
            vec![role("RoleBinding"), role("ClusterRoleBinding")],
        ),
        NameReference::new("", "v1", "ServiceAccount", accounts),
        NameReference::new("", "v1", "PersistentVolumeClaim", claims),
        NameReference::new("", "v1", "PersistentVolume", volumes),
        NameReference::new("storage.k8s.io", "v1", "StorageClass", classes),
        NameReference::new(
            "scheduling.k8s.io",
            "v1",
            "PriorityClass",
            below(WORKLOADS, &["priorityClassName"]),
        ),
        NameReference::new(
            ADMISSION,
            "",
            "ValidatingAdmissionPolicy",
            vec![FieldSpec::of(
                ADMISSION,
                "ValidatingAdmissionPolicyBinding",
                "spec/policyName",
                false,
            )],
        ),
    ]);
    found
}

fn variables() -> Vec<FieldSpec> {
    const IN_CONTAINERS: &[&str] = &["args", "command", "env/value", "volumeMounts/mountPath"];
    let mut specs = Vec::new();
    for (kind, place) in [
        ("CronJob", "spec/jobTemplate/spec/template/spec"),
        ("DaemonSet", "spec/template/spec"),
        ("Deployment", "spec/template/spec"),
        ("Job", "spec/template/spec"),
        ("Pod", "spec"),
        ("ReplicaSet", "spec/template/spec"),
        ("StatefulSet", "spec/template/spec"),
    ] {
        for list in ["containers", "initContainers"] {
            for field in IN_CONTAINERS {
                specs.push(FieldSpec::new(kind, &format!("{place}/{list}/{field}"), false));
            }
        }
        // Kustomize looks for those of CronJobs beside the spec of the pods.
        let of_pods = if kind == "CronJob" { "spec/jobTemplate/spec/template" } else { place };
        specs.push(FieldSpec::new(kind, &format!("{of_pods}/volumes/nfs/server"), false));
    }
    for (kind, path) in [
        ("StatefulSet", "spec/volumeClaimTemplates/spec/nfs/server"),
        ("PersistentVolume", "spec/nfs/server"),
        ("Ingress", "spec/rules/host"),
        ("Ingress", "spec/tls/hosts"),
        ("Ingress", "spec/tls/secretName"),
        ("Deployment", "spec/template/metadata/annotations"),
        ("Service", "spec/ports/port"),
        ("Service", "spec/ports/targetPort"),
        ("", "metadata/labels"),
        ("", "metadata/annotations"),
    ] {
        specs.push(FieldSpec::new(kind, path, false));
    }
    specs
}
