//! What long operations tell while they run: lines of JSON on the socket, and the same type on both
//! of its ends.

use onggi_node_api::{Image, PullProgress};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Something happened: `{"step":{…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A build step begins: `Step 2/5 : COPY . .`.
    Step {
        /// From 1.
        index: usize,
        /// How many there are.
        total: usize,
        /// The instruction.
        text: String,
        /// Whether its result was there already.
        cached: bool,
    },
    /// Output of a `RUN`.
    Output {
        /// As it came, bytes that are no UTF-8 replaced.
        text: String,
    },
    /// A part of an image moves.
    Part(PullProgress),
    /// The image is here, under these names.
    Image(Image),
    /// It is in the registry.
    Pushed {
        /// The reference.
        reference: String,
        /// The manifest's digest.
        digest: String,
    },
    /// Worth knowing.
    Warning {
        /// For people.
        message: String,
    },
    /// It failed; nothing follows.
    Error {
        /// For people.
        message: String,
    },
}

/// Where events go. A reader that is gone is no reason to stop.
#[derive(Clone, Default)]
pub struct Progress(Option<mpsc::Sender<Event>>);

impl Progress {
    /// To a channel.
    pub fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(Some(sender))
    }

    /// Whether somebody listened and went away.
    pub fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(mpsc::Sender::is_closed)
    }

    /// Tells, from asynchronous code.
    pub async fn tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event).await;
        }
    }

    /// Tells, from a blocking thread.
    pub fn tell_blocking(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.blocking_send(event);
        }
    }

    /// Tells unless the reader is behind: for counters, where the next one says more.
    pub fn try_tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(event);
        }
    }
}

/// A counter's state.
pub(crate) fn part(digest: &str, received: u64, total: u64, phase: &str) -> PullProgress {
    PullProgress { digest: digest.to_owned(), received, total, phase: phase.to_owned() }
}
