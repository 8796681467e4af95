//! Watches on the index: cursors into the history window, woken when there is something for them.
//!
//! The window is the buffer of every watcher, so a slow one costs nothing and blocks nobody; it
//! ends with [`Error::Lagged`] when its place leaves the window. No gap and no repeat follow from
//! the way they read: by revision, under the lock under which events are added.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, task::AtomicWaker};
use parking_lot::Mutex;

use crate::{Error, Event, Watch, index::Index, local::Shared};

/// How many events of the window are looked at for one turn under the lock.
const TURN: usize = 1024;

/// One open watch, as the committer sees it.
#[derive(Debug)]
pub(crate) struct Watcher {
    prefix: Box<str>,
    /// From here on there may be events not yet handed out; `None`: all have been.
    pending: Mutex<Option<u64>>,
    waker: AtomicWaker,
}

impl Watcher {
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

/// The open watches of a store.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<Arc<Watcher>>>);

impl Watchers {
    /// Marks those whom `events` concern and answers the ones to wake. The caller shows that it
    /// holds the lock on the index, and wakes better without it.
    pub(crate) fn mark(&self, _locked: &mut Index, events: &[Arc<Event>]) -> Vec<Arc<Watcher>> {
        let mut wake = Vec::new();
        for watcher in self.0.lock().iter() {
            let mut pending = watcher.pending.lock();
            if pending.is_none()
                && let Some(first) = events.iter().find(|e| e.key.starts_with(&*watcher.prefix))
            {
                *pending = Some(first.revision);
                wake.push(watcher.clone());
            }
        }
        wake
    }

    pub(crate) fn all(&self) -> Vec<Arc<Watcher>> {
        self.0.lock().clone()
    }
}

/// The stream of one watch.
pub(crate) struct LocalWatch {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    /// Taken from the window, not yet handed out.
    taken: VecDeque<Arc<Event>>,
    ended: bool,
}

impl LocalWatch {
    pub(crate) fn open(
        shared: &Arc<Shared>,
        prefix: &str,
        from: Option<u64>,
    ) -> Result<Self, Error> {
        // Held until the watcher is listed: the committer needs it to add an event.
        let index = shared.index.read();
        let from = index.readable(from)?;
        let watcher = Arc::new(Watcher {
            prefix: prefix.into(),
            pending: Mutex::new((from < index.revision()).then_some(from + 1)),
            waker: AtomicWaker::new(),
        });
        shared.watchers.0.lock().push(watcher.clone());
        drop(index);
        Ok(Self { shared: shared.clone(), watcher, taken: VecDeque::new(), ended: false })
    }

    /// Takes the next matching events of the window, if there are any.
    fn take(&mut self) -> Result<(), Error> {
        loop {
            let index = self.shared.index.read();
            let mut pending = self.watcher.pending.lock();
            let Some(start) = *pending else { return Ok(()) };
            if start <= index.compacted() {
                return Err(Error::Lagged { oldest: index.compacted() });
            }
            let matching = |e: &&Arc<Event>| e.key.starts_with(&*self.watcher.prefix);
            self.taken.extend(index.events_from(start).take(TURN).filter(matching).cloned());
            let next = start + TURN as u64;
            *pending = (next <= index.revision()).then_some(next);
            if !self.taken.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Stream for LocalWatch {
    type Item = Result<Arc<Event>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut closed = false;
        if self.taken.is_empty() {
            // Before looking, so that no event can slip in between.
            self.watcher.waker.register(cx.waker());
            // Likewise: behind what was written before the end there is nothing more.
            closed = self.shared.closed();
            if let Err(error) = self.take() {
                self.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        match self.taken.pop_front() {
            Some(event) => Poll::Ready(Some(Ok(event))),
            None if closed => {
                self.ended = true;
                Poll::Ready(Some(Err(Error::Closed)))
            }
            None => Poll::Pending,
        }
    }
}

impl Watch for LocalWatch {
    fn progress(&self) -> u64 {
        if let Some(event) = self.taken.front() {
            return event.revision - 1;
        }
        let index = self.shared.index.read();
        let pending = *self.watcher.pending.lock();
        pending.map_or(index.revision(), |revision| revision - 1)
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.shared.watchers.0.lock().retain(|w| !Arc::ptr_eq(w, &self.watcher));
    }
}
