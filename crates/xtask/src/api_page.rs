//! `docs/kubernetes-api.md`: what of Kubernetes' API is served, what is acted upon, and what is
//! stored only. Made from the resource table; who acts on a kind stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use onggi_api::schema;
use onggi_machinery::conversion;
use onggi_machinery::kinds::apiservice::group_priority;
use onggi_machinery::resource::{self, ALL_VERBS, Resource};

const PAGE: &str = "docs/kubernetes-api.md";

/// Who acts on a kind, beside the server that keeps it. A kind that is not here is stored only.
const ACTED_UPON: &[(&str, &str, &str)] = &[
    ("", "Binding", "places a pod"),
    ("", "ComponentStatus", "the server's own checks"),
    ("", "ConfigMap", "volumes and variables of pods"),
    ("", "Endpoints", "made for Services; mirrored for those without selector"),
    ("", "Event", "deleted after an hour"),
    ("", "LimitRange", "admission: defaults and bounds"),
    ("", "Namespace", "emptied by its controller before it goes"),
    ("", "Node", "life cycle, taints, scheduling"),
    ("", "PersistentVolume", "admission: not deleted while it is used"),
    ("", "PersistentVolumeClaim", "admission: the default class, growth, not deleted while used"),
    ("", "Pod", "scheduled, run, probed, collected"),
    ("", "ReplicationController", "its controller"),
    ("", "ResourceQuota", "admission, and its controller counts"),
    ("", "Secret", "volumes and variables of pods, image pulls, bootstrap tokens; sealed at rest"),
    ("", "Service", "addresses, node ports, the proxy of every node, DNS"),
    ("", "ServiceAccount", "tokens of pods"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "admission"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", "admission"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "admission"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "admission; types are checked"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "admission"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "admission"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "its kind is served at once"),
    ("apiregistration.k8s.io", "APIService", "its server is proxied to; its availability is kept"),
    ("apps", "Deployment", "its controller: rollouts, undo"),
    ("apps", "ReplicaSet", "its controller"),
    ("authentication.k8s.io", "SelfSubjectReview", "answered at once"),
    ("authentication.k8s.io", "TokenReview", "answered at once"),
    ("authorization.k8s.io", "LocalSubjectAccessReview", "answered at once"),
    ("authorization.k8s.io", "SelfSubjectAccessReview", "answered at once"),
    ("authorization.k8s.io", "SelfSubjectRulesReview", "answered at once"),
    ("authorization.k8s.io", "SubjectAccessReview", "answered at once"),
    ("certificates.k8s.io", "CertificateSigningRequest", "approval and signing"),
    ("coordination.k8s.io", "Lease", "life of nodes and of the API server"),
    ("discovery.k8s.io", "EndpointSlice", "made for Services; the proxy and DNS"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "sharing of the server between flows"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "sharing of the server"),
    ("node.k8s.io", "RuntimeClass", "admission: overhead and placement of pods"),
    ("policy", "PodDisruptionBudget", "evictions ask it"),
    ("rbac.authorization.k8s.io", "ClusterRole", "authorization"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "authorization"),
    ("rbac.authorization.k8s.io", "Role", "authorization"),
    ("rbac.authorization.k8s.io", "RoleBinding", "authorization"),
    ("scheduling.k8s.io", "PriorityClass", "priority of pods"),
    ("storage.k8s.io", "StorageClass", "admission: the default class of claims"),
];

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = root.join(PAGE);
    fs::write(&path, page()?).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails when the page says something else than the table.
pub(crate) fn check(root: &Path) -> Result<()> {
    let found = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    if found != page()? {
        bail!("{PAGE} is not current; run `cargo xtask api-page`");
    }
    Ok(())
}

fn page() -> Result<String> {
    for (group, kind, _) in ACTED_UPON {
        if !schema::table().kinds().any(|(g, _, k, _)| g == *group && k == *kind) {
            bail!("xtask/src/api_page.rs: Kubernetes has no {kind} in the group {group:?}");
        }
    }
    let mut page = String::from(HEAD);
    let (mut groups, missing) = (BTreeMap::<_, Vec<&Resource>>::new(), missing());
    for row in resource::all() {
        groups.entry((-group_priority(row.group), row.group)).or_default().push(row);
    }
    for ((_, group), mut rows) in groups {
        rows.sort_by_key(|row| (row.kind, row.version));
        let title = if group.is_empty() { "core" } else { group };
        write!(page, "\n## {title}\n{TABLE_HEAD}")?;
        for row in rows {
            page.push_str(&line(row)?);
        }
        for (version, kind) in missing.iter().filter(|(g, ..)| *g == group).map(|(_, v, k)| (v, k))
        {
            writeln!(page, "| {kind} | {version} | | | not yet |")?;
        }
    }
    let absent: BTreeSet<&str> = missing
        .iter()
        .map(|(group, ..)| *group)
        .filter(|group| !resource::all().iter().any(|row| row.group == *group))
        .collect();
    if !absent.is_empty() {
        writeln!(page, "\n## Groups that are not there yet")?;
        for group in absent {
            let kinds = missing.iter().filter(|(g, ..)| *g == group);
            let kinds: Vec<&str> = kinds.map(|(_, _, kind)| *kind).collect();
            writeln!(page, "- {group}: {}", kinds.join(", "))?;
        }
    }
    page.push_str(&other_versions()?);
    Ok(page)
}

const HEAD: &str = "\
# What of Kubernetes' API is there
Made by `cargo xtask api-page` from the resource table; do not edit. The measure is the stable API \
of Kubernetes v1.36.

Every kind here is served in full: schema, defaults, validation, status, tables, watch, patches. \
*stored* means that nothing acts on it yet.
";

const TABLE_HEAD: &str = "\
| kind | version | short | parts | acted upon by |
|---|---|---|---|---|
";

fn line(row: &Resource) -> Result<String> {
    let mut kind = row.kind.to_owned();
    if row.verbs.len() < ALL_VERBS.len() {
        let verbs: Vec<&str> = row.verbs.iter().map(|verb| verb.as_str()).collect();
        write!(kind, " ({})", verbs.join(", "))?;
    }
    let parts: Vec<&str> = row.subresources.iter().map(|part| part.name).collect();
    let acted = ACTED_UPON.iter().find(|(group, name, _)| *group == row.group && *name == row.kind);
    Ok(format!(
        "| {kind} | {} | {} | {} | {} |\n",
        row.version,
        row.short_names.join(", "),
        parts.join(", "),
        acted.map_or("*stored*", |(.., who)| who),
    ))
}

/// Kinds of stable versions that have lists and no row: group, version, kind.
fn missing() -> Vec<(&'static str, &'static str, &'static str)> {
    let stable = |version: &str| !version.contains("alpha") && !version.contains("beta");
    let kinds: Vec<_> = schema::table().kinds().map(|(g, v, k, _)| (g, v, k)).collect();
    let listed = |group: &str, version: &str, kind: &str| {
        let list = format!("{kind}List");
        kinds.iter().any(|(g, v, k)| *g == group && *v == version && *k == list)
    };
    let all = kinds.iter().copied().filter(|(group, version, kind)| {
        *kind != "APIGroup"
            && stable(version)
            && listed(group, version, kind)
            && resource::by_kind(group, version, kind).is_none()
            && conversion::version_of(group, version, kind).is_none()
    });
    all.collect()
}

fn other_versions() -> Result<String> {
    let mut text = String::from(
        "\n## Other versions\nServed beside the version that is stored. Those that Kubernetes has \
         removed, or will, come with a warning that says so. They are not listed for every client: Helm, \
         which chooses what a chart renders by the same list in which it looks for kinds, does not \
         find them (`no matches for kind`); `helm template CHART | kubectl apply -f -` does.\n\n| kind | current | old |\n\
         |---|---|---|\n",
    );
    let mut kinds = BTreeMap::<_, [BTreeSet<String>; 2]>::new();
    for other in conversion::all().iter().filter(|other| other.resource().is_some()) {
        let [current, old] = kinds.entry(other.kind).or_default();
        let list = if other.removed.is_some() { old } else { current };
        list.insert(other.api_version());
    }
    for (kind, versions) in kinds {
        let [current, old] = versions.map(|list| list.into_iter().collect::<Vec<_>>().join(", "));
        writeln!(text, "| {kind} | {current} | {old} |")?;
    }
    Ok(text)
}
