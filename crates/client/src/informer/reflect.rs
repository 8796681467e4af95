//! The reflector: keeps a cache equal to a collection, whatever happens to the connection.
//!
//! It opens a watch that begins with the present state and follows it. When the watch ends it goes
//! on from the last revision; when that is too old (410) it reads the state again and takes the
//! difference to the cache, so that deletions in between are noticed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use onggi_api::Object;
use onggi_base::Shutdown;
use onggi_base::backoff::Backoff;

use super::cache::Cache;
use super::project::Project;
use super::shared::Source;
use crate::ObjectKey;
use crate::transport::{Error, EventType, Transport, WatchEvent};

/// As client-go's reflector, only quicker at first: a server that restarts is back in a second.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

pub(super) struct Reflector<T> {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) source: Source,
    pub(super) cache: Cache<T>,
    /// Where to go on from; `None`: from the present state.
    pub(super) revision: Option<u64>,
}

impl<T: Project> Reflector<T> {
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut backoff = BACKOFF;
        loop {
            let ended = tokio::select! {
                () = shutdown.cancelled() => break,
                ended = self.follow(&mut backoff) => ended,
            };
            match ended {
                Ok(()) => {}
                Err(error) if error.is_expired() => self.revision = None,
                Err(error) => {
                    tracing::warn!(resource = %self.source.resource, %error, "watch failed");
                }
            }
            // Half of it at random, so that nodes do not come back all in the same moment.
            let delay = backoff.next_delay().mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
        self.cache.stop();
    }

    /// One watch, from its opening to its end.
    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Error> {
        let mut events = self.transport.watch(self.source.watch(self.revision)).await?;
        // While the present state arrives: the keys it has.
        let mut present = self.revision.is_none().then(HashSet::new);
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(Error::Decode(error)) => {
                    tracing::error!(resource = %self.source.resource, error, "event skipped");
                    continue;
                }
                Err(error) => return Err(error),
            };
            backoff.reset();
            let revision = event.object.head().resource_version;
            if let Some(keys) = &mut present {
                if !event.initial_events_end {
                    if event.kind != EventType::Bookmark {
                        self.apply_initial(&event, keys);
                    }
                    continue;
                }
                self.cache.retain(keys);
                present = None;
            } else if event.kind != EventType::Bookmark {
                self.apply(&event);
            }
            self.revision = Some(revision);
            self.cache.advance(|progress| {
                progress.synced = true;
                progress.revision = revision;
            });
        }
        Ok(())
    }

    /// A change may overtake the end of the present state, and takes its key in or out of it.
    fn apply_initial(&self, event: &WatchEvent, keys: &mut HashSet<ObjectKey>) {
        let key = ObjectKey::of(event.object.head());
        if event.kind == EventType::Deleted {
            keys.remove(&key);
        } else {
            keys.insert(key);
        }
        self.apply(event);
    }

    fn apply(&self, event: &WatchEvent) {
        match event.kind {
            EventType::Deleted => self.cache.remove(&ObjectKey::of(event.object.head())),
            _ => self.put(&event.object),
        }
    }

    fn put(&self, object: &Arc<Object>) {
        if self.cache.holds(object.head()) {
            return;
        }
        match T::project(object) {
            Ok(value) => self.cache.upsert(object.head(), value),
            // What was known of it stays: to forget it would look like a deletion.
            Err(error) => tracing::error!(?object, %error, "object skipped"),
        }
    }
}
