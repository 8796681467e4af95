//! The way from requests to the thread that writes: bounded by the bytes that wait in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::event::Event;
use super::log::Writer;

/// How much may wait to be written, in KiB.
const ROOM: usize = 64 << 10;
/// How many events are written at once.
const TOGETHER: usize = 256;

/// A cheap handle; the thread ends with the last one, after what it was given.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Message>,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
}

enum Message {
    /// The permit is the room that it takes.
    Event(Box<Event>, OwnedSemaphorePermit),
    Flush(oneshot::Sender<()>),
}

/// For `/metrics`.
#[derive(Default)]
pub(super) struct Counts {
    events: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    pub(super) fn one_more(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether these are the first that are lost.
    pub(super) fn lost(&self, events: u64) -> bool {
        self.errors.fetch_add(events, Ordering::Relaxed) == 0
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events that were lost.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

impl Queue {
    pub(super) fn start(writer: Writer) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let told = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("audit-log".into())
            .spawn(move || run(receiver, writer, &told))?;
        Ok(Self { sender, room: Arc::new(Semaphore::new(ROOM)), counts })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Waits where the queue is full.
    pub(super) async fn put(&self, event: Event) {
        // The semaphore is never closed.
        if let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(room(&event)).await {
            self.send(event, permit);
        }
    }

    /// [`Queue::put`] where nobody can wait: a task does, when there is no room now.
    pub(super) fn put_later(&self, event: Event) {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(room(&event)) {
            return self.send(event, permit);
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let queue = self.clone();
                runtime.spawn(async move { queue.put(event).await });
            }
            Err(_) => {
                self.counts.lost(1);
            }
        }
    }

    /// Ends when all that was put before is written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).is_ok() {
            // Without an answer there is no writer any more, and nothing to wait for.
            let _ = written.await;
        }
    }

    fn send(&self, event: Event, permit: OwnedSemaphorePermit) {
        self.counts.one_more();
        if self.sender.send(Message::Event(Box::new(event), permit)).is_err() {
            self.counts.lost(1);
        }
    }
}

/// The KiB that an event takes; what is larger than all of the room waits until that is free.
fn room(event: &Event) -> u32 {
    event.weight().div_ceil(1 << 10).clamp(1, ROOM) as u32
}

fn run(mut receiver: mpsc::UnboundedReceiver<Message>, mut writer: Writer, counts: &Counts) {
    let mut messages = Vec::with_capacity(TOGETHER);
    let mut lines = Vec::new();
    // One word about an outage, not one for each event.
    let mut failing = false;
    while receiver.blocking_recv_many(&mut messages, TOGETHER) > 0 {
        let (mut held, mut flushed) = (Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Flush(done) => flushed.push(done),
                Message::Event(event, permit) => {
                    let mut line = match serde_json::to_vec(&event) {
                        Ok(line) => line,
                        Err(error) => {
                            tracing::error!(%error, "an audit event cannot be written as JSON");
                            counts.lost(1);
                            continue;
                        }
                    };
                    line.push(b'\n');
                    lines.push(line);
                    held.push(permit);
                }
            }
        }
        let lost = lines.len();
        match writer.write(&lines) {
            Ok(()) => failing = false,
            Err((error, written)) => {
                let lost = lost - written;
                counts.lost(lost as u64);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, lost, "the audit log cannot be written: events are lost");
                }
            }
        }
        lines.clear();
        for done in flushed {
            // Who asked may be gone.
            let _ = done.send(());
        }
    }
}
