//! The plugins: one file each.

mod balanced_allocation;
mod node_affinity;
mod node_ports;
mod node_resources;
mod node_unschedulable;
mod taint_toleration;

use crate::framework::Plugin;

/// In the order in which a node is shown to them: the first that refuses it has the word. To add
/// one: a file beside this one, and a line here.
pub(crate) const PLUGINS: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources::NodeResourcesFit,
    &balanced_allocation::BalancedAllocation,
];
