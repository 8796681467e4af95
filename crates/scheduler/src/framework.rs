//! What a plugin is: it refuses nodes, or prefers some to others.

use std::borrow::Cow;

use crate::cluster::{Node, NodeView};
use crate::pod::Pod;

/// The best score of a node; the worst is 0.
pub(crate) const MOST: i64 = 100;

/// Why a node does not do. Nodes that say the same are counted.
pub(crate) type Refusal = Cow<'static, str>;

/// A way in which the cluster changed, for pods that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A pod is gone, or has ended.
    PodGone,
    /// A node has come.
    NodeCame,
    /// A node changed, in these parts.
    NodeChanged { taints: bool, labels: bool, allocatable: bool, unschedulable: bool },
}

/// A plugin: a file in `plugins/` and a line in its table. All methods are pure.
pub(crate) trait Plugin: Send + Sync {
    /// Whether it has anything to say about the pod; otherwise no node is shown to it.
    fn concerns(&self, pod: &Pod) -> bool;

    /// Adds why the node does not do for the pod, where it does not.
    fn filter(&self, _pod: &Pod, _node: &Node, _refusals: &mut Vec<Refusal>) {}

    /// Whether a pod that it refused may be worth another try after this.
    fn helps(&self, _event: Event) -> bool {
        false
    }

    /// How much its score weighs; 0 for those that only refuse.
    fn weight(&self) -> i64 {
        0
    }

    /// How well the node would do: from 0 to [`MOST`], unless `normalize` makes it so.
    fn score(&self, _pod: &Pod, _node: &Node) -> i64 {
        0
    }

    /// Brings the scores of all nodes that do into the range.
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// What differs between two states of a node; nothing when the scheduler need not care.
pub(crate) fn changed(old: &NodeView, new: &NodeView) -> Option<Event> {
    (old != new).then(|| Event::NodeChanged {
        taints: old.taints != new.taints,
        labels: old.labels != new.labels,
        allocatable: old.allocatable != new.allocatable || old.pods != new.pods,
        unschedulable: old.unschedulable != new.unschedulable,
    })
}

/// Scores in proportion to the highest, or to what it lacks.
pub(crate) fn in_proportion(scores: &mut [i64], fewer_is_better: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let share = if highest == 0 { 0 } else { *score * MOST / highest };
        *score = if fewer_is_better { MOST - share } else { share };
    }
}
