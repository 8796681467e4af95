//! `NodeUnschedulable`: cordoned nodes take only pods that tolerate it.

use crate::cluster::{Node, Taint};
use crate::framework::{Event, Plugin, Refusal};
use crate::plugins::taint_toleration::tolerates;
use crate::pod::Pod;

pub(crate) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn concerns(&self, _: &Pod) -> bool {
        true
    }

    fn filter(&self, pod: &Pod, node: &Node, refusals: &mut Vec<Refusal>) {
        if !node.view.unschedulable {
            return;
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        if !pod.tolerations.iter().any(|toleration| tolerates(toleration, &taint)) {
            refusals.push("node(s) were unschedulable".into());
        }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeCame | Event::NodeChanged { unschedulable: true, .. })
    }
}
