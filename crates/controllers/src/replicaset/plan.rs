//! What a ReplicaSet does next, from what is.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;

use crate::claim::{Claim, claim};
use crate::view::{Condition, Pod, ReplicaSet, ReplicaSetStatus};

/// So many pods are made or deleted in one step at most (`BurstReplicas`).
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What is.
pub(super) struct Snapshot<'a> {
    pub(super) set: &'a ReplicaSet,
    /// The pods that it manages, and those of its namespace that nobody does.
    pub(super) pods: &'a [Arc<Pod>],
    /// Uids of pods whose deletion the cache may not show yet.
    pub(super) deleted: &'a HashSet<String>,
    /// Active pods by node, of all sets with the same owner.
    pub(super) crowd: &'a HashMap<String, usize>,
    pub(super) now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) adopt: Vec<Arc<Pod>>,
    pub(super) release: Vec<Arc<Pod>>,
    pub(super) create: usize,
    pub(super) delete: Vec<Arc<Pod>>,
    /// The replicas that there are, for the status.
    pub(super) active: Vec<Arc<Pod>>,
    /// How many of its pods are on their way out.
    pub(super) terminating: i32,
}

/// Decides.
pub(super) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let Snapshot { set, pods, deleted, .. } = snapshot;
    let mut plan = Plan::default();
    for pod in *pods {
        match claim(&set.metadata, &set.spec.selector, &pod.metadata) {
            Claim::Ignore => continue,
            Claim::Release => {
                plan.release.push(Arc::clone(pod));
                continue;
            }
            Claim::Adopt => plan.adopt.push(Arc::clone(pod)),
            Claim::Keep => {}
        }
        let leaving = pod.metadata.deleting() || deleted.contains(&pod.metadata.uid);
        if !leaving && !pod.finished() {
            plan.active.push(Arc::clone(pod));
        } else if leaving && !pod.finished() {
            plan.terminating += 1;
        }
    }
    if set.metadata.deleting() {
        return plan;
    }
    let wanted = usize::try_from(set.spec.replicas).unwrap_or(0);
    match plan.active.len().cmp(&wanted) {
        Ordering::Less => plan.create = (wanted - plan.active.len()).min(BURST),
        Ordering::Equal => {}
        Ordering::Greater => {
            let surplus = (plan.active.len() - wanted).min(BURST);
            plan.delete = first_to_go(&plan.active, surplus, snapshot.crowd, snapshot.now);
        }
    }
    plan
}

// === Which pods go first (`ActivePodsWithRanks`) ===

fn first_to_go(
    pods: &[Arc<Pod>],
    count: usize,
    crowd: &HashMap<String, usize>,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut pods = pods.to_vec();
    pods.sort_by(|a, b| compare(a, b, crowd, now));
    pods.truncate(count);
    pods
}

/// `Less` goes first: what has done least, costs least, or is one of many on its node.
fn compare(a: &Pod, b: &Pod, crowd: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let assigned = |pod: &Pod| !pod.spec.node_name.is_empty();
    let phase = |pod: &Pod| match pod.status.phase.as_str() {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let ready = |pod: &Pod| pod.ready().is_some();
    let cost = |pod: &Pod| {
        let text = pod.metadata.annotations.get(DELETION_COST);
        text.and_then(|text| text.parse::<i32>().ok()).unwrap_or(0)
    };
    let crowd = |pod: &Pod| crowd.get(&pod.spec.node_name).copied().unwrap_or(0);
    (assigned(a).cmp(&assigned(b)))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| ready(a).cmp(&ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| match (a.ready_since(), b.ready_since()) {
            (Some(a), Some(b)) => age_class(a, now).cmp(&age_class(b, now)),
            _ => Ordering::Equal,
        })
        .then_with(|| b.most_restarts().cmp(&a.most_restarts()))
        .then_with(|| match (a.metadata.created(), b.metadata.created()) {
            (Some(a), Some(b)) => age_class(a, now).cmp(&age_class(b, now)),
            // One that has no time is the newest.
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

/// Ages are compared by their order of magnitude, so that it is not always the same zone that was
/// started last which loses its pods (`LogarithmicScaleDown`).
fn age_class(since: Timestamp, now: Timestamp) -> u32 {
    let age = u64::try_from(now.duration_since(since).as_nanos()).unwrap_or(0);
    age.checked_ilog2().map_or(0, |log| log + 1)
}

// === Status ===

/// The status, with the failure of this step where there was one: reason and message.
pub(super) fn status(
    set: &ReplicaSet,
    plan: &Plan,
    failure: Option<(&str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let template = &set.spec.template.metadata.labels;
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(plan.active.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let labelled = |pod: &Pod| template.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v));
    let available =
        |pod: &Pod| pod.available_at(set.spec.min_ready_seconds).is_some_and(|at| at <= now);
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: count(&labelled),
        ready_replicas: count(&|pod| pod.ready().is_some()),
        available_replicas: count(&available),
        terminating_replicas: Some(plan.terminating),
        observed_generation: set.metadata.generation,
        conditions: conditions(&set.status.conditions, failure, now),
    }
}

fn conditions(
    old: &[Condition],
    failure: Option<(&str, String)>,
    now: Timestamp,
) -> Vec<Condition> {
    const FAILURE: &str = "ReplicaFailure";
    let mut conditions: Vec<_> = old.iter().filter(|c| c.kind != FAILURE).cloned().collect();
    if let Some((reason, message)) = failure {
        // The first failure stands, until there is none.
        let found = Condition::find(old, FAILURE).cloned();
        conditions.push(found.unwrap_or_else(|| Condition {
            kind: FAILURE.into(),
            status: "True".into(),
            reason: reason.into(),
            message,
            last_transition_time: Some(Time(now)),
            last_update_time: None,
        }));
    }
    conditions
}

/// When the next pod becomes available by the passing of time alone.
pub(super) fn next_available(set: &ReplicaSet, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let waiting = plan.active.iter().filter_map(|p| p.available_at(set.spec.min_ready_seconds));
    waiting.filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(spec: Value) -> ReplicaSet {
        let mut value = json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "set", "generation": 3},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}},
                     "template": {"metadata": {"labels": {"app": "a"}}}},
        });
        let fields = spec.as_object().unwrap().clone();
        value["spec"].as_object_mut().unwrap().extend(fields);
        serde_json::from_value(value).unwrap()
    }

    /// `text`: name, then words: `ready`, `on` (a node), `orphan`, `other` labels, `ending`, `done`,
    /// `cost=N`, `restarts=N`, `since=SECONDS`.
    fn pod(text: &str) -> Arc<Pod> {
        let mut words = text.split(' ');
        let name = words.next().unwrap();
        let owner = json!([{"uid": "set", "controller": true}]);
        let mut value = json!({
            "metadata": {"name": name, "uid": name, "namespace": "d", "labels": {"app": "a"},
                         "ownerReferences": owner, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {}, "status": {"phase": "Pending"},
        });
        let mut ready = json!({"type": "Ready", "status": "True",
                               "lastTransitionTime": "2026-01-01T00:00:00Z"});
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("ready", _) => {
                    value["status"] = json!({"phase": "Running", "conditions": [ready.clone()]});
                }
                ("since", at) => {
                    let at = Timestamp::from_second(at.parse().unwrap()).unwrap();
                    ready["lastTransitionTime"] = json!(Time(at));
                    value["status"]["conditions"] = json!([ready]);
                }
                ("on", node) => value["spec"]["nodeName"] = node.into(),
                ("orphan", _) => value["metadata"]["ownerReferences"] = json!([]),
                ("other", _) => value["metadata"]["labels"]["app"] = "b".into(),
                ("ending", _) => {
                    value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                }
                ("done", _) => value["status"]["phase"] = "Succeeded".into(),
                ("running", _) => value["status"]["phase"] = "Running".into(),
                ("cost", n) => value["metadata"]["annotations"] = json!({DELETION_COST: n}),
                ("restarts", n) => {
                    let n: i32 = n.parse().unwrap();
                    value["status"]["containerStatuses"] = json!([{"restartCount": n}]);
                }
                _ => panic!("{word}"),
            }
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn planned(set: &ReplicaSet, pods: &[&str], deleted: &[&str], now: i64) -> Plan {
        let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        let deleted = deleted.iter().map(|&uid| uid.to_owned()).collect();
        let mut crowd = HashMap::new();
        for pod in &pods {
            *crowd.entry(pod.spec.node_name.clone()).or_default() += 1;
        }
        let now = Timestamp::from_second(now).unwrap();
        plan(&Snapshot { set, pods: &pods, deleted: &deleted, crowd: &crowd, now })
    }

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn as_many_as_wanted() {
        let names = |pods: &[Arc<Pod>]| -> String {
            pods.iter().map(|pod| pod.metadata.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        for (pods, deleted, expected) in [
            (&[][..], &[][..], (2, "", "", "")),
            (&["a", "b"], &[], (0, "", "", "")),
            (&["a", "b ending", "c done"], &[], (1, "", "", "")),
            (&["a", "b"], &["a"], (1, "", "", "")),
            (&["a", "b orphan"], &[], (0, "", "b", "")),
            (&["a", "b other", "c orphan other"], &[], (1, "", "", "b")),
            (&["a ready", "b", "c ready"], &[], (0, "b", "", "")),
        ] {
            let plan = planned(&set(json!({})), pods, deleted, NOW);
            let found =
                (plan.create, &*names(&plan.delete), &*names(&plan.adopt), &*names(&plan.release));
            assert_eq!(found, expected, "{pods:?}");
        }
        assert_eq!(planned(&set(json!({"replicas": 9000})), &[], &[], NOW).create, BURST);
    }

    #[test]
    fn who_goes_first() {
        for (goes, stays) in [
            ("a", "b on=n"),
            ("a on=n", "b on=n running"),
            ("a on=n running", "b on=n ready"),
            ("a on=n ready cost=-1", "b on=n ready"),
            ("a on=n ready restarts=3", "b on=n ready restarts=1"),
            ("a on=n ready since=1799999999", "b on=n ready since=1700000000"),
            // The same order of magnitude.
            ("a on=n ready since=1700000001", "b on=n ready since=1700000000"),
            ("a on=n ready since=1700000000", "b on=n ready since=1700000001"),
        ] {
            for pods in [[goes, stays], [stays, goes]] {
                let plan = planned(&set(json!({"replicas": 1})), &pods, &[], NOW);
                assert_eq!(plan.delete[0].metadata.name, "a", "{pods:?}");
            }
        }
        let pods = ["a on=m ready", "b on=n ready", "c on=n ready"];
        let plan = planned(&set(json!({})), &pods, &[], NOW);
        assert_eq!(plan.delete[0].metadata.name, "b", "two stand on its node");
    }

    #[test]
    fn counts() {
        let set = set(json!({"minReadySeconds": 10}));
        let pods = ["a on=n ready since=1800000000", "b ready", "c", "d ending"];
        let plan = planned(&set, &pods, &[], NOW);
        let now = Timestamp::from_second(NOW).unwrap();
        let found = status(&set, &plan, None, now);
        let counts = (
            found.replicas,
            found.ready_replicas,
            found.available_replicas,
            found.terminating_replicas,
            found.observed_generation,
        );
        assert_eq!(counts, (3, 2, 1, Some(1), 3));
        let next = next_available(&set, &plan, now).unwrap();
        assert_eq!(next.as_second(), NOW + 10);
        let failed = status(&set, &plan, Some(("FailedCreate", "no room".into())), now);
        assert_eq!(failed.conditions[0].reason, "FailedCreate");
    }
}
