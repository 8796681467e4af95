//! What is gathered about one request until it ends.

use std::sync::Arc;

use onggi_api::Status;
use onggi_base::Clock;
use onggi_client::{Body, Response};
use onggi_machinery::audit::{Level, Stage};
use onggi_machinery::value::str_at;
use onggi_machinery::yaml;
use parking_lot::Mutex;
use serde_json::Value;

use super::event::{Event, ResponseStatus, Shown, without_managed_fields};
use super::sinks::Sinks;
use crate::admission::Notes;
use crate::authn::User;
use crate::authz::{Because, Decision};

/// The events of one request. One that is dropped before its end was given up by the client; it has
/// its last event too.
pub(crate) struct Record {
    event: Event,
    sinks: Sinks,
    clock: Arc<dyn Clock>,
    omit_stages: Vec<Stage>,
    notes: Option<Notes>,
    ended: bool,
}

/// Ends a record with whatever holds it last: the body of a stream, or its session.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<Mutex<Option<Record>>>);

impl Ending {
    pub(crate) fn hold(&self, record: Record) {
        *self.0.lock() = Some(record);
    }
}

impl Record {
    pub(super) fn new(
        event: Event,
        sinks: Sinks,
        clock: Arc<dyn Clock>,
        omit_stages: &[Stage],
    ) -> Self {
        let omit_stages = omit_stages.to_vec();
        Self { event, sinks, clock, omit_stages, notes: None, ended: false }
    }

    pub(super) async fn received(&mut self) {
        if !self.omit_stages.contains(&Stage::RequestReceived) {
            self.sinks.put(self.event.clone()).await;
        }
    }

    /// For whom the user acts.
    pub(crate) fn acts_as(&mut self, user: &User) {
        self.event.impersonated_user = Some(user.to_value());
    }

    /// What authorization says.
    pub(crate) fn decided(&mut self, decision: &Decision) {
        let (word, why): (_, &Because) = match decision {
            Decision::Allow(why) => ("allow", why),
            Decision::Deny(why) | Decision::NoOpinion(why) => ("forbid", why),
        };
        let annotations = &mut self.event.annotations;
        annotations.insert("authorization.k8s.io/decision".into(), word.into());
        annotations.insert("authorization.k8s.io/reason".into(), why.to_string());
    }

    /// Where admission leaves its annotations.
    pub(crate) fn reads(&mut self, notes: &Notes) {
        self.notes = Some(notes.clone());
    }

    /// What was sent.
    pub(crate) fn asked(&mut self, body: &Body) {
        let mut value = match body {
            Body::None => return,
            Body::Object(value) => {
                if let Some(object) = &mut self.event.object_ref {
                    let fill = |field: &mut String, path: &str| {
                        if field.is_empty() {
                            *field = str_at(value, path).to_owned();
                        }
                    };
                    fill(&mut object.namespace, "metadata.namespace");
                    fill(&mut object.name, "metadata.name");
                    fill(&mut object.uid, "metadata.uid");
                    fill(&mut object.resource_version, "metadata.resourceVersion");
                }
                if self.event.level < Level::Request {
                    return;
                }
                value.clone()
            }
            Body::Patch(..) if self.event.level < Level::Request => return,
            Body::Patch(_, bytes) => patch(bytes),
        };
        if self.event.omit_managed_fields {
            without_managed_fields(&mut value);
        }
        self.event.request_object = Some(value);
    }

    /// What is answered.
    pub(crate) fn answers(&mut self, response: &Response) {
        if let Response::Status(status) = response {
            self.event.response_status = Some(status.into());
        }
        if self.event.level >= Level::RequestResponse {
            let shown = Shown::of(response, self.event.omit_managed_fields);
            self.event.response_object = Some(shown);
        }
    }

    /// Why it fails.
    pub(crate) fn fails(&mut self, status: &Status) {
        self.event.response_status = Some(status.into());
        if self.event.level >= Level::RequestResponse && self.event.object_ref.is_some() {
            self.event.response_object = Some(Shown::status(status));
        }
    }

    /// The head of a stream's answer is on its way.
    pub(crate) async fn started(&mut self, code: u16) {
        self.has_code(code);
        self.annotate();
        if let Some(event) = self.at(Stage::ResponseStarted) {
            self.sinks.put(event).await;
        }
    }

    /// The credentials were refused: the only event of such a request.
    pub(crate) async fn refused(mut self, code: u16, how: String) {
        let status = ResponseStatus { message: how, ..ResponseStatus::default() };
        self.event.response_status = Some(status);
        self.started(code).await;
        self.ended = true;
    }

    /// It is over.
    pub(crate) async fn complete(mut self, code: u16, panicked: bool) {
        self.has_code(code);
        self.annotate();
        self.ended = true;
        let stage = if panicked { Stage::Panic } else { Stage::ResponseComplete };
        if let Some(event) = self.last(stage) {
            self.sinks.put(event).await;
        }
    }

    fn has_code(&mut self, code: u16) {
        self.event.response_status.get_or_insert_default().code = Some(code);
    }

    fn annotate(&mut self) {
        for (key, value) in self.notes.iter().flat_map(Notes::annotations) {
            self.event.annotations.entry(key).or_insert(value);
        }
    }

    fn at(&self, stage: Stage) -> Option<Event> {
        let wanted = !self.omit_stages.contains(&stage);
        wanted.then(|| Event { stage, stage_timestamp: self.clock.now(), ..self.event.clone() })
    }

    /// [`Record::at`] without a copy.
    fn last(&mut self, stage: Stage) -> Option<Event> {
        if self.omit_stages.contains(&stage) {
            return None;
        }
        let now = self.clock.now();
        let event = std::mem::replace(&mut self.event, Event::new(now));
        Some(Event { stage, stage_timestamp: now, ..event })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.annotate();
        self.event.response_status.get_or_insert_with(|| ResponseStatus {
            message: "Connection closed early".into(),
            ..ResponseStatus::default()
        });
        if let Some(event) = self.last(Stage::ResponseComplete) {
            self.sinks.put_later(event);
        }
    }
}

/// A patch as a value: JSON, or YAML where server-side apply sends that.
fn patch(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(bytes);
        yaml::parse(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
    })
}
