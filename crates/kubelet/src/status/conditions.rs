//! `conditions[]`: those of the kubelet, with the times of their changes; those of others stay.

use onggi_api::core::PodCondition;

use super::container::State;
use crate::pod::{Place, whole_seconds};
use crate::worker::snapshot::Snapshot;

const OWN: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

type Verdict = Result<(), (&'static str, String)>;

pub(super) fn conditions(s: &Snapshot<'_>, states: &[State<'_>], phase: &str) -> Vec<PodCondition> {
    let containers = containers_ready(states, phase);
    let ready = containers.clone().and_then(|()| gates(s));
    let sandbox = match s.sandbox() {
        Some(sandbox) if s.pod.is_host_network() || !sandbox.ips.is_empty() => Ok(()),
        _ => Err(("", String::new())),
    };
    let verdicts: [Verdict; 5] =
        [sandbox, initialized(s, states, phase), ready, containers, Ok(())];
    let mut list: Vec<PodCondition> = OWN
        .into_iter()
        .zip(verdicts)
        .map(|(type_, verdict)| condition(s, type_, verdict))
        .collect();
    let others = s.pod.status.conditions.iter().flatten();
    list.extend(others.filter(|c| !OWN.contains(&c.type_.as_str())).cloned());
    list
}

fn condition(s: &Snapshot<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (status, reason, message) = match verdict {
        Ok(()) => ("True", None, None),
        Err((reason, message)) => ("False", text(reason), text(&message)),
    };
    let find = |list: Option<&Vec<PodCondition>>| {
        list.and_then(|list| list.iter().find(|c| c.type_ == type_)).cloned()
    };
    let old = find(s.memory.status.conditions.as_ref())
        .or_else(|| find(s.pod.status.conditions.as_ref()));
    let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        last_transition_time: since.or_else(|| Some(whole_seconds(s.now))),
        observed_generation: s.pod.metadata.generation,
        last_probe_time: None,
    }
}

fn initialized(s: &Snapshot<'_>, states: &[State<'_>], phase: &str) -> Verdict {
    if phase == "Succeeded" || s.is_initialized() {
        return Ok(());
    }
    let waiting = states
        .iter()
        .filter(|state| state.place != Place::App && !s.init_is_done(state.place, state.container));
    let names = names(waiting);
    if names.is_empty() {
        return Ok(());
    }
    Err(("ContainersNotInitialized", format!("containers with incomplete status: [{names}]")))
}

fn containers_ready(states: &[State<'_>], phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return Err(("PodCompleted", String::new())),
        "Failed" => return Err(("PodFailed", String::new())),
        _ => {}
    }
    let unready = states.iter().filter(|state| state.place != Place::Init && !state.ready);
    let names = names(unready);
    if names.is_empty() {
        return Ok(());
    }
    Err(("ContainersNotReady", format!("containers with unready status: [{names}]")))
}

/// `readinessGates`: conditions that somebody else sets.
fn gates(s: &Snapshot<'_>) -> Verdict {
    let mut faults = Vec::new();
    for gate in s.pod.spec.readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        let found = s.pod.status.conditions.iter().flatten().find(|c| c.type_ == *name);
        match found.map(|condition| condition.status.as_str()) {
            Some("True") => {}
            Some(status) => faults.push(format!(
                "the status of pod readiness gate \"{name}\" is not \"True\", but {status}"
            )),
            None => faults.push(format!(
                "corresponding condition of pod readiness gate \"{name}\" does not exist."
            )),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(("ReadinessGatesNotReady", faults.join(", "))) }
}

fn names<'a>(states: impl Iterator<Item = &'a State<'a>>) -> String {
    states.map(|state| state.container.name.as_str()).collect::<Vec<_>>().join(" ")
}
