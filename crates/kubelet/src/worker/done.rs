//! What came of an action, and what the worker remembers of it.

use std::sync::Arc;

use onggi_api::core::PodStatus;
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_client::Error;
use onggi_node_api::{ContainerState, ContainerStatus, PodSandbox, RuntimeError};
use tokio::task::{Id, JoinError};

use super::act::Job;
use super::snapshot::{Crash, Kill, Slot, Stopping, Trouble};
use super::tokens::Tokens;
use super::{Found, Worker};
use crate::images::NoImage;
use crate::status::go_duration;

/// How long the first reason of a failed start or pull is shown before the back-off is.
const SHOWN: SignedDuration = SignedDuration::from_secs(3);
/// A pod whose volumes or sandbox are not to be had is tried again after these, doubling.
const NODE_FIRST: i64 = 1;
const NODE_MOST: i64 = 60;

/// The end of an action.
pub(super) enum Done {
    Mounted {
        result: Result<Option<Timestamp>, String>,
        tokens: Tokens,
    },
    Sandbox(Result<PodSandbox, String>),
    Image {
        container: String,
        result: Result<String, NoImage>,
    },
    Started {
        container: String,
        result: Result<ContainerStatus, NotStarted>,
    },
    PostStarted {
        container: String,
        id: String,
        result: Result<(), String>,
    },
    Withdrawn,
    PreStopped {
        id: String,
    },
    Stopped {
        id: String,
        result: Result<(), RuntimeError>,
        status: Result<Option<ContainerStatus>, RuntimeError>,
    },
    Removed {
        id: String,
        result: Result<(), RuntimeError>,
    },
    SandboxStopped {
        id: String,
        result: Result<(), RuntimeError>,
    },
    SandboxRemoved {
        id: String,
        result: Result<(), RuntimeError>,
    },
    Released {
        files: bool,
        result: Result<(), String>,
    },
    Deleted(Result<(), Error>),
    StatusWritten {
        status: Box<PodStatus>,
        written: Result<u64, Error>,
    },
    Refreshed {
        id: String,
        status: Result<Option<ContainerStatus>, RuntimeError>,
    },
    Listed(Result<Found, RuntimeError>),
    Nothing,
}

/// A container that did not come to run.
pub(super) struct NotStarted {
    /// `state.waiting.reason`.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What the runtime has of it.
    pub(super) status: Option<ContainerStatus>,
}

impl Worker {
    pub(super) fn finish(&mut self, ended: Result<(Id, Done), JoinError>) {
        let (id, done) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // Cancelled work is known no more; what panicked is tried again.
                if let Some(slot) = self.tasks.remove(&error.id()) {
                    tracing::error!(pod = %self.pod.full_name(), ?slot, %error, "work failed");
                    self.busy.remove(&slot);
                    self.handles.remove(&slot);
                    self.retry_later(slot);
                }
                return;
            }
        };
        // What ended although it was cancelled still happened.
        let slot = self.tasks.remove(&id);
        if let Some(slot) = &slot {
            self.busy.remove(slot);
            self.handles.remove(slot);
        }
        self.remember(slot, done);
    }

    fn remember(&mut self, slot: Option<Slot>, done: Done) {
        let now = self.context.clock.now();
        match done {
            Done::Mounted { result, tokens } => {
                self.tokens = tokens;
                self.mounted(result, now);
            }
            Done::Sandbox(result) => self.sandbox_made(result, now),
            Done::Image { container, result } => self.image_ensured(container, result, now),
            Done::Started { container, result } => self.started(container, result, now),
            Done::PostStarted { container, id, result } => {
                if let Err(text) = result {
                    self.post_start_failed(container, id, &text, now);
                }
            }
            Done::Withdrawn => self.memory.drained = true,
            Done::PreStopped { id } => {
                let stopping = Stopping { pre_stop_done: true, kill_at: None };
                self.memory.stops.entry(id).or_insert(stopping).pre_stop_done = true;
            }
            Done::Stopped { id, result, status } => {
                self.check(slot, "stop container", result);
                self.refreshed(id, status);
            }
            Done::Removed { id, result } => {
                if self.check(slot, "remove container", result) {
                    self.containers.retain(|record| record.id != id);
                }
            }
            Done::SandboxStopped { id, result } => {
                if self.check(slot, "stop sandbox", result) {
                    self.memory.stopped_sandboxes.insert(id.clone());
                    for sandbox in self.sandboxes.iter_mut().filter(|s| s.id == id) {
                        sandbox.ready = false;
                    }
                }
            }
            Done::SandboxRemoved { id, result } => {
                if self.check(slot, "remove sandbox", result) {
                    self.sandboxes.retain(|sandbox| sandbox.id != id);
                    self.memory.stopped_sandboxes.remove(&id);
                    self.context.directory.unbind(&id);
                    if self.memory.ending_since.is_none() {
                        self.containers.retain(|record| record.sandbox != id);
                    }
                }
            }
            Done::Released { files, result } => {
                let released = self.check(slot, "release volumes", result);
                self.memory.released |= released;
                self.memory.removed |= released && files;
            }
            Done::Deleted(result) => {
                self.memory.deleted |= self.check(slot, "delete pod", result);
            }
            Done::StatusWritten { status, written } => {
                if let Some(revision) = self.checked(slot, "write status", written) {
                    self.written_at = self.written_at.max(revision);
                    self.written = Some(*status);
                }
            }
            Done::Refreshed { id, status } => self.refreshed(id, status),
            Done::Listed(found) => {
                if let Some(found) = self.checked(slot, "list containers", found) {
                    for sandbox in &found.sandboxes {
                        self.context.directory.bind(&sandbox.id, self.pod.uid());
                    }
                    self.sandboxes = found.sandboxes;
                    self.containers = found.containers;
                }
            }
            Done::Nothing => {}
        }
    }

    /// Whether it went well; else it is tried again later.
    fn check<E: std::fmt::Display>(
        &mut self,
        slot: Option<Slot>,
        what: &str,
        result: Result<(), E>,
    ) -> bool {
        self.checked(slot, what, result).is_some()
    }

    fn checked<T, E: std::fmt::Display>(
        &mut self,
        slot: Option<Slot>,
        what: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                if let Some(slot) = slot {
                    self.memory.retries.remove(&slot);
                }
                Some(value)
            }
            Err(error) => {
                tracing::warn!(pod = %self.pod.full_name(), what, %error, "will be tried again");
                if let Some(slot) = slot {
                    self.retry_later(slot);
                }
                None
            }
        }
    }

    fn mounted(&mut self, result: Result<Option<Timestamp>, String>, now: Timestamp) {
        match result {
            Ok(refresh_at) => {
                self.memory.mounted = true;
                self.memory.refresh_at = refresh_at;
                self.memory.mount_trouble = None;
            }
            Err(text) => {
                self.context.events.warning(&self.pod, None, "FailedMount", text.clone());
                let old = self.memory.mount_trouble.as_ref();
                let trouble = node_trouble("FailedMount", text, old, now);
                self.memory.mount_trouble = Some(trouble);
                self.memory.mounted = false;
            }
        }
    }

    fn sandbox_made(&mut self, result: Result<PodSandbox, String>, now: Timestamp) {
        match result {
            Ok(sandbox) => {
                self.memory.sandbox_trouble = None;
                self.sandboxes.retain(|old| old.id != sandbox.id);
                self.sandboxes.push(sandbox);
            }
            Err(text) => {
                let message = format!("Failed to create pod sandbox: {text}");
                self.context.events.warning(&self.pod, None, "FailedCreatePodSandBox", message);
                let old = self.memory.sandbox_trouble.as_ref();
                self.memory.sandbox_trouble =
                    Some(node_trouble("FailedCreatePodSandBox", text, old, now));
                // Half a sandbox may be left: then it is taken away first.
                self.refresh(String::new());
            }
        }
    }

    fn image_ensured(
        &mut self,
        container: String,
        result: Result<String, NoImage>,
        now: Timestamp,
    ) {
        let failed = match result {
            Ok(image) => {
                self.memory.images.insert(container.clone(), image);
                // The trouble was the image: the reasons that speak of it all say so.
                self.memory.troubles.retain(|name, trouble| {
                    *name != container || !trouble.reason.contains("Image")
                });
                return;
            }
            Err(failed) => failed,
        };
        let image = self.pod.container(&container).and_then(|(_, c)| c.image.clone());
        let then = failed.again.then(|| {
            let text = format!(
                "Back-off pulling image {:?}: {}: {}",
                image.unwrap_or_default(),
                failed.reason,
                failed.message
            );
            (now + SHOWN, "ImagePullBackOff".to_owned(), text)
        });
        self.trouble(container, failed.reason, failed.message, then, now);
    }

    fn started(
        &mut self,
        container: String,
        result: Result<ContainerStatus, NotStarted>,
        now: Timestamp,
    ) {
        match result {
            Ok(status) => {
                self.memory.troubles.remove(&container);
                let id = status.id.clone();
                self.put(status);
                self.post_start(container, id);
            }
            Err(NotStarted { reason, message, status }) => {
                if let Some(status) = status {
                    self.put(status);
                }
                let then = (reason == "RunContainerError").then(|| {
                    let failures = self.memory.troubles.get(&container).map_or(0, |t| t.failures);
                    let text = format!(
                        "back-off {} restarting failed container={container} pod={}",
                        go_duration(delay_after(failures).as_secs()),
                        self.pod.full_name()
                    );
                    (now + SHOWN, "CrashLoopBackOff".to_owned(), text)
                });
                self.trouble(container, reason, message, then, now);
            }
        }
    }

    fn post_start(&mut self, container: String, id: String) {
        let hook = self
            .pod
            .container(&container)
            .and_then(|(_, c)| c.lifecycle.as_ref()?.post_start.as_ref());
        if hook.is_some() {
            let slot = Slot::PostStart(id.clone());
            let job = self.job();
            self.spawn(slot, job.post_start(container, id));
        }
    }

    fn post_start_failed(&mut self, container: String, id: String, text: &str, now: Timestamp) {
        tracing::info!(pod = %self.pod.full_name(), container, text, "postStart failed");
        let part = Some(container.as_str());
        let message = "PostStartHook failed".to_owned();
        self.context.events.warning(&self.pod, part, "FailedPostStartHook", message);
        let message = "FailedPostStartHook".to_owned();
        let kill = Kill { message, grace: self.pod.grace_seconds(), since: now };
        self.memory.kills.entry(id).or_insert(kill);
    }

    fn refreshed(&mut self, id: String, status: Result<Option<ContainerStatus>, RuntimeError>) {
        match status {
            Ok(Some(status)) => self.put(status),
            // Kept where the pod ends: its status tells how it ended.
            Ok(None) if self.memory.ending_since.is_some() => {
                for record in self.containers.iter_mut().filter(|record| record.id == id) {
                    if record.state == ContainerState::Running {
                        record.state = ContainerState::Unknown;
                    }
                }
            }
            Ok(None) => self.containers.retain(|record| record.id != id),
            Err(error) => {
                tracing::warn!(pod = %self.pod.full_name(), id, %error, "container status");
                self.refresh(String::new());
            }
        }
    }

    fn put(&mut self, status: ContainerStatus) {
        match self.containers.iter_mut().find(|record| record.id == status.id) {
            // An answer that was asked for earlier never brings a dead container back.
            Some(record) if record.state == ContainerState::Exited => {}
            Some(record) => *record = status,
            None => self.containers.push(status),
        }
    }

    fn trouble(
        &mut self,
        container: String,
        reason: &str,
        message: String,
        then: Option<(Timestamp, String, String)>,
        now: Timestamp,
    ) {
        let failures = self.memory.troubles.get(&container).map_or(0, |old| old.failures);
        let until = now + delay_after(failures);
        let trouble =
            Trouble { reason: reason.to_owned(), message, then, until, failures: failures + 1 };
        self.memory.troubles.insert(container, trouble);
    }

    /// The time of a first reason is over, or a dead container waits: says that we back off.
    pub(super) fn tell_back_off(
        &mut self,
        container: &str,
        id: Option<&str>,
        delay: SignedDuration,
    ) {
        let part = Some(container);
        let full_name = self.pod.full_name();
        let restarting =
            || format!("Back-off restarting failed container {container} in pod {full_name}");
        let events = &self.context.events;
        if let Some(id) = id {
            self.memory.waits_told.insert(id.to_owned());
            tracing::debug!(pod = %full_name, container, ?delay, "backing off");
            events.warning(&self.pod, part, "BackOff", restarting());
            return;
        }
        let Some(trouble) = self.memory.troubles.get_mut(container) else { return };
        let Some((_, reason, message)) = trouble.then.take() else { return };
        if reason == "ImagePullBackOff" {
            let image = self.pod.container(container).and_then(|(_, c)| c.image.clone());
            let image = image.unwrap_or_default();
            events.normal(&self.pod, part, "BackOff", format!("Back-off pulling image {image:?}"));
            events.warning(&self.pod, part, "Failed", "Error: ImagePullBackOff".to_owned());
        } else {
            events.warning(&self.pod, part, "BackOff", restarting());
        }
        trouble.reason = reason;
        trouble.message = message;
    }

    pub(super) fn job(&self) -> Job {
        let now = self.context.clock.now();
        Job {
            context: Arc::clone(&self.context),
            pod: Arc::clone(&self.pod),
            facts: self.facts(),
            handles: self.watching.handles(),
            tokens: self.tokens.clone(),
            ips: self.snapshot(now).sandbox().map(|s| s.ips.clone()).unwrap_or_default(),
        }
    }
}

fn delay_after(failures: u32) -> SignedDuration {
    (Crash::FIRST * (1 << failures.min(10))).min(Crash::MOST)
}

fn node_trouble(reason: &str, message: String, old: Option<&Trouble>, now: Timestamp) -> Trouble {
    let failures = old.map_or(0, |old| old.failures);
    let delay = NODE_FIRST.saturating_mul(1 << failures.min(10)).min(NODE_MOST);
    Trouble {
        reason: reason.to_owned(),
        message,
        then: None,
        until: now + SignedDuration::from_secs(delay),
        failures: failures + 1,
    }
}
