//! The snapshot: every node with what is taken of it, kept true by events, never rebuilt.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use onggi_machinery::kinds::pod::amounts;
use serde::Deserialize;
use serde_json::Value;

use crate::pod::{Amounts, HostPort, Pod};

/// What a pod that asks for nothing is taken to use when nodes are compared.
const USUAL_CPU: i64 = 100;
const USUAL_MEMORY: i64 = 200 * 1024 * 1024;

/// What the scheduler keeps of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) unschedulable: bool,
    pub(crate) taints: Vec<Taint>,
    pub(crate) allocatable: Amounts,
    /// How many pods it takes.
    pub(crate) pods: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Taint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: bool,
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allocatable: Value,
}

impl Project for NodeView {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let View { spec, status } = object.decode()?;
        let head = object.head();
        let allocatable = amounts(&status.allocatable);
        Ok(Self {
            name: head.name.clone(),
            labels: head.labels.clone(),
            unschedulable: spec.unschedulable,
            taints: spec.taints,
            pods: allocatable.get("pods").copied().unwrap_or(0),
            allocatable: allocatable.into(),
        })
    }
}

/// A node and what is taken of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) view: Arc<NodeView>,
    pub(crate) taken: Amounts,
    /// CPU and memory taken, with the usual amounts for pods that ask for nothing.
    pub(crate) usual: (i64, i64),
    pub(crate) pods: i64,
    pub(crate) ports: Vec<HostPort>,
    /// Whether the node object is there; pods may be bound to one that is gone.
    pub(crate) known: bool,
}

/// The nodes, and where each pod is.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    places: HashMap<String, usize>,
    known: usize,
    /// By uid: the pod, as it was counted.
    pods: HashMap<String, Placed>,
}

#[derive(Debug)]
struct Placed {
    node: usize,
    pod: Arc<Pod>,
    /// Decided here; no event has shown it yet.
    assumed: bool,
}

/// CPU and memory of a pod when nodes are compared.
pub(crate) fn usual(amounts: &Amounts) -> (i64, i64) {
    let or = |amount: i64, usual: i64| if amount == 0 { usual } else { amount };
    (or(amounts.cpu, USUAL_CPU), or(amounts.memory, USUAL_MEMORY))
}

impl Cluster {
    /// The nodes that there are, beginning with that number, so that not always the same ones are
    /// asked first.
    pub(crate) fn nodes_from(&self, first: usize) -> impl Iterator<Item = &Node> {
        let (front, back) = self.nodes.split_at(first % self.nodes.len().max(1));
        back.iter().chain(front).filter(|node| node.known)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.known
    }

    #[cfg(test)]
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.places.get(name).map(|&place| &self.nodes[place])
    }

    /// A node is there, or changed.
    pub(crate) fn set_node(&mut self, view: Arc<NodeView>) {
        let place = self.place(&view.name);
        let node = &mut self.nodes[place];
        self.known += usize::from(!std::mem::replace(&mut node.known, true));
        node.view = view;
    }

    /// A node is gone. Its pods stay counted, should it come again.
    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(&place) = self.places.get(name) {
            let node = &mut self.nodes[place];
            self.known -= usize::from(std::mem::replace(&mut node.known, false));
        }
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let view = NodeView { name: name.to_owned(), ..NodeView::default() };
        self.nodes.push(Node { view: Arc::new(view), ..Node::default() });
        self.places.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// A pod is as an event says. Answers whether room became free.
    pub(crate) fn set_pod(&mut self, pod: &Arc<Pod>) -> bool {
        if pod.node_name.is_empty() {
            // Behind our own decision, where there is one.
            return false;
        }
        if pod.finished {
            return self.remove_pod(&pod.uid);
        }
        let same = self.pods.get_mut(&pod.uid).is_some_and(|placed| {
            let same = self.places.get(&pod.node_name) == Some(&placed.node)
                && placed.pod.amounts == pod.amounts;
            placed.assumed &= !same;
            same
        });
        if same {
            return false;
        }
        let freed = self.remove_pod(&pod.uid);
        self.put(&pod.node_name, pod, false);
        freed
    }

    /// Counts a pod where it was decided that it goes.
    pub(crate) fn assume(&mut self, node: &str, pod: &Arc<Pod>) {
        self.put(node, pod, true);
    }

    /// A decision came to nothing.
    pub(crate) fn forget(&mut self, uid: &str) {
        if self.pods.get(uid).is_some_and(|placed| placed.assumed) {
            self.remove_pod(uid);
        }
    }

    /// Whether it has been decided where the pod goes.
    pub(crate) fn has_pod(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// A pod takes nothing any more. Answers whether it did before.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(Placed { node, pod, .. }) = self.pods.remove(uid) else { return false };
        let node = &mut self.nodes[node];
        node.taken.subtract(&pod.amounts);
        let (cpu, memory) = usual(&pod.amounts);
        node.usual = (node.usual.0 - cpu, node.usual.1 - memory);
        node.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = node.ports.iter().position(|taken| taken == port) {
                node.ports.swap_remove(at);
            }
        }
        true
    }

    fn put(&mut self, node: &str, pod: &Arc<Pod>, assumed: bool) {
        let place = self.place(node);
        let node = &mut self.nodes[place];
        node.taken.add(&pod.amounts);
        let (cpu, memory) = usual(&pod.amounts);
        node.usual = (node.usual.0 + cpu, node.usual.1 + memory);
        node.pods += 1;
        node.ports.extend(pod.host_ports.iter().cloned());
        let placed = Placed { node: place, pod: Arc::clone(pod), assumed };
        self.pods.insert(pod.uid.clone(), placed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, node: &str, cpu: i64) -> Arc<Pod> {
        Arc::new(Pod {
            uid: uid.into(),
            node_name: node.into(),
            amounts: Amounts { cpu, ..Amounts::default() },
            ..Pod::default()
        })
    }

    #[test]
    fn what_is_taken_follows_events() {
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(NodeView { name: "n".into(), ..NodeView::default() }));
        let taken = |cluster: &Cluster| {
            let node = cluster.node("n").unwrap();
            (node.taken.cpu, node.usual.0, node.pods)
        };
        cluster.assume("n", &pod("a", "", 200));
        assert!(!cluster.set_pod(&pod("a", "", 200)), "an old event changes nothing");
        assert!(!cluster.set_pod(&pod("a", "n", 200)));
        cluster.forget("a");
        assert_eq!(taken(&cluster), (200, 200, 1), "it has been seen there");
        cluster.assume("n", &pod("b", "", 0));
        assert_eq!(taken(&cluster), (200, 300, 2));
        cluster.forget("b");
        cluster.remove_node("n");
        assert_eq!(cluster.len(), 0);
        cluster.set_node(Arc::new(NodeView { name: "n".into(), ..NodeView::default() }));
        assert_eq!((cluster.len(), taken(&cluster)), (1, (200, 200, 1)));
        let done = Pod { finished: true, ..(*pod("a", "n", 200)).clone() };
        assert!(cluster.set_pod(&Arc::new(done)));
        assert_eq!(taken(&cluster), (0, 0, 0));
    }
}
