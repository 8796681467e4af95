//! Events sent to a server of the operator's, many at a time (`--audit-webhook-*`, mode `batch`).
//!
//! No request waits for that server: where it is gone or too slow, and the buffer is full, events
//! are lost, counted and said so, as kube-apiserver does it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::event::Event;
use super::queue::Counts;
use crate::callout::{Callout, Failure};

/// How often a batch is sent before it is lost.
const ATTEMPTS: u32 = 5;
/// How long the end of the server waits for what was not sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The options of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditWebhook {
    /// `--audit-webhook-config-file`: a kubeconfig that names the server.
    pub kubeconfig: String,
    /// `--audit-webhook-batch-buffer-size`: how many events may wait.
    pub buffer: usize,
    /// `--audit-webhook-batch-max-size`: how many are sent together.
    pub batch: usize,
    /// `--audit-webhook-batch-max-wait`: how long a batch waits for more.
    pub wait: Duration,
    /// `--audit-webhook-initial-backoff`: the pause before a batch is sent again.
    pub backoff: Duration,
}

/// The way to the task that sends. A cheap handle; the task ends with the last one.
#[derive(Clone)]
pub(super) struct Hook {
    sender: mpsc::Sender<Message>,
    counts: Arc<Counts>,
}

enum Message {
    Event(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl AuditWebhook {
    /// With kube-apiserver's defaults.
    pub fn new(kubeconfig: impl Into<String>) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            buffer: 10_000,
            batch: 400,
            wait: Duration::from_secs(30),
            backoff: Duration::from_secs(10),
        }
    }
}

impl Hook {
    /// The error names the kubeconfig.
    pub(super) fn start(options: &AuditWebhook) -> Result<Self, String> {
        let callout = Callout::new(&options.kubeconfig)?;
        let (sender, receiver) = mpsc::channel(options.buffer.max(1));
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(receiver, callout, options.clone(), Arc::clone(&counts)));
        Ok(Self { sender, counts })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Hands an event over, where there is room.
    pub(super) fn offer(&self, event: &Event) {
        self.counts.one_more();
        let sent = match serde_json::to_vec(event) {
            Ok(bytes) => self.sender.try_send(Message::Event(bytes)).is_ok(),
            Err(_) => false,
        };
        if !sent && self.counts.lost(1) {
            tracing::error!("the audit webhook is too slow: events are lost");
        }
    }

    /// Ends when all that was handed over before is sent, or after a while.
    pub(super) async fn flush(&self) {
        let sent = async {
            let (done, sent) = oneshot::channel();
            if self.sender.send(Message::Flush(done)).await.is_ok() {
                // Without an answer there is nobody left who sends.
                let _ = sent.await;
            }
        };
        if tokio::time::timeout(PATIENCE, sent).await.is_err() {
            tracing::warn!("the audit webhook has not taken all events");
        }
    }
}

async fn run(
    mut receiver: mpsc::Receiver<Message>,
    callout: Callout,
    options: AuditWebhook,
    counts: Arc<Counts>,
) {
    while let Some(first) = receiver.recv().await {
        let until = Instant::now() + options.wait;
        let (mut batch, mut flushed) = (Vec::new(), None);
        let mut next = Some(first);
        loop {
            match next {
                Some(Message::Event(event)) => batch.push(event),
                Some(Message::Flush(done)) => flushed = Some(done),
                None => break,
            }
            if flushed.is_some() || batch.len() >= options.batch {
                break;
            }
            // The end of the time or of the server: what is there is sent.
            next = tokio::time::timeout_at(until, receiver.recv()).await.ok().flatten();
        }
        if !batch.is_empty()
            && let Err(error) = deliver(&callout, &batch, options.backoff).await
        {
            let lost = batch.len();
            counts.lost(lost as u64);
            tracing::error!(%error, lost, "the audit webhook cannot be reached: events are lost");
        }
        if let Some(done) = flushed {
            // Who asked may be gone.
            let _ = done.send(());
        }
    }
}

/// Sends a batch, again where that may help.
async fn deliver(callout: &Callout, batch: &[Vec<u8>], backoff: Duration) -> Result<(), String> {
    let body = Bytes::from(list(batch));
    let mut pause = backoff;
    for attempt in 1.. {
        match callout.send(body.clone()).await {
            Ok(_) => return Ok(()),
            Err(Failure::Passing(_)) if attempt < ATTEMPTS => {
                tokio::time::sleep(pause).await;
                pause = pause.mul_f64(1.5);
            }
            Err(Failure::Passing(why) | Failure::Lasting(why)) => return Err(why),
        }
    }
    Ok(())
}

/// `audit.k8s.io/v1 EventList`.
fn list(events: &[Vec<u8>]) -> Vec<u8> {
    let mut body =
        br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
    body.extend(events.join(&b","[..]));
    body.extend_from_slice(b"]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_events() {
        let body = list(&[b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()]);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["items"][1]["b"], 2);
        assert_eq!(value["kind"], "EventList");
    }
}
