//! What aggregated servers say that they serve, and how it stands among our own groups.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use onggi_machinery::kinds::apiservice;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::{Value, json};

use super::{Route, Routes};
use crate::served::{group_priority, version_priority};

/// Of one group and version.
#[derive(Clone, Default, Debug, PartialEq)]
pub(super) struct Known {
    /// `APIVersionDiscovery.resources`; empty where it never answered.
    pub(super) resources: Vec<Value>,
    /// It did not answer when it was last asked.
    pub(super) stale: bool,
    /// Its document of OpenAPI v3: `serverRelativeURL`.
    pub(super) openapi_v3: Option<String>,
    /// Its OpenAPI v2.
    pub(super) openapi_v2: Option<std::sync::Arc<Value>>,
}

/// The resources of a group and version in an `APIGroupDiscoveryList`.
pub(super) fn of_aggregated(list: &Value, group: &str, version: &str) -> Option<Vec<Value>> {
    let groups = list_at(list, "items").iter();
    let mut groups = groups.filter(|item| str_at(item, "metadata.name") == group);
    let versions = list_at(groups.next()?, "versions");
    let version = versions.iter().find(|known| str_at(known, "version") == version)?;
    Some(list_at(version, "resources").to_vec())
}

/// An `APIResourceList` in the new form.
pub(super) fn of_legacy(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let or = |text: &str, own: &str| if text.is_empty() { own.to_owned() } else { text.to_owned() };
    for resource in list_at(list, "resources") {
        let kind = json!({
            "group": or(str_at(resource, "group"), group),
            "version": or(str_at(resource, "version"), version),
            "kind": str_at(resource, "kind"),
        });
        let verbs = at(resource, "verbs").clone();
        let name = str_at(resource, "name");
        let scope = if at(resource, "namespaced") == true { "Namespaced" } else { "Cluster" };
        let (parent, part) = name.split_once('/').unwrap_or((name, ""));
        let at_parent = found.iter().position(|known| known["resource"] == parent);
        let index = at_parent.unwrap_or_else(|| {
            found.push(json!({"resource": parent, "scope": scope}));
            found.len() - 1
        });
        let entry = &mut found[index];
        if part.is_empty() {
            entry["responseKind"] = kind;
            entry["singularResource"] = str_at(resource, "singularName").into();
            entry["verbs"] = verbs;
            for field in ["shortNames", "categories"] {
                if !list_at(resource, field).is_empty() {
                    entry[field] = at(resource, field).clone();
                }
            }
            continue;
        }
        let part = json!({"subresource": part, "responseKind": kind, "verbs": verbs});
        match entry["subresources"].as_array_mut() {
            Some(parts) => parts.push(part),
            None => entry["subresources"] = json!([part]),
        }
    }
    found
}

/// A group in the making.
struct Group {
    priority: i64,
    /// In the order of our own document where two are equal.
    versions: Vec<(i64, String, Value)>,
}

/// Our groups (`items` of an `APIGroupDiscoveryList`) with the others among them.
pub(super) fn merge(
    ours: &[Value],
    routes: &Routes,
    known: &BTreeMap<String, std::sync::Arc<Known>>,
) -> Vec<Value> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for group in ours {
        let name = str_at(group, "metadata.name");
        let versions = list_at(group, "versions").iter().map(|entry| {
            let version = str_at(entry, "version");
            (apiservice::priority_of(name, version), version.to_owned(), entry.clone())
        });
        let versions = versions.collect();
        groups.insert(name.to_owned(), Group { priority: group_priority(name), versions });
    }
    for route in routes.values() {
        let entry = entry(route, known.get(&route.name).map(AsRef::as_ref));
        let group = groups
            .entry(route.group.clone())
            .or_insert_with(|| Group { priority: 0, versions: Vec::new() });
        group.versions.retain(|(_, version, _)| *version != route.version);
        group.versions.push((route.version_priority, route.version.clone(), entry));
        group.priority = group.priority.max(route.group_priority);
    }
    let mut groups: Vec<(String, Group)> = groups.into_iter().collect();
    groups.sort_by(|(a, one), (b, other)| other.priority.cmp(&one.priority).then(a.cmp(b)));
    let document = |(name, mut group): (String, Group)| {
        let order = |version: &(i64, String, Value)| {
            (Reverse(version.0), Reverse(version_priority(&version.1)))
        };
        group.versions.sort_by_key(order);
        let versions: Vec<Value> = group.versions.into_iter().map(|(.., entry)| entry).collect();
        json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
    };
    groups.into_iter().map(document).collect()
}

fn entry(route: &Route, known: Option<&Known>) -> Value {
    let current = known.is_some_and(|known| !known.stale);
    let mut entry = json!({
        "version": route.version,
        "freshness": if current { "Current" } else { "Stale" },
    });
    if let Some(known) = known.filter(|known| !known.resources.is_empty()) {
        entry["resources"] = known.resources.clone().into();
    }
    entry
}

/// The `APIGroup` of a group in the new form.
pub(super) fn api_group(group: &Value) -> Value {
    let name = str_at(group, "metadata.name");
    let versions: Vec<Value> = list_at(group, "versions")
        .iter()
        .map(|entry| {
            let version = str_at(entry, "version");
            json!({"groupVersion": format!("{name}/{version}"), "version": version})
        })
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lists_become_new_ones() {
        let list = json!({"resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
             "verbs": ["get"], "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder",
             "verbs": ["update"]},
        ]});
        let kind = json!({"group": "a.b", "version": "v1", "kind": "Flunder"});
        let expected = json!([{
            "resource": "flunders", "scope": "Namespaced", "responseKind": kind,
            "singularResource": "flunder", "verbs": ["get"], "shortNames": ["fl"],
            "subresources": [
                {"subresource": "status", "responseKind": kind, "verbs": ["update"]},
            ],
        }]);
        assert_eq!(Value::from(of_legacy(&list, "a.b", "v1")), expected);
        let items = json!({"items": [{
            "metadata": {"name": "a.b"}, "versions": [{"version": "v1", "resources": expected}],
        }]});
        assert_eq!(Value::from(of_aggregated(&items, "a.b", "v1").unwrap()), expected);
        assert_eq!(of_aggregated(&items, "a.b", "v2"), None);
    }
}
