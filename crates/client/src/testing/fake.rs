//! An API server that is only a map: revisions, conflicts, watches, the status subresource,
//! graceful deletion and binding; no defaulting, no validation, no authorization.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use onggi_api::{GroupVersion, GroupVersionResource, Object, Status};
use onggi_base::{Clock, SystemClock};
use onggi_machinery::resource::{Verb, by_kind};
use onggi_machinery::value::str_at;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::selection::Selection;
use super::state::{Record, State, row_of};
use crate::ObjectKey;
use crate::transport::{
    Error, EventStream, EventType, Request, Response, Transport, WatchEvent, WatchSpec,
};

/// A [`Transport`] to nothing but itself. A cheap handle.
///
/// Server-side apply is taken as a merge patch, and every list is whole.
#[derive(Clone)]
pub struct FakeApi {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    changed: watch::Sender<Progress>,
}

/// What wakes watchers.
#[derive(Clone, Copy)]
struct Progress {
    revision: u64,
    /// Counts up at a disconnect.
    connection: u64,
}

/// An open watch.
struct Watcher {
    resource: GroupVersionResource,
    selection: Selection,
    /// Events up to here have been taken.
    position: u64,
    connection: u64,
    changed: watch::Receiver<Progress>,
    ready: VecDeque<WatchEvent>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self::new()
    }
}

// === impl FakeApi ===

impl FakeApi {
    /// Empty, with the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Empty, with a clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let changed = watch::Sender::new(Progress { revision: 1, connection: 0 });
        Self { shared: Arc::new(Shared { state: Mutex::new(State::new()), clock, changed }) }
    }

    /// As a transport.
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }

    /// A client over it.
    pub fn client(&self) -> crate::Client {
        crate::Client::new(self.transport())
    }

    /// Puts an object in as it is, status included; one of the same name is replaced and gives its
    /// uid and creation time.
    pub fn put(&self, object: Value) -> Result<Arc<Object>, Error> {
        let (api_version, kind) = (str_at(&object, "apiVersion"), str_at(&object, "kind"));
        let row = GroupVersion::parse(api_version)
            .and_then(|gv| by_kind(&gv.group, &gv.version, kind))
            .ok_or_else(|| Status::bad_request(format!("unknown kind {api_version} {kind}")))?;
        self.put_in(&row.gvr(), object)
    }

    /// As [`Self::put`], for kinds that have no row.
    pub fn put_in(
        &self,
        resource: &GroupVersionResource,
        object: Value,
    ) -> Result<Arc<Object>, Error> {
        let mut state = self.shared.state.lock();
        let object = state.inherit(resource, object)?;
        let object = state.complete(resource, "", object, &self.shared.clock.rfc3339());
        let stored = state.store(resource, &object)?;
        self.announce(&state);
        Ok(stored)
    }

    /// Takes an object out at once, whatever its finalizers.
    pub fn remove(&self, resource: &GroupVersionResource, namespace: &str, name: &str) {
        let mut state = self.shared.state.lock();
        // What is not there is removed.
        let _ = state.erase(resource, &ObjectKey::new(namespace, name));
        self.announce(&state);
    }

    /// The object, if it is there.
    pub fn find(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        self.shared.state.lock().find(resource, &ObjectKey::new(namespace, name))
    }

    /// The next request of this verb for this collection (`pods`) fails so.
    pub fn fail_next(&self, verb: Verb, plural: &str, status: Status) {
        self.shared.state.lock().faults.push((verb, plural.to_owned(), status));
    }

    /// Forgets its history: a watch that asks for what is older gets 410.
    pub fn compact(&self) {
        let mut state = self.shared.state.lock();
        state.log.clear();
        state.oldest = state.revision;
    }

    /// Ends every open watch, as a server that restarts.
    pub fn disconnect(&self) {
        self.shared.changed.send_modify(|progress| progress.connection += 1);
    }

    /// Every request so far, watches left out.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().requests.clone()
    }

    fn announce(&self, state: &State) {
        self.shared.changed.send_modify(|progress| progress.revision = state.revision);
    }
}

#[async_trait]
impl Transport for FakeApi {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let mut state = self.shared.state.lock();
        state.requests.push(request.clone());
        state.fault(request.verb, &request.resource)?;
        let response = state.answer(request, &self.shared.clock.rfc3339());
        self.announce(&state);
        response
    }

    async fn watch(&self, spec: WatchSpec) -> Result<EventStream, Error> {
        let changed = self.shared.changed.subscribe();
        let connection = changed.borrow().connection;
        let mut state = self.shared.state.lock();
        state.fault(Verb::Watch, &spec.resource)?;
        let row = row_of(&spec.resource);
        let selection =
            Selection::new(&spec.namespace, &spec.label_selector, &spec.field_selector, row)?;
        let mut ready = VecDeque::new();
        if spec.resource_version.is_none() {
            for object in state.select(&spec.resource, &selection) {
                ready.push_back(event(EventType::Added, object));
            }
            if spec.initial_events {
                ready.push_back(initial_events_end(&spec.resource, state.revision)?);
            }
        }
        let position = spec.resource_version.unwrap_or(state.revision);
        drop(state);
        let resource = spec.resource;
        let watcher = Watcher { resource, selection, position, connection, changed, ready };
        let fake = self.clone();
        Ok(Box::pin(stream::unfold(Some(watcher), move |watcher| {
            let fake = fake.clone();
            async move { watcher?.next(&fake).await }
        })))
    }
}

// === impl Watcher ===

impl Watcher {
    async fn next(mut self, fake: &FakeApi) -> Option<(Result<WatchEvent, Error>, Option<Self>)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), Some(self)));
            }
            if self.changed.borrow_and_update().connection != self.connection {
                return None;
            }
            if let Err(expired) = self.refill(&fake.shared.state.lock()) {
                return Some((Err(expired), None));
            }
            if self.ready.is_empty() && self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    fn refill(&mut self, state: &State) -> Result<(), Error> {
        if self.position < state.oldest {
            let (asked, oldest) = (self.position, state.oldest);
            let text = format!("too old resource version: {asked} ({oldest})");
            return Err(Status::expired(text).into());
        }
        let first = state.log.partition_point(|record| record.revision <= self.position);
        for record in state.log.iter().skip(first) {
            if record.resource == self.resource {
                self.ready.extend(seen(record, &self.selection));
            }
        }
        self.position = state.revision;
        Ok(())
    }
}

/// How a selection sees a change: what enters it is added, what leaves it deleted.
fn seen(record: &Record, selection: &Selection) -> Option<WatchEvent> {
    let shown = |object: &Option<Arc<Object>>| {
        object.as_ref().filter(|object| selection.shows(object)).cloned()
    };
    match (shown(&record.old), shown(&record.new)) {
        (None, Some(new)) => Some(event(EventType::Added, new)),
        (Some(_), Some(new)) => Some(event(EventType::Modified, new)),
        (Some(_), None) => Some(event(EventType::Deleted, Arc::clone(&record.last))),
        (None, None) => None,
    }
}

fn event(kind: EventType, object: Arc<Object>) -> WatchEvent {
    WatchEvent { kind, object, initial_events_end: false }
}

fn initial_events_end(resource: &GroupVersionResource, revision: u64) -> Result<WatchEvent, Error> {
    let value = json!({
        "apiVersion": resource.api_version(),
        "kind": row_of(resource).map_or("", |row| row.kind),
        "metadata": {
            "resourceVersion": revision.to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    });
    let object = Arc::new(Object::from_value(&value, &[])?);
    Ok(WatchEvent { kind: EventType::Bookmark, object, initial_events_end: true })
}
