//! What every controller is handed.

use std::sync::Arc;

use onggi_api::jiff::Timestamp;
use onggi_base::{Clock, Shutdown};
use onggi_client::events::{Recorder, Reporter, recorder};
use onggi_client::{Cache, Client, Project, SharedInformers, Source};

use crate::Options;

/// The world of one controller. A cheap handle.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) name: &'static str,
    /// The name of its work queue.
    pub(crate) queue: &'static str,
    pub(crate) options: Arc<Options>,
    pub(crate) client: Client,
    pub(crate) events: Recorder,
    pub(crate) shutdown: Shutdown,
    clock: Arc<dyn Clock>,
    informers: SharedInformers,
}

impl Context {
    /// For the controller of that name, which is also the source of its events; and the name of its
    /// work queue.
    pub(crate) fn new(
        (name, queue): (&'static str, &'static str),
        options: &Arc<Options>,
        informers: &SharedInformers,
        clock: &Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Self {
        let client = Client::new(Arc::clone(informers.transport())).field_manager(name);
        let reporter = Reporter { component: name.to_owned(), host: String::new() };
        let (events, sink) = recorder(client.clone(), Arc::clone(clock), reporter);
        tokio::spawn(sink.run(shutdown.clone()));
        Self {
            name,
            queue,
            options: Arc::clone(options),
            client,
            events,
            shutdown: shutdown.clone(),
            clock: Arc::clone(clock),
            informers: informers.clone(),
        }
    }

    /// The cache of a collection, shared by all who ask for the same view.
    pub(crate) fn cache<T: Project>(&self, source: Source) -> Cache<T> {
        self.informers.informer(source)
    }

    /// Ends the informers of a collection that is no longer served.
    pub(crate) fn forget(&self, source: &Source) {
        self.informers.forget(source);
    }

    /// Now, in whole seconds as `metav1.Time` has them.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock.seconds()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
