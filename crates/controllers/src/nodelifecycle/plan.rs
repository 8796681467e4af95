//! Whether a node is lost, and which taints its conditions ask for.

use std::time::Duration;

use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;

use crate::view::{Condition, Node, Taint};

/// What a kubelet reports on, and what is unknown when it is silent.
const REPORTED: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taints of conditions that hold.
const PRESSURES: &[(&str, &str)] = &[
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// How a node is.
#[derive(Debug, PartialEq)]
pub(super) enum Health {
    /// It was heard of; lost after this time if it stays silent.
    Alive(Duration),
    /// It is silent; these conditions are not known any more.
    Lost(Vec<Condition>),
}

/// Judges a node that has been silent for so long.
pub(super) fn health(node: &Node, silent: Duration, grace: Duration, now: Timestamp) -> Health {
    let left = grace.saturating_sub(silent);
    if !left.is_zero() {
        return Health::Alive(left);
    }
    let unknown = |kind: &&str| {
        let old = Condition::find(&node.status.conditions, kind);
        if old.is_some_and(|old| old.status == "Unknown") {
            return None;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        Some(Condition {
            kind: (*kind).to_owned(),
            status: "Unknown".into(),
            reason: reason.into(),
            message: message.into(),
            last_update_time: None,
            last_transition_time: Some(Time(now)),
        })
    };
    Health::Lost(REPORTED.iter().filter_map(unknown).collect())
}

/// Whether it is well, by its own word.
pub(super) fn is_ready(node: &Node) -> bool {
    Condition::find(&node.status.conditions, "Ready").is_some_and(|c| c.status == "True")
}

/// Whether nothing is heard of the node.
pub(super) fn is_unknown(node: &Node) -> bool {
    Condition::find(&node.status.conditions, "Ready").is_some_and(|c| c.status == "Unknown")
}

/// The taints as they should be: those of others as they are, ours by the conditions.
///
/// Where no node is well (`any_ready`), it is rather the server that hears nothing, and pods would
/// have nowhere to go: none is chased away.
pub(super) fn taints(
    present: &[Taint],
    unschedulable: bool,
    conditions: &[Condition],
    any_ready: bool,
    now: Timestamp,
) -> Vec<Taint> {
    let is = |kind, status| Condition::find(conditions, kind).is_some_and(|c| c.status == status);
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (key, holds) in [(NOT_READY, is("Ready", "False")), (UNREACHABLE, is("Ready", "Unknown"))] {
        if holds {
            wanted.push((key, NO_SCHEDULE));
            if any_ready {
                wanted.push((key, NO_EXECUTE));
            }
        }
    }
    let pressing = PRESSURES.iter().filter(|(kind, _)| is(kind, "True"));
    wanted.extend(pressing.map(|(_, key)| (*key, NO_SCHEDULE)));
    if unschedulable {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let ours = |taint: &Taint| {
        let key = taint.key.as_str();
        matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE)
            && (matches!(key, NOT_READY | UNREACHABLE | UNSCHEDULABLE)
                || PRESSURES.iter().any(|(_, pressure)| *pressure == key))
    };
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> =
        present.iter().filter(|taint| !ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.into(),
                value: String::new(),
                effect: effect.into(),
                time_added: Some(Time(now)),
            });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn silence() {
        let node = |conditions: Value| -> Node {
            from_value(json!({"status": {"conditions": conditions}})).unwrap()
        };
        let ready = node(json!([{"type": "Ready", "status": "True"}]));
        let seconds = Duration::from_secs;
        assert_eq!(health(&ready, seconds(39), seconds(40), at(NOW)), Health::Alive(seconds(1)));
        let Health::Lost(unknown) = health(&ready, seconds(40), seconds(40), at(NOW)) else {
            panic!()
        };
        let reasons: Vec<_> = unknown.iter().map(|c| c.reason.as_str()).collect();
        assert_eq!(unknown.len(), 4);
        assert_eq!(&reasons[..2], ["NodeStatusUnknown", "NodeStatusNeverUpdated"]);
        let told = node(json!(
            REPORTED
                .iter()
                .map(|kind| json!({"type": kind, "status": "Unknown"}))
                .collect::<Vec<_>>()
        ));
        assert_eq!(health(&told, seconds(90), seconds(40), at(NOW)), Health::Lost(Vec::new()));
    }

    #[test]
    fn taints_follow_conditions() {
        let mine = json!({"key": "mine", "effect": "NoSchedule"});
        for (present, unschedulable, any_ready, conditions, expected) in [
            (json!([mine]), false, true, json!([{"type": "Ready", "status": "True"}]), "mine"),
            (
                json!([mine]),
                true,
                true,
                json!([{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"}]),
                "mine not-ready not-ready! disk-pressure unschedulable",
            ),
            (
                json!([{"key": NOT_READY, "effect": NO_EXECUTE}, {"key": NOT_READY, "effect": NO_SCHEDULE}]),
                false,
                true,
                json!([{"type": "Ready", "status": "Unknown"}]),
                "unreachable unreachable!",
            ),
            (
                json!([{"key": UNREACHABLE, "effect": NO_EXECUTE}, mine]),
                false,
                true,
                json!([{"type": "Ready", "status": "True"}]),
                "mine",
            ),
            (
                json!([{"key": UNREACHABLE, "effect": NO_EXECUTE}, mine]),
                false,
                false,
                json!([{"type": "Ready", "status": "Unknown"}]),
                "mine unreachable",
            ),
            (json!([]), false, false, json!([]), ""),
        ] {
            let present: Vec<Taint> = from_value(present).unwrap();
            let conditions: Vec<Condition> = from_value(conditions).unwrap();
            let found = taints(&present, unschedulable, &conditions, any_ready, at(NOW));
            let words: Vec<_> = found
                .iter()
                .map(|t| {
                    let key = t.key.trim_start_matches("node.kubernetes.io/");
                    format!("{key}{}", if t.effect == NO_EXECUTE { "!" } else { "" })
                })
                .collect();
            assert_eq!(words.join(" "), expected);
        }
    }
}
