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
    ("", "ConfigMap", "volumes and variables of pods"),
    ("", "Endpoints", "kept for clients; EndpointSlices are what is used"),
    ("", "Event", "deleted after an hour"),
    ("", "LimitRange", "admission"),
    ("", "Namespace", "emptied by its controller before it goes"),
    ("", "Node", "life cycle, taints, scheduling"),
    ("", "Pod", "scheduled, run, probed, collected"),
    ("", "ResourceQuota", "admission and its controller"),
    ("", "Secret", "volumes and variables of pods, image pulls"),
    ("", "Service", "addresses, node ports, the proxy of every node, DNS"),
    ("", "ServiceAccount", "tokens of pods"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "admission"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "admission"),
    ("apps", "Deployment", "its controller: rollouts, undo"),
    ("apps", "ReplicaSet", "its controller"),
    ("coordination.k8s.io", "Lease", "life of nodes"),
    ("discovery.k8s.io", "EndpointSlice", "made for Services; the proxy and DNS"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "sharing of the server between flows"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "sharing of the server"),
    ("scheduling.k8s.io", "PriorityClass", "priority of pods"),
];

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let path = root.join(PAGE);
    fs::write(&path, page()?).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether the page says what the table says.
pub(crate) fn check(root: &Path) -> Result<Option<String>> {
    let found = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    Ok((found != page()?).then(|| format!("{PAGE}: not current; run `cargo xtask api-page`")))
}

fn page() -> Result<String> {
    for (group, kind, _) in ACTED_UPON {
        if !resource::all().iter().any(|r| r.group == *group && r.kind == *kind) {
            bail!("xtask/src/api_page.rs: {kind} of {group:?} is not in the resource table");
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
        for (version, kind) in missing.iter().filter(|(g, ..)| *g == group).map(|(_, v, k)| (v, k)) {
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
    page.push_str(&old_versions()?);
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
        stable(version)
            && listed(group, version, kind)
            && resource::by_kind(group, version, kind).is_none()
    });
    all.collect()
}

fn old_versions() -> Result<String> {
    let mut text = String::from(
        "\n## Old versions\nKubernetes has removed these, or will; here they are read as the \
         current version, with a warning that says so.\n\n| kind | versions |\n|---|---|\n",
    );
    let mut kinds = BTreeMap::<_, BTreeSet<String>>::new();
    for old in conversion::all().iter().filter(|old| old.resource().is_some()) {
        kinds.entry(old.kind).or_default().insert(old.api_version());
    }
    for (kind, versions) in kinds {
        let versions: Vec<String> = versions.into_iter().collect();
        writeln!(text, "| {kind} | {} |", versions.join(", "))?;
    }
    Ok(text)
}
