//! What made the addresses of a service change, and when: the annotation by which the time from a
//! pod's change to the proxies is measured.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use onggi_api::jiff::Timestamp;
use onggi_client::ObjectKey;
use parking_lot::Mutex;

use crate::view::{Condition, Pod, Service};

/// The annotation; RFC 3339.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The times of each service that were seen so far.
#[derive(Default)]
pub(crate) struct TriggerTimes(Mutex<HashMap<ObjectKey, Seen>>);

/// Of pods, by the hash of their uid: where two meet, a time is missed once.
#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: BTreeMap<u64, Timestamp>,
}

impl TriggerTimes {
    /// The earliest of the changes since it was last asked; of a service that is new, its own time.
    pub(crate) fn of(&self, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let mut all = self.0.lock();
        let key = service.metadata.key();
        let Some(seen) = all.get_mut(&key) else {
            let mut seen = Seen::default();
            seen.look(service, pods);
            all.insert(key, seen);
            return service.metadata.created();
        };
        seen.look(service, pods)
    }

    /// The service is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

impl Seen {
    fn look(&mut self, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let times = pods.iter().filter_map(|pod| Some((hash(pod), changed(pod)?)));
        let now: BTreeMap<u64, Timestamp> = times.collect();
        let created = service.metadata.created().filter(|created| Some(*created) > self.service);
        let later = now.iter().filter(|(pod, at)| self.pods.get(pod).is_none_or(|old| *at > old));
        let first = later.map(|(_, at)| *at).chain(created).min();
        self.service = self.service.max(service.metadata.created());
        self.pods = now;
        first
    }
}

/// When a pod became what it is: ready, or not.
fn changed(pod: &Pod) -> Option<Timestamp> {
    let ready = Condition::find(&pod.status.conditions, "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

fn hash(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.metadata.uid.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_earliest_change_since_the_last_look() {
        let service: Service = serde_json::from_value(json!({"metadata": {
            "name": "web", "namespace": "d", "creationTimestamp": "2026-01-01T00:00:00Z"}}))
        .unwrap();
        let pod = |name: &str, second: u8| -> Arc<Pod> {
            let at = format!("2026-01-01T00:00:{second:02}Z");
            let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
            let pod = json!({"metadata": {"uid": name}, "status": {"conditions": ready}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let times = TriggerTimes::default();
        let second = |pods: &[Arc<Pod>]| {
            let start = service.metadata.created().unwrap();
            times.of(&service, pods).map(|at| at.duration_since(start).as_secs())
        };
        assert_eq!(second(&[pod("a", 5)]), Some(0), "a new service: its own time");
        assert_eq!(second(&[pod("a", 5)]), None, "nothing changed");
        assert_eq!(second(&[pod("a", 7), pod("b", 6)]), Some(6));
        assert_eq!(second(&[pod("b", 6)]), None, "one that is gone has no time");
        times.forget(&service.metadata.key());
        assert_eq!(second(&[]), Some(0));
    }
}
