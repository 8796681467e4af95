//! Decides on which node a pod runs.
//!
//! [`schedule`](crate::schedule::schedule) is pure: a pod and a snapshot of the nodes go in, a node
//! or the reasons of every node come out. [`framework`] is what a plugin is; one file a plugin in
//! [`plugins`]. [`Scheduler`] keeps the snapshot true from the events of informers, holds the pods
//! that wait ([`queue`]) and binds.

mod cluster;
mod framework;
mod plugins;
mod pod;
mod queue;
mod run;
mod schedule;

use std::sync::Arc;

use futures::future::BoxFuture;
use onggi_base::{Clock, Shutdown};
use onggi_client::SharedInformers;

/// Kubernetes' name of it, in `spec.schedulerName` and in events.
pub const NAME: &str = "default-scheduler";

/// The scheduler.
pub struct Scheduler {
    informers: SharedInformers,
    clock: Arc<dyn Clock>,
}

impl Scheduler {
    /// Over the transport of the informers, whose identity should be `system:kube-scheduler`.
    pub fn new(informers: SharedInformers, clock: Arc<dyn Clock>) -> Self {
        Self { informers, clock }
    }

    /// Schedules until the shutdown.
    pub fn run(self, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            run::run(&self.informers, &self.clock, shutdown).await;
        })
    }
}
