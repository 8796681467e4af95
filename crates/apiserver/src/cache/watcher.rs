//! One watch: a cursor into the changes of a kind. It has no buffer of its own, so a slow watcher
//! costs nothing and holds up nobody; when its place is gone it ends with 410.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use onggi_api::{Object, Status};
use onggi_client::{EventStream, EventType, WatchEvent, WatchSpec};
use onggi_machinery::resource::Resource;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::collection::{Change, Collection};
use super::{Cache, Selection};

/// How often a watcher that asked for bookmarks gets one (as kube-apiserver: about a minute).
const BOOKMARK_PERIOD: Duration = Duration::from_secs(55);
/// How long before its end a watch gets the last one.
const FAREWELL: Duration = Duration::from_secs(2);

struct Watcher {
    cache: Arc<Cache>,
    collection: Arc<Collection>,
    selection: Selection,
    cursor: u64,
    pending: VecDeque<WatchEvent>,
    changed: watch::Receiver<u64>,
    bookmarks: Option<Interval>,
    /// When a last bookmark is sent, a little before the watch ends.
    farewell: Option<Instant>,
    ended: bool,
}

/// Opens a watch; who may do so has been decided. `ends`: when it will be cut off, where that is
/// known. What is wrong with the request is an error; that the history is gone, or not there yet,
/// is the first thing that the watcher is told, as kube-apiserver does it.
pub(crate) async fn open(
    cache: &Arc<Cache>,
    row: &'static Resource,
    spec: &WatchSpec,
    ends: Option<Instant>,
) -> Result<EventStream, Status> {
    let selection =
        Selection::parse(row, &spec.namespace, &spec.label_selector, &spec.field_selector)?;
    match begin(cache, row, spec, selection, ends).await {
        Ok(watcher) => Ok(Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await?;
            Some((event.map_err(Into::into), watcher))
        }))),
        Err(status) => Ok(Box::pin(stream::once(async { Err(status.into()) }))),
    }
}

async fn begin(
    cache: &Arc<Cache>,
    row: &'static Resource,
    spec: &WatchSpec,
    selection: Selection,
    ends: Option<Instant>,
) -> Result<Watcher, Status> {
    let collection = Arc::clone(cache.of(row)?);
    let changed = collection.subscribe();
    let mut pending = VecDeque::new();
    let cursor = match spec.resource_version {
        Some(revision) if !spec.initial_events && revision > 0 => {
            collection.changes_after(revision)?;
            revision
        }
        revision => {
            match revision {
                None => cache.catch_up().await?,
                Some(revision) => cache.wait_for(revision).await?,
            }
            let snapshot = collection.list(&selection, cache.applied(), 0);
            pending.extend(snapshot.items.into_iter().map(|object| WatchEvent {
                kind: EventType::Added,
                object,
                initial_events_end: false,
            }));
            if spec.initial_events && spec.bookmarks {
                pending.push_back(bookmark(row, snapshot.revision, true)?);
            }
            snapshot.revision
        }
    };
    let bookmarks = spec.bookmarks.then(|| {
        let mut timer = tokio::time::interval_at(Instant::now() + BOOKMARK_PERIOD, BOOKMARK_PERIOD);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    });
    let farewell = ends
        .and_then(|ends| ends.checked_sub(FAREWELL))
        .filter(|at| spec.bookmarks && *at > Instant::now());
    Ok(Watcher {
        cache: Arc::clone(cache),
        collection,
        selection,
        cursor,
        pending,
        changed,
        bookmarks,
        farewell,
        ended: false,
    })
}

fn bookmark(row: &Resource, revision: u64, initial_events_end: bool) -> Result<WatchEvent, Status> {
    let mut object = json!({
        "apiVersion": row.api_version(),
        "kind": row.kind,
        "metadata": {"resourceVersion": revision.to_string()},
    });
    if initial_events_end {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = Object::from_value(&object, &[]).map_err(Status::internal)?;
    Ok(WatchEvent { kind: EventType::Bookmark, object: Arc::new(object), initial_events_end })
}

/// What a watcher with a selection is told of a change: nothing, when it was and is not selected.
fn translate(change: &Change, selection: &Selection, row: &Resource) -> Option<WatchEvent> {
    let was = change.previous.as_ref().is_some_and(|object| selection.matches(object.head()));
    let is = !change.deleted() && selection.matches(change.object.head());
    let (kind, object) = match (was, is) {
        (false, false) => return None,
        (false, true) => (EventType::Added, Arc::clone(&change.object)),
        (true, true) => (EventType::Modified, Arc::clone(&change.object)),
        (true, false) if change.deleted() => (EventType::Deleted, Arc::clone(&change.object)),
        (true, false) => (EventType::Deleted, change.left(row.fields)?),
    };
    Some(WatchEvent { kind, object, initial_events_end: false })
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchEvent, Status>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(event));
            }
            if self.ended || self.cache.shutdown().is_cancelled() {
                return None;
            }
            // Read before looking, so that nothing slips in between.
            self.changed.borrow_and_update();
            let applied = self.cache.applied();
            match self.collection.changes_after(self.cursor) {
                Err(status) => {
                    self.ended = true;
                    return Some(Err(status));
                }
                Ok(changes) if !changes.is_empty() => {
                    for change in changes {
                        self.cursor = change.revision();
                        let row = self.collection.row;
                        self.pending.extend(translate(&change, &self.selection, row));
                    }
                    continue;
                }
                // No change of this kind up to here, so the place never grows old in quiet times.
                Ok(_) => self.cursor = self.cursor.max(applied),
            }
            let shutdown = self.cache.shutdown().clone();
            tokio::select! {
                changed = self.changed.changed() => self.ended |= changed.is_err(),
                () = shutdown.cancelled() => return None,
                () = tick(&mut self.bookmarks, &mut self.farewell) => match self.bookmark() {
                    Ok(event) => self.pending.extend(event),
                    Err(status) => return Some(Err(status)),
                },
            }
        }
    }

    /// Only when nothing waits to be sent before it.
    fn bookmark(&mut self) -> Result<Option<WatchEvent>, Status> {
        let applied = self.cache.applied();
        if !self.collection.changes_after(self.cursor)?.is_empty() {
            return Ok(None);
        }
        self.cursor = self.cursor.max(applied);
        bookmark(self.collection.row, self.cursor, false).map(Some)
    }
}

async fn tick(timer: &mut Option<Interval>, farewell: &mut Option<Instant>) {
    let Some(timer) = timer else { return std::future::pending().await };
    let Some(last) = *farewell else {
        timer.tick().await;
        return;
    };
    tokio::select! {
        _ = timer.tick() => {}
        () = tokio::time::sleep_until(last) => *farewell = None,
    }
}
