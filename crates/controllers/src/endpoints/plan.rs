//! What the Endpoints of a Service should say.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::jiff::Timestamp;
use onggi_machinery::value::{map_mut, remove, set};
use serde_json::{Value, json};

use crate::addresses::{
    Address, Endpoints, HEADLESS, Port, Subset, TRIGGER_TIME, address, families, hostname,
    node_name, ports, reference,
};
use crate::view::{Pod, Service};

pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for what this controller writes.
pub(super) const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const TRUNCATED: &str = "truncated";
/// So many addresses stand in one object at most.
const MOST: usize = 1000;

/// What is meant to be there.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    labels: BTreeMap<String, String>,
    subsets: Vec<Subset>,
    /// There are more than these.
    truncated: bool,
}

/// For a service that has a selector; `pods` are those that it selects.
pub(super) fn wanted(service: &Service, pods: &[Arc<Pod>]) -> Wanted {
    let publish = service.spec.publish_not_ready_addresses;
    let headless = service.spec.cluster_ip == "None";
    let family = families(service).first().copied().unwrap_or("IPv4");
    let mut groups: BTreeMap<Vec<Port>, Subset> = BTreeMap::new();
    for pod in pods {
        let Some(ip) = address(pod, family) else { continue };
        // One on its way out serves those alone who want all.
        if pod.metadata.deleting() && !publish {
            continue;
        }
        let mut ports = ports(service, pod);
        // Without ports, a service is a name for addresses.
        if ports.is_empty() && !(headless && service.spec.ports.is_empty()) {
            continue;
        }
        ports.sort();
        let address = Address {
            ip: ip.to_owned(),
            hostname: hostname(service, pod),
            node_name: node_name(pod),
            target_ref: Some(reference(pod)),
        };
        let subset = groups.entry(ports).or_default();
        let ready = publish || pod.ready().is_some();
        if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses }.push(address);
    }
    let mut subsets: Vec<Subset> = groups
        .into_iter()
        .map(|(ports, mut subset)| {
            subset.ports = ports;
            subset.addresses.sort_by(order);
            subset.not_ready_addresses.sort_by(order);
            subset
        })
        .collect();
    let truncated = truncate(&mut subsets);
    Wanted { labels: labels(service, headless), subsets, truncated }
}

fn order(a: &Address, b: &Address) -> std::cmp::Ordering {
    let uid = |address: &Address| address.target_ref.as_ref().and_then(|target| target.uid.clone());
    a.ip.cmp(&b.ip).then_with(|| uid(a).cmp(&uid(b)))
}

fn labels(service: &Service, headless: bool) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if headless {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// Keeps as many as may stand in one object: ready ones before others, from each subset its share.
fn truncate(subsets: &mut Vec<Subset>) -> bool {
    let count = |of: fn(&Subset) -> usize| subsets.iter().map(of).sum::<usize>();
    let ready = count(|subset| subset.addresses.len());
    let others = count(|subset| subset.not_ready_addresses.len());
    if ready + others <= MOST {
        return false;
    }
    let (room, among) = if ready > MOST { (MOST, ready) } else { (MOST - ready, others) };
    let mut left = room;
    for subset in subsets.iter_mut() {
        if ready > MOST {
            subset.not_ready_addresses.clear();
        }
        let cut =
            if ready > MOST { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (cut.len() * room).div_ceil(among).min(left);
        cut.truncate(share);
        left -= share;
    }
    subsets.retain(|subset| !subset.addresses.is_empty() || !subset.not_ready_addresses.is_empty());
    true
}

impl Wanted {
    /// Whether this is what is there.
    pub(super) fn stands(&self, present: &Endpoints) -> bool {
        let said = present.metadata.annotations.get(OVER_CAPACITY).map(String::as_str);
        let truncated = said == self.truncated.then_some(TRUNCATED);
        present.metadata.labels == self.labels && present.subsets == self.subsets && truncated
    }

    /// Writes it into the object; other annotations stay.
    pub(super) fn fill(&self, value: &mut Value, changed: Option<Timestamp>) {
        set(value, "metadata.labels", json!(self.labels));
        set(value, "subsets", json!(self.subsets));
        let mut annotation = |name: &str, text: Option<String>| {
            let path = "metadata.annotations";
            let annotations = map_mut(value, path);
            match text {
                Some(text) => drop(annotations.insert(name.to_owned(), text.into())),
                None => drop(annotations.remove(name)),
            }
        };
        annotation(OVER_CAPACITY, self.truncated.then(|| TRUNCATED.to_owned()));
        annotation(TRIGGER_TIME, changed.map(|at| at.to_string()));
        if self.subsets.is_empty() {
            remove(value, "subsets");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Service {
        let mut value = json!({
            "metadata": {"name": "web", "namespace": "d", "labels": {"x": "y"}},
            "spec": {"selector": {"app": "a"}, "clusterIP": "10.96.0.9",
                     "ports": [{"name": "http", "port": 80, "targetPort": "web"},
                               {"name": "admin", "port": 81}]},
        });
        value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn pod(number: usize, ready: bool, change: &Value) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        let ip = format!("10.0.{}.{}", number / 200, number % 200 + 1);
        let mut value = json!({
            "metadata": {"name": format!("p{number}"), "namespace": "d", "uid": format!("u{number}")},
            "spec": {"nodeName": "n",
                     "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}, {"ip": "fd00::1"}],
                       "conditions": [{"type": "Ready", "status": ready}]},
        });
        let bytes = serde_json::to_vec(change).unwrap();
        let kind = onggi_machinery::patch::PatchType::Merge;
        onggi_machinery::patch::apply(kind, None, &mut value, &bytes).unwrap();
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn what_is_said_of_pods() {
        let plain = service(json!({}));
        let publishing = service(json!({"publishNotReadyAddresses": true}));
        let bare = service(json!({"clusterIP": "None", "ports": []}));
        let sixth = service(json!({"ipFamilies": ["IPv6", "IPv4"]}));
        let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let nameless = json!({"spec": {"containers": []}});
        let none = json!({});
        let two = json!([{"name": "admin", "port": 81, "protocol": "TCP"},
                         {"name": "http", "port": 8080, "protocol": "TCP"}]);
        for (service, ready, change, expected) in [
            (&plain, true, &none, json!(["10.0.0.2", null, two])),
            (&plain, false, &none, json!([null, "10.0.0.2", two])),
            (&plain, true, &ending, json!(null)),
            (&publishing, true, &ending, json!(["10.0.0.2", null, two])),
            (&publishing, false, &none, json!(["10.0.0.2", null, two])),
            (&plain, true, &json!({"status": {"phase": "Succeeded"}}), json!(null)),
            (&plain, true, &json!({"status": {"podIP": null, "podIPs": null}}), json!(null)),
            (&plain, true, &nameless, json!(["10.0.0.2", null, [two[0]]])),
            (&bare, true, &none, json!(["10.0.0.2", null, null])),
            (&sixth, true, &none, json!(["fd00::1", null, two])),
        ] {
            let subsets = json!(wanted(service, &[pod(1, ready, change)]).subsets);
            let found = subsets.get(0).map_or(Value::Null, |subset| {
                let ip = |field: &str| subset[field][0]["ip"].clone();
                json!([ip("addresses"), ip("notReadyAddresses"), subset["ports"]])
            });
            assert_eq!(found, expected, "{change}");
        }
        let found = json!(wanted(&plain, &[pod(1, true, &none)]).subsets);
        let target = json!({"kind": "Pod", "namespace": "d", "name": "p1", "uid": "u1"});
        assert_eq!(
            found[0]["addresses"][0],
            json!({"ip": "10.0.0.2", "nodeName": "n", "targetRef": target})
        );
    }

    #[test]
    fn labels_and_what_stands() {
        let service = service(json!({"clusterIP": "None"}));
        let wanted = wanted(&service, &[pod(1, true, &json!({}))]);
        let mut value =
            json!({"metadata": {"annotations": {"a": "b", OVER_CAPACITY: "truncated"}}});
        wanted.fill(&mut value, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(
            value["metadata"],
            json!({
                "annotations": {"a": "b", TRIGGER_TIME: "1970-01-01T00:00:00Z"},
                "labels": {"x": "y", MANAGED_BY: MANAGER, HEADLESS: ""},
            })
        );
        let mut present: Endpoints = serde_json::from_value(value).unwrap();
        assert!(wanted.stands(&present));
        present.metadata.annotations.insert(OVER_CAPACITY.into(), TRUNCATED.into());
        assert!(!wanted.stands(&present));
    }

    #[test]
    fn no_more_than_fit() {
        let service = service(json!({}));
        let (other, none) = (json!({"spec": {"containers": []}}), json!({}));
        for (ready, unready, expected) in [
            (1000, 0, ((1000, 0), false)),
            (900, 400, ((900, 100), true)),
            (1200, 50, ((1000, 0), true)),
        ] {
            let pods: Vec<_> = (0..ready + unready)
                .map(|n| pod(n, n < ready, if n % 3 == 0 { &other } else { &none }))
                .collect();
            let wanted = wanted(&service, &pods);
            let sum = |of: fn(&Subset) -> usize| wanted.subsets.iter().map(of).sum::<usize>();
            let found = (sum(|s| s.addresses.len()), sum(|s| s.not_ready_addresses.len()));
            assert_eq!((found, wanted.truncated), expected);
            assert_eq!(wanted.subsets.len(), 2, "each keeps its share");
        }
    }
}
