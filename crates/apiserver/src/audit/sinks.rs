//! Where events go: the log, a webhook, or both.

use std::fmt::Write;

use super::event::Event;
use super::hook::Hook;
use super::queue::{Counts, Queue};
use crate::metrics::title;

/// A cheap handle.
#[derive(Clone)]
pub(super) struct Sinks {
    pub(super) log: Option<Queue>,
    pub(super) hook: Option<Hook>,
}

impl Sinks {
    /// Waits where the log is behind.
    pub(super) async fn put(&self, event: Event) {
        self.offer(&event);
        if let Some(log) = &self.log {
            log.put(event).await;
        }
    }

    /// The same where nobody can wait.
    pub(super) fn put_later(&self, event: Event) {
        self.offer(&event);
        if let Some(log) = &self.log {
            log.put_later(event);
        }
    }

    fn offer(&self, event: &Event) {
        if let Some(hook) = &self.hook {
            hook.offer(event);
        }
    }

    /// Ends when all that was put before is where it belongs.
    pub(super) async fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush().await;
        }
        if let Some(hook) = &self.hook {
            hook.flush().await;
        }
    }

    pub(super) fn write_metrics(&self, out: &mut String) {
        let counts: Vec<(&str, &Counts)> = (self.log.iter().map(|log| ("log", log.counts())))
            .chain(self.hook.iter().map(|hook| ("webhook", hook.counts())))
            .collect();
        let events = counts.iter().map(|(_, counts)| counts.events()).max().unwrap_or(0);
        let name = "apiserver_audit_event_total";
        title(out, name, "counter", "Events of the audit log.");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name} {events}");
        let name = "apiserver_audit_error_total";
        title(out, name, "counter", "Events that could not be written.");
        for (plugin, counts) in counts {
            let _ = writeln!(out, "{name}{{plugin=\"{plugin}\"}} {}", counts.errors());
        }
    }
}
