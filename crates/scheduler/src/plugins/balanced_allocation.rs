//! `NodeResourcesBalancedAllocation`: rather a node where CPU and memory run out together.

use crate::cluster::Node;
use crate::framework::{MOST, Plugin};
use crate::pod::Pod;

pub(crate) struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    /// A pod that asks for nothing unbalances nothing.
    fn concerns(&self, pod: &Pod) -> bool {
        pod.amounts.cpu > 0 || pod.amounts.memory > 0
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &Pod, node: &Node) -> i64 {
        let all = &node.view.allocatable;
        let percent = |used: i64, all: i64| {
            if all == 0 { MOST } else { (used.saturating_mul(MOST) / all).min(MOST) }
        };
        let cpu = percent(node.taken.cpu + pod.amounts.cpu, all.cpu);
        let memory = percent(node.taken.memory + pod.amounts.memory, all.memory);
        MOST - (cpu - memory).abs() / 2
    }
}
