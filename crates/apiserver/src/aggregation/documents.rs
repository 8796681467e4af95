//! Discovery and OpenAPI of everything: ours and that of aggregated servers. Made when asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use onggi_machinery::protobuf;
use serde_json::{Value, json};

use super::Routes;
use super::discovery::{self, Known};
use super::openapi;
use crate::discovery::{Audience, JSON, V2, Wanted};
use crate::document::Document;
use crate::served::Catalog;

type AllKnown = BTreeMap<String, Arc<Known>>;

/// See the module.
pub(crate) struct Documents {
    catalog: Arc<Catalog>,
    routes: Arc<Routes>,
    known: AllKnown,
    groups: OnceLock<Groups>,
    /// With removed versions.
    whole: OnceLock<Groups>,
    v2_json: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
}

struct Groups {
    documents: [Document; 2],
    by_name: BTreeMap<String, Value>,
}

impl Documents {
    pub(super) fn new(catalog: Arc<Catalog>, routes: Arc<Routes>, known: AllKnown) -> Self {
        Self {
            catalog,
            routes,
            known,
            groups: OnceLock::new(),
            whole: OnceLock::new(),
            v2_json: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
        }
    }

    /// Whether it was made from these.
    pub(super) fn is_of(
        &self,
        catalog: &Arc<Catalog>,
        routes: &Arc<Routes>,
        known: &AllKnown,
    ) -> bool {
        let same = |a: &Arc<Known>, b: &Arc<Known>| Arc::ptr_eq(a, b);
        Arc::ptr_eq(&self.catalog, catalog)
            && Arc::ptr_eq(&self.routes, routes)
            && self.known.len() == known.len()
            && self.known.iter().zip(known).all(|((a, one), (b, other))| a == b && same(one, other))
    }

    /// `/apis`.
    pub(crate) fn groups(&self, wanted: Wanted, audience: Audience) -> &Document {
        let [legacy, aggregated] = &self.made(audience).documents;
        match wanted {
            Wanted::Legacy => legacy,
            Wanted::Aggregated => aggregated,
        }
    }

    /// `/apis/GROUP`.
    pub(crate) fn group(&self, group: &str, audience: Audience) -> Option<&Value> {
        self.made(audience).by_name.get(group)
    }

    /// The paths of groups and versions of others.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        self.routes.values().flat_map(|route| {
            let group = format!("/apis/{}", route.group);
            [format!("{group}/{}", route.version), group]
        })
    }

    fn made(&self, audience: Audience) -> &Groups {
        let made = if audience == Audience::All { &self.groups } else { &self.whole };
        made.get_or_init(|| {
            let ours = self.catalog.discovery().groups(false, Wanted::Aggregated, audience);
            let ours: Value = serde_json::from_slice(&ours.bytes()).unwrap_or_default();
            let ours = ours["items"].as_array().map_or(&[][..], Vec::as_slice);
            let items = discovery::merge(ours, &self.routes, &self.known);
            let groups: Vec<Value> = items.iter().map(discovery::api_group).collect();
            let list = json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": items,
            });
            let legacy = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            let documents = [Document::new(&legacy, JSON), Document::new(&list, V2)];
            let by_name = groups.into_iter().map(|mut group| {
                group["kind"] = "APIGroup".into();
                group["apiVersion"] = "v1".into();
                (group["name"].as_str().unwrap_or_default().to_owned(), group)
            });
            Groups { documents, by_name: by_name.collect() }
        })
    }

    /// `/openapi/v3`.
    pub(crate) fn index(&self) -> Value {
        let mut index = self.catalog.openapi().index().clone();
        for route in self.routes.values() {
            let place = format!("apis/{}/{}", route.group, route.version);
            let url = self.known.get(&route.name).and_then(|known| known.openapi_v3.as_ref());
            if let Some(paths) = index["paths"].as_object_mut() {
                paths.remove(&place);
                paths.extend(url.map(|url| (place, json!({"serverRelativeURL": url}))));
            }
        }
        index
    }

    fn v2_value(&self) -> Value {
        let ours = self.catalog.openapi().v2(false).bytes();
        let mut all: Value = serde_json::from_slice(&ours).unwrap_or_default();
        for route in self.routes.values() {
            let theirs = self.known.get(&route.name).and_then(|known| known.openapi_v2.as_ref());
            if let Some(theirs) = theirs {
                let prefix = format!("/apis/{}/{}", route.group, route.version);
                openapi::merge_v2(&mut all, theirs, &prefix);
            }
        }
        all
    }

    /// Whether this form of v2 is made: it takes a while.
    pub(crate) fn has_v2(&self, as_protobuf: bool) -> bool {
        if as_protobuf { &self.v2_protobuf } else { &self.v2_json }.get().is_some()
    }

    /// `/openapi/v2`.
    pub(crate) fn v2(&self, as_protobuf: bool) -> &Document {
        const TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        if as_protobuf {
            return self.v2_protobuf.get_or_init(|| {
                Document::compact_bytes(protobuf::openapi::v2(&self.v2_value()).into(), TYPE)
            });
        }
        self.v2_json.get_or_init(|| Document::compact(&self.v2_value(), JSON))
    }
}
