//! From a pod's requests and limits to what the runtime is given: QoS class, cgroup, `oom_score_adj`.

use std::collections::BTreeMap;

use onggi_api::Quantity;
use onggi_api::core::{Container, ResourceRequirements};
use onggi_node_api::Resources;

use crate::pod::{Place, Pod, Qos};

type Amounts = BTreeMap<String, onggi_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

/// `oom_score_adj` of guaranteed pods (`pkg/kubelet/qos`): killed last.
const GUARANTEED_OOM: i32 = -997;
/// Of best-effort pods: killed first.
const BEST_EFFORT_OOM: i32 = 1000;

/// What a container may use. `memory_capacity` is the node's, in bytes.
pub(crate) fn of_container(pod: &Pod, container: &Container, memory_capacity: u64) -> Resources {
    let requirements = container.resources.as_ref();
    let cpu_limit = limit(requirements, "cpu").map(millis);
    let memory_limit = limit(requirements, "memory").map(bytes);
    let cpu_request = request(requirements, "cpu").map(millis).or(cpu_limit);
    let memory_request = request(requirements, "memory").map(bytes).or(memory_limit);
    Resources {
        cpu_request_millis: cpu_request.unwrap_or(0),
        cpu_limit_millis: cpu_limit.unwrap_or(0),
        memory_limit_bytes: memory_limit.unwrap_or(0),
        pids_limit: 0,
        oom_score_adj: oom_score_adj(qos(pod), memory_request.unwrap_or(0), memory_capacity),
    }
}

/// What the pod may use in all: what it says itself, or the sum of its containers, a limit only
/// where every container has one; and its overhead on top.
pub(crate) fn of_pod(pod: &Pod) -> Resources {
    let sum = |value: &dyn Fn(&Container) -> u64| -> u64 {
        let lasting = |(place, _): &(Place, &Container)| *place != Place::Init;
        let together: u64 = pod.containers().filter(lasting).map(|(_, c)| value(c)).sum();
        // Init containers run one at a time: the largest counts.
        let alone = pod.containers().filter(|c| !lasting(c)).map(|(_, c)| value(c)).max();
        together.max(alone.unwrap_or(0))
    };
    let of = |c: &Container| of_container(pod, c, 0);
    let all_have =
        |limited: fn(&Resources) -> u64| pod.containers().all(|(_, c)| limited(&of(c)) > 0);
    let whole = |limited: fn(&Resources) -> u64| match all_have(limited) {
        true => sum(&|c| limited(&of(c))),
        false => 0,
    };
    let own = pod.spec.resources.as_ref();
    let own_limit = |name| limit(own, name);
    let cpu_request = request(own, "cpu").or_else(|| own_limit("cpu")).map(millis);
    let cpu_limit = own_limit("cpu").map(millis).unwrap_or_else(|| whole(|r| r.cpu_limit_millis));
    let memory_limit =
        own_limit("memory").map(bytes).unwrap_or_else(|| whole(|r| r.memory_limit_bytes));
    let overhead = |name| pod.spec.overhead.as_ref().and_then(|amounts| amount(amounts, name));
    let (more_cpu, more_memory) =
        (overhead("cpu").map_or(0, millis), overhead("memory").map_or(0, bytes));
    // Nothing is added to no limit.
    let limited = |limit: u64, more: u64| if limit == 0 { 0 } else { limit.saturating_add(more) };
    Resources {
        cpu_request_millis: cpu_request
            .unwrap_or_else(|| sum(&|c| of(c).cpu_request_millis))
            .saturating_add(more_cpu),
        cpu_limit_millis: limited(cpu_limit, more_cpu),
        memory_limit_bytes: limited(memory_limit, more_memory),
        ..Resources::default()
    }
}

/// The pod's cgroup below the instance's, by its class.
pub(crate) fn cgroup_parent(pod: &Pod) -> String {
    let uid = pod.uid();
    match qos(pod) {
        Qos::Guaranteed => format!("pod{uid}"),
        Qos::Burstable => format!("burstable/pod{uid}"),
        Qos::BestEffort => format!("besteffort/pod{uid}"),
    }
}

/// The class that CPU and memory of all containers make, or those of the pod itself where it says
/// them (`v1qos.ComputePodQOS`).
pub(crate) fn qos(pod: &Pod) -> Qos {
    let mut any = false;
    let mut guaranteed = true;
    let says = |own: &&ResourceRequirements| own.limits.is_some() || own.requests.is_some();
    let judged: Vec<Option<&ResourceRequirements>> = match pod.spec.resources.as_ref().filter(says)
    {
        Some(own) => vec![Some(own)],
        None => pod.containers().map(|(_, container)| container.resources.as_ref()).collect(),
    };
    for requirements in judged {
        for resource in ["cpu", "memory"] {
            let limit = limit(requirements, resource).filter(is_positive);
            let asked = request(requirements, resource).filter(is_positive);
            any |= limit.is_some() || asked.is_some();
            guaranteed &= limit.is_some() && asked.is_none_or(|asked| Some(asked) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

fn oom_score_adj(qos: Qos, memory_request: u64, memory_capacity: u64) -> i32 {
    match qos {
        Qos::Guaranteed => GUARANTEED_OOM,
        Qos::BestEffort => BEST_EFFORT_OOM,
        Qos::Burstable => {
            let share = (1000 * u128::from(memory_request))
                .checked_div(u128::from(memory_capacity))
                .and_then(|share| i32::try_from(share).ok())
                .unwrap_or(0);
            // Never as safe as guaranteed, never as exposed as best effort.
            (1000 - share).clamp(1000 + GUARANTEED_OOM, BEST_EFFORT_OOM - 1)
        }
    }
}

pub(crate) fn limit(requirements: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    amount(requirements?.limits.as_ref()?, name)
}

pub(crate) fn request(requirements: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    amount(requirements?.requests.as_ref()?, name)
}

fn amount(amounts: &Amounts, name: &str) -> Option<Quantity> {
    // Validation let only quantities in.
    amounts.get(name)?.0.parse().ok()
}

fn is_positive(quantity: &Quantity) -> bool {
    !quantity.is_negative() && *quantity != Quantity::from_units(0)
}

fn millis(quantity: Quantity) -> u64 {
    u64::try_from(quantity.millis()).unwrap_or(0)
}

fn bytes(quantity: Quantity) -> u64 {
    u64::try_from(quantity.units()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    fn with(resources: serde_json::Value) -> Pod {
        pod(json!({"containers": [{"name": "a", "image": "i", "resources": resources}]}))
    }

    #[test]
    fn classes() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, class) in [
            (json!({}), Qos::BestEffort),
            (json!({"requests": {"cpu": "0"}}), Qos::BestEffort),
            (json!({"limits": both, "requests": both}), Qos::Guaranteed),
            (json!({"limits": both}), Qos::Guaranteed),
            (json!({"limits": {"cpu": "1"}}), Qos::Burstable),
            (json!({"limits": both, "requests": {"cpu": "500m"}}), Qos::Burstable),
        ] {
            assert_eq!(qos(&with(resources.clone())), class, "{resources}");
        }
    }

    #[test]
    fn numbers_for_the_runtime() {
        let pod = with(json!({
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "512Mi"},
        }));
        let got = of_container(&pod, &pod.spec.containers[0], 1 << 30);
        assert_eq!((got.cpu_request_millis, got.cpu_limit_millis), (100, 0));
        assert_eq!((got.memory_limit_bytes, got.oom_score_adj), (512 << 20, 750));
        assert_eq!(cgroup_parent(&pod), "burstable/poduid-1");
        assert_eq!(of_pod(&pod).memory_limit_bytes, 512 << 20);
    }

    #[test]
    fn what_the_pod_says_itself() {
        let mut spec = json!({
            "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i",
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}],
            "resources": {"limits": {"cpu": "2", "memory": "64Mi"}},
        });
        let got = of_pod(&pod(spec.clone()));
        assert_eq!((got.cpu_request_millis, got.cpu_limit_millis), (2000, 2000));
        assert_eq!(got.memory_limit_bytes, 64 << 20);
        assert_eq!(qos(&pod(spec.clone())), Qos::Guaranteed);
        spec["overhead"] = json!({"cpu": "100m", "memory": "1Mi"});
        let got = of_pod(&pod(spec.clone()));
        assert_eq!((got.cpu_limit_millis, got.memory_limit_bytes), (2100, 65 << 20));
        spec["resources"] = json!({"requests": {"cpu": "500m"}});
        let got = of_pod(&pod(spec.clone()));
        // One container has no limits, so the pod has none.
        assert_eq!(
            (got.cpu_request_millis, got.cpu_limit_millis, got.memory_limit_bytes),
            (600, 0, 0)
        );
        assert_eq!(qos(&pod(spec)), Qos::Burstable);
    }
}
