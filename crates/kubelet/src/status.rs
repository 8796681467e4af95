//! A pod's status from its specification, the runtime's records and the probes: pure.

mod conditions;
mod container;

use std::net::IpAddr;

use onggi_api::core::{HostIP, PodIP, PodStatus};
use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;

use crate::pod::{Place, Pod, RestartPolicy, whole_seconds};
use crate::worker::snapshot::{Goal, Snapshot};
use crate::{admit, resources};
use container::State;

pub(crate) use container::go_duration;

/// The status that follows from a snapshot. Times of conditions that did not change are taken from
/// the last status.
pub(crate) fn status(s: &Snapshot<'_>, host_ip: IpAddr) -> PodStatus {
    let pod = s.pod;
    let last = &s.memory.status;
    let states: Vec<State<'_>> =
        pod.containers().map(|(place, container)| State::of(s, place, container)).collect();
    let mut status = PodStatus {
        // What others wrote there stays.
        nominated_node_name: pod.status.nominated_node_name.clone(),
        resource_claim_statuses: pod.status.resource_claim_statuses.clone(),
        resize: pod.status.resize.clone(),
        observed_generation: pod.metadata.generation,
        host_ip: Some(host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: host_ip.to_string() }]),
        qos_class: Some(resources::qos(pod).as_str().to_owned()),
        start_time: last.start_time.clone().or_else(|| start_time(pod, s.now)),
        ..PodStatus::default()
    };
    let phase = phase(s, &states);
    if let (false, Some(refusal)) = (is_final(last), admit::refusal(pod)) {
        status.reason = Some(refusal.reason.into());
        status.message = Some(format!("Pod was rejected: {}", refusal.message));
    } else if s.deadline_passed() && !is_final(last) {
        status.reason = Some("DeadlineExceeded".into());
        status.message =
            Some("Pod was active on the node longer than the specified deadline".into());
    } else if is_final(last) {
        status.reason.clone_from(&last.reason);
        status.message.clone_from(&last.message);
    }
    let ips = addresses(s, host_ip);
    status.pod_ip = ips.first().cloned();
    status.pod_ips = (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect());
    let conditions = conditions::conditions(s, &states, phase);
    status.conditions = Some(conditions);
    let statuses = |init: bool| -> Vec<_> {
        let wanted = states.iter().filter(|state| (state.place != Place::App) == init);
        wanted.map(|state| state.status(s)).collect()
    };
    status.init_container_statuses = Some(statuses(true)).filter(|list| !list.is_empty());
    status.container_statuses = Some(statuses(false)).filter(|list| !list.is_empty());
    let ephemeral = pod.ephemeral_containers().iter();
    let ephemeral: Vec<_> =
        ephemeral.map(|container| State::of(s, Place::Ephemeral, container).status(s)).collect();
    status.ephemeral_container_statuses = Some(ephemeral).filter(|list| !list.is_empty());
    status.phase = Some(phase.to_owned());
    status
}

/// The time of the first look at the pod, or what the API remembers of it.
fn start_time(pod: &Pod, now: Timestamp) -> Option<Time> {
    Some(pod.status.start_time.clone().unwrap_or_else(|| whole_seconds(now)))
}

fn addresses(s: &Snapshot<'_>, host_ip: IpAddr) -> Vec<String> {
    if s.pod.is_host_network() {
        return vec![host_ip.to_string()];
    }
    match s.sandbox() {
        Some(sandbox) => sandbox.ips.iter().map(ToString::to_string).collect(),
        // What it had is told as long as the pod is there.
        None => s.memory.status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect(),
    }
}

fn is_final(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// `status.phase`, as the kubelet's `getPhase` counts it.
fn phase(s: &Snapshot<'_>, states: &[State<'_>]) -> &'static str {
    for known in [s.memory.status.phase.as_deref(), s.pod.status.phase.as_deref()] {
        match known {
            Some("Succeeded") => return "Succeeded",
            Some("Failed") => return "Failed",
            _ => {}
        }
    }
    let any_running = states.iter().any(|state| state.is_running());
    if !any_running && admit::refusal(s.pod).is_some() {
        return "Failed";
    }
    if s.deadline_passed() && !any_running {
        return "Failed";
    }
    if s.init_failed() {
        return "Failed";
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    let mut init_pending = false;
    for state in states {
        match state.place {
            Place::App | Place::Ephemeral => {}
            Place::Init => {
                init_pending |=
                    !s.is_initialized() && !s.init_is_done(Place::Init, state.container);
                continue;
            }
            Place::Sidecar => {
                init_pending |=
                    !s.is_initialized() && !s.init_is_done(Place::Sidecar, state.container);
                continue;
            }
        }
        if state.is_running() {
            running += 1;
        } else if let Some(code) = state.exit_code {
            stopped += 1;
            succeeded += usize::from(code == 0);
        } else {
            waiting += 1;
        }
    }
    let policy = s.pod.restart_policy();
    // Nothing of it will run again: the node is taking it down.
    let ending = s.goal() == Goal::Delete && !any_running;
    if ending && stopped + waiting > 0 && stopped > 0 {
        return if succeeded == stopped && waiting == 0 { "Succeeded" } else { "Failed" };
    }
    if init_pending || waiting > 0 {
        return if running + stopped > 0 && !init_pending { "Running" } else { "Pending" };
    }
    match (running, policy) {
        (0, RestartPolicy::Always) if stopped > 0 => "Running",
        (0, _) if stopped > 0 && stopped == succeeded => "Succeeded",
        (0, RestartPolicy::Never) if stopped > 0 => "Failed",
        (0, _) if stopped == 0 => "Pending",
        _ => "Running",
    }
}

#[cfg(test)]
mod tests;
