//! The one thread that writes: decides, syncs, publishes, answers.
//!
//! Group commit without a timer: a batch is what queued up while the batch before was synced.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Committed, Error, Event, EventKind, Expect, History, KeyValue, Op, Txn, local::Shared,
};

/// The most writes that share one transaction and one sync.
const MAX_BATCH: usize = 256;
/// The most bytes that do.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Events that one step of compaction drops. Not below [`MAX_BATCH`], else a store under steady
/// load could not keep up.
const COMPACTION_STEP: usize = 256;

/// Where the committer keeps what it commits.
///
/// [`Error::DiskFull`] from any of these means that nothing changed and that it may be tried
/// again; after any other error nothing is known, and the committer stops.
pub(crate) trait Disk: Send {
    /// Stores all of `events` or none of them; they are durable when it answers.
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), Error>;
    /// Removes the versions written at `revisions` and notes that history begins at `compacted`.
    /// Need not be durable: what comes back after a crash is removed again, as a whole.
    fn forget(&mut self, compacted: u64, revisions: &[u64]) -> Result<(), Error>;
    /// Makes new keys for what is sealed; all that was sealed before is to be sealed anew.
    fn rotate(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Seals a few values anew where that is due; says whether there is more to do.
    fn reseal(&mut self) -> Result<bool, Error> {
        Ok(false)
    }
    /// Called between batches, for housekeeping.
    fn tidy(&mut self) -> Result<(), Error>;
}

type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What the committer is asked to do.
pub(crate) enum Command {
    Write(Txn, Answer<Committed>),
    Compact(u64, Answer<()>),
    /// Answered when everything is sealed anew.
    Rotate(Answer<()>),
    Close(Answer<()>),
}

/// What a write comes to.
#[derive(Debug, PartialEq)]
enum Decision {
    Commit(Event),
    /// A deletion of nothing.
    Nothing,
}

/// What `txn` comes to as the write after `revision`, when its key holds `current`.
fn decide(txn: Txn, current: Option<KeyValue>, revision: u64) -> Result<Decision, Error> {
    let met = match txn.expect {
        Expect::Any => true,
        Expect::Absent => current.is_none(),
        Expect::Revision(expected) => {
            current.as_ref().is_some_and(|kv| kv.mod_revision == expected)
        }
    };
    if !met {
        return Err(Error::Conflict { current });
    }
    let revision = revision + 1;
    let (kind, value) = match txn.op {
        Op::Put(value) => (EventKind::Put, value),
        Op::Delete if current.is_none() => return Ok(Decision::Nothing),
        Op::Delete => (EventKind::Delete, Bytes::new()),
    };
    // All versions of a key share its text.
    let (key, create_revision) = match &current {
        Some(kv) => (kv.key.clone(), kv.create_revision),
        None => (Arc::from(txn.key), revision),
    };
    Ok(Decision::Commit(Event { revision, kind, key, value, create_revision, previous: current }))
}

/// Says that the committer is gone, for whatever reason.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.stopped.set(Error::Closed);
        self.0.closed.store(true, Ordering::Release);
        self.0.watchers.all().iter().for_each(|w| w.wake());
    }
}

/// See the module.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    disk: Box<dyn Disk>,
    history: History,
    /// The window grew too large and is being cut back.
    trimming: bool,
    /// Who waits for the history before a revision to be gone.
    compactions: Vec<(u64, Answer<()>)>,
    /// Who waits for everything to be sealed anew.
    rotations: Vec<Answer<()>>,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, disk: Box<dyn Disk>, history: History) -> Self {
        Self {
            shared,
            disk,
            history,
            trimming: false,
            compactions: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let ended = Ended(self.shared.clone());
        let mut batch = Vec::new();
        let mut closing = Vec::new();
        while let Some(first) = self.next(&mut queue) {
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Write(txn, answer) => {
                        bytes += txn.size();
                        batch.push((txn, answer));
                    }
                    Command::Compact(revision, answer) => self.compact(revision, answer),
                    Command::Rotate(answer) => self.rotate(answer),
                    Command::Close(answer) => {
                        queue.close();
                        closing.push(answer);
                    }
                }
                let room = batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES;
                next = if room { queue.try_recv().ok() } else { None };
            }
            self.commit(&mut batch);
            // Otherwise done by next(), when there is nothing to write.
            let behind = self.shared.index.read().exceeds(&self.history, 4);
            if behind && self.shared.stopped.get().is_none() {
                self.compaction_step();
            }
            // Under load too: a step for each batch.
            self.reseal_step();
        }
        drop(self);
        drop(ended);
        for answer in closing {
            let _ = answer.send(Ok(()));
        }
    }

    /// The next command; compacts and seals anew while there is none.
    fn next(&mut self, queue: &mut mpsc::Receiver<Command>) -> Option<Command> {
        loop {
            let compacts = self.compaction_due();
            if !compacts && self.rotations.is_empty() {
                break;
            }
            match queue.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Empty) if compacts => self.compaction_step(),
                Err(mpsc::error::TryRecvError::Empty) => self.reseal_step(),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
        queue.blocking_recv()
    }

    fn commit(&mut self, batch: &mut Vec<(Txn, Answer<Committed>)>) {
        if batch.is_empty() {
            return;
        }
        if let Some(error) = self.shared.stopped.get() {
            for (_, answer) in batch.drain(..) {
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
        let (events, answers) = self.decide_all(batch);
        if !events.is_empty()
            && let Err(error) = self.disk.append(&events)
        {
            self.note(&error);
            // Also those that lost against a write of this batch: it did not happen.
            for (answer, _) in answers {
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
        let wake = {
            let mut index = self.shared.index.write();
            for event in &events {
                index.apply(event.clone());
            }
            self.shared.watchers.mark(&mut index, &events)
        };
        for (answer, outcome) in answers {
            // Whoever no longer waits has its write nevertheless.
            let _ = answer.send(outcome);
        }
        for watcher in wake {
            watcher.wake();
        }
        if let Err(error) = self.disk.tidy() {
            self.note(&error);
        }
    }

    /// Decides the writes of a batch, each seeing those before it.
    #[expect(clippy::type_complexity)]
    fn decide_all(
        &self,
        batch: &mut Vec<(Txn, Answer<Committed>)>,
    ) -> (Vec<Arc<Event>>, Vec<(Answer<Committed>, Result<Committed, Error>)>) {
        let index = self.shared.index.read();
        let mut revision = index.revision();
        let mut staged: HashMap<Arc<str>, Option<KeyValue>> = HashMap::new();
        let mut events = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for (txn, answer) in batch.drain(..) {
            let current = match staged.get(txn.key.as_str()) {
                Some(current) => current.clone(),
                None => index.get(&txn.key).cloned(),
            };
            let outcome = decide(txn, current, revision).map(|decision| match decision {
                Decision::Nothing => Committed { revision, previous: None },
                Decision::Commit(event) => {
                    revision = event.revision;
                    let previous = event.previous.clone();
                    staged.insert(event.key.clone(), event.current());
                    events.push(Arc::new(event));
                    Committed { revision, previous }
                }
            });
            answers.push((answer, outcome));
        }
        (events, answers)
    }

    /// After an error of the disk: stops the store, unless it may be tried again.
    fn note(&mut self, error: &Error) {
        if matches!(error, Error::DiskFull { .. }) {
            tracing::warn!(%error, "store");
            return;
        }
        tracing::error!(%error, "store");
        let _ = self.shared.stopped.set(error.clone());
        for (_, answer) in self.compactions.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
        for answer in self.rotations.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
    }

    fn rotate(&mut self, answer: Answer<()>) {
        let stopped = self.shared.stopped.get().cloned().map_or(Ok(()), Err);
        match stopped.and_then(|()| self.disk.rotate()) {
            Ok(()) => self.rotations.push(answer),
            Err(error) => {
                if !matches!(error, Error::Open { .. }) {
                    self.note(&error);
                }
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Goes on with sealing anew, if that is under way.
    fn reseal_step(&mut self) {
        if self.rotations.is_empty() || self.shared.stopped.get().is_some() {
            return;
        }
        let outcome = match self.disk.reseal().and_then(|more| self.disk.tidy().map(|()| more)) {
            Ok(true) => return,
            Ok(false) => Ok(()),
            Err(error) => {
                self.note(&error);
                Err(error)
            }
        };
        for answer in self.rotations.drain(..) {
            let _ = answer.send(outcome.clone());
        }
    }

    fn compact(&mut self, revision: u64, answer: Answer<()>) {
        if let Some(error) = self.shared.stopped.get() {
            let _ = answer.send(Err(error.clone()));
            return;
        }
        let mut index = self.shared.index.write();
        if revision > index.revision() {
            let error = Error::FutureRevision { asked: revision, newest: index.revision() };
            let _ = answer.send(Err(error));
            return;
        }
        index.compact(revision);
        drop(index);
        // Those whose place is gone must hear of it, also when nothing more is ever written.
        self.shared.watchers.all().iter().for_each(|w| w.wake());
        self.compactions.push((revision, answer));
        self.answer_compactions();
    }

    fn answer_compactions(&mut self) {
        let pruned = self.shared.index.read().pruned();
        for (_, answer) in self.compactions.extract_if(.., |(revision, _)| *revision <= pruned) {
            let _ = answer.send(Ok(()));
        }
    }

    fn compaction_due(&mut self) -> bool {
        if self.shared.stopped.get().is_some() {
            return false;
        }
        let index = self.shared.index.read();
        self.trimming |= index.exceeds(&self.history, 8);
        self.trimming || !self.compactions.is_empty()
    }

    /// Drops a few of the oldest events: first on disk, so that none can be left behind there.
    fn compaction_step(&mut self) {
        let (upto, rows) = self.shared.index.read().prunable(&self.history, COMPACTION_STEP);
        let outcome = self.disk.forget(upto, &rows).and_then(|()| self.disk.tidy());
        if let Err(error) = outcome {
            self.note(&error);
            // Later writes will try again.
            self.trimming = false;
            for (_, answer) in self.compactions.drain(..) {
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
        let mut index = self.shared.index.write();
        index.prune(upto);
        self.trimming = index.exceeds(&self.history, usize::MAX);
        drop(index);
        self.answer_compactions();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let kv = KeyValue {
            key: Arc::from("a"),
            value: Bytes::from_static(b"old"),
            create_revision: 3,
            mod_revision: 5,
        };
        let some = || Some(kv.clone());
        let conflict = |current| Err(Error::Conflict { current });
        // What is there, what is expected, put?, the outcome: create revision of the event.
        for (current, expect, put, outcome) in [
            (None, Expect::Any, true, Ok(Some(10))),
            (None, Expect::Absent, true, Ok(Some(10))),
            (None, Expect::Revision(5), true, conflict(None)),
            (None, Expect::Any, false, Ok(None)),
            (None, Expect::Absent, false, Ok(None)),
            (None, Expect::Revision(5), false, conflict(None)),
            (some(), Expect::Any, true, Ok(Some(3))),
            (some(), Expect::Absent, true, conflict(some())),
            (some(), Expect::Revision(5), true, Ok(Some(3))),
            (some(), Expect::Revision(4), true, conflict(some())),
            (some(), Expect::Any, false, Ok(Some(3))),
            (some(), Expect::Revision(5), false, Ok(Some(3))),
            (some(), Expect::Revision(6), false, conflict(some())),
        ] {
            let txn = if put { Txn::put("a", expect, "new") } else { Txn::delete("a", expect) };
            let text = format!("{txn:?} on {current:?}");
            let decided = decide(txn, current.clone(), 9).map(|decision| match decision {
                Decision::Nothing => None,
                Decision::Commit(event) => {
                    assert_eq!((event.revision, &event.previous), (10, &current), "{text}");
                    assert_eq!(event.current().is_some(), put, "{text}");
                    Some(event.create_revision)
                }
            });
            assert_eq!(decided, outcome, "{text}");
        }
    }
}
