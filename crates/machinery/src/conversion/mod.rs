//! The versions of a kind beside the one that is stored: what is sent in one of them becomes the
//! stored one, and what is answered becomes the one that was asked for.
//!
//! Two sorts, one table. Current versions (`autoscaling/v1`, `events.k8s.io/v1`) lose nothing in
//! either direction. Versions that Kubernetes has removed are read for ever, since people's
//! manifests still say them, with a warning that says what to write.

mod autoscaling;
mod definitions;
mod event;
mod ingress;
mod others;
mod reviews;
mod webhooks;
mod workloads;

use onggi_api::{GroupVersion, GroupVersionKind};
use serde_json::Value;

use crate::kinds;
use crate::resource::{self, Resource};
use crate::schema::{self, DecodeProblem, Decoded, FieldValidation};
use crate::selector::{FieldSelector, SelectorError};
use crate::validation::Errors;

/// A version of a kind that is served and not stored.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// Its group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The plural, here and where it is stored.
    pub plural: &'static str,
    /// The kind, here and where it is stored.
    pub kind: &'static str,
    /// The group and version that are stored.
    pub current: (&'static str, &'static str),
    /// The releases of Kubernetes that deprecated and that removed it, `("1.8", "1.16")`; nothing
    /// for a current version.
    pub removed: Option<(&'static str, &'static str)>,
    /// Selectable fields that are called otherwise here: `("regarding.kind",
    /// "involvedObject.kind")`. Where there are none, those of the row are meant.
    pub fields: &'static [(&'static str, &'static str)],
    /// What is wrong with a new object of this version, in the place of the row's `validate_create`.
    pub(crate) create: Option<fn(&Value) -> Errors>,
    /// What is wrong with a change in this version, besides the row's `validate_update`.
    update: Option<fn(&Value, &Value) -> Errors>,
    /// Gives the object the shape of the stored version, with the defaults that this version has
    /// and the stored one has otherwise. Tells what it filled in.
    to: fn(&mut Value) -> Vec<String>,
    /// Gives a stored object the shape of this version; with `to` it loses nothing.
    from: fn(&mut Value),
}

/// Every such version, of kinds that are served and of others.
pub fn all() -> &'static [Version] {
    TABLE
}

/// The version that a path names.
pub fn version(group: &str, version: &str, plural: &str) -> Option<&'static Version> {
    TABLE.iter().find(|v| v.group == group && v.version == version && v.plural == plural)
}

/// Reads what is sent to a subresource under a version that is no more (`Scale` of `apps/v1beta1`,
/// `Eviction` of `policy/v1beta1`) as the current one: in what is read of them nothing has changed.
pub fn modern_part(value: &mut Value, api_version: &str) {
    const OLD: &[(&str, &str, &str)] = &[
        ("Scale", "extensions/v1beta1", "autoscaling/v1"),
        ("Scale", "apps/v1beta1", "autoscaling/v1"),
        ("Scale", "apps/v1beta2", "autoscaling/v1"),
        ("Eviction", "policy/v1beta1", "policy/v1"),
    ];
    let (kind, version) = (value["kind"].as_str(), value["apiVersion"].as_str());
    let known = OLD
        .iter()
        .any(|(of, old, new)| kind == Some(*of) && version == Some(*old) && api_version == *new);
    if known {
        value["apiVersion"] = api_version.into();
        // The selector was a map once, and is computed anyway.
        if let Value::Object(map) = value {
            map.remove("status");
        }
    }
}

/// The version that an object says it has.
pub fn version_of(group: &str, version: &str, kind: &str) -> Option<&'static Version> {
    TABLE.iter().find(|v| v.group == group && v.version == version && v.kind == kind)
}

impl Version {
    /// The row of the stored version, where it is served.
    pub fn resource(&self) -> Option<&'static Resource> {
        resource::by_gvr(self.current.0, self.current.1, self.plural)
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
        }
    }

    /// The kind that it is stored as.
    pub fn current_kind(&self) -> GroupVersionKind {
        let (group, version) = self.current;
        GroupVersionKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: self.kind.to_owned(),
        }
    }

    /// `extensions/v1beta1`.
    pub fn api_version(&self) -> String {
        GroupVersion { group: self.group.to_owned(), version: self.version.to_owned() }.to_string()
    }

    /// What a request for a version that is no more is told.
    pub fn advice(&self) -> Option<String> {
        let (deprecated, removed) = self.removed?;
        Some(format!(
            "{old} {kind} is deprecated in v{deprecated}+, unavailable in v{removed}+; use \
             {current} {kind}, as which it is read here",
            old = self.api_version(),
            kind = self.kind,
            current = self.current_kind().api_version(),
        ))
    }

    /// Makes the stored version of an object; gives the warnings. An object of another shape than
    /// its kind's is changed as far as it can be: the check against the schema comes after.
    pub fn to_current(&self, object: &mut Value) -> Vec<String> {
        let current = self.current_kind().api_version();
        let mut warnings: Vec<String> = self.advice().into_iter().collect();
        warnings.extend((self.to)(object));
        if let Value::Object(map) = object {
            map.insert("apiVersion".to_owned(), current.into());
        }
        warnings
    }

    /// What is wrong with a change that was asked for in this version, besides what is wrong with
    /// it in the stored one. Both objects are of the stored version.
    pub fn validate_update(&self, object: &Value, old: &Value) -> Errors {
        self.update.map(|rules| rules(object, old)).unwrap_or_default()
    }

    /// Makes this version of a stored object.
    pub fn from_current(&self, object: &mut Value) {
        (self.from)(object);
        if let Value::Object(map) = object {
            map.insert("apiVersion".to_owned(), self.api_version().into());
        }
        if let Some(schema) = onggi_api::schema::of(self.group, self.version, self.kind) {
            schema::complete(schema, object);
        }
    }

    /// A configuration of server-side apply in the shape of the stored version. Nothing where it has
    /// that shape already: what this version only fills in is not the applier's, and is filled in
    /// when the configuration is merged.
    pub fn reshaped(&self, config: &Value) -> Option<Value> {
        let mut made = config.clone();
        self.to_current(&mut made);
        (!keeps(&made, config, &["apiVersion"])).then_some(made)
    }

    /// A field selector in the names of this version, in those of the row.
    pub fn field_selector(&self, text: &str) -> Result<String, SelectorError> {
        if text.is_empty() || self.fields.is_empty() {
            return Ok(text.to_owned());
        }
        let offered: Vec<&str> = self.fields.iter().map(|(here, _)| *here).collect();
        let mut selector = FieldSelector::parse(text)?;
        selector.check(&offered)?;
        selector.rename(|name| {
            let found = self.fields.iter().find(|(here, _)| *here == name);
            found.map(|(_, stored)| *stored)
        });
        Ok(selector.to_string())
    }

    /// Reads a body of this version as [`schema::decode`] does one of the stored version.
    pub fn decode(
        &self,
        body: &[u8],
        content_type: &str,
        validation: FieldValidation,
    ) -> Result<Decoded, DecodeProblem> {
        let schema::Parsed { mut value, duplicates } =
            schema::parse(body, content_type, self.kind)?;
        let found = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if !found.is_empty() && found != self.api_version() {
            let found = found.to_owned();
            return Err(DecodeProblem::ApiVersion { found, expected: self.api_version() });
        }
        let warnings = self.admit(&mut value, validation, duplicates)?;
        Ok(Decoded { value, warnings })
    }

    /// Checks an object of this version against the schema of its version, or for a removed version
    /// against that of the stored one, and makes the stored version of it. Gives the warnings.
    pub fn admit(
        &self,
        value: &mut Value,
        validation: FieldValidation,
        mut duplicates: Vec<String>,
    ) -> Result<Vec<String>, DecodeProblem> {
        let mut warnings = Vec::new();
        if self.removed.is_none() {
            let duplicates = std::mem::take(&mut duplicates);
            warnings.extend(schema::admit_with(value, &self.gvk(), validation, duplicates)?);
        }
        warnings.extend(self.to_current(value));
        let kind = self.current_kind();
        warnings.extend(schema::admit_with(value, &kind, validation, duplicates)?);
        Ok(warnings)
    }
}

/// Whether everything of an object stands in the other one, too, but for these fields.
fn keeps(made: &Value, of: &Value, but: &[&str]) -> bool {
    match (made, of) {
        (Value::Object(made), Value::Object(of)) => {
            let of = of.iter().filter(|(name, _)| !but.contains(&name.as_str()));
            of.into_iter().all(|(name, of)| made.get(name).is_some_and(|m| keeps(m, of, &[])))
        }
        (Value::Array(made), Value::Array(of)) => {
            made.len() == of.len() && made.iter().zip(of).all(|(made, of)| keeps(made, of, &[]))
        }
        _ => made == of,
    }
}

/// A current version.
const fn served(
    here: (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    current: (&'static str, &'static str),
    fields: &'static [(&'static str, &'static str)],
    to: fn(&mut Value) -> Vec<String>,
    from: fn(&mut Value),
) -> Version {
    let (group, version) = here;
    let (create, update) = (None, None);
    Version {
        group,
        version,
        plural,
        kind,
        current,
        removed: None,
        fields,
        create,
        update,
        to,
        from,
    }
}

/// A version with rules of its own.
const fn with_rules(
    mut version: Version,
    create: fn(&Value) -> Errors,
    update: Option<fn(&Value, &Value) -> Errors>,
) -> Version {
    version.create = Some(create);
    version.update = update;
    version
}

/// A removed version that is shown as it was, too.
const fn with_way_back(mut version: Version, from: fn(&mut Value)) -> Version {
    version.from = from;
    version
}

/// A removed version, of which every field is a field of the stored one.
const fn row(
    from: (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    current: (&'static str, &'static str),
    since: (&'static str, &'static str),
    to: fn(&mut Value) -> Vec<String>,
) -> Version {
    Version {
        group: from.0,
        version: from.1,
        plural,
        kind,
        current,
        removed: Some(since),
        fields: &[],
        create: None,
        update: None,
        to,
        from: |_| {},
    }
}

/// A review of who may, which was sent to `authorization.k8s.io/v1beta1`.
const fn access_review(plural: &'static str, kind: &'static str) -> Version {
    const GROUP: &str = "authorization.k8s.io";
    let version = row((GROUP, "v1beta1"), plural, kind, (GROUP, "v1"), V1_22, reviews::convert);
    with_way_back(version, reviews::back)
}

/// Nothing but the version has changed.
fn same(_: &mut Value) -> Vec<String> {
    Vec::new()
}

const EXTENSIONS: (&str, &str) = ("extensions", "v1beta1");
const APPS1: (&str, &str) = ("apps", "v1beta1");
const APPS2: (&str, &str) = ("apps", "v1beta2");
const APPS: (&str, &str) = ("apps", "v1");
const AUTOSCALING: (&str, &str) = ("autoscaling", "v2");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const RBAC1: (&str, &str) = ("rbac.authorization.k8s.io", "v1beta1");
const RBAC0: (&str, &str) = ("rbac.authorization.k8s.io", "v1alpha1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");
const STORAGE1: (&str, &str) = ("storage.k8s.io", "v1beta1");
const FLOW: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1");
const FLOW1: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1beta1");
const FLOW2: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1beta2");
const FLOW3: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1beta3");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const ADMISSION1: (&str, &str) = ("admissionregistration.k8s.io", "v1beta1");
const NODE: (&str, &str) = ("node.k8s.io", "v1");
const DEVICES: (&str, &str) = ("resource.k8s.io", "v1");
const DEVICES1: (&str, &str) = ("resource.k8s.io", "v1beta1");
const DEVICES2: (&str, &str) = ("resource.k8s.io", "v1beta2");
const V1_38: (&str, &str) = ("1.35", "1.38");
const V1_39: (&str, &str) = ("1.36", "1.39");
const NETWORKING1: (&str, &str) = ("networking.k8s.io", "v1beta1");
/// Of the workloads.
const V1_16: (&str, &str) = ("1.9", "1.16");
const V1_22: (&str, &str) = ("1.19", "1.22");
const V1_25: (&str, &str) = ("1.21", "1.25");
/// Of kinds that were beta until lately.
const V1_37: (&str, &str) = ("1.34", "1.37");

/// Every version beside the stored one, one a line: the current ones, then the removed ones.
const TABLE: &[Version] = &[
    served(
        ("autoscaling", "v1"),
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        AUTOSCALING,
        &[],
        autoscaling::from_v1,
        autoscaling::to_v1,
    ),
    with_rules(
        served(
            ("events.k8s.io", "v1"),
            "events",
            "Event",
            ("", "v1"),
            event::FIELDS,
            event::to_core,
            event::from_core,
        ),
        kinds::event::validate_v1_create,
        Some(kinds::event::validate_v1_update),
    ),
    row(
        EXTENSIONS,
        "deployments",
        "Deployment",
        APPS,
        ("1.8", "1.16"),
        workloads::deployment_extensions,
    ),
    row(APPS1, "deployments", "Deployment", APPS, V1_16, workloads::deployment_apps_v1beta1),
    row(APPS2, "deployments", "Deployment", APPS, V1_16, same),
    row(
        EXTENSIONS,
        "replicasets",
        "ReplicaSet",
        APPS,
        ("1.8", "1.16"),
        workloads::selector_from_template,
    ),
    row(APPS2, "replicasets", "ReplicaSet", APPS, V1_16, same),
    row(
        EXTENSIONS,
        "daemonsets",
        "DaemonSet",
        APPS,
        ("1.8", "1.16"),
        workloads::daemon_set_extensions,
    ),
    row(APPS2, "daemonsets", "DaemonSet", APPS, V1_16, same),
    row(APPS1, "statefulsets", "StatefulSet", APPS, V1_16, workloads::stateful_set_apps_v1beta1),
    row(APPS2, "statefulsets", "StatefulSet", APPS, V1_16, same),
    row(EXTENSIONS, "networkpolicies", "NetworkPolicy", NETWORKING, ("1.9", "1.16"), same),
    with_way_back(
        row(EXTENSIONS, "ingresses", "Ingress", NETWORKING, ("1.14", "1.22"), ingress::convert),
        ingress::back,
    ),
    with_way_back(
        row(
            ("networking.k8s.io", "v1beta1"),
            "ingresses",
            "Ingress",
            NETWORKING,
            V1_22,
            ingress::convert,
        ),
        ingress::back,
    ),
    row(
        ("networking.k8s.io", "v1beta1"),
        "ingressclasses",
        "IngressClass",
        NETWORKING,
        V1_22,
        same,
    ),
    row(
        ("apiextensions.k8s.io", "v1beta1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
        ("apiextensions.k8s.io", "v1"),
        ("1.16", "1.22"),
        definitions::convert,
    ),
    row(RBAC1, "roles", "Role", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "rolebindings", "RoleBinding", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "clusterroles", "ClusterRole", RBAC, ("1.17", "1.22"), same),
    row(RBAC1, "clusterrolebindings", "ClusterRoleBinding", RBAC, ("1.17", "1.22"), same),
    row(("batch", "v1beta1"), "cronjobs", "CronJob", ("batch", "v1"), V1_25, same),
    row(
        ("authentication.k8s.io", "v1beta1"),
        "tokenreviews",
        "TokenReview",
        ("authentication.k8s.io", "v1"),
        V1_22,
        same,
    ),
    access_review("subjectaccessreviews", "SubjectAccessReview"),
    access_review("localsubjectaccessreviews", "LocalSubjectAccessReview"),
    access_review("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    access_review("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    with_way_back(
        row(
            ("autoscaling", "v2beta1"),
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            AUTOSCALING,
            ("1.22", "1.25"),
            autoscaling::from_v2beta1,
        ),
        autoscaling::to_v2beta1,
    ),
    row(
        ("autoscaling", "v2beta2"),
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        AUTOSCALING,
        ("1.23", "1.26"),
        same,
    ),
    row(
        ("policy", "v1beta1"),
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        ("policy", "v1"),
        V1_25,
        workloads::empty_selector_selects_nothing,
    ),
    with_way_back(
        row(
            ("discovery.k8s.io", "v1beta1"),
            "endpointslices",
            "EndpointSlice",
            ("discovery.k8s.io", "v1"),
            V1_25,
            event::slice_to_v1,
        ),
        event::slice_to_v1beta1,
    ),
    with_way_back(
        row(
            ("events.k8s.io", "v1beta1"),
            "events",
            "Event",
            ("", "v1"),
            ("1.19", "1.25"),
            event::to_core,
        ),
        event::from_core,
    ),
    row(
        ("node.k8s.io", "v1beta1"),
        "runtimeclasses",
        "RuntimeClass",
        ("node.k8s.io", "v1"),
        ("1.22", "1.25"),
        same,
    ),
    row(
        ("coordination.k8s.io", "v1beta1"),
        "leases",
        "Lease",
        ("coordination.k8s.io", "v1"),
        V1_22,
        same,
    ),
    row(
        ("scheduling.k8s.io", "v1beta1"),
        "priorityclasses",
        "PriorityClass",
        ("scheduling.k8s.io", "v1"),
        ("1.14", "1.22"),
        same,
    ),
    row(STORAGE1, "storageclasses", "StorageClass", STORAGE, V1_22, same),
    row(STORAGE1, "volumeattachments", "VolumeAttachment", STORAGE, V1_22, same),
    row(STORAGE1, "csidrivers", "CSIDriver", STORAGE, V1_22, same),
    row(STORAGE1, "csinodes", "CSINode", STORAGE, ("1.17", "1.22"), same),
    row(STORAGE1, "csistoragecapacities", "CSIStorageCapacity", STORAGE, ("1.24", "1.27"), same),
    row(STORAGE1, "volumeattributesclasses", "VolumeAttributesClass", STORAGE, V1_37, same),
    row(NETWORKING1, "ipaddresses", "IPAddress", NETWORKING, V1_37, same),
    row(NETWORKING1, "servicecidrs", "ServiceCIDR", NETWORKING, V1_37, same),
    row(RBAC0, "roles", "Role", RBAC, ("1.17", "1.22"), same),
    row(RBAC0, "rolebindings", "RoleBinding", RBAC, ("1.17", "1.22"), others::subjects),
    row(RBAC0, "clusterroles", "ClusterRole", RBAC, ("1.17", "1.22"), same),
    row(
        RBAC0,
        "clusterrolebindings",
        "ClusterRoleBinding",
        RBAC,
        ("1.17", "1.22"),
        others::subjects,
    ),
    with_rules(
        row(
            ("certificates.k8s.io", "v1beta1"),
            "certificatesigningrequests",
            "CertificateSigningRequest",
            ("certificates.k8s.io", "v1"),
            V1_22,
            others::signing_request,
        ),
        |_| Errors::new(),
        None,
    ),
    row(
        ("node.k8s.io", "v1alpha1"),
        "runtimeclasses",
        "RuntimeClass",
        NODE,
        ("1.20", "1.23"),
        others::runtime_class,
    ),
    row(FLOW1, "flowschemas", "FlowSchema", FLOW, ("1.23", "1.26"), same),
    row(FLOW2, "flowschemas", "FlowSchema", FLOW, ("1.26", "1.29"), same),
    row(FLOW3, "flowschemas", "FlowSchema", FLOW, ("1.29", "1.32"), same),
    with_way_back(
        row(
            FLOW1,
            "prioritylevelconfigurations",
            "PriorityLevelConfiguration",
            FLOW,
            ("1.23", "1.26"),
            others::priority_level,
        ),
        others::priority_level_back,
    ),
    with_way_back(
        row(
            FLOW2,
            "prioritylevelconfigurations",
            "PriorityLevelConfiguration",
            FLOW,
            ("1.26", "1.29"),
            others::priority_level,
        ),
        others::priority_level_back,
    ),
    row(
        FLOW3,
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        FLOW,
        ("1.29", "1.32"),
        others::zero_is_default,
    ),
    row(
        ADMISSION1,
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        ADMISSION,
        ("1.16", "1.22"),
        webhooks::configuration,
    ),
    row(
        ADMISSION1,
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        ADMISSION,
        ("1.16", "1.22"),
        webhooks::configuration,
    ),
    row(
        ADMISSION1,
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        ADMISSION,
        ("1.31", "1.34"),
        same,
    ),
    row(
        ADMISSION1,
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        ADMISSION,
        ("1.31", "1.34"),
        same,
    ),
    row(
        ADMISSION1,
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
        ADMISSION,
        ("1.37", "1.40"),
        same,
    ),
    row(
        ADMISSION1,
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
        ADMISSION,
        ("1.37", "1.40"),
        same,
    ),
    row(DEVICES1, "deviceclasses", "DeviceClass", DEVICES, V1_38, same),
    with_way_back(
        row(DEVICES1, "resourceclaims", "ResourceClaim", DEVICES, V1_38, others::claim),
        others::claim_back,
    ),
    with_way_back(
        row(
            DEVICES1,
            "resourceclaimtemplates",
            "ResourceClaimTemplate",
            DEVICES,
            V1_38,
            others::claim_template,
        ),
        others::claim_template_back,
    ),
    with_way_back(
        row(DEVICES1, "resourceslices", "ResourceSlice", DEVICES, V1_38, others::resource_slice),
        others::resource_slice_back,
    ),
    row(DEVICES2, "deviceclasses", "DeviceClass", DEVICES, V1_39, same),
    row(DEVICES2, "resourceclaims", "ResourceClaim", DEVICES, V1_39, same),
    row(DEVICES2, "resourceclaimtemplates", "ResourceClaimTemplate", DEVICES, V1_39, same),
    row(DEVICES2, "resourceslices", "ResourceSlice", DEVICES, V1_39, same),
    row(
        ("apiregistration.k8s.io", "v1beta1"),
        "apiservices",
        "APIService",
        ("apiregistration.k8s.io", "v1"),
        V1_22,
        same,
    ),
];

#[cfg(test)]
mod tests;
