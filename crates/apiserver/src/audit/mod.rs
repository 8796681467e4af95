//! The audit log: who asked for what, when, and how it ended; a line of JSON an event
//! (`audit.k8s.io/v1 Event`), for the requests that the policy speaks of.
//!
//! ```text
//!  http::handle ─▶ Audit::begin ─▶ Record ─▶ Queue ─▶ log::Writer (a thread of its own) ─▶ file
//!                  policy: machinery::audit │   bounded by bytes           rotation
//!                                           └▶ Hook (a task) ─▶ a server of the operator's
//! ```
//!
//! Nothing is lost as long as the log can be written: where the queue is full, requests wait. An
//! event that cannot be written is lost, counted and said so; the request goes on. No request waits
//! for the webhook.

mod event;
mod hook;
pub(crate) mod local;
mod log;
mod queue;
mod record;
mod rotation;
mod sinks;

use std::sync::Arc;

use jiff::Timestamp;
use onggi_base::Clock;
use onggi_machinery::audit::{Attributes, Level, Policy, Target};

use crate::authn::User;

use event::{Event, ObjectReference};
use hook::Hook;
use queue::Queue;
use sinks::Sinks;

pub use hook::AuditWebhook;
pub use log::{Log, Place};
pub(crate) use record::{Ending, Record};

/// `--audit-policy-file`, `--audit-log-*` and `--audit-webhook-*`.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// What is kept of which requests.
    pub policy: Policy,
    /// Where it is written.
    pub log: Option<Log>,
    /// Where it is sent.
    pub webhook: Option<AuditWebhook>,
}

/// See the module.
pub(crate) struct Audit {
    policy: Policy,
    sinks: Sinks,
    clock: Arc<dyn Clock>,
}

/// A request as it comes in.
pub(crate) struct Arrival<'a> {
    pub(crate) audit_id: String,
    pub(crate) received: Timestamp,
    pub(crate) request_uri: String,
    /// The verb of authorization; of a path the method in lower case.
    pub(crate) verb: &'a str,
    /// `None`: whose credentials were refused.
    pub(crate) user: Option<&'a User>,
    pub(crate) source_ips: Vec<String>,
    pub(crate) user_agent: String,
    /// The version of the resource.
    pub(crate) version: &'a str,
    pub(crate) target: Target<'a>,
}

impl Audit {
    /// Opens the log; the error names it.
    pub(crate) fn open(options: &AuditOptions, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let log = options.log.as_ref().map(|log| {
            let writer = log::Writer::open(log, Arc::clone(&clock))?;
            Queue::start(writer)
                .map_err(|error| format!("cannot start to write the audit log: {error}"))
        });
        let hook = options.webhook.as_ref().map(Hook::start);
        let sinks = Sinks { log: log.transpose()?, hook: hook.transpose()? };
        Ok(Self { policy: options.policy.clone(), sinks, clock })
    }

    /// The record of a request; `None` where the policy keeps nothing of it. Its first event is on
    /// its way when this answers.
    pub(crate) async fn begin(&self, arrival: Arrival<'_>) -> Option<Record> {
        let Arrival { user, verb, target, .. } = arrival;
        let user_name = user.map(|user| (user.name.as_str(), user.groups.as_slice()));
        let kept = self.policy.keeps(&Attributes { user: user_name, verb, target });
        if kept.level == Level::None {
            return None;
        }
        let object_ref = match target {
            Target::Path(_) => None,
            Target::Resource { group, resource, subresource, namespace, name } => {
                Some(ObjectReference {
                    resource: resource.into(),
                    namespace: namespace.into(),
                    name: name.into(),
                    api_group: group.into(),
                    api_version: arrival.version.into(),
                    subresource: subresource.into(),
                    ..ObjectReference::default()
                })
            }
        };
        let event = Event {
            level: kept.level,
            audit_id: arrival.audit_id,
            request_uri: arrival.request_uri,
            verb: verb.to_owned(),
            user: user.map(User::to_value).unwrap_or_else(|| serde_json::json!({})),
            source_ips: arrival.source_ips,
            user_agent: arrival.user_agent,
            object_ref,
            omit_managed_fields: kept.omit_managed_fields,
            ..Event::new(arrival.received)
        };
        let sinks = self.sinks.clone();
        let mut record = Record::new(event, sinks, Arc::clone(&self.clock), kept.omit_stages);
        if user.is_some() {
            record.received().await;
        }
        Some(record)
    }

    /// Ends when all events so far are in the log, and sent.
    pub(crate) async fn flush(&self) {
        self.sinks.flush().await;
    }

    pub(crate) fn write_metrics(&self, out: &mut String) {
        self.sinks.write_metrics(out);
    }
}
