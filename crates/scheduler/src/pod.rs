//! What the scheduler keeps of a pod: what it asks for and where it may run.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::core::ObjectReference;
use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use onggi_machinery::kinds::pod::requests;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a pod takes of a node. CPU in thousandths of a core, memory and storage in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    pub(crate) ephemeral_storage: i64,
    /// Extended resources and huge pages, by name; most pods have none.
    pub(crate) other: BTreeMap<String, i64>,
}

/// A pod. Its constraints are dropped once it has a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: u64,
    /// `metadata.generation`.
    pub(crate) generation: i64,
    /// Empty while it waits.
    pub(crate) node_name: String,
    pub(crate) scheduler_name: String,
    pub(crate) deleting: bool,
    /// Whether it has ended: it takes nothing any more.
    pub(crate) finished: bool,
    pub(crate) gated: bool,
    pub(crate) priority: i32,
    pub(crate) amounts: Amounts,
    pub(crate) host_ports: Vec<HostPort>,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) affinity: NodeAffinity,
    pub(crate) tolerations: Vec<Toleration>,
    /// The message of the condition `PodScheduled` while that is false.
    pub(crate) refused: Option<String>,
}

/// A port of the node itself. An empty address is every address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) ip: String,
    pub(crate) protocol: String,
    pub(crate) port: u16,
}

/// `spec.affinity.nodeAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) required: Option<NodeSelector>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
    pub(crate) preferred: Vec<Preferred>,
}

/// One of the terms must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeSelector {
    pub(crate) node_selector_terms: Vec<Term>,
}

/// All expressions must hold; a term without any holds never.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Term {
    pub(crate) match_expressions: Vec<Expression>,
    pub(crate) match_fields: Vec<Expression>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Preferred {
    pub(crate) weight: i64,
    pub(crate) preference: Term,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Toleration {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

// === As the API has it ===

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    scheduler_name: String,
    scheduling_gates: Vec<Value>,
    priority: i32,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    resources: Value,
    overhead: Value,
    node_selector: BTreeMap<String, String>,
    affinity: Affinity,
    tolerations: Vec<Toleration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: NodeAffinity,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    resources: Value,
    restart_policy: String,
    ports: Vec<Port>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    host_port: u16,
    #[serde(rename = "hostIP")]
    host_ip: String,
    protocol: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: String,
}

impl Project for Pod {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let View { mut spec, status } = object.decode()?;
        let head = object.head();
        let waits = spec.node_name.is_empty();
        let refused = status.conditions.into_iter().find(|c| c.kind == "PodScheduled");
        let mut pod = Self {
            namespace: head.namespace.clone(),
            name: head.name.clone(),
            uid: head.uid.clone(),
            resource_version: head.resource_version,
            generation: head.generation,
            deleting: head.deleting,
            finished: matches!(status.phase.as_str(), "Succeeded" | "Failed"),
            gated: !spec.scheduling_gates.is_empty(),
            priority: spec.priority,
            host_ports: host_ports(&spec),
            amounts: amounts(&mut spec),
            refused: refused.filter(|c| c.status == "False").map(|c| c.message),
            node_name: spec.node_name,
            scheduler_name: spec.scheduler_name,
            ..Self::default()
        };
        if waits {
            pod.node_selector = spec.node_selector;
            pod.affinity = spec.affinity.node_affinity;
            pod.tolerations = spec.tolerations;
        }
        Ok(pod)
    }
}

impl Pod {
    /// Whether this scheduler has to find it a node.
    pub(crate) fn waits(&self) -> bool {
        self.node_name.is_empty()
            && !self.deleting
            && !self.finished
            && !self.gated
            && self.scheduler_name == crate::NAME
    }

    /// Whether it asks for the same: then a node that did not do does not do now.
    pub(crate) fn asks_as(&self, other: &Self) -> bool {
        self.amounts == other.amounts
            && self.tolerations == other.tolerations
            && self.node_selector == other.node_selector
            && self.affinity == other.affinity
    }

    /// For events.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.resource_version.to_string()),
            field_path: None,
        }
    }
}

fn host_ports(spec: &Spec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let taken = ports.filter(|port| port.host_port != 0);
    taken
        .map(|port| HostPort {
            ip: if port.host_ip == "0.0.0.0" { String::new() } else { port.host_ip.clone() },
            protocol: if port.protocol.is_empty() { "TCP" } else { &port.protocol }.to_owned(),
            port: port.host_port,
        })
        .collect()
}

/// The rules of init containers, sidecars and overhead stand in one place for all.
fn amounts(spec: &mut Spec) -> Amounts {
    let containers = |all: &mut [Container]| -> Value {
        let one = |c: &mut Container| json!({"resources": c.resources.take(), "restartPolicy": c.restart_policy});
        all.iter_mut().map(one).collect()
    };
    let trimmed = json!({"spec": {
        "containers": containers(&mut spec.containers),
        "initContainers": containers(&mut spec.init_containers),
        "resources": spec.resources.take(),
        "overhead": spec.overhead.take(),
    }});
    Amounts::from(requests(&trimmed))
}

impl From<BTreeMap<String, i64>> for Amounts {
    fn from(mut all: BTreeMap<String, i64>) -> Self {
        let mut take = |name: &str| all.remove(name).unwrap_or(0);
        let (cpu, memory) = (take("cpu"), take("memory"));
        let ephemeral_storage = take("ephemeral-storage");
        all.retain(|name, amount| *amount != 0 && name != "pods");
        Self { cpu, memory, ephemeral_storage, other: all }
    }
}

impl Amounts {
    pub(crate) fn add(&mut self, more: &Self) {
        self.change(more, 1);
    }

    pub(crate) fn subtract(&mut self, less: &Self) {
        self.change(less, -1);
    }

    fn change(&mut self, by: &Self, sign: i64) {
        self.cpu += sign * by.cpu;
        self.memory += sign * by.memory;
        self.ephemeral_storage += sign * by.ephemeral_storage;
        for (name, amount) in &by.other {
            *self.other.entry(name.clone()).or_default() += sign * amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_as_the_scheduler_sees_it() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "resourceVersion": "5"},
            "spec": {
                "schedulerName": "default-scheduler",
                "containers": [
                    {"name": "a", "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}},
                     "ports": [{"containerPort": 1, "hostPort": 80, "hostIP": "0.0.0.0"}]},
                    {"name": "b", "resources": {"limits": {"cpu": "1", "x.y/gpu": "2"}}},
                ],
                "initContainers": [{"name": "i", "resources": {"requests": {"memory": "1Gi"}}}],
                "nodeSelector": {"disk": "ssd"},
            },
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
        });
        let object = Arc::new(Object::from_value(&object, &[]).unwrap());
        let pod = Pod::project(&object).unwrap();
        assert!(pod.waits());
        assert_eq!((pod.amounts.cpu, pod.amounts.memory), (1250, 1 << 30));
        assert_eq!(pod.amounts.other["x.y/gpu"], 2);
        assert_eq!(pod.host_ports[0], HostPort { ip: "".into(), protocol: "TCP".into(), port: 80 });
        assert_eq!(pod.refused.as_deref(), Some("0/1 nodes"));
        assert_eq!(pod.node_selector["disk"], "ssd");
    }
}
