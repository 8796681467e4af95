//! Which kinds there are, and what a person means by a name: from the server's discovery, or from
//! the table that is built in.

use std::collections::HashSet;

use bytes::Bytes;
use onggi_api::{GroupVersion, GroupVersionResource};
use onggi_client::HttpTransport;
use onggi_machinery::resource;
use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use crate::error::Error;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// API group; empty for core.
    pub group: String,
    /// Version.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `deploy`.
    pub short_names: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// `get`, `list` …
    pub verbs: Vec<String>,
}

/// All kinds, in the order of the server.
#[derive(Debug, Clone)]
pub struct Mapper {
    mappings: Vec<Mapping>,
}

// === impl Mapping ===

impl Mapping {
    /// Group, version and plural.
    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(&*self.group, &*self.version, &*self.plural)
    }

    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        GroupVersion { group: self.group.clone(), version: self.version.clone() }.to_string()
    }

    /// `deployment.apps`: how verbs name an object.
    pub fn label(&self) -> String {
        dotted(&self.singular, &self.group)
    }

    /// `deployments.apps`.
    pub fn group_resource(&self) -> String {
        dotted(&self.plural, &self.group)
    }

    /// The namespace of a request: none for kinds of the cluster.
    pub fn place<'a>(&self, namespace: &'a str) -> &'a str {
        if self.namespaced { namespace } else { "" }
    }
}

fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

// === impl Mapper ===

impl Mapper {
    /// The kinds of the built-in table, for a server of our own.
    pub fn builtin() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let mappings = resource::all().iter().map(|row| Mapping {
            group: row.group.to_owned(),
            version: row.version.to_owned(),
            kind: row.kind.to_owned(),
            plural: row.plural.to_owned(),
            singular: row.singular.to_owned(),
            short_names: texts(row.short_names),
            categories: texts(row.categories),
            namespaced: row.namespaced(),
            verbs: row.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
        });
        Self { mappings: mappings.collect() }
    }

    /// Asks the server (aggregated discovery, two requests).
    pub async fn discover(http: &HttpTransport) -> Result<Self, Error> {
        let (core, groups) =
            tokio::try_join!(http.get("/api", AGGREGATED), http.get("/apis", AGGREGATED))?;
        let mut mappings = Vec::new();
        for body in [core, groups] {
            read(&body, &mut mappings)?;
        }
        if mappings.is_empty() {
            // A server without aggregated discovery: what every cluster has is known.
            return Ok(Self::builtin());
        }
        Ok(Self { mappings })
    }

    /// Every kind.
    pub fn all(&self) -> &[Mapping] {
        &self.mappings
    }

    /// Every kind in one version: the first, which the server prefers.
    pub fn preferred(&self) -> impl Iterator<Item = &Mapping> {
        let mut seen = HashSet::new();
        self.mappings.iter().filter(move |m| seen.insert((&m.group, &m.plural)))
    }

    /// The kind that an object says it has.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Mapping> {
        let GroupVersion { group, version } = GroupVersion::parse(api_version)?;
        self.mappings.iter().find(|m| m.group == group && m.version == version && m.kind == kind)
    }

    /// The kind of an object; the error is kubectl's, with the nearest kind.
    pub fn of_object(&self, object: &Value, source: &str) -> Result<&Mapping, Error> {
        let (api_version, kind) = (str_at(object, "apiVersion"), str_at(object, "kind"));
        self.by_kind(api_version, kind).ok_or_else(|| {
            let kinds = self.mappings.iter().map(|m| m.kind.as_str());
            let hint = match nearest(kind, kinds) {
                Some(near) if near != kind => format!("; did you mean {near}?"),
                _ => self
                    .mappings
                    .iter()
                    .find(|m| m.kind == kind)
                    .map_or_else(String::new, |m| format!("; it is in {:?}", m.api_version())),
            };
            let from = if source.is_empty() { String::new() } else { format!(" from {source:?}") };
            Error::new(format!(
                "resource mapping not found for name: {:?} namespace: {:?}{from}: no matches for \
                 kind {kind:?} in version {api_version:?}{hint}",
                str_at(object, "metadata.name"),
                str_at(object, "metadata.namespace"),
            ))
        })
    }

    /// What a person types: plural, singular, kind or short name, with `.group` or
    /// `.version.group` behind it.
    pub fn by_name(&self, name: &str) -> Result<&Mapping, Error> {
        let lower = name.to_ascii_lowercase();
        let (plain, rest) = lower.split_once('.').unwrap_or((&lower, ""));
        let fits_group = |m: &&Mapping| {
            rest.is_empty()
                || m.group == rest
                || rest.split_once('.').is_some_and(|(v, g)| v == m.version && g == m.group)
                || (m.group.is_empty() && rest.trim_end_matches('.') == m.version)
        };
        let mut candidates = self.mappings.iter().filter(fits_group);
        let named = |m: &&Mapping| m.plural == plain || m.singular == plain;
        let loosely = |m: &&Mapping| {
            m.kind.eq_ignore_ascii_case(plain) || m.short_names.iter().any(|s| s == plain)
        };
        let mut again = candidates.clone();
        candidates.find(named).or_else(|| again.find(loosely)).ok_or_else(|| self.unknown(name))
    }

    /// The kinds of a category, as of `all`.
    pub fn by_category(&self, category: &str) -> Vec<&Mapping> {
        let mut found: Vec<&Mapping> = Vec::new();
        for mapping in &self.mappings {
            let is_in = mapping.categories.iter().any(|c| c == category);
            let is_new = |f: &&Mapping| f.group != mapping.group || f.plural != mapping.plural;
            if is_in && found.iter().all(is_new) {
                found.push(mapping);
            }
        }
        found
    }

    fn unknown(&self, name: &str) -> Error {
        let names = self.mappings.iter().flat_map(|m| {
            [m.singular.as_str(), m.plural.as_str()]
                .into_iter()
                .chain(m.short_names.iter().map(String::as_str))
        });
        let hint = nearest(&name.to_ascii_lowercase(), names)
            .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        Error::new(format!("the server doesn't have a resource type {name:?}{hint}"))
    }
}

fn read(body: &Bytes, mappings: &mut Vec<Mapping>) -> Result<(), Error> {
    let list: Value = serde_json::from_slice(body)
        .map_err(|e| Error::new(format!("the server's discovery is no JSON: {e}")))?;
    let texts = |value: &Value, field: &str| -> Vec<String> {
        let items = list_at(value, field).iter();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    for group in list_at(&list, "items") {
        for version in list_at(group, "versions") {
            for resource in list_at(version, "resources") {
                let plural = str_at(resource, "resource").to_owned();
                let kind = str_at(resource, "responseKind.kind").to_owned();
                let singular = match str_at(resource, "singularResource") {
                    "" => kind.to_ascii_lowercase(),
                    singular => singular.to_owned(),
                };
                mappings.push(Mapping {
                    group: str_at(group, "metadata.name").to_owned(),
                    version: str_at(version, "version").to_owned(),
                    kind,
                    plural,
                    singular,
                    short_names: texts(resource, "shortNames"),
                    categories: texts(resource, "categories"),
                    namespaced: str_at(resource, "scope") == "Namespaced",
                    verbs: texts(resource, "verbs"),
                });
            }
        }
    }
    Ok(())
}

/// The candidate with the fewest changed letters, if these are few.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    candidates
        .filter(|c| c.len() > 2)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to add, take away, change or swap.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len().abs_diff(right.len()) > 4 || left.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let change = rows[i][j] + usize::from(a != b);
            let mut best = change.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        let mapper = Mapper::builtin();
        for (name, plural) in [
            ("pods", "pods"),
            ("po", "pods"),
            ("Pod", "pods"),
            ("deploy", "deployments"),
            ("deployment.apps", "deployments"),
            ("deployments.v1.apps", "deployments"),
            ("svc", "services"),
            ("no", "nodes"),
            ("ns", "namespaces"),
        ] {
            assert_eq!(mapper.by_name(name).unwrap().plural, plural, "{name}");
        }
    }

    #[test]
    fn typing_mistakes() {
        let mapper = Mapper::builtin();
        for (name, meant) in [
            ("deploymeny", "deployment"),
            ("deplyment", "deployment"),
            ("pdos", "pods"),
            ("sercive", "service"),
            ("congfigmap", "configmap"),
        ] {
            let text = mapper.by_name(name).unwrap_err().to_string();
            let expected = format!(
                "the server doesn't have a resource type {name:?}; did you mean {meant:?}?"
            );
            assert_eq!(text, expected);
        }
        let text = mapper.by_name("bananas").unwrap_err().to_string();
        assert_eq!(text, "the server doesn't have a resource type \"bananas\"");
    }
}
