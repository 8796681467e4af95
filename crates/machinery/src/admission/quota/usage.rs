//! What an object uses of which resource (`pkg/quota/v1/evaluator/core`).

use onggi_api::Quantity;
use serde_json::Value;

use crate::admission::amounts::{self, Amounts};
use crate::kinds::podspec::is_sidecar;
use crate::value::{at, is_set, list_at, str_at, time_at};

const COUNT: &str = "count/";
const REQUESTS: &str = "requests.";
const HUGE_PAGES: &str = "hugepages-";
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Kinds that may be named without `count/`.
const LEGACY: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];
/// What pods use beside extended resources and huge pages.
const COMPUTE: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// The kind, as group and plural, whose objects use a resource of this name.
pub fn kind_of(resource: &str) -> Option<(&str, &str)> {
    if let Some(counted) = resource.strip_prefix(COUNT) {
        return Some(match counted.split_once('.') {
            Some((plural, group)) => (group, plural),
            None => ("", counted),
        });
    }
    if LEGACY.contains(&resource) {
        return Some(("", resource));
    }
    if resource.starts_with("services.") {
        return Some(("", "services"));
    }
    if resource == "requests.storage" || resource.contains(STORAGE_CLASS) {
        return Some(("", "persistentvolumeclaims"));
    }
    let huge = |name: &str| name.starts_with(HUGE_PAGES);
    let of_pods = COMPUTE.contains(&resource)
        || huge(resource)
        || resource.strip_prefix(REQUESTS).is_some_and(|name| huge(name) || name.contains('/'));
    of_pods.then_some(("", "pods"))
}

/// Whether a resource of this name is used by objects of this kind.
pub fn counted_by(group: &str, plural: &str, resource: &str) -> bool {
    kind_of(resource) == Some((group, plural))
}

/// Whether a container's resource is one that a device plugin or an administrator has added.
pub fn is_extended_resource(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with(REQUESTS)
}

fn one() -> Quantity {
    Quantity::from_units(1)
}

fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("{COUNT}{plural}") } else { format!("{COUNT}{plural}.{group}") }
}

/// All that an object uses. `now` in seconds since 1970: a pod whose time to end is over is counted
/// no more.
pub fn usage(group: &str, plural: &str, object: &Value, now: i64) -> Amounts {
    let mut used = Amounts::from([(count_name(group, plural), one())]);
    if !group.is_empty() {
        return used;
    }
    match plural {
        "pods" if is_charged(object, now) => amounts::add(&mut used, &of_pod(object)),
        "pods" => {}
        "services" => amounts::add(&mut used, &of_service(object)),
        "persistentvolumeclaims" => amounts::add(&mut used, &of_claim(object)),
        legacy if LEGACY.contains(&legacy) => {
            used.insert(legacy.to_owned(), one());
        }
        _ => {}
    }
    used
}

fn is_charged(pod: &Value, now: i64) -> bool {
    if matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed") {
        return false;
    }
    let grace = at(pod, "metadata.deletionGracePeriodSeconds").as_i64();
    match (time_at(pod, "metadata.deletionTimestamp"), grace) {
        (Some(deleted), Some(grace)) => now <= deleted.saturating_add(grace),
        _ => true,
    }
}

fn of_pod(pod: &Value) -> Amounts {
    let mut used = of_compute(&total(pod, "requests"), &total(pod, "limits"));
    used.insert("pods".to_owned(), one());
    used
}

/// Names under which requests and limits are counted.
pub(super) fn of_compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = requests.get(name) {
            used.insert(name.to_owned(), *amount);
            used.insert(format!("{REQUESTS}{name}"), *amount);
        }
        if let Some(amount) = limits.get(name) {
            used.insert(format!("limits.{name}"), *amount);
        }
    }
    for (name, amount) in requests {
        if name.starts_with(HUGE_PAGES) {
            used.insert(name.clone(), *amount);
            used.insert(format!("{REQUESTS}{name}"), *amount);
        }
        if is_extended_resource(name) {
            used.insert(format!("{REQUESTS}{name}"), *amount);
        }
    }
    used
}

/// Requests or limits of the whole pod: of its containers and sidecars, or of the init containers
/// where those are more; those of the pod itself instead where it has some; its overhead on top.
pub(crate) fn total(pod: &Value, what: &str) -> Amounts {
    let of = |holder: &Value| amounts::read(at(at(holder, "resources"), what));
    let mut sum = Amounts::new();
    for container in list_at(pod, "spec.containers") {
        amounts::add(&mut sum, &of(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in list_at(pod, "spec.initContainers") {
        let mut own = of(container);
        if is_sidecar(container) {
            amounts::add(&mut sum, &own);
            amounts::add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            amounts::add(&mut own, &sidecars);
        }
        amounts::raise(&mut peak, &own);
    }
    amounts::raise(&mut sum, &peak);
    let spec = at(pod, "spec");
    let whole = of(spec).into_iter().filter(|(name, _)| {
        matches!(name.as_str(), "cpu" | "memory") || name.starts_with(HUGE_PAGES)
    });
    sum.extend(whole);
    for (name, amount) in amounts::read(at(spec, "overhead")) {
        // What has no limit does not get one by it.
        match sum.get(&name).copied() {
            Some(before) => {
                sum.insert(name, before.plus(&amount));
            }
            None if what == "requests" => {
                sum.insert(name, amount);
            }
            None => {}
        }
    }
    sum
}

fn of_service(service: &Value) -> Amounts {
    let ports = list_at(service, "spec.ports");
    let whole = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    let mut used = Amounts::from([
        ("services".to_owned(), one()),
        ("services.nodeports".to_owned(), Quantity::from_units(0)),
        ("services.loadbalancers".to_owned(), Quantity::from_units(0)),
    ]);
    match str_at(service, "spec.type") {
        "NodePort" => {
            used.insert("services.nodeports".to_owned(), whole(ports.len()));
        }
        "LoadBalancer" => {
            let allocated = at(service, "spec.allocateLoadBalancerNodePorts") != false;
            let fixed = ports.iter().filter(|port| at(port, "nodePort").as_i64().unwrap_or(0) != 0);
            let count = if allocated { ports.len() } else { fixed.count() };
            used.insert("services.nodeports".to_owned(), whole(count));
            used.insert("services.loadbalancers".to_owned(), one());
        }
        _ => {}
    }
    used
}

fn of_claim(claim: &Value) -> Amounts {
    let annotations = at(claim, "metadata.annotations");
    let beta = annotations.get("volume.beta.kubernetes.io/storage-class").and_then(Value::as_str);
    let class = beta.unwrap_or_else(|| str_at(claim, "spec.storageClassName"));
    let mut used = Amounts::from([("persistentvolumeclaims".to_owned(), one())]);
    if !class.is_empty() {
        used.insert(format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), one());
    }
    let amount = |path: &str| str_at(claim, path).parse::<Quantity>().ok();
    if is_set(claim, "spec.resources.requests.storage") {
        // A claim that is being made larger may have been given more already.
        let asked = amount("spec.resources.requests.storage");
        let Some(size) = asked.max(amount("status.allocatedResources.storage")) else {
            return used;
        };
        used.insert("requests.storage".to_owned(), size);
        if !class.is_empty() {
            used.insert(format!("{class}{STORAGE_CLASS}requests.storage"), size);
        }
    }
    used
}
