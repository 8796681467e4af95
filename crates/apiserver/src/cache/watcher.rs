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

use super::collection::{Change, Collection, Snapshot};
use super::{Cache, Selection};
use crate::custom::Converter;

/// How often a watcher that asked for bookmarks gets one (as kube-apiserver: about a minute).
const BOOKMARK_PERIOD: Duration = Duration::from_secs(55);
/// How long before its end a watch gets the last one.
const FAREWELL: Duration = Duration::from_secs(2);

struct Watcher {
    cache: Arc<Cache>,
    collection: Arc<Collection>,
    row: &'static Resource,
    selection: Selection,
    /// For kinds with several versions.
    converter: Option<Converter>,
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
    converter: Option<Converter>,
) -> Result<EventStream, Status> {
    let selection =
        Selection::parse(row, &spec.namespace, &spec.label_selector, &spec.field_selector)?;
    match begin(cache, row, spec, selection, ends, converter).await {
        // In a box: it moves with every step.
        Ok(watcher) => Ok(Box::pin(stream::unfold(Box::new(watcher), |mut watcher| async move {
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
    converter: Option<Converter>,
) -> Result<Watcher, Status> {
    let collection = cache.of(row)?;
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
            let snapshot = match &converter {
                None => collection.list(&selection, cache.applied(), 0),
                Some(converter) => shown(converter, &collection, row, &selection, cache, 0).await?,
            };
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
        row,
        selection,
        converter,
        cursor,
        pending,
        changed,
        bookmarks,
        farewell,
        ended: false,
    })
}

/// What is selected of a kind with several versions, in that of the row.
pub(crate) async fn shown(
    converter: &Converter,
    collection: &Collection,
    row: &'static Resource,
    selection: &Selection,
    cache: &Cache,
    limit: usize,
) -> Result<Snapshot, Status> {
    if selection.is_common() {
        let mut snapshot = collection.list(selection, cache.applied(), limit);
        snapshot.items = converter.all_shown(row, snapshot.items).await?;
        return Ok(snapshot);
    }
    // What is selected is known only when it is converted, so there are no pages.
    let mut snapshot = collection.list(&selection.without_fields(), cache.applied(), 0);
    snapshot.items = converter.all_shown(row, snapshot.items).await?;
    snapshot.items.retain(|object| selection.matches(object.head()));
    Ok(snapshot)
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
            // Before looking, so that nothing slips in between.
            self.changed.mark_unchanged();
            if self.ended || self.cache.shutdown().is_cancelled() {
                return None;
            }
            let applied = self.cache.applied();
            match self.collection.changes_after(self.cursor) {
                Err(status) => {
                    self.ended = true;
                    return Some(Err(status));
                }
                Ok(changes) if !changes.is_empty() => {
                    for change in changes {
                        self.cursor = change.revision();
                        let event = match &self.converter {
                            None => Ok(translate(&change, &self.selection, self.row)),
                            Some(converter) => self.converted(converter, &change).await,
                        };
                        match event {
                            Ok(event) => self.pending.extend(event),
                            Err(status) => {
                                self.ended = true;
                                return Some(Err(status));
                            }
                        }
                    }
                    continue;
                }
                // No change of this kind up to here, so the place never grows old in quiet times.
                Ok(_) if self.collection.is_closed() => return None,
                Ok(_) => self.cursor = self.cursor.max(applied),
            }
            tokio::select! {
                changed = self.changed.changed() => self.ended |= changed.is_err(),
                () = tick(&mut self.bookmarks, &mut self.farewell) => match self.bookmark() {
                    Ok(event) => self.pending.extend(event),
                    Err(status) => return Some(Err(status)),
                },
            }
        }
    }

    /// [`translate`] for a kind with several versions: fields are selected in the watcher's.
    async fn converted(
        &self,
        converter: &Converter,
        change: &Change,
    ) -> Result<Option<WatchEvent>, Status> {
        let object = converter.shown(self.row, Arc::clone(&change.object)).await?;
        let is = !change.deleted() && self.selection.matches(object.head());
        let was = match &change.previous {
            None => false,
            Some(_) if self.selection.is_everything() => true,
            Some(previous) => {
                let previous = converter.shown(self.row, Arc::clone(previous)).await?;
                self.selection.matches(previous.head())
            }
        };
        let kind = match (was, is) {
            (false, false) => return Ok(None),
            (false, true) => EventType::Added,
            (true, true) => EventType::Modified,
            (true, false) => EventType::Deleted,
        };
        let object = match change.deleted() || is {
            true => object,
            false => match change.left(&[]) {
                Some(left) => converter.shown(self.row, left).await?,
                None => return Ok(None),
            },
        };
        Ok(Some(WatchEvent { kind, object, initial_events_end: false }))
    }

    /// Only when nothing waits to be sent before it.
    fn bookmark(&mut self) -> Result<Option<WatchEvent>, Status> {
        let applied = self.cache.applied();
        if !self.collection.changes_after(self.cursor)?.is_empty() {
            return Ok(None);
        }
        self.cursor = self.cursor.max(applied);
        bookmark(self.row, self.cursor, false).map(Some)
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
