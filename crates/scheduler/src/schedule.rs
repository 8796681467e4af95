//! The decision: a pod and the nodes in, a node or everybody's reasons out.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Node};
use crate::framework::{Plugin, Refusal};
use crate::plugins::PLUGINS;
use crate::pod::Pod;

/// In small clusters every node is asked; in large ones a share will do (`minFeasibleNodesToFind`
/// and the adaptive percentage of kube-scheduler).
const ENOUGH: usize = 100;

/// What was decided.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// The pod goes to the node.
    Node(String),
    /// No node does.
    Unschedulable(Diagnosis),
}

/// Why no node does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Diagnosis {
    nodes: usize,
    /// How many nodes said so.
    reasons: BTreeMap<Refusal, usize>,
    /// Places in the table of those that refused a node; empty when there was none to refuse.
    pub(crate) plugins: BTreeSet<usize>,
}

/// Decides. `first` is the number of the node that is asked first.
pub(crate) fn schedule(pod: &Pod, cluster: &Cluster, first: usize) -> Decision {
    let concerned: Vec<(usize, &dyn Plugin)> = PLUGINS
        .iter()
        .enumerate()
        .filter(|(_, plugin)| plugin.concerns(pod))
        .map(|(place, plugin)| (place, *plugin))
        .collect();
    let mut diagnosis = Diagnosis { nodes: cluster.len(), ..Diagnosis::default() };
    let enough = enough(cluster.len());
    let mut fit: Vec<&Node> = Vec::new();
    let mut refusals = Vec::new();
    for node in cluster.nodes_from(first) {
        match concerned.iter().find(|(_, plugin)| {
            plugin.filter(pod, node, &mut refusals);
            !refusals.is_empty()
        }) {
            None => {
                fit.push(node);
                if fit.len() >= enough {
                    break;
                }
            }
            Some((place, _)) => {
                diagnosis.plugins.insert(*place);
                for refusal in refusals.drain(..) {
                    *diagnosis.reasons.entry(refusal).or_default() += 1;
                }
            }
        }
    }
    match best(pod, &fit, &concerned) {
        Some(node) => Decision::Node(node.view.name.clone()),
        None => Decision::Unschedulable(diagnosis),
    }
}

/// How many nodes that do are enough to choose from: all of 100, a half of a few hundred, down to
/// a twentieth of thousands.
fn enough(nodes: usize) -> usize {
    if nodes < ENOUGH {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(ENOUGH)
}

/// The node of the highest score; of equals the first.
fn best<'a>(pod: &Pod, nodes: &[&'a Node], plugins: &[(usize, &dyn Plugin)]) -> Option<&'a Node> {
    if let [] | [_] = nodes {
        return nodes.first().copied();
    }
    let mut totals = vec![0; nodes.len()];
    for (_, plugin) in plugins.iter().filter(|(_, plugin)| plugin.weight() > 0) {
        let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(pod, node)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += plugin.weight() * score;
        }
    }
    let best = totals.iter().copied().max()?;
    let place = totals.iter().position(|total| *total == best)?;
    nodes.get(place).copied()
}

impl Diagnosis {
    /// As Kubernetes says it: `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were
    /// unschedulable.`
    pub(crate) fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeView;
    use onggi_api::Object;
    use onggi_client::Project;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn object(kind: &str, name: &str, change: Value) -> Arc<Object> {
        let mut value = json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name, "uid": name},
        });
        value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Arc::new(Object::from_value(&value, &[]).unwrap())
    }

    fn node(name: &str, spec: Value, cpu: &str) -> Arc<NodeView> {
        let allocatable = json!({"cpu": cpu, "memory": "1Gi", "pods": "2"});
        let change = json!({"spec": spec, "status": {"allocatable": allocatable}});
        Arc::new(NodeView::project(&object("Node", name, change)).unwrap())
    }

    fn pod(name: &str, spec: Value) -> Arc<Pod> {
        Arc::new(Pod::project(&object("Pod", name, json!({ "spec": spec }))).unwrap())
    }

    fn asking(cpu: &str) -> Value {
        json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]})
    }

    fn decided(pod: &Pod, cluster: &Cluster) -> String {
        match schedule(pod, cluster, 0) {
            Decision::Node(name) => name,
            Decision::Unschedulable(diagnosis) => diagnosis.message(),
        }
    }

    #[test]
    fn decisions() {
        let mut cluster = Cluster::default();
        assert_eq!(decided(&pod("p", json!({})), &cluster), "no nodes available to schedule pods");
        cluster.set_node(node("small", json!({}), "1"));
        cluster.set_node(node("large", json!({}), "4"));
        cluster.set_node(node("cordoned", json!({"unschedulable": true}), "8"));
        let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        cluster.set_node(node("tainted", taint, "8"));
        let tolerating = |mut spec: Value| {
            spec["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
            spec
        };
        for (spec, expected) in [
            (asking("100m"), "large"),
            (asking("2"), "large"),
            (tolerating(asking("2")), "tainted"),
            (
                asking("5"),
                "0/4 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) \
                 were unschedulable, 2 Insufficient cpu.",
            ),
            (
                json!({"nodeSelector": {"disk": "ssd"}}),
                "0/4 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) \
                 were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.",
            ),
            (
                json!({"containers": [{"resources": {"requests": {"cpu": "9", "memory": "2Gi"}}}]}),
                "0/4 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) \
                 were unschedulable, 2 Insufficient cpu, 2 Insufficient memory.",
            ),
        ] {
            assert_eq!(decided(&pod("p", spec.clone()), &cluster), expected, "{spec}");
        }
    }

    #[test]
    fn pods_are_spread_until_nodes_are_full() {
        let mut cluster = Cluster::default();
        cluster.set_node(node("a", json!({}), "2"));
        cluster.set_node(node("b", json!({}), "2"));
        let mut went = Vec::new();
        for number in 0..5 {
            let pod = pod(&format!("p{number}"), json!({}));
            let place = decided(&pod, &cluster);
            if place.len() == 1 {
                cluster.assume(&place, &pod);
            }
            went.push(place);
        }
        assert_eq!(went, ["a", "b", "a", "b", "0/2 nodes are available: 2 Too many pods."]);
    }

    #[test]
    fn a_share_of_many_nodes_is_enough() {
        for (nodes, expected) in
            [(1, 1), (99, 99), (100, 100), (1000, 420), (5000, 500), (10000, 500)]
        {
            assert_eq!(enough(nodes), expected, "{nodes}");
        }
    }
}
