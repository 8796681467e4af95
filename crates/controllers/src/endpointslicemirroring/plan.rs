//! The EndpointSlices that say what somebody's Endpoints say.

use std::collections::BTreeMap;

use crate::addresses::pack::{
    Conditions, Endpoint, Groups, MANAGED_BY, Plan, SERVICE_NAME, Slice, Wanted, pack,
};
use crate::addresses::{Address, Endpoints, HEADLESS, TRIGGER_TIME, family_of};
use crate::view::Service;

/// The value of [`MANAGED_BY`] for slices of this controller.
pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// So many addresses of a subset are mirrored (`--mirroring-max-endpoints-per-subset`).
const MOST: usize = 1000;

/// Whether the slices of the service are to be made of these Endpoints: where it has no selector,
/// nobody else makes them.
pub(super) fn mirrored(service: Option<&Service>, endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    service.is_some_and(|service| service.spec.selector.is_empty() && !service.metadata.deleting())
        && !meta.deleting()
        && meta.labels.get(SKIP).is_none_or(|skip| skip != "true")
        && !meta.annotations.contains_key(LEADER)
}

/// Decides; without Endpoints, or where they are not mirrored, no slice is wanted.
pub(super) fn plan(endpoints: Option<&Endpoints>, slices: &[Slice]) -> Plan {
    let mut plan = Plan::default();
    let Some(endpoints) = endpoints else {
        plan.delete = slices.iter().map(|slice| slice.metadata.name.clone()).collect();
        return plan;
    };
    let meta = &endpoints.metadata;
    let mut labels = meta.labels.clone();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), meta.name.clone());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = meta.annotations.clone();
    annotations.retain(|name, _| name != LAST_APPLIED && name != TRIGGER_TIME);
    let mut families: BTreeMap<&str, Groups> = BTreeMap::new();
    for subset in &endpoints.subsets {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let others = subset.not_ready_addresses.iter().map(|address| (address, false));
        let known = ready
            .chain(others)
            .filter_map(|(address, ready)| Some((family_of(&address.ip)?, address, ready)));
        for (family, address, ready) in known.take(MOST) {
            let group = families.entry(family).or_default().entry(subset.ports.clone());
            let endpoint = endpoint(address, ready);
            group.or_default().insert(endpoint.identity(), endpoint);
        }
    }
    for family in ["IPv4", "IPv6"] {
        let wanted = Wanted {
            namespace: &meta.namespace,
            labels: &labels,
            annotations: Some(&annotations),
            family,
            groups: families.remove(family).unwrap_or_default(),
            keep_empty: false,
        };
        pack(wanted, slices.iter().filter(|slice| slice.address_type == family), &mut plan);
    }
    plan
}

fn endpoint(address: &Address, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Conditions { ready, serving: None, terminating: None },
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        zone: None,
        target_ref: address.target_ref.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoints(subsets: Value) -> Endpoints {
        let metadata = json!({
            "name": "db", "namespace": "d", "labels": {"x": "y"},
            "annotations": {"a": "b", LAST_APPLIED: "{}", TRIGGER_TIME: "now"},
        });
        serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
    }

    fn service(selector: Value) -> Service {
        serde_json::from_value(json!({"spec": {"selector": selector}})).unwrap()
    }

    #[test]
    fn whose_endpoints_are_mirrored() {
        let (own, selecting) = (service(json!({})), service(json!({"app": "a"})));
        for (service, label, annotation, expected) in [
            (Some(&own), "other", "other", true),
            (None, "other", "other", false),
            (Some(&selecting), "other", "other", false),
            (Some(&own), SKIP, "other", false),
            (Some(&own), "other", LEADER, false),
        ] {
            let mut endpoints = endpoints(json!([]));
            endpoints.metadata.labels.insert(label.into(), "true".into());
            endpoints.metadata.annotations.insert(annotation.into(), String::new());
            assert_eq!(mirrored(service, &endpoints), expected, "{label} {annotation}");
        }
    }

    #[test]
    fn a_slice_for_each_family_and_ports() {
        let of_pod = json!({"kind": "Pod", "name": "p", "uid": "u"});
        let subsets = json!([
            {"addresses": [{"ip": "10.0.0.1", "targetRef": of_pod}, {"ip": "fd00::1"}],
             "notReadyAddresses": [{"ip": "10.0.0.2", "hostname": "h", "nodeName": "n"}],
             "ports": [{"name": "db", "port": 5432, "protocol": "TCP"}]},
            {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1, "protocol": "UDP"}]},
        ]);
        let endpoints = endpoints(subsets);
        let mut first = plan(Some(&endpoints), &[]);
        let found: Vec<Value> = first
            .create
            .iter()
            .map(|slice| json!([slice.address_type, slice.ports[0].port, slice.endpoints]))
            .collect();
        assert_eq!(
            found,
            [
                json!(["IPv4", 1, [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]]),
                json!(["IPv4", 5432, [
                    {"addresses": ["10.0.0.2"], "conditions": {"ready": false},
                     "hostname": "h", "nodeName": "n"},
                    {"addresses": ["10.0.0.1"], "conditions": {"ready": true},
                     "targetRef": of_pod},
                ]]),
                json!(["IPv6", 5432,
                       [{"addresses": ["fd00::1"], "conditions": {"ready": true}}]]),
            ]
        );
        let meta = &first.create[0].metadata;
        assert_eq!(json!(meta.annotations), json!({"a": "b"}));
        assert_eq!(json!(meta.labels), json!({"x": "y", SERVICE_NAME: "db", MANAGED_BY: MANAGER}));
        for (number, slice) in first.create.iter_mut().enumerate() {
            slice.metadata.name = format!("db-{number}");
        }
        assert_eq!(plan(Some(&endpoints), &first.create), Plan::default(), "nothing changed");
        assert_eq!(plan(None, &first.create).delete, ["db-0", "db-1", "db-2"]);
    }
}
