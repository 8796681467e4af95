//! What is served: the old documents a group and version, and the new ones with everything at once
//! (`apidiscovery.k8s.io/v2`).
//!
//! Versions that Kubernetes has removed are served, and listed for those alone who find the kind of
//! a manifest in the list ([`Audience`]): others choose by what is listed, and would choose an old
//! version.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_machinery::resource::{Resource, Subresource, Verb};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::document::Document;
use crate::served::Served;

/// Which form a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Legacy,
    Aggregated,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Told of what Kubernetes serves.
    All,
    /// `kubectl` and our own command line: told of removed versions too, for the sake of old
    /// manifests.
    Manifests,
}

/// See the module.
pub(crate) struct Discovery {
    served: Arc<[Served]>,
    current: Listing,
    whole: OnceLock<Listing>,
    resources: BTreeMap<(String, String), Document>,
}

/// The groups with their versions.
struct Listing {
    core: [Document; 2],
    others: [Document; 2],
    groups: BTreeMap<String, Value>,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A group: its versions, the one to be preferred first.
struct Group {
    name: &'static str,
    versions: Vec<Version>,
}

struct Version {
    name: &'static str,
    entries: Vec<Entry>,
}

/// A row, under its own version or another one.
struct Entry {
    row: &'static Resource,
    /// Removed from Kubernetes: served for old manifests alone.
    old: bool,
    /// The version that is stored.
    stored: String,
}

/// The list is in the order of groups and their versions.
fn groups(served: &[Served]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for one in served {
        if groups.last().is_none_or(|group| group.name != one.group) {
            groups.push(Group { name: one.group, versions: Vec::new() });
        }
        let Some(group) = groups.last_mut() else { continue };
        if group.versions.last().is_none_or(|version| version.name != one.version) {
            group.versions.push(Version { name: one.version, entries: Vec::new() });
        }
        let Some(version) = group.versions.last_mut() else { continue };
        let stored = one.custom.as_ref().map_or(one.row.version, |custom| &custom.stored);
        version.entries.push(Entry { row: one.row, old: one.old, stored: stored.to_owned() });
    }
    for version in groups.iter_mut().flat_map(|group| &mut group.versions) {
        version.entries.sort_by_key(|entry| entry.row.plural);
    }
    groups
}

impl Document {
    /// Whether it is one of the new documents with everything in it.
    pub(crate) fn is_aggregated(&self) -> bool {
        self.content_type != JSON
    }
}

impl Audience {
    pub(crate) fn of(user_agent: &str) -> Self {
        if user_agent.starts_with("kubectl") || user_agent.starts_with("onggi/") {
            Self::Manifests
        } else {
            Self::All
        }
    }
}

impl Listing {
    fn new(table: &[Group]) -> Self {
        let documents = |core: bool| {
            let groups = || table.iter().filter(|group| group.name.is_empty() == core);
            let aggregated: Vec<Value> = groups().map(aggregated_group).collect();
            let list = json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": aggregated,
            });
            let legacy = if core {
                let versions = groups().flat_map(|group| &group.versions);
                json!({
                    "kind": "APIVersions",
                    "versions": versions.map(|version| version.name).collect::<Vec<_>>(),
                    "serverAddressByClientCIDRs": [],
                })
            } else {
                let groups: Vec<Value> = groups().map(api_group).collect();
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            };
            [Document::new(&legacy, JSON), Document::new(&list, V2)]
        };
        let groups = table.iter().map(|group| {
            let mut one = api_group(group);
            one["kind"] = "APIGroup".into();
            one["apiVersion"] = "v1".into();
            (group.name.to_owned(), one)
        });
        Self { core: documents(true), others: documents(false), groups: groups.collect() }
    }
}

impl Discovery {
    /// `served` in the order of a [`Catalog`](crate::served::Catalog).
    pub(crate) fn new(served: Arc<[Served]>) -> Self {
        let mut table = groups(&served);
        let mut resources = BTreeMap::new();
        for group in &table {
            for version in &group.versions {
                let document = Document::new(&resource_list(group, version), JSON);
                resources.insert((group.name.to_owned(), version.name.to_owned()), document);
            }
        }
        for group in &mut table {
            for version in &mut group.versions {
                version.entries.retain(|entry| !entry.old);
            }
            group.versions.retain(|version| !version.entries.is_empty());
        }
        table.retain(|group| !group.versions.is_empty());
        Self { served, current: Listing::new(&table), whole: OnceLock::new(), resources }
    }

    fn listing(&self, audience: Audience) -> &Listing {
        match audience {
            Audience::All => &self.current,
            Audience::Manifests => self.whole(),
        }
    }

    fn whole(&self) -> &Listing {
        self.whole.get_or_init(|| Listing::new(&groups(&self.served)))
    }

    /// `/api` or `/apis`.
    pub(crate) fn groups(&self, core: bool, wanted: Wanted, audience: Audience) -> &Document {
        let listing = self.listing(audience);
        let [legacy, aggregated] = if core { &listing.core } else { &listing.others };
        match wanted {
            Wanted::Legacy => legacy,
            Wanted::Aggregated => aggregated,
        }
    }

    /// `/apis/GROUP`. A group of which nothing is left answers who asks for it by its name.
    pub(crate) fn group(&self, group: &str, audience: Audience) -> Option<&Value> {
        let found = self.listing(audience).groups.get(group);
        found.or_else(|| self.whole().groups.get(group)).filter(|_| !group.is_empty())
    }

    /// `/apis/GROUP/VERSION`.
    pub(crate) fn resources(&self, group: &str, version: &str) -> Option<&Document> {
        self.resources.get(&(group.to_owned(), version.to_owned()))
    }

    /// The paths of all groups and versions.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        let groups = self.whole().groups.keys();
        let versions = self.resources.keys().map(|(group, version)| match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        });
        let groups = groups.filter(|g| !g.is_empty()).map(|g| format!("/apis/{g}"));
        versions.chain(groups).chain(["/api".to_owned(), "/apis".to_owned()])
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn verbs(verbs: &[onggi_machinery::resource::Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn is_custom(row: &Resource) -> bool {
    onggi_api::schema::of(row.group, row.version, row.kind).is_none()
}

/// Those of custom kinds are in an order of their own.
fn verbs_of(row: &Resource) -> Vec<&'static str> {
    const CUSTOM: [&str; 8] =
        ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    let mut all = verbs(row.verbs);
    if is_custom(row) {
        all.sort_by_key(|verb| CUSTOM.iter().position(|known| known == verb));
    }
    all
}

/// By name; `status` of a custom kind goes before `scale`.
fn parts(row: &Resource) -> Vec<&'static Subresource> {
    let mut parts: Vec<&Subresource> = row.subresources.iter().collect();
    parts.sort_by_key(|part| part.name);
    if is_custom(row) {
        parts.reverse();
    }
    parts
}

fn api_group(group: &Group) -> Value {
    let all: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            json!({
                "groupVersion": group_version(group.name, version.name),
                "version": version.name,
            })
        })
        .collect();
    json!({"name": group.name, "versions": all, "preferredVersion": all.first()})
}

/// `metav1.APIResourceList`, in the order of its fields: scripts look into it with `grep`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList {
    kind: &'static str,
    /// Not in the list of the core group.
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'static str,
    group_version: String,
    resources: Vec<ApiResource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource {
    name: String,
    singular_name: &'static str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'static str,
    kind: &'static str,
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'static [&'static str],
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

fn resource_list(group: &Group, version: &Version) -> ResourceList {
    let mut resources = Vec::new();
    for Entry { row, old, stored } in &version.entries {
        let is_stored = row.verbs.contains(&Verb::Get) && row.kind != "ComponentStatus";
        let (short_names, categories) = names(row, *old);
        resources.push(ApiResource {
            name: row.plural.to_owned(),
            singular_name: row.singular,
            namespaced: row.namespaced(),
            group: "",
            version: "",
            kind: row.kind,
            verbs: verbs_of(row),
            short_names,
            categories,
            storage_version_hash: if is_stored {
                storage_version_hash(row, stored)
            } else {
                String::new()
            },
        });
        for part in parts(row) {
            let place = (group.name, version.name);
            let (part_group, part_version, kind) = part_kind(row, place, part);
            let elsewhere = (part_group, part_version) != place;
            resources.push(ApiResource {
                name: format!("{}/{}", row.plural, part.name),
                singular_name: "",
                namespaced: row.namespaced(),
                group: if elsewhere { part_group } else { "" },
                version: if elsewhere { part_version } else { "" },
                kind,
                verbs: verbs(part.verbs),
                short_names: &[],
                categories: &[],
                storage_version_hash: String::new(),
            });
        }
    }
    ResourceList {
        kind: "APIResourceList",
        api_version: if group.name.is_empty() { "" } else { "v1" },
        group_version: group_version(group.name, version.name),
        resources,
    }
}

/// Changes when objects are stored under another version (`discovery.StorageVersionHash`).
fn storage_version_hash(row: &Resource, version: &str) -> String {
    // kube-apiserver stores these in a version that it no longer serves by itself.
    let version = match row.kind {
        "CustomResourceDefinition"
        | "MutatingAdmissionPolicy"
        | "MutatingAdmissionPolicyBinding" => "v1beta1",
        _ => version,
    };
    let stored = format!("{}/{version}/{}", row.group, row.kind);
    STANDARD.encode(&Sha256::digest(stored)[..8])
}

/// The kind of a part: where it is the object itself, in the version that is listed.
fn part_kind(
    row: &Resource,
    (group, version): (&'static str, &'static str),
    part: &Subresource,
) -> (&'static str, &'static str, &'static str) {
    if part.kind == (row.group, row.version, row.kind) {
        (group, version, row.kind)
    } else {
        part.kind
    }
}

/// Short names and categories. Removed versions have none, so that what a person types means a
/// current one.
fn names(row: &Resource, old: bool) -> (&'static [&'static str], &'static [&'static str]) {
    if old { (&[], &[]) } else { (row.short_names, row.categories) }
}

fn aggregated_group(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let entries = version.entries.iter();
            json!({
                "version": version.name,
                "freshness": "Current",
                "resources": entries
                    .map(|entry| aggregated_resource(group.name, version.name, entry))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(
    group: &'static str,
    version: &'static str,
    Entry { row, old, .. }: &Entry,
) -> Value {
    let is_custom = is_custom(row);
    // Said where it differs from the place in the list; of custom kinds always.
    let kind = |(of_group, of_version, kind): (&str, &str, &str)| {
        let is_here = (of_group, of_version) == (group, version) && !is_custom;
        let (of_group, of_version) = if is_here { ("", "") } else { (of_group, of_version) };
        json!({"group": of_group, "version": of_version, "kind": kind})
    };
    let part = |part: &Subresource| {
        json!({
            "subresource": part.name,
            "responseKind": kind(part_kind(row, (group, version), part)),
            "verbs": verbs(part.verbs),
        })
    };
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": kind((group, version, row.kind)),
        "scope": if row.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": verbs_of(row),
    });
    let (short_names, categories) = names(row, *old);
    for (field, list) in [("shortNames", short_names), ("categories", categories)] {
        if !list.is_empty() {
            entry[field] = json!(list);
        }
    }
    if !row.subresources.is_empty() {
        entry["subresources"] = parts(row).into_iter().map(part).collect();
    }
    entry
}
