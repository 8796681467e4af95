//! Aggregated API servers: groups and versions that another server answers for, said by
//! `APIService` objects with a `spec.service`.
//!
//! ```text
//!  http::route ─▶ Aggregation::route ─▶ proxy ─▶ Remote (pool) ─▶ endpoint of the Service
//!  http::documents ─▶ Aggregation::documents: our documents and theirs
//!  server::handle ─▶ calls ─▶ Remote: the same, asked from within the process
//!  keeper: APIServices of custom groups, Available conditions, what the others serve
//! ```
//!
//! Which requests are whose follows the watch cache, as RBAC does: an `APIService` counts once its
//! write was answered, and where there is none a request pays one look at a number.

mod availability;
mod calls;
mod discovery;
mod documents;
mod keeper;
mod openapi;
mod proxy;
mod publish;
mod remote;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use onggi_base::pki::Pair;
use onggi_machinery::kinds::apiservice;
use onggi_machinery::value::{at, find, i64_at, is_set, list_at, str_at};
use parking_lot::Mutex;
use serde_json::Value;

use crate::ApiServer;
use crate::cache::{Cache, Selection};
use crate::metrics::{Table, title};
use crate::served::Catalog;

pub(crate) use documents::Documents;
pub(crate) use keeper::run;
pub(crate) use proxy::{Caller, answer};
pub(crate) use publish::of as authentication;
use remote::{Place, Remote};

/// As whom the server speaks to aggregated ones, and by what they know it.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// The certificate that it shows (`--proxy-client-cert-file`, `--proxy-client-key-file`).
    pub client: Pair,
    /// Who has signed it (PEM).
    pub ca: String,
    /// Common names that it may have; empty: any.
    pub allowed_names: Vec<String>,
}

/// What an `APIService` with a service says.
#[derive(Clone)]
pub(crate) struct Route {
    name: String,
    group: String,
    version: String,
    group_priority: i64,
    version_priority: i64,
    available: bool,
    remote: Arc<Remote>,
}

type Routes = BTreeMap<(String, String), Arc<Route>>;

/// See the module.
pub(crate) struct Aggregation {
    cache: Arc<Cache>,
    server: OnceLock<Weak<ApiServer>>,
    front: Option<FrontProxy>,
    routes: ArcSwap<Routes>,
    /// How many there are, so that who has none pays for nothing.
    seen: AtomicU64,
    refreshing: Mutex<Option<u64>>,
    /// What each has said that it serves.
    known: Mutex<BTreeMap<String, Arc<discovery::Known>>>,
    documents: Mutex<Option<Arc<Documents>>>,
    /// How often each became unavailable, by its name and the reason.
    losses: Table<(String, &'static str), AtomicU64>,
}

impl Aggregation {
    pub(crate) fn new(cache: Arc<Cache>, front: Option<FrontProxy>) -> Self {
        Self {
            cache,
            server: OnceLock::new(),
            front,
            routes: ArcSwap::default(),
            seen: AtomicU64::new(0),
            refreshing: Mutex::new(None),
            known: Mutex::default(),
            documents: Mutex::default(),
            losses: Table::default(),
        }
    }

    /// Tells it of the server that it is a part of.
    pub(crate) fn attach(&self, server: &Arc<ApiServer>) {
        // Once, when the server is made.
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// Who answers for a group and version; `None`: this server.
    pub(crate) fn route(&self, group: &str, version: &str) -> Option<Arc<Route>> {
        let routes = self.routes();
        if routes.is_empty() {
            return None;
        }
        routes.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    /// Who answers for a path of discovery or OpenAPI.
    pub(crate) fn route_of_path(&self, path: &str) -> Option<Arc<Route>> {
        let rest = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut parts = rest.strip_prefix("/apis/")?.trim_end_matches('/').splitn(2, '/');
        let (group, version) = (parts.next()?, parts.next()?);
        self.route(group, version)
    }

    /// What is served with the others; `None` where there are none.
    pub(crate) fn documents(&self, catalog: &Arc<Catalog>) -> Option<Arc<Documents>> {
        let routes = self.routes();
        if routes.is_empty() {
            return None;
        }
        let known = self.known.lock().clone();
        let mut documents = self.documents.lock();
        if let Some(made) = documents.as_ref().filter(|made| made.is_of(catalog, &routes, &known)) {
            return Some(Arc::clone(made));
        }
        let made = Arc::new(Documents::new(Arc::clone(catalog), routes, known));
        *documents = Some(Arc::clone(&made));
        Some(made)
    }

    /// Which `APIService`s can be reached, in the text format of Prometheus
    /// (`kube-aggregator/pkg/controllers/status/metrics`).
    pub(crate) fn write_metrics(&self, out: &mut String) {
        let Ok(collection) = self.cache.of(&apiservice::RESOURCE) else { return };
        let name = "aggregator_unavailable_apiservice";
        title(out, name, "gauge", "Whether an APIService cannot be reached.");
        let found = collection.list(&Selection::everything(), self.cache.applied(), 0);
        for object in &found.items {
            let Ok(value) = object.value() else { continue };
            let lost = u8::from(!is_available(&value));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{{name=\"{}\"}} {lost}", object.head().name);
        }
        let name = "aggregator_unavailable_apiservice_total";
        title(out, name, "counter", "How often an APIService became unreachable.");
        for ((service, reason), count) in self.losses.sorted() {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}{{name=\"{service}\",reason=\"{reason}\"}} {count}");
        }
    }

    /// The routes as the watch cache has them now.
    fn routes(&self) -> Arc<Routes> {
        let applied = self.cache.applied();
        if self.seen.load(Ordering::Acquire) < applied {
            self.refresh();
            self.seen.fetch_max(applied, Ordering::AcqRel);
        }
        self.routes.load_full()
    }

    fn refresh(&self) {
        let Ok(collection) = self.cache.of(&apiservice::RESOURCE) else { return };
        let mut done = self.refreshing.lock();
        let revision = collection.revision();
        if *done == Some(revision) {
            return;
        }
        let old = self.routes.load();
        let found = collection.list(&Selection::everything(), self.cache.applied(), 0);
        let mut routes = Routes::new();
        for object in &found.items {
            let Ok(value) = object.value() else { continue };
            if !is_set(&value, "spec.service") {
                continue;
            }
            let group = str_at(&value, "spec.group").to_owned();
            let version = str_at(&value, "spec.version").to_owned();
            let key = (group.clone(), version.clone());
            let place = Place::read(&value);
            let kept = old.get(&key).map(|old| &old.remote).filter(|old| *old.place() == place);
            let remote = kept.map_or_else(|| Arc::new(Remote::new(place)), Arc::clone);
            let route = Route {
                name: str_at(&value, "metadata.name").to_owned(),
                group,
                version,
                group_priority: i64_at(&value, "spec.groupPriorityMinimum").unwrap_or(0),
                version_priority: i64_at(&value, "spec.versionPriority").unwrap_or(0),
                available: is_available(&value),
                remote,
            };
            routes.insert(key, Arc::new(route));
        }
        self.routes.store(Arc::new(routes));
        *done = Some(revision);
    }
}

/// Whether the object says that its server can be reached.
fn is_available(object: &Value) -> bool {
    find(list_at(object, "status.conditions"), "type", "Available")
        .is_some_and(|condition| at(condition, "status") == "True")
}
