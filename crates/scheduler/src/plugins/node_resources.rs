//! `NodeResourcesFit`: what a pod asks for must be free; the emptier the node, the better
//! (`LeastAllocated`).

use crate::cluster::{Node, usual};
use crate::framework::{Event, MOST, Plugin, Refusal};
use crate::pod::Pod;

pub(crate) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn concerns(&self, _: &Pod) -> bool {
        true
    }

    fn filter(&self, pod: &Pod, node: &Node, refusals: &mut Vec<Refusal>) {
        if node.pods + 1 > node.view.pods {
            refusals.push("Too many pods".into());
        }
        let (asked, taken, all) = (&pod.amounts, &node.taken, &node.view.allocatable);
        let lacks = |asked: i64, taken: i64, all: i64| asked > 0 && asked > all - taken;
        if lacks(asked.cpu, taken.cpu, all.cpu) {
            refusals.push("Insufficient cpu".into());
        }
        if lacks(asked.memory, taken.memory, all.memory) {
            refusals.push("Insufficient memory".into());
        }
        if lacks(asked.ephemeral_storage, taken.ephemeral_storage, all.ephemeral_storage) {
            refusals.push("Insufficient ephemeral-storage".into());
        }
        for (name, amount) in &asked.other {
            let of = |all: &crate::pod::Amounts| all.other.get(name).copied().unwrap_or(0);
            if lacks(*amount, of(taken), of(all)) {
                refusals.push(format!("Insufficient {name}").into());
            }
        }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(
            event,
            Event::NodeCame | Event::PodGone | Event::NodeChanged { allocatable: true, .. }
        )
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        let (cpu, memory) = usual(&pod.amounts);
        let all = &node.view.allocatable;
        let free = |all: i64, used: i64| {
            if all == 0 || used > all { 0 } else { (all - used).saturating_mul(MOST) / all }
        };
        let shares = free(all.cpu, node.usual.0 + cpu) + free(all.memory, node.usual.1 + memory);
        shares / 2
    }
}
