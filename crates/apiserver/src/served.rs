//! What is served at the moment: the kinds of the resource table, their other versions, and custom
//! kinds, which come and go while the server runs. Discovery and OpenAPI are made from this list
//! when they are first asked for after it has changed.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use onggi_machinery::kinds::apiservice;
use onggi_machinery::resource::{self, Resource};
use serde_json::Value;

use crate::discovery::Discovery;
use crate::openapi::OpenApi;
use crate::versions;

/// A kind under one of its versions.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) row: &'static Resource,
    /// Of the path; differs from the row's where another version is stored.
    pub(crate) group: &'static str,
    /// Of the path.
    pub(crate) version: &'static str,
    /// Kept for old manifests: never preferred, and without short names.
    pub(crate) old: bool,
    /// Custom kinds only.
    pub(crate) custom: Option<Custom>,
}

/// What OpenAPI says of a custom kind.
#[derive(Clone)]
pub(crate) struct Custom {
    /// Its schema as OpenAPI v3, `apiVersion`, `kind` and `metadata` included; an empty object for
    /// a kind without one. Made by who knows the definition.
    pub(crate) schema: Arc<Value>,
    /// The version that is stored.
    pub(crate) stored: String,
    /// Its name among the definitions: `com.example.stable.v1.CronTab`.
    pub(crate) definition: String,
}

/// A list of kinds and the documents made from it.
pub(crate) struct Catalog {
    served: Arc<[Served]>,
    discovery: OnceLock<Discovery>,
    openapi: OnceLock<OpenApi>,
}

impl Catalog {
    /// The kinds of the resource table, and these.
    pub(crate) fn new(custom: Vec<Served>) -> Self {
        let mut served = builtin();
        served.extend(custom);
        // Stable: what is equal here stays in the order of the table.
        served.sort_by_key(|one| {
            let group = group_priority(one.group);
            (Reverse(group), one.group, one.old, Reverse(version_priority(one.version)))
        });
        Self { served: served.into(), discovery: OnceLock::new(), openapi: OnceLock::new() }
    }

    /// The row of every kind and version.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Resource> + '_ {
        self.served.iter().map(|one| one.row)
    }

    pub(crate) fn discovery(&self) -> &Discovery {
        self.discovery.get_or_init(|| Discovery::new(Arc::clone(&self.served)))
    }

    pub(crate) fn openapi(&self) -> &OpenApi {
        self.openapi.get_or_init(|| OpenApi::new(Arc::clone(&self.served)))
    }
}

fn builtin() -> Vec<Served> {
    let now = resource::all().iter().map(|row| (*row, row.group, row.version, false));
    let others = versions::served()
        .filter_map(|v| Some((v.resource()?, v.group, v.version, v.removed.is_some())));
    now.chain(others)
        .map(|(row, group, version, old)| Served { row, group, version, old, custom: None })
        .collect()
}

/// Where a group stands among the others, the highest first; custom groups come last, by name.
pub(crate) fn group_priority(group: &str) -> i64 {
    match group {
        "apiregistration.k8s.io" => 20_000,
        "extensions" => 500,
        _ => apiservice::group_priority(group),
    }
}

/// Stable versions before beta, beta before alpha, then the higher number; what is no version of
/// this form comes last (`k8s.io/apimachinery/pkg/version`).
pub(crate) fn version_priority(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let (major, rest) = leading_number(rest)?;
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, rest) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(rest), _) => (2, rest),
            (_, Some(rest)) => (1, rest),
            _ => return None,
        };
        let (minor, rest) = leading_number(rest)?;
        rest.is_empty().then_some((rank, major, minor))
    };
    parse().unwrap_or((0, 0, 0))
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions =
            ["foo", "v1alpha1", "v2", "v10", "v1", "v1beta2", "v1beta10", "v2alpha3"];
        versions.sort_by_key(|version| Reverse(version_priority(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v1beta10", "v1beta2", "v2alpha3", "v1alpha1", "foo"]
        );
    }
}
