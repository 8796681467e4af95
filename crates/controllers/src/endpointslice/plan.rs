//! Which EndpointSlices a Service should have, with as few writes as possible.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use onggi_api::{DecodeError, IntOrString, Object};
use onggi_client::Project;
use serde::{Deserialize, Serialize};

use crate::view::{Pod, Service, ServicePort};

/// Endpoints in a slice (`--max-endpoints-per-slice`).
const MOST: usize = 100;
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for slices of this controller.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// An EndpointSlice of this controller. It writes all of it but the metadata, so it may be encoded
/// again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Slice {
    pub(super) metadata: SliceMeta,
    pub(super) address_type: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SliceMeta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_protocol: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Endpoint {
    pub(super) addresses: Vec<String>,
    pub(super) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    pub(super) target_ref: Target,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Conditions {
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Target {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Project for Slice {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

/// What to do. Slices to be made have no name yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: Vec<Slice>,
    pub(super) update: Vec<Slice>,
    /// Names.
    pub(super) delete: Vec<String>,
}

/// Decides for a service that has a selector. `pods` are those that it selects, `zone` gives the
/// zone of a node.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    slices: &[Slice],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    let families = match service.spec.ip_families.as_slice() {
        [] => &["IPv4".to_owned()],
        families => families,
    };
    for family in families {
        let mut groups: BTreeMap<Vec<Port>, BTreeMap<String, Endpoint>> = BTreeMap::new();
        for pod in pods {
            if let Some(endpoint) = endpoint(service, pod, family, &zone) {
                let ports = ports(service, pod);
                groups.entry(ports).or_default().insert(pod.metadata.uid.clone(), endpoint);
            }
        }
        let own = slices.iter().filter(|slice| slice.address_type == *family);
        plan_family(service, family, groups, own, &mut plan);
    }
    let strange = slices.iter().filter(|slice| !families.contains(&slice.address_type));
    plan.delete.extend(strange.map(|slice| slice.metadata.name.clone()));
    plan
}

fn plan_family<'a>(
    service: &Service,
    family: &str,
    groups: BTreeMap<Vec<Port>, BTreeMap<String, Endpoint>>,
    slices: impl Iterator<Item = &'a Slice>,
    plan: &mut Plan,
) {
    let labels = labels(service);
    let before: Vec<&Slice> = slices.collect();
    let mut after: Vec<Slice> = before.iter().map(|slice| (*slice).clone()).collect();
    let mut spare: Vec<usize> = Vec::new();
    let mut left = groups;
    // What is there stays in its place.
    for (place, slice) in after.iter_mut().enumerate() {
        slice.metadata.labels.clone_from(&labels);
        let Some(group) = left.get_mut(&slice.ports) else {
            slice.endpoints.clear();
            spare.push(place);
            continue;
        };
        slice.endpoints = std::mem::take(&mut slice.endpoints)
            .iter()
            .filter_map(|endpoint| group.remove(&endpoint.target_ref.uid))
            .collect();
    }
    let empty = |ports: &[Port]| Slice {
        metadata: SliceMeta {
            namespace: service.metadata.namespace.clone(),
            labels: labels.clone(),
            ..SliceMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Vec::new(),
        ports: ports.to_vec(),
    };
    for (ports, group) in left {
        let mut rest: Vec<Endpoint> = group.into_values().collect();
        // Slices that are written anyway come first, then the fullest.
        let mut places: Vec<usize> = (0..after.len())
            .filter(|place| after[*place].ports == ports && !spare.contains(place))
            .collect();
        places.sort_by_key(|&place| {
            let untouched = before.get(place).is_some_and(|slice| **slice == after[place]);
            (untouched, std::cmp::Reverse(after[place].endpoints.len()))
        });
        for place in places {
            fill(&mut after[place], &mut rest);
        }
        while !rest.is_empty() {
            let place = match spare.pop() {
                Some(place) => {
                    after[place].ports.clone_from(&ports);
                    place
                }
                None => {
                    after.push(empty(&ports));
                    after.len() - 1
                }
            };
            fill(&mut after[place], &mut rest);
        }
    }
    // An empty one stands for a service without endpoints.
    if after.iter().all(|slice| slice.endpoints.is_empty()) {
        let mut all = after.into_iter();
        let mut only = all.next().unwrap_or_else(|| empty(&[]));
        only.ports.clear();
        plan.delete.extend(all.map(|slice| slice.metadata.name));
        after = vec![only];
    } else {
        let (full, empty): (Vec<_>, Vec<_>) =
            after.into_iter().partition(|slice| !slice.endpoints.is_empty());
        plan.delete.extend(empty.into_iter().map(|slice| slice.metadata.name));
        after = full;
    }
    for slice in after {
        match before.iter().find(|before| before.metadata.name == slice.metadata.name) {
            Some(before) if **before == slice => {}
            Some(_) => plan.update.push(slice),
            None => plan.create.push(slice),
        }
    }
}

fn fill(slice: &mut Slice, rest: &mut Vec<Endpoint>) {
    let room = MOST.saturating_sub(slice.endpoints.len()).min(rest.len());
    slice.endpoints.extend(rest.drain(..room));
}

/// Those of the service, and who it is.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.spec.cluster_ip == "None" {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    family: &str,
    zone: &impl Fn(&str) -> Option<String>,
) -> Option<Endpoint> {
    if pod.finished() {
        return None;
    }
    let (meta, spec) = (&pod.metadata, &pod.spec);
    let ips = pod.status.pod_ips.iter().map(|ip| &ip.ip).chain([&pod.status.pod_ip]);
    let of_family = |ip: &&String| match ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    let address = ips.into_iter().find(of_family)?.clone();
    let serving = pod.ready().is_some();
    let terminating = meta.deleting();
    let publish = service.spec.publish_not_ready_addresses;
    let named = !spec.hostname.is_empty() && spec.subdomain == service.metadata.name;
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    Some(Endpoint {
        addresses: vec![address],
        conditions: Conditions {
            ready: publish || (serving && !terminating),
            serving,
            terminating,
        },
        hostname: named.then(|| spec.hostname.clone()),
        node_name: some(&spec.node_name),
        zone: zone(&spec.node_name),
        target_ref: Target {
            kind: "Pod".into(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        },
    })
}

/// The service's ports as this pod has them; one whose name the pod does not know is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let resolve = |wanted: &ServicePort| {
        let protocol = protocol(&wanted.protocol).to_owned();
        let port = match &wanted.target_port {
            None | Some(IntOrString::Int(0)) => wanted.port,
            Some(IntOrString::Int(port)) => u16::try_from(*port).ok()?,
            Some(IntOrString::String(name)) => find_port(pod, name, &protocol)?,
        };
        let app_protocol = wanted.app_protocol.clone();
        Some(Port { name: wanted.name.clone(), port, protocol, app_protocol })
    };
    service.spec.ports.iter().filter_map(resolve).collect()
}

/// Sidecars have ports too.
fn find_port(pod: &Pod, name: &str, wanted: &str) -> Option<u16> {
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
    let mut ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let found = ports.find(|port| port.name == name && protocol(&port.protocol) == wanted)?;
    Some(found.container_port)
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        let mut value = json!({
            "metadata": {"name": "web", "namespace": "d", "labels": {"x": "y"}},
            "spec": {"selector": {"app": "a"}, "clusterIP": "10.96.0.9",
                     "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
        });
        value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn pod(number: usize, change: Value) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": format!("p{number}"), "namespace": "d", "uid": format!("u{number:03}")},
            "spec": {"nodeName": "n", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": format!("10.0.0.{number}"),
                       "conditions": [{"type": "Ready", "status": "True"}]},
        });
        merge(&mut value, &change);
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn merge(value: &mut Value, change: &Value) {
        let bytes = serde_json::to_vec(change).unwrap();
        let kind = onggi_machinery::patch::PatchType::Merge;
        onggi_machinery::patch::apply(kind, None, value, &bytes).unwrap();
    }

    fn run(service: &Service, pods: &[Arc<Pod>], slices: &[Slice]) -> Plan {
        plan(service, pods, slices, |node| (node == "n").then(|| "z1".to_owned()))
    }

    /// The slices after a plan, made ones named.
    fn after(plan: Plan, before: &[Slice]) -> Vec<Slice> {
        let mut all: Vec<Slice> = before.to_vec();
        all.retain(|slice| !plan.delete.contains(&slice.metadata.name));
        for slice in plan.update {
            let name = slice.metadata.name.clone();
            *all.iter_mut().find(|s| s.metadata.name == name).unwrap() = slice;
        }
        for mut slice in plan.create {
            slice.metadata.name = format!("web-{}", all.len());
            all.push(slice);
        }
        all
    }

    #[test]
    fn what_an_endpoint_says() {
        let plain = service(json!({}));
        let publishing = service(json!({"publishNotReadyAddresses": true}));
        let unready = json!({"status": {"conditions": null}});
        let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        for (service, change, expected) in [
            (&plain, json!({}), Some((true, true, false))),
            (&plain, unready.clone(), Some((false, false, false))),
            (&plain, ending, Some((false, true, true))),
            (&publishing, unready, Some((true, false, false))),
            (&plain, json!({"status": {"phase": "Failed"}}), None),
            (&plain, json!({"status": {"podIP": null}}), None),
            (&plain, json!({"status": {"podIP": "fd00::1"}}), None),
        ] {
            let plan = run(service, &[pod(1, change.clone())], &[]);
            let found = plan.create[0]
                .endpoints
                .first()
                .map(|e| (e.conditions.ready, e.conditions.serving, e.conditions.terminating));
            assert_eq!(found, expected, "{change}");
        }
        let plan = run(&plain, &[pod(1, json!({}))], &[]);
        let slice = &plan.create[0];
        assert_eq!((slice.ports[0].port, slice.ports[0].protocol.as_str()), (8080, "TCP"));
        assert_eq!(slice.endpoints[0].zone.as_deref(), Some("z1"));
        assert_eq!(slice.metadata.labels[SERVICE_NAME], "web");
        assert_eq!(slice.metadata.labels["x"], "y");
    }

    #[test]
    fn few_writes() {
        let service = service(json!({}));
        let many: Vec<_> = (0..150).map(|n| pod(n, json!({}))).collect();
        let first = run(&service, &many, &[]);
        assert_eq!(first.create.iter().map(|s| s.endpoints.len()).collect::<Vec<_>>(), [100, 50]);
        let slices = after(first, &[]);
        assert_eq!(run(&service, &many, &slices), Plan::default(), "nothing changed");

        // One goes, one comes: one write.
        let mut changed = many.clone();
        changed.remove(3);
        changed.push(pod(200, json!({})));
        let second = run(&service, &changed, &slices);
        assert_eq!((second.create.len(), second.update.len(), second.delete.len()), (0, 1, 0));
        let slices = after(second, &slices);

        // All but the last: the first slice goes.
        let few = run(&service, &many[149..], &slices);
        assert_eq!((few.create.len(), few.update.len(), few.delete.len()), (0, 1, 1));
        let slices = after(few, &slices);
        let none = run(&service, &[], &slices);
        assert_eq!((none.create.len(), none.update.len(), none.delete.len()), (0, 1, 0));
        let slices = after(none, &slices);
        assert!(slices[0].endpoints.is_empty() && slices[0].ports.is_empty());
        // The empty one is used again.
        let back = run(&service, &many[..1], &slices);
        assert_eq!((back.create.len(), back.update.len(), back.delete.len()), (0, 1, 0));
    }

    #[test]
    fn pods_with_other_ports_have_slices_of_their_own() {
        let service = service(json!({}));
        let other =
            json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 9090}]}]}});
        let pods = [pod(1, json!({})), pod(2, other)];
        let plan = run(&service, &pods, &[]);
        let ports: Vec<_> =
            plan.create.iter().map(|s| (s.ports[0].port, s.endpoints.len())).collect();
        assert_eq!(ports, [(8080, 1), (9090, 1)]);
    }
}
