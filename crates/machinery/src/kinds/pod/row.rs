//! The cells of a pod: what `kubectl get pods` says of it.

use std::borrow::Cow;

use serde_json::Value;

use super::{has_condition, is_finished};
use crate::kinds::podspec::is_sidecar;
use crate::table::{self, human_duration, text_or};
use crate::value::{at, bool_at, find, i64_at, is_set, list_at, str_at, time_at};

pub(super) fn row(pod: &Value, now: i64) -> Vec<Value> {
    let summary = summary(pod);
    let none = |path| Value::from(text_or(str_at(pod, path), "<none>"));
    let ip = list_at(pod, "status.podIPs").first().map_or("", |ip| str_at(ip, "ip"));
    let ip = text_or(ip, str_at(pod, "status.podIP"));
    vec![
        table::name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into_owned().into(),
        summary.restarts.text(now).into(),
        table::age(pod, now),
        text_or(ip, "<none>").into(),
        none("spec.nodeName"),
        none("status.nominatedNodeName"),
        readiness_gates(pod).into(),
    ]
}

struct Summary<'a> {
    ready: usize,
    total: usize,
    status: Cow<'a, str>,
    restarts: Restarts,
}

/// How often containers were restarted, and when the last one ended.
#[derive(Default, Clone, Copy)]
struct Restarts {
    count: i64,
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += i64_at(status, "restartCount").unwrap_or(0);
        self.last = self.last.max(time_at(status, "lastState.terminated.finishedAt"));
    }

    fn text(self, now: i64) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, human_duration(now.saturating_sub(last)))
            }
            _ => self.count.to_string(),
        }
    }
}

fn summary(pod: &Value) -> Summary<'_> {
    let sidecars = list_at(pod, "spec.initContainers").iter().filter(|c| is_sidecar(c)).count();
    let gated = find(list_at(pod, "status.conditions"), "type", "PodScheduled")
        .is_some_and(|condition| str_at(condition, "reason") == "SchedulingGated");
    let phase = text_or(str_at(pod, "status.reason"), str_at(pod, "status.phase"));
    let mut summary = Summary {
        ready: 0,
        total: list_at(pod, "spec.containers").len() + sidecars,
        status: if gated { "SchedulingGated".into() } else { phase.into() },
        restarts: Restarts::default(),
    };
    let initializing = add_init_containers(pod, &mut summary);
    if !initializing || has_condition(pod, "Initialized") {
        add_containers(pod, &mut summary);
    }
    if is_set(pod, "metadata.deletionTimestamp") {
        if str_at(pod, "status.reason") == "NodeLost" {
            summary.status = "Unknown".into();
        } else if !is_finished(pod) {
            summary.status = "Terminating".into();
        }
    }
    summary
}

/// Whether an init container is still to end; then it says the status. Restarts count those of all
/// init containers while they run, and those of sidecars alone afterwards.
fn add_init_containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) -> bool {
    let containers = list_at(pod, "spec.initContainers");
    let mut sidecar_restarts = Restarts::default();
    for (index, status) in list_at(pod, "status.initContainerStatuses").iter().enumerate() {
        summary.restarts.add(status);
        let sidecar = find(containers, "name", str_at(status, "name")).is_some_and(is_sidecar);
        if sidecar {
            sidecar_restarts.add(status);
        }
        if i64_at(status, "state.terminated.exitCode") == Some(0) {
            continue;
        }
        if sidecar && bool_at(status, "started") {
            summary.ready += usize::from(bool_at(status, "ready"));
            continue;
        }
        summary.status = match state_reason(status) {
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}").into(),
            _ => format!("Init:{index}/{}", containers.len()).into(),
        };
        if has_condition(pod, "Initialized") {
            summary.restarts = sidecar_restarts;
        }
        return true;
    }
    summary.restarts = sidecar_restarts;
    false
}

fn add_containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) {
    let mut running = false;
    // Backwards: the first container has the last word.
    for status in list_at(pod, "status.containerStatuses").iter().rev() {
        summary.restarts.add(status);
        if let Some(reason) = state_reason(status) {
            summary.status = reason;
        } else if bool_at(status, "ready") && is_set(status, "state.running") {
            running = true;
            summary.ready += 1;
        }
    }
    if running && summary.status == "Completed" {
        let ready = has_condition(pod, "Ready");
        summary.status = if ready { "Running".into() } else { "NotReady".into() };
    }
}

/// Why a container waits, or how it ended; nothing while it runs.
fn state_reason(status: &Value) -> Option<Cow<'_, str>> {
    let waiting = str_at(status, "state.waiting.reason");
    if !waiting.is_empty() {
        return Some(waiting.into());
    }
    let ended = at(status, "state.terminated");
    if ended.is_null() {
        return None;
    }
    let number = |field| i64_at(ended, field).unwrap_or(0);
    Some(match (str_at(ended, "reason"), number("signal")) {
        ("", 0) => format!("ExitCode:{}", number("exitCode")).into(),
        ("", signal) => format!("Signal:{signal}").into(),
        (reason, _) => reason.into(),
    })
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, "spec.readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates.iter().filter(|g| has_condition(pod, str_at(g, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}
