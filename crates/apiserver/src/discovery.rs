//! What is served, from the resource table: the old documents a group and version, and the new ones
//! with everything at once (`apidiscovery.k8s.io/v2`). Made once.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderValue;
use onggi_machinery::resource::{Resource, Subresource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A document with its hash.
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) etag: HeaderValue,
    pub(crate) content_type: &'static str,
}

/// Which form a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Legacy,
    Aggregated,
    AggregatedBeta,
}

/// See the module.
pub(crate) struct Discovery {
    core: [Document; 3],
    others: [Document; 3],
    groups: BTreeMap<String, Value>,
    resources: BTreeMap<(String, String), Document>,
}

const JSON: &str = "application/json";
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

type Versions<'r> = BTreeMap<&'r str, Vec<&'r Resource>>;

impl Document {
    pub(crate) fn new(value: &Value, content_type: &'static str) -> Self {
        let bytes = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let hash = hex::encode_upper(Sha256::digest(&bytes));
        let etag = HeaderValue::try_from(format!("\"{hash}\""))
            .unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, etag, content_type }
    }
}

impl Discovery {
    pub(crate) fn new(rows: &[&'static Resource]) -> Self {
        let mut table: BTreeMap<&str, Versions<'_>> = BTreeMap::new();
        for row in rows {
            table.entry(row.group).or_default().entry(row.version).or_default().push(row);
        }
        let documents = |core: bool| {
            let groups = || table.iter().filter(|(group, _)| group.is_empty() == core);
            let aggregated: Vec<Value> = groups().map(|(g, v)| aggregated_group(g, v)).collect();
            let list = |version: &str| {
                json!({
                    "kind": "APIGroupDiscoveryList",
                    "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                    "metadata": {},
                    "items": aggregated,
                })
            };
            let legacy = if core {
                json!({
                    "kind": "APIVersions",
                    "versions": groups().flat_map(|(_, v)| v.keys()).collect::<Vec<_>>(),
                    "serverAddressByClientCIDRs": [],
                })
            } else {
                let groups: Vec<Value> = groups().map(|(g, v)| api_group(g, v)).collect();
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            };
            [
                Document::new(&legacy, JSON),
                Document::new(&list("v2"), V2),
                Document::new(&list("v2beta1"), V2BETA1),
            ]
        };
        let mut groups = BTreeMap::new();
        let mut resources = BTreeMap::new();
        for (group, versions) in &table {
            let mut one = api_group(group, versions);
            one["kind"] = "APIGroup".into();
            one["apiVersion"] = "v1".into();
            groups.insert((*group).to_owned(), one);
            for (version, rows) in versions {
                let document = Document::new(&resource_list(rows), JSON);
                resources.insert(((*group).to_owned(), (*version).to_owned()), document);
            }
        }
        Self { core: documents(true), others: documents(false), groups, resources }
    }

    /// `/api` or `/apis`.
    pub(crate) fn groups(&self, core: bool, wanted: Wanted) -> &Document {
        let [legacy, aggregated, beta] = if core { &self.core } else { &self.others };
        match wanted {
            Wanted::Legacy => legacy,
            Wanted::Aggregated => aggregated,
            Wanted::AggregatedBeta => beta,
        }
    }

    /// `/apis/GROUP`.
    pub(crate) fn group(&self, group: &str) -> Option<&Value> {
        self.groups.get(group).filter(|_| !group.is_empty())
    }

    /// `/apis/GROUP/VERSION`.
    pub(crate) fn resources(&self, group: &str, version: &str) -> Option<&Document> {
        self.resources.get(&(group.to_owned(), version.to_owned()))
    }

    /// The paths of all groups and versions.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        let versions = self.resources.keys().map(|(group, version)| match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        });
        let groups = self.groups.keys().filter(|g| !g.is_empty()).map(|g| format!("/apis/{g}"));
        versions.chain(groups).chain(["/api".to_owned(), "/apis".to_owned()])
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn verbs(verbs: &[onggi_machinery::resource::Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn api_group(group: &str, versions: &Versions<'_>) -> Value {
    let all: Vec<Value> = versions
        .keys()
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

fn resource_list(rows: &[&Resource]) -> Value {
    let mut all = Vec::new();
    for row in rows {
        let mut entry = json!({
            "name": row.plural,
            "singularName": row.singular,
            "namespaced": row.namespaced(),
            "kind": row.kind,
            "verbs": verbs(row.verbs),
        });
        if !row.short_names.is_empty() {
            entry["shortNames"] = json!(row.short_names);
        }
        if !row.categories.is_empty() {
            entry["categories"] = json!(row.categories);
        }
        all.push(entry);
        for part in row.subresources {
            let (group, version, kind) = part.kind;
            let mut entry = json!({
                "name": format!("{}/{}", row.plural, part.name),
                "singularName": "",
                "namespaced": row.namespaced(),
                "kind": kind,
                "verbs": verbs(part.verbs),
            });
            if (group, version) != (row.group, row.version) {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            all.push(entry);
        }
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": rows.first().map(|row| row.api_version()),
        "resources": all,
    })
}

fn aggregated_group(group: &str, versions: &Versions<'_>) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(version, rows)| {
            json!({
                "version": version,
                "freshness": "Current",
                "resources": rows.iter().map(|row| aggregated_resource(row)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

fn aggregated_resource(row: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let part = |part: &Subresource| {
        let (group, version, name) = part.kind;
        json!({
            "subresource": part.name,
            "responseKind": kind(group, version, name),
            "verbs": verbs(part.verbs),
        })
    };
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": kind(row.group, row.version, row.kind),
        "scope": if row.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": verbs(row.verbs),
    });
    for (field, list) in [("shortNames", row.short_names), ("categories", row.categories)] {
        if !list.is_empty() {
            entry[field] = json!(list);
        }
    }
    if !row.subresources.is_empty() {
        entry["subresources"] = row.subresources.iter().map(part).collect();
    }
    entry
}
