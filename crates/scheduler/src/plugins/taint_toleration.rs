//! `TaintToleration`: nodes refuse pods that do not tolerate their taints, and are avoided by those
//! that they would rather not have.

use crate::cluster::{Node, Taint};
use crate::framework::{Event, Plugin, Refusal, in_proportion};
use crate::pod::{Pod, Toleration};

pub(crate) struct TaintToleration;

/// `v1.Toleration.ToleratesTaint`.
pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let Toleration { key, operator, value, effect } = toleration;
    (effect.is_empty() || *effect == taint.effect)
        && (key.is_empty() || *key == taint.key)
        && match operator.as_str() {
            "" | "Equal" => *value == taint.value,
            "Exists" => true,
            _ => false,
        }
}

fn tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

impl Plugin for TaintToleration {
    fn concerns(&self, _: &Pod) -> bool {
        true
    }

    fn filter(&self, pod: &Pod, node: &Node, refusals: &mut Vec<Refusal>) {
        let mut hard = node
            .view
            .taints
            .iter()
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
        if let Some(Taint { key, value, .. }) = hard.find(|taint| !tolerated(pod, taint)) {
            refusals.push(format!("node(s) had untolerated taint {{{key}: {value}}}").into());
        }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeCame | Event::NodeChanged { taints: true, .. })
    }

    fn weight(&self) -> i64 {
        3
    }

    /// How many taints it would rather not meet.
    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        let soft = node.view.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        i64::try_from(soft.filter(|taint| !tolerated(pod, taint)).count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        in_proportion(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn tolerations() {
        let taint = Taint { key: "k".into(), value: "v".into(), effect: "NoSchedule".into() };
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "w"}), false),
            (json!({"key": "l", "operator": "Exists"}), false),
        ] {
            let parsed: Toleration = from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}
