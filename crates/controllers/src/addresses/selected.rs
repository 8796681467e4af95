//! From services to the pods that they select, and back.

use std::sync::Arc;

use onggi_client::{Cache, Change, Index, ObjectKey};
use onggi_machinery::selector::LabelSelector;

use super::{same_endpoint, selects};
use crate::view::{Pod, Service};

/// The pods by their labels.
pub(crate) struct Selected(Index<Pod>);

impl Selected {
    pub(crate) fn new(pods: &Cache<Pod>) -> Self {
        Self(pods.index("label", |pod| {
            let place = &pod.metadata.namespace;
            pod.metadata.labels.iter().map(|label| key(place, label)).collect()
        }))
    }

    /// Those that a service selects: found by the rarest of the labels that it asks for.
    pub(crate) fn by(&self, service: &Service) -> Vec<Arc<Pod>> {
        let (place, wanted) = (&service.metadata.namespace, &service.spec.selector);
        let keys = wanted.iter().map(|label| key(place, label));
        let rarest = keys.min_by_key(|key| self.0.count(key));
        let mut pods = rarest.map(|key| self.0.get(&key)).unwrap_or_default();
        let selector = LabelSelector::from_map(wanted);
        pods.retain(|pod| selector.matches(&pod.metadata.labels));
        pods
    }
}

/// What pods are filed under, once for each label.
fn key(namespace: &str, (key, value): (&String, &String)) -> String {
    format!("{namespace}/{key}={value}")
}

/// The services whose addresses a change of a pod may concern, and those that `also` names for the
/// pod as it is now.
pub(crate) fn concerned(
    services: &Cache<Service>,
    change: &Change<Pod>,
    also: impl Fn(&Service, &Pod) -> bool,
) -> Vec<ObjectKey> {
    let (old, new) = (change.before(), change.after());
    if let (Some(old), Some(new)) = (old, new)
        && same_endpoint(old, new)
    {
        return Vec::new();
    }
    let services = services.list_in(&change.key().namespace);
    let concerned = services.iter().filter(|service| {
        old.into_iter().chain(new).any(|pod| selects(service, pod))
            || new.is_some_and(|pod| also(service, pod))
    });
    concerned.map(|service| service.metadata.key()).collect()
}
