//! The kinds of aggregated API servers, as discovery tells of them: what `APIService` objects with a
//! service hand to others, and what those say that they serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onggi_api::{DecodeError, GroupVersionResource, Object};
use onggi_client::{Cache, Project, Source};
use onggi_machinery::value::{is_set, list_at, str_at};
use serde_json::Value;

use crate::context::Context;
use crate::kinds::Kind;

/// How often the others are looked at anew: what they serve may change, and nothing tells of it.
const AGAIN: Duration = Duration::from_secs(30);

/// Of an `APIService`: which group and version it hands to another server; `None`: none.
#[derive(Debug, Clone)]
pub(crate) struct Handed(Option<(String, String)>);

impl Project for Handed {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let value = object.value()?;
        let elsewhere = is_set(&value, "spec.service");
        let part = |path| str_at(&value, path).to_owned();
        Ok(Self(elsewhere.then(|| (part("spec.group"), part("spec.version")))))
    }
}

/// What there is at aggregated servers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Discovered {
    /// Their kinds, each in the version that is preferred.
    pub(crate) kinds: Vec<Kind>,
    /// Groups and versions of which nobody answers for the moment.
    pub(crate) failed: BTreeSet<(String, String)>,
}

impl Discovered {
    /// As client-go's discovery says it, where something is missing.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.failed.is_empty() {
            return None;
        }
        let stale = self.failed.iter().map(|(group, version)| {
            format!("{group}/{version}: stale GroupVersion discovery: {group}/{version}")
        });
        let stale = stale.collect::<Vec<_>>().join(", ");
        Some(format!("unable to retrieve the complete list of server APIs: {stale}"))
    }
}

/// The `APIService` objects.
pub(crate) fn services(context: &Context) -> Cache<Handed> {
    let resource = GroupVersionResource::new("apiregistration.k8s.io", "v1", "apiservices");
    context.cache(Source::all(resource))
}

/// What the others serve at this moment. Where there are none, nobody is asked.
pub(crate) async fn discover(
    context: &Context,
    services: &Cache<Handed>,
) -> Result<Discovered, onggi_client::Error> {
    let all = services.list();
    let handed: BTreeSet<(String, String)> = all.iter().filter_map(|one| one.0.clone()).collect();
    if handed.is_empty() {
        return Ok(Discovered::default());
    }
    Ok(read(&context.client.transport().aggregated().await?, &handed))
}

/// Takes from an `APIGroupDiscoveryList` what is handed to others.
fn read(list: &Value, handed: &BTreeSet<(String, String)>) -> Discovered {
    let mut found = Discovered { failed: handed.clone(), ..Discovered::default() };
    // By group and resource: of several versions the first is preferred.
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for group in list_at(list, "items") {
        let name = str_at(group, "metadata.name");
        for version in list_at(group, "versions") {
            let place = (name.to_owned(), str_at(version, "version").to_owned());
            if !handed.contains(&place) || str_at(version, "freshness") == "Stale" {
                continue;
            }
            for resource in list_at(version, "resources") {
                let plural = str_at(resource, "resource");
                let kind = Kind {
                    resource: GroupVersionResource::new(&*place.0, &*place.1, plural),
                    group: or(str_at(resource, "responseKind.group"), &place.0),
                    name: str_at(resource, "responseKind.kind").to_owned(),
                    namespaced: str_at(resource, "scope") == "Namespaced",
                    verbs: list_at(resource, "verbs")
                        .iter()
                        .filter_map(|verb| verb.as_str().map(str::to_owned))
                        .collect(),
                    built_in: false,
                    elsewhere: true,
                };
                kinds.entry((place.0.clone(), plural.to_owned())).or_insert(kind);
            }
            found.failed.remove(&place);
        }
    }
    found.kinds = kinds.into_values().collect();
    found
}

fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other } else { text }.to_owned()
}

/// Whose objects can be followed and collected: they can be deleted, listed and watched.
pub(crate) fn collectable(kind: &Kind) -> bool {
    ["delete", "list", "watch"].iter().all(|verb| kind.can(verb))
}

/// Tells of collectable kinds that come (`true`) and go, until the shutdown. Those of a server that
/// does not answer for a while stay.
pub(crate) async fn follow(
    context: Context,
    services: Cache<Handed>,
    mut told: impl FnMut(&Kind, bool),
) {
    let mut changes = services.subscribe();
    let mut known: Vec<Kind> = Vec::new();
    loop {
        let mut wait = None;
        match discover(&context, &services).await {
            Ok(now) => {
                if !now.kinds.is_empty() || !now.failed.is_empty() {
                    wait = Some(AGAIN);
                }
                let lost = |kind: &Kind| {
                    let place = (kind.resource.group.clone(), kind.resource.version.clone());
                    now.failed.contains(&place)
                };
                known.retain(|kind| {
                    let stays = lost(kind) || now.kinds.contains(kind);
                    if !stays {
                        told(kind, false);
                    }
                    stays
                });
                for kind in now.kinds.iter().filter(|kind| collectable(kind)) {
                    if !known.contains(kind) {
                        told(kind, true);
                        known.push(kind.clone());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(controller = context.name, %error, "kinds of aggregated servers");
                wait = Some(AGAIN);
            }
        }
        let pause = async {
            match wait {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            change = changes.recv() => if change.is_none() { return },
            () = pause => {}
        }
        // Objects come in crowds: custom kinds have one each.
        while changes.try_recv().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_handed_to_others_is_read() {
        let flunders = |version: &str| {
            json!({"resource": "flunders", "scope": "Namespaced", "verbs": ["list", "delete", "watch"],
                   "responseKind": {"group": "w.x", "version": version, "kind": "Flunder"}})
        };
        let list = json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "verbs": ["list"]}]}]},
            {"metadata": {"name": "w.x"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [flunders("v2")]},
                {"version": "v1", "freshness": "Current", "resources": [
                    flunders("v1"), {"resource": "bans", "verbs": ["get"], "scope": "Cluster"}]},
            ]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [
                {"version": "v1beta1", "freshness": "Stale", "resources": [flunders("v1")]}]},
        ]});
        let place = |group: &str, version: &str| (group.to_owned(), version.to_owned());
        let handed = [
            place("w.x", "v1"),
            place("w.x", "v2"),
            place("metrics.k8s.io", "v1beta1"),
            place("gone.io", "v1"),
        ];
        let found = read(&list, &handed.into());
        let kinds: Vec<String> = found.kinds.iter().map(|kind| kind.resource.to_string()).collect();
        assert_eq!(kinds.len(), 2, "{kinds:?}");
        assert_eq!(found.kinds[1].resource, GroupVersionResource::new("w.x", "v2", "flunders"));
        assert!(collectable(&found.kinds[1]) && !collectable(&found.kinds[0]));
        assert_eq!(
            found.failure().unwrap(),
            "unable to retrieve the complete list of server APIs: \
             gone.io/v1: stale GroupVersion discovery: gone.io/v1, \
             metrics.k8s.io/v1beta1: stale GroupVersion discovery: metrics.k8s.io/v1beta1"
        );
        assert_eq!(Discovered::default().failure(), None);
    }
}
