//! Which EndpointSlices a Service should have, with as few writes as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::addresses::pack::{
    Conditions, Endpoint, Groups, MANAGED_BY, Plan, SERVICE_NAME, Slice, Wanted, pack,
};
use crate::addresses::{HEADLESS, address, families, hostname, node_name, ports, reference};
use crate::view::{Pod, Service};

/// The value of [`MANAGED_BY`] for slices of this controller.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Decides for a service that has a selector. `pods` are those that it selects, `zone` gives the
/// zone of a node.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    slices: &[Slice],
    zone: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    let (families, labels) = (families(service), labels(service));
    for &family in &families {
        let mut groups = Groups::new();
        for pod in pods {
            if let Some(endpoint) = endpoint(service, pod, family, &zone) {
                let group = groups.entry(ports(service, pod)).or_default();
                group.insert(endpoint.identity(), endpoint);
            }
        }
        let wanted = Wanted {
            namespace: &service.metadata.namespace,
            labels: &labels,
            annotations: None,
            family,
            groups,
            keep_empty: true,
        };
        let own = slices.iter().filter(|slice| slice.address_type == family);
        pack(wanted, own, &mut plan);
    }
    let strange = slices.iter().filter(|slice| !families.contains(&slice.address_type.as_str()));
    plan.delete.extend(strange.map(|slice| slice.metadata.name.clone()));
    plan
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
    let address = address(pod, family)?.to_owned();
    let serving = pod.ready().is_some();
    let terminating = pod.metadata.deleting();
    let publish = service.spec.publish_not_ready_addresses;
    Some(Endpoint {
        addresses: vec![address],
        conditions: Conditions {
            ready: publish || (serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        },
        hostname: hostname(service, pod),
        node_name: node_name(pod),
        zone: zone(&pod.spec.node_name),
        target_ref: Some(reference(pod)),
    })
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
            let found = plan.create[0].endpoints.first().map(|e| {
                let said = &e.conditions;
                (said.ready, said.serving == Some(true), said.terminating == Some(true))
            });
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
