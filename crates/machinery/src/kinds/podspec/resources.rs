//! What a pod asks for and may use: requests, limits, quality of service.

use std::collections::BTreeMap;
use std::fmt;

use onggi_api::Quantity;
use serde_json::Value;

use super::is_sidecar;
use crate::value::{at, entries_at, is_set, list_at, map_mut};

/// Amounts by resource name: `cpu` in thousandths of a core, everything else in whole units
/// (`memory` in bytes), each rounded up.
pub type Requests = BTreeMap<String, i64>;

/// Quality of service (`v1.PodQOSClass`): who is killed first when memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has limits of CPU and memory, and asks for all of them.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl QosClass {
    /// As in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class of a pod, defaulted or not.
pub fn qos_class(pod: &Value) -> QosClass {
    let mut asks = false;
    let mut guaranteed = true;
    let mut judge = |resources: &Value| {
        for name in ["cpu", "memory"] {
            let limit = amount(at(resources, "limits").get(name));
            let request = amount(at(resources, "requests").get(name)).or(limit);
            asks |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    };
    if is_set(pod, "spec.resources") {
        judge(at(pod, "spec.resources"));
    } else {
        containers(pod).for_each(|container| judge(at(container, "resources")));
    }
    match (asks, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list_at(pod, "spec.initContainers").iter().chain(list_at(pod, "spec.containers"))
}

/// An amount above zero.
fn amount(value: Option<&Value>) -> Option<Quantity> {
    let quantity: Quantity = value?.as_str()?.parse().ok()?;
    (quantity > Quantity::from_units(0)).then_some(quantity)
}

/// What the scheduler sets aside for a pod: the sum of its containers and sidecars, or the largest
/// init container with the sidecars started before it, whichever is more; pod-level requests
/// instead, where given; the overhead on top.
pub fn requests(pod: &Value) -> Requests {
    let mut sum = Requests::new();
    for container in list_at(pod, "spec.containers") {
        add(&mut sum, &asked(container));
    }
    let mut sidecars = Requests::new();
    let mut init_peak = Requests::new();
    for container in list_at(pod, "spec.initContainers") {
        let mut now = asked(container);
        let sidecar = is_sidecar(container);
        if sidecar {
            add(&mut sum, &now);
            add(&mut sidecars, &now);
        }
        // Only what this one asks for can rise above what was raised before.
        for (name, amount) in &mut now {
            let beside = sidecars.get(name).copied().unwrap_or_default();
            *amount = if sidecar { beside } else { amount.saturating_add(beside) };
        }
        raise(&mut init_peak, &now);
    }
    raise(&mut sum, &init_peak);
    sum.extend(asked(at(pod, "spec")));
    add(&mut sum, &amounts(at(pod, "spec.overhead")));
    sum
}

/// Requests of a container, a limit standing in for a request that is missing.
fn asked(holder: &Value) -> Requests {
    let mut asked = amounts(at(holder, "resources.limits"));
    asked.extend(amounts(at(holder, "resources.requests")));
    asked
}

/// The amounts of a map such as `status.allocatable` in the units of [`Requests`]; what is no
/// quantity is left out.
pub fn amounts(map: &Value) -> Requests {
    let Some(map) = map.as_object() else { return Requests::new() };
    map.iter()
        .filter_map(|(name, amount)| {
            let quantity: Quantity = amount.as_str()?.parse().ok()?;
            let number = if name == "cpu" { quantity.millis() } else { quantity.units() };
            Some((name.clone(), number))
        })
        .collect()
}

fn add(sum: &mut Requests, more: &Requests) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

fn raise(peak: &mut Requests, other: &Requests) {
    for (name, amount) in other {
        let entry = peak.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// A container that names a limit alone asks for as much.
pub(in crate::kinds) fn requests_from_limits(container: &mut Value) {
    if !is_set(container, "resources.limits") {
        return;
    }
    let limits: Vec<(String, Value)> = entries_at(container, "resources.limits")
        .map(|(name, amount)| (name.to_owned(), amount.clone()))
        .collect();
    let requests = map_mut(container, "resources.requests");
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::Dice;

    /// All that runs at once is added up anew for each container.
    fn model(pod: &Value) -> Requests {
        let mut sum = Requests::new();
        let starts = list_at(pod, "spec.initContainers");
        let sidecars = |upto: usize| starts[..upto].iter().filter(|c| is_sidecar(c));
        for container in list_at(pod, "spec.containers").iter().chain(sidecars(starts.len())) {
            add(&mut sum, &asked(container));
        }
        for (place, container) in starts.iter().enumerate() {
            let mut now = asked(container);
            sidecars(place).for_each(|sidecar| add(&mut now, &asked(sidecar)));
            raise(&mut sum, &now);
        }
        sum
    }

    #[test]
    fn sums_are_those_of_the_simple_way() {
        let mut dice = Dice(1);
        for _ in 0..500 {
            let pod = serde_json::json!({"spec": dice.containers()});
            assert_eq!(requests(&pod), model(&pod), "{pod}");
        }
    }
}
