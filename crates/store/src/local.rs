//! The store inside this process: reads and watches from memory, writes through the committer.

use std::{
    ops::{Bound, ControlFlow},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Committed, Error, History, KeyValue, Op, RangeRequest, RangeResult, Store, Txn, WatchStream,
    committer::{Command, Committer, Disk},
    index::{Index, prefix_end},
    watch::{LocalWatch, Watchers},
};

/// Writes that may wait in the queue; further callers wait before it.
const QUEUE: usize = 1024;

/// Keys visited for one turn under the lock, so that a large range does not hold up writes.
const TURN: usize = 2048;

/// What the committer and the readers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Holds what is durable and nothing else.
    pub(crate) index: RwLock<Index>,
    pub(crate) watchers: Watchers,
    /// Why no writes are taken any more.
    pub(crate) stopped: OnceLock<Error>,
    /// The committer is gone: there will be no further event.
    pub(crate) closed: AtomicBool,
}

impl Shared {
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn why_stopped(&self) -> Error {
        self.stopped.get().cloned().unwrap_or(Error::Closed)
    }
}

/// A store in this process; made by [`crate::memory::open`] and [`crate::sqlite::open`].
///
/// Dropping it waits until what is queued is written and the directory is free again.
pub struct LocalStore {
    shared: Arc<Shared>,
    // Dropped before the thread is waited for: the closed queue is what ends it.
    queue: mpsc::Sender<Command>,
    _committer: Thread,
}

struct Thread(Option<thread::JoinHandle<()>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if self.0.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the committer of the store panicked");
        }
    }
}

impl LocalStore {
    pub(crate) fn start(
        index: Index,
        disk: Box<dyn Disk>,
        history: History,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { index: RwLock::new(index), ..Shared::default() });
        let (queue, commands) = mpsc::channel(QUEUE);
        let committer = Committer::new(shared.clone(), disk, history);
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run(commands))?;
        Ok(Self { shared, queue, _committer: Thread(Some(thread)) })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.send(command(answer)).await;
        sent.map_err(|_| self.shared.why_stopped())?;
        answered.await.map_err(|_| self.shared.why_stopped())?
    }

    /// Makes new keys for what is sealed and seals all of it anew, in small steps between writes;
    /// answers when that is done. Broken off by a crash, it goes on at the next opening.
    pub async fn rotate_key(&self) -> Result<(), Error> {
        self.ask(Command::Rotate).await
    }

    /// Reads a range in turns of `turn` keys, or answers `None` when compaction overtook it.
    async fn read(
        &self,
        request: &RangeRequest,
        revision: u64,
        turn: usize,
    ) -> Option<RangeResult> {
        let end = prefix_end(&request.prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let limit = if request.limit == 0 { usize::MAX } else { request.limit };
        let mut page = RangeResult { revision, ..RangeResult::default() };
        let mut after: Option<Arc<str>> = request.start_after.as_deref().map(Arc::from);
        loop {
            let start = match after.as_deref() {
                Some(after) if after >= request.prefix.as_str() => Bound::Excluded(after),
                _ => Bound::Included(request.prefix.as_str()),
            };
            {
                let index = self.shared.index.read();
                if revision < index.compacted() {
                    return None;
                }
                after = index.walk(revision, (start, end), turn, |kv| {
                    if page.items.len() < limit {
                        page.items.push(kv.clone());
                    } else {
                        page.remaining += 1;
                    }
                    ControlFlow::Continue(())
                });
            }
            if after.is_none() {
                return Some(page);
            }
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn txn(&self, txn: Txn) -> Result<Committed, Error> {
        let length = txn.key.len();
        if length == 0 || length > Txn::MAX_KEY {
            return Err(Error::InvalidKey { length });
        }
        if let Op::Put(value) = &txn.op
            && value.len() > Txn::MAX_VALUE
        {
            return Err(Error::TooLarge { length: value.len(), key: txn.key });
        }
        self.ask(|answer| Command::Write(txn, answer)).await
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        Ok(self.shared.index.read().get(key).cloned())
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResult, Error> {
        let revision = self.shared.index.read().readable(request.revision)?;
        if let Some(page) = self.read(&request, revision, TURN).await {
            return Ok(page);
        }
        // Whoever asked for a revision must hear that it is gone; whoever asked for the newest
        // state must get one, so that is now read in a single turn.
        loop {
            let revision = self.shared.index.read().readable(request.revision)?;
            if let Some(page) = self.read(&request, revision, usize::MAX).await {
                return Ok(page);
            }
        }
    }

    async fn watch(&self, prefix: &str, from: Option<u64>) -> Result<WatchStream, Error> {
        Ok(Box::pin(LocalWatch::open(&self.shared, prefix, from)?))
    }

    fn revision(&self) -> u64 {
        self.shared.index.read().revision()
    }

    fn oldest(&self) -> u64 {
        self.shared.index.read().compacted()
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        self.ask(|answer| Command::Compact(revision, answer)).await
    }

    fn health(&self) -> Result<(), Error> {
        self.shared.stopped.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    async fn close(&self) {
        // An error says that it is closed already.
        let _ = self.ask(Command::Close).await;
    }
}
