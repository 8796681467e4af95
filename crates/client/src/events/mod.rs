//! Events: what a component did, told to people (`core/v1 Event`).
//!
//! [`Recorder::event`] only queues; [`Sink::run`] writes. Events that say the same count up one
//! object, many that say nearly the same become one, and a source that does not stop is cut short
//! ([`correlate`]).

pub mod correlate;

use std::sync::Arc;
use std::time::Duration;

use onggi_api::core::ObjectReference;
use onggi_api::k8s_openapi::{Metadata, Resource};
use onggi_api::meta::ObjectMeta;
use onggi_api::{GroupVersionResource, Object};
use onggi_base::backoff::Backoff;
use onggi_base::{Clock, Shutdown};
use tokio::sync::mpsc;

use crate::client::{Client, Patch};
use crate::transport::Error;
use correlate::{Correlator, Step};

/// So many wait to be written; more are dropped, and told in the log.
const QUEUE: usize = 1000;
/// How often one event is tried while the API server cannot be reached.
const TRIES: u32 = 12;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// Whether all is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// What happened, before it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// `involvedObject`.
    pub about: ObjectReference,
    /// `type`.
    pub kind: EventKind,
    /// `reason`: in CamelCase, for programs.
    pub reason: String,
    /// `message`: for people.
    pub message: String,
}

/// Who tells: `source` and `reportingComponent`, with Kubernetes' own names (`kubelet`,
/// `default-scheduler`, `deployment-controller`).
#[derive(Debug, Clone)]
pub struct Reporter {
    /// The component.
    pub component: String,
    /// The node it runs on; empty for those that run anywhere.
    pub host: String,
}

/// Takes events from anywhere in a component. A cheap handle; never blocks.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

/// Writes what a [`Recorder`] took.
pub struct Sink {
    client: Client,
    clock: Arc<dyn Clock>,
    queue: mpsc::Receiver<Occurrence>,
    correlator: Correlator,
}

/// A recorder and its sink, which somebody has to run.
pub fn recorder(client: Client, clock: Arc<dyn Clock>, reporter: Reporter) -> (Recorder, Sink) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let correlator = Correlator::new(reporter);
    (Recorder { queue: sender }, Sink { client, clock, queue, correlator })
}

/// A reference to a typed object.
pub fn reference<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectReference {
    let metadata = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    }
}

/// A reference to an object.
pub fn reference_to(object: &Object) -> ObjectReference {
    let head = object.head();
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    ObjectReference {
        api_version: text(&head.api_version),
        kind: text(&head.kind),
        namespace: text(&head.namespace),
        name: text(&head.name),
        uid: text(&head.uid),
        resource_version: Some(head.resource_version.to_string()),
        field_path: None,
    }
}

// === impl Recorder ===

impl Recorder {
    /// Tells that something happened to an object.
    pub fn event(
        &self,
        about: ObjectReference,
        kind: EventKind,
        reason: &str,
        message: impl Into<String>,
    ) {
        let (reason, message) = (reason.to_owned(), message.into());
        let occurrence = Occurrence { about, kind, reason, message };
        if let Err(error) = self.queue.try_send(occurrence) {
            tracing::warn!(reason = %lost(&error).reason, "event dropped: too many wait");
        }
    }

    /// All is as it should be.
    pub fn normal(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventKind::Normal, reason, message);
    }

    /// Something is wrong.
    pub fn warning(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.event(about, EventKind::Warning, reason, message);
    }
}

fn lost(error: &mpsc::error::TrySendError<Occurrence>) -> &Occurrence {
    match error {
        mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost) => lost,
    }
}

// === impl Sink ===

impl Sink {
    /// Writes events until the shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let occurrence = tokio::select! {
                () = shutdown.cancelled() => return,
                taken = self.queue.recv() => taken,
            };
            let Some(occurrence) = occurrence else { return };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.record(occurrence) => {}
            }
        }
    }

    async fn record(&mut self, occurrence: Occurrence) {
        let Some(step) = self.correlator.observe(&occurrence, self.clock.now()) else { return };
        let mut backoff = BACKOFF;
        for _ in 0..TRIES {
            match self.write(&step).await {
                Ok(()) => return,
                Err(error @ Error::Status(_)) => {
                    // Such as a namespace that ends: the event has nowhere to go.
                    tracing::debug!(%error, reason = occurrence.reason, "event refused");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "event waits");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
        tracing::warn!(reason = occurrence.reason, "event dropped: the API server is away");
    }

    async fn write(&self, step: &Step) -> Result<(), Error> {
        let events = GroupVersionResource::new("", "v1", "events");
        if let Some(change) = &step.change {
            let patch = Patch::merge(change.clone());
            match self.client.patch(&events, &step.namespace, &step.name, patch).await {
                // Its time was over: it is written anew, with its count.
                Err(error) if error.is_not_found() => {}
                result => return result.map(drop),
            }
        }
        match self.client.create(&events, &step.namespace, step.whole.clone()).await {
            // An earlier try was written, only its answer was lost.
            Err(error) if error.is_already_exists() => Ok(()),
            result => result.map(drop),
        }
    }
}
