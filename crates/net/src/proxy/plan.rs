//! What the kernel should hold for Services: a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use super::model::{Endpoint, EndpointSlice, Name, Protocol, Service};
use super::slots::Slots;

/// The node for which is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// Service addresses that the node itself answers: nothing is translated there.
    pub answered_here: BTreeSet<Ipv4Addr>,
}

/// Where a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The Service's address; `None`: a node port, at every address of the node.
    pub address: Option<Ipv4Addr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Frontend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}:{}/{}", self.port, self.protocol),
            None => write!(f, "node port {}/{}", self.port, self.protocol),
        }
    }
}

/// Who answers, of a frontend with at least one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// How one is chosen.
    pub slots: Slots,
    /// Sorted, each once.
    pub endpoints: Vec<SocketAddrV4>,
}

/// The frontends of one Service that have endpoints. Those without are absent: a rule refuses what
/// is not translated.
pub type ServicePlan = BTreeMap<Frontend, Backends>;

/// All Services. Plans are shared, so that what did not change is seen by its pointer.
pub type Desired = BTreeMap<Name, Arc<ServicePlan>>;

/// Plans all Services.
pub fn plan(services: &BTreeMap<Name, Service>, slices: &[EndpointSlice], node: &Node) -> Desired {
    let mut of = BTreeMap::<&Name, Vec<&EndpointSlice>>::new();
    for slice in slices {
        of.entry(&slice.service).or_default().push(slice);
    }
    services
        .iter()
        .map(|(name, service)| {
            let own = of.get(name).map(Vec::as_slice).unwrap_or_default();
            (name.clone(), Arc::new(plan_service(service, own, node)))
        })
        .collect()
}

/// Plans one Service from its slices.
pub fn plan_service(service: &Service, slices: &[&EndpointSlice], node: &Node) -> ServicePlan {
    let mut plan = ServicePlan::new();
    for port in &service.ports {
        let key = (port.name.clone(), port.protocol);
        let mut add = |address, number, local_only: bool| {
            let endpoints = endpoints(slices, &key, local_only.then_some(node.name.as_str()));
            if !endpoints.is_empty() {
                let slots = Slots::for_endpoints(endpoints.len(), service.sticky);
                let frontend = Frontend { address, protocol: port.protocol, port: number };
                plan.insert(frontend, Backends { slots, endpoints });
            }
        };
        for address in &service.addresses {
            if !node.answered_here.contains(address) {
                add(Some(*address), port.port, service.internal_local);
            }
        }
        if let Some(number) = port.node_port {
            add(None, number, service.external_local);
        }
    }
    plan
}

/// The ready endpoints of a port; where none is, those that still serve while they terminate
/// (KEP-1669).
fn endpoints(
    slices: &[&EndpointSlice],
    port: &(String, Protocol),
    only_on: Option<&str>,
) -> Vec<SocketAddrV4> {
    let collect = |wanted: fn(&Endpoint) -> bool| {
        let mut found = BTreeSet::new();
        for slice in slices {
            let Some(number) = slice.ports.get(port) else { continue };
            let here = |e: &&Endpoint| only_on.is_none_or(|node| e.node == node);
            let usable = slice.endpoints.iter().filter(|e| wanted(e)).filter(here);
            found.extend(usable.map(|endpoint| endpoint.at(*number)));
        }
        found.into_iter().collect::<Vec<_>>()
    };
    let ready = collect(|endpoint| endpoint.ready);
    if ready.is_empty() { collect(|endpoint| endpoint.serving_while_terminating) } else { ready }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_api::Object;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        let value = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "d"}, "spec": spec});
        Service::from(&Object::from_value(&value, &[]).unwrap()).unwrap()
    }

    fn slice(endpoints: Value) -> EndpointSlice {
        let value = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "s-1", "namespace": "d", "labels": {(super::super::model::SERVICE_NAME): "s"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
        EndpointSlice::from(&Object::from_value(&value, &[]).unwrap()).unwrap()
    }

    fn shown(spec: Value, endpoints: Value) -> Vec<String> {
        let services = [(Name::new("d", "s"), service(spec))].into();
        let slices = [slice(endpoints)];
        let node = Node { name: "n1".into(), answered_here: [Ipv4Addr::new(10, 96, 0, 1)].into() };
        plan(&services, &slices, &node)
            .values()
            .flat_map(|plan| plan.iter())
            .map(|(frontend, backends)| {
                let ends: Vec<_> = backends.endpoints.iter().map(ToString::to_string).collect();
                format!("{frontend} {:?} {}", backends.slots, ends.join(" "))
            })
            .collect()
    }

    #[test]
    fn plans() {
        let port = json!([{"name": "http", "port": 80}]);
        let on =
            |n: u8, node: &str| json!({"addresses": [format!("10.244.0.{n}")], "nodeName": node});
        let with = |n: u8, conditions: Value| json!({"addresses": [format!("10.244.0.{n}")], "conditions": conditions, "nodeName": "n1"});
        let cluster = json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": port});
        let cases: Vec<(&str, Value, Value, Vec<&str>)> = vec![
            (
                "two endpoints, sorted",
                cluster.clone(),
                json!([on(3, "n2"), on(2, "n1")]),
                vec!["10.96.0.7:80/TCP Random(2) 10.244.0.2:8080 10.244.0.3:8080"],
            ),
            ("none", cluster.clone(), json!([]), vec![]),
            ("null", cluster.clone(), Value::Null, vec![]),
            (
                "not ready ones are left out",
                cluster.clone(),
                json!([with(2, json!({"ready": false})), with(3, json!({"ready": true}))]),
                vec!["10.96.0.7:80/TCP Random(1) 10.244.0.3:8080"],
            ),
            (
                "terminating ones serve when nothing is ready",
                cluster.clone(),
                json!([
                    with(2, json!({"ready": false, "serving": true, "terminating": true})),
                    with(3, json!({"ready": false, "serving": false, "terminating": true})),
                ]),
                vec!["10.96.0.7:80/TCP Random(1) 10.244.0.2:8080"],
            ),
            (
                "headless",
                json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": port}),
                json!([on(2, "n1")]),
                vec![],
            ),
            (
                "answered by the node itself",
                json!({"clusterIP": "10.96.0.1", "ports": port}),
                json!([on(2, "n1")]),
                vec![],
            ),
            (
                "node port, affinity, external policy Local",
                json!({"clusterIP": "10.96.0.7", "sessionAffinity": "ClientIP",
                    "externalTrafficPolicy": "Local", "type": "NodePort",
                    "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}),
                json!([on(2, "n1"), on(3, "n2")]),
                vec![
                    "node port 30080/TCP Random(1) 10.244.0.2:8080",
                    "10.96.0.7:80/TCP Sticky(128) 10.244.0.2:8080 10.244.0.3:8080",
                ],
            ),
            (
                "internal policy Local",
                json!({"clusterIP": "10.96.0.7", "internalTrafficPolicy": "Local", "ports": port}),
                json!([on(3, "n2")]),
                vec![],
            ),
            (
                "UDP by its own name",
                json!({"clusterIP": "10.96.0.7", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
                json!([on(2, "n1")]),
                vec!["10.96.0.7:53/UDP Random(1) 10.244.0.2:53"],
            ),
            (
                "nonsense is left out",
                json!({"clusterIP": "fd00::7", "ports": [{"port": 0}, {"port": 99999}, {"protocol": "X"}]}),
                json!([{"addresses": []}, {"addresses": ["x"]}]),
                vec![],
            ),
        ];
        for (name, spec, endpoints, expected) in cases {
            assert_eq!(shown(spec, endpoints), expected, "{name}");
        }
    }
}
