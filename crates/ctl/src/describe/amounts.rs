//! What a pod asks for and may use in all (`k8s.io/component-helpers/resource`).

use std::collections::BTreeMap;

use onggi_api::Quantity;
use onggi_machinery::kinds::podspec::is_sidecar;
use onggi_machinery::value::{at, entries_at, list_at};
use serde_json::Value;

/// By the name of the resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Which of the two is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Requests,
    Limits,
}

/// The sum of the containers and sidecars, or the largest init container with the sidecars that
/// run by then, whichever is more; the pod's own amounts instead where it has them; the overhead
/// on top, of limits only where there are any.
pub(super) fn of_pod(pod: &Value, side: Side) -> Amounts {
    let own = |holder: &Value| match side {
        Side::Requests => amounts(at(holder, "resources"), "requests"),
        Side::Limits => amounts(at(holder, "resources"), "limits"),
    };
    let mut all = Amounts::new();
    for container in list_at(pod, "spec.containers") {
        add(&mut all, &own(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list_at(pod, "spec.initContainers") {
        let mut now = own(container);
        if is_sidecar(container) {
            add(&mut all, &now);
            add(&mut sidecars, &now);
            now.clone_from(&sidecars);
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, now);
    }
    raise(&mut all, peak);
    let of_pod = own(at(pod, "spec")).into_iter();
    all.extend(of_pod.filter(|(name, _)| {
        matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-")
    }));
    let mut overhead = amounts(at(pod, "spec"), "overhead");
    if side == Side::Limits {
        overhead.retain(|name, _| all.contains_key(name));
    }
    add(&mut all, &overhead);
    all
}

/// Adds the amounts of one to those of another.
pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_insert_with(|| Quantity::from_units(0));
        *entry = entry.plus(amount);
    }
}

fn raise(peak: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        match peak.get_mut(&name) {
            Some(entry) if *entry >= amount => {}
            Some(entry) => *entry = amount,
            None => drop(peak.insert(name, amount)),
        }
    }
}

fn amounts(holder: &Value, path: &str) -> Amounts {
    let entries = entries_at(holder, path);
    entries
        .filter_map(|(name, amount)| Some((name.to_owned(), amount.as_str()?.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(spec: Value, side: Side) -> String {
        let all = of_pod(&json!({"spec": spec}), side);
        all.iter().map(|(name, amount)| format!("{name}={amount} ")).collect::<String>()
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu}}})
    }

    #[test]
    fn pods() {
        let sidecar = || {
            let mut sidecar = container("100m", "1Gi");
            sidecar["restartPolicy"] = json!("Always");
            sidecar
        };
        let two = json!([container("100m", "64Mi"), container("150m", "64Mi")]);
        for (spec, requests, limits) in [
            (json!({"containers": two}), "cpu=250m memory=128Mi ", "cpu=250m "),
            // Init containers run alone, sidecars beside all that come after them.
            (
                json!({"containers": two, "initContainers": [container("2", "1Mi")]}),
                "cpu=2 memory=128Mi ",
                "cpu=2 ",
            ),
            (
                json!({"containers": two, "initContainers": [sidecar(), container("200m", "1Mi")]}),
                "cpu=350m memory=1152Mi ",
                "cpu=350m ",
            ),
            (
                json!({"containers": two, "overhead": {"cpu": "50m", "memory": "16Mi"}}),
                "cpu=300m memory=144Mi ",
                "cpu=300m ",
            ),
            (
                json!({"containers": two, "resources": {"requests": {"cpu": "3"}}}),
                "cpu=3 memory=128Mi ",
                "cpu=250m ",
            ),
        ] {
            assert_eq!(shown(spec.clone(), Side::Requests), requests, "{spec}");
            assert_eq!(shown(spec.clone(), Side::Limits), limits, "{spec}");
        }
    }
}
