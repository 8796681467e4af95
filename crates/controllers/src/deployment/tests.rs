//! Tables of rollouts.

use onggi_api::jiff::Timestamp;
use serde_json::{Value, json};

use super::plan::{Plan, Snapshot, plan};
use super::sets::{Set, max_surge, max_unavailable};
use super::template_hash;
use crate::view::{Condition, Deployment, ReplicaSetStatus};

const NOW: i64 = 1_800_000_000;

fn deployment(spec: Value, status: Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "u", "generation": 1},
        "spec": {
            "replicas": 10, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}},
        },
        "status": status,
    });
    let fields = spec.as_object().unwrap().clone();
    value["spec"].as_object_mut().unwrap().extend(fields);
    serde_json::from_value(value).unwrap()
}

/// `NAME[*]:SPEC/ACTUAL/AVAILABLE[@REVISION]`, a star for the new one; older ones first. The
/// deployment wanted as many as it does now, or `~DESIRED` and `^MAXIMUM`.
fn sets(text: &str, wanted: i32) -> Vec<Set> {
    text.split_whitespace().enumerate().map(|(age, word)| set(word, age, wanted)).collect()
}

fn set(word: &str, age: usize, wanted: i32) -> Set {
    let (name, rest) = word.split_once(':').unwrap();
    let (rest, maximum) = rest.split_once('^').unwrap_or((rest, ""));
    let (rest, desired) = rest.split_once('~').unwrap_or((rest, ""));
    let (sizes, revision) = rest.split_once('@').unwrap_or((rest, ""));
    let sizes: Vec<i32> = sizes.split('/').map(|n| n.parse().unwrap()).collect();
    let desired = if desired.is_empty() { wanted.to_string() } else { desired.to_owned() };
    let mut set = Set {
        name: name.trim_end_matches('*').to_owned(),
        uid: name.to_owned(),
        created: Some(Timestamp::from_second(age as i64).unwrap()),
        replicas: sizes[0],
        current: name.ends_with('*'),
        status: ReplicaSetStatus {
            replicas: sizes[1],
            ready_replicas: sizes[2],
            available_replicas: sizes[2],
            ..ReplicaSetStatus::default()
        },
        ..Set::default()
    };
    set.annotations.insert("deployment.kubernetes.io/desired-replicas".into(), desired);
    if !maximum.is_empty() {
        set.annotations.insert("deployment.kubernetes.io/max-replicas".into(), maximum.into());
    }
    let revision = if revision.is_empty() { (age + 1).to_string() } else { revision.to_owned() };
    set.annotations.insert("deployment.kubernetes.io/revision".into(), revision);
    set
}

fn planned(deployment: &Deployment, text: &str) -> Plan {
    plan(Snapshot {
        deployment,
        sets: sets(text, deployment.spec.replicas),
        new_name: "new".into(),
        now: Timestamp::from_second(NOW).unwrap(),
    })
}

fn events(plan: &Plan) -> String {
    let words = plan.scaled.iter().map(|(_, text)| {
        text.replace("Scaled ", "").replace("replica set ", "").replace("from ", "")
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn bounds_are_rounded_apart() {
    for (replicas, surge, unavailable, expected) in [
        (10, json!("25%"), json!("25%"), (3, 2)),
        (1, json!("25%"), json!("25%"), (1, 0)),
        (1, json!(0), json!("25%"), (0, 1)),
        (3, json!(1), json!(0), (1, 0)),
        (0, json!("25%"), json!("25%"), (0, 0)),
        (2, json!(0), json!(5), (0, 2)),
    ] {
        let spec = json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        let deployment = deployment(spec, json!({}));
        assert_eq!((max_surge(&deployment), max_unavailable(&deployment)), expected);
    }
}

#[test]
fn steps_of_a_rolling_update() {
    let deployment = deployment(json!({}), json!({}));
    for (sets, expected) in [
        // The first rollout: all at once.
        ("", "up new 0 to 10"),
        // 13 at most, 8 available at least; a new set makes its first step at once.
        ("old:10/10/10", "up new 0 to 3, down old 10 to 8"),
        ("old:10/10/10 new*:0/0/0", "up new 0 to 3"),
        ("old:10/10/10 new*:3/3/0", "down old 10 to 8"),
        ("old:8/8/8 new*:3/3/0", "up new 3 to 5"),
        ("old:8/8/8 new*:5/5/0", ""),
        ("old:8/8/8 new*:5/5/3", "down old 8 to 5"),
        ("old:1/1/1 new*:10/10/10", "down old 1 to 0"),
        ("old:0/0/0 new*:10/10/10", ""),
        // Unhealthy old pods go first: of 10, three are of no use.
        ("old:10/10/7 new*:3/3/0", "down old 10 to 8"),
        ("a:5/5/5 b:5/5/0 new*:3/3/0", "down b 5 to 3"),
        // More than is wanted.
        ("new*:12/12/12", "down new 12 to 10"),
    ] {
        assert_eq!(events(&planned(&deployment, sets)), expected, "{sets}");
    }
}

#[test]
fn a_recreation_waits_for_the_old_to_end() {
    let spec = json!({"replicas": 3, "strategy": {"type": "Recreate"}});
    let deployment = deployment(spec, json!({}));
    for (sets, expected) in [
        ("", "up new 0 to 3"),
        ("old:3/3/3", "down old 3 to 0"),
        ("old:0/2/2", ""),
        ("old:0/0/0", "up new 0 to 3"),
        ("old:0/0/0 new*:0/0/0", "up new 0 to 3"),
        ("old:0/0/0 new*:3/3/0", ""),
    ] {
        assert_eq!(events(&planned(&deployment, sets)), expected, "{sets}");
    }
    let mut ending = super::tests::sets("old:0/0/0", 3);
    ending[0].has_pods = true;
    let now = Timestamp::from_second(NOW).unwrap();
    let step =
        plan(Snapshot { deployment: &deployment, sets: ending, new_name: "new".into(), now });
    assert!(step.create.is_none(), "a pod still ends");
}

#[test]
fn scaling_keeps_proportions() {
    let at = |replicas: i32| deployment(json!({"replicas": replicas}), json!({"replicas": 10}));
    for (replicas, sets, expected) in [
        (6, "new*:10/10/10~10", "down new 10 to 6"),
        (0, "old:0/0/0 new*:10/10/10~10", "down new 10 to 0"),
        // Half way through: both grow, the larger takes what is left over.
        (20, "old:8/8/8~10^13 new*:5/5/5~10^13", "up old 8 to 14, up new 5 to 9"),
        (5, "old:8/8/8~10^13 new*:5/5/5~10^13", "down old 8 to 5, down new 5 to 3"),
        // New pods have come; old ones are left over.
        (10, "old:2/2/2~5 new*:10/10/10~10", "down old 2 to 0"),
    ] {
        assert_eq!(events(&planned(&at(replicas), sets)), expected, "{replicas} {sets}");
    }
}

#[test]
fn a_paused_one_is_scaled_but_not_rolled() {
    let deployment = deployment(json!({"paused": true, "replicas": 4}), json!({}));
    let plan = planned(&deployment, "old:10/10/10~10");
    assert_eq!(events(&plan), "down old 10 to 4");
    assert!(plan.create.is_none());
    let paused = Condition::find(&plan.status.conditions, "Progressing").unwrap();
    assert_eq!((paused.status.as_str(), paused.reason.as_str()), ("Unknown", "DeploymentPaused"));
}

#[test]
fn revisions() {
    let deployment = deployment(json!({}), json!({}));
    let made = planned(&deployment, "a:10/10/10@1");
    let created = made.create.unwrap();
    assert_eq!((created.revision(), made.revision.as_deref()), (2, Some("2")));
    // Back to an old template: its set becomes the newest.
    let back = planned(&deployment, "a*:0/0/0@1 b:10/10/10@2");
    assert_eq!(back.revision.as_deref(), Some("3"));
    let set = back.update.iter().find(|set| set.name == "a").unwrap();
    assert_eq!(set.revision(), 3);
    assert_eq!(set.annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn history_is_cut() {
    let complete = json!({"replicas": 10, "updatedReplicas": 10, "availableReplicas": 10,
                          "observedGeneration": 1});
    let sets = "a:0/0/0 b:0/0/0 c:0/0/0 d:0/1/0 e*:10/10/10";
    for (limit, expected) in [(2, "a b"), (0, "a b c"), (10, ""), (i32::MAX, "")] {
        let deployment = deployment(json!({"revisionHistoryLimit": limit}), complete.clone());
        let plan = planned(&deployment, sets);
        let gone: Vec<_> = plan.delete.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(gone.join(" "), expected, "{limit}");
    }
}

#[test]
fn conditions() {
    let told = |seconds_ago: i64, reason: &str| {
        let at = Timestamp::from_second(NOW - seconds_ago).unwrap();
        json!([{"type": "Progressing", "status": "True", "reason": reason,
                "lastUpdateTime": at.to_string()}])
    };
    let counts = |conditions: Value| {
        json!({"replicas": 10, "updatedReplicas": 10, "readyReplicas": 4, "availableReplicas": 4,
               "observedGeneration": 1, "conditions": conditions})
    };
    for (seconds, status, sets, expected) in [
        (600, json!({}), "new*:10/10/10", "NewReplicaSetAvailable MinimumReplicasAvailable"),
        (600, json!({}), "new*:10/10/4", "ReplicaSetUpdated MinimumReplicasUnavailable"),
        (
            600,
            counts(told(700, "ReplicaSetUpdated")),
            "new*:10/10/4",
            "ProgressDeadlineExceeded MinimumReplicasUnavailable",
        ),
        (
            600,
            counts(told(500, "ReplicaSetUpdated")),
            "new*:10/10/4",
            "ReplicaSetUpdated MinimumReplicasUnavailable",
        ),
        // What was complete once is not late when pods die later.
        (
            600,
            counts(told(700, "NewReplicaSetAvailable")),
            "new*:10/10/4",
            "NewReplicaSetAvailable MinimumReplicasUnavailable",
        ),
        (i32::MAX, json!({}), "new*:10/10/10", "MinimumReplicasAvailable"),
    ] {
        let deployment = deployment(json!({"progressDeadlineSeconds": seconds}), status);
        let plan = planned(&deployment, sets);
        let find = |kind| Condition::find(&plan.status.conditions, kind);
        let found: Vec<_> = ["Progressing", "Available"]
            .into_iter()
            .filter_map(find)
            .map(|c| c.reason.as_str())
            .collect();
        assert_eq!(found.join(" "), expected, "{sets}");
    }
    let waiting = deployment(json!({}), counts(told(500, "ReplicaSetUpdated")));
    assert_eq!(planned(&waiting, "new*:10/10/4").after.unwrap().as_secs(), 101);
}

#[test]
fn names_of_sets() {
    let hash = template_hash(&json!({"spec": {}}), 0);
    assert_ne!(hash, template_hash(&json!({"spec": {}}), 1));
    assert!(hash.len() <= 10 && hash.chars().all(|c| c.is_ascii_alphanumeric()));
}
