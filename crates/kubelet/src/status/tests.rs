//! Tables of statuses: what is known, and what the API is told.

use std::collections::BTreeSet;

use onggi_api::jiff::SignedDuration;
use onggi_node_api::{ContainerState, ContainerStatus, PodSandbox, PodSandboxConfig};
use serde_json::{Value, json};

use super::*;
use crate::test::pod;
use crate::worker::snapshot::{Crash, Health, Memory, Slot};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn record(name: &str, attempt: u32, code: Option<i32>) -> ContainerStatus {
    let state = if code.is_some() { ContainerState::Exited } else { ContainerState::Running };
    let finished = if code.is_some() { 1_000_000_000_000_i64 } else { 0 };
    let record: ContainerStatus = serde_json::from_value(json!({
        "id": format!("{name}-{attempt}"), "sandbox": "s0", "name": name, "attempt": attempt,
        "state": "Running", "created_at": 0, "started_at": 900_000_000_000_i64,
        "finished_at": finished, "exit_code": code.unwrap_or(0), "reason": "", "message": "",
        "image": "sha256:1", "user_image": "img", "log_path": "", "labels": {},
        "annotations": {}, "pid": 0,
    }))
    .unwrap();
    ContainerStatus { state, ..record }
}

/// The status as JSON; containers that run are ready.
fn told(spec: Value, containers: Vec<ContainerStatus>, change: impl FnOnce(&mut Memory)) -> Value {
    let pod = pod(spec);
    let mut memory = Memory::default();
    for record in containers.iter().filter(|c| c.state == ContainerState::Running) {
        memory.health.insert(record.id.clone(), Health { started: true, ready: true });
    }
    change(&mut memory);
    let sandbox = PodSandbox {
        id: "s0".into(),
        config: PodSandboxConfig::default(),
        ready: true,
        created_at: 0,
        ips: vec![IpAddr::from([10, 0, 0, 1])],
    };
    let busy: BTreeSet<Slot> = BTreeSet::new();
    let snapshot = Snapshot {
        pod: &pod,
        gone: false,
        now: at(1001),
        sandboxes: &[sandbox],
        containers: &containers,
        memory: &memory,
        busy: &busy,
    };
    serde_json::to_value(status(&snapshot, IpAddr::from([192, 0, 2, 1]))).unwrap()
}

fn spec(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "img"}, {"name": "b", "image": "img"}]})
}

fn conditions(status: &Value) -> String {
    let list = status["conditions"].as_array().unwrap().iter();
    list.filter(|c| c["status"] == "True")
        .map(|c| c["type"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn phases() {
    for (policy, a, b, phase) in [
        ("Always", None, None, "Running"),
        ("Always", Some(1), None, "Running"),
        ("Always", Some(0), Some(0), "Running"),
        ("OnFailure", Some(0), Some(0), "Succeeded"),
        ("OnFailure", Some(0), Some(1), "Running"),
        ("Never", Some(0), Some(1), "Failed"),
        ("Never", Some(0), None, "Running"),
        ("Never", Some(0), Some(0), "Succeeded"),
    ] {
        let status = told(spec(policy), vec![record("a", 0, a), record("b", 0, b)], |_| ());
        assert_eq!(status["phase"], phase, "{policy} {a:?} {b:?}");
    }
    assert_eq!(told(spec("Always"), vec![], |_| ())["phase"], "Pending");
    assert_eq!(told(spec("Always"), vec![record("a", 0, None)], |_| ())["phase"], "Running");
}

#[test]
fn a_ready_pod() {
    let status = told(spec("Always"), vec![record("a", 0, None), record("b", 2, None)], |_| ());
    assert_eq!(
        conditions(&status),
        "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled"
    );
    assert_eq!((&status["podIP"], &status["hostIP"]), (&json!("10.0.0.1"), &json!("192.0.2.1")));
    let b = &status["containerStatuses"][1];
    assert_eq!((&b["restartCount"], &b["containerID"]), (&json!(2), &json!("onggi://b-2")));
    assert_eq!(b["state"]["running"]["startedAt"], "1970-01-01T00:15:00Z");
    assert_eq!((&b["imageID"], &b["started"]), (&json!("sha256:1"), &json!(true)));
}

#[test]
fn one_that_is_not_ready_is_named() {
    let containers = || vec![record("a", 0, None), record("b", 0, None)];
    let status = told(spec("Always"), containers(), |memory| {
        memory.health.insert("b-0".into(), Health { started: true, ready: false });
    });
    assert_eq!(conditions(&status), "PodReadyToStartContainers Initialized PodScheduled");
    assert_eq!(status["conditions"][2]["message"], "containers with unready status: [b]");
    assert_eq!(status["conditions"][2]["reason"], "ContainersNotReady");
}

#[test]
fn one_that_crashes_waits_and_shows_its_last_end() {
    let containers = vec![record("a", 1, Some(3)), record("a", 0, Some(2)), record("b", 0, None)];
    let status = told(spec("Always"), containers, |memory| {
        let crash = Crash { delay: SignedDuration::from_secs(80), started: at(990) };
        memory.crashes.insert("a".into(), crash);
    });
    let a = &status["containerStatuses"][0];
    let waiting = &a["state"]["waiting"];
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    let text = "back-off 1m20s restarting failed container=a pod=p_default(uid-1)";
    assert_eq!(waiting["message"], text);
    assert_eq!(a["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["phase"], "Running");
}

#[test]
fn init_containers_are_waited_for() {
    let init = json!({"initContainers": [{"name": "i", "image": "img"}], "containers": [{"name": "a", "image": "img"}]});
    let status = told(init.clone(), Vec::new(), |_| ());
    for list in ["initContainerStatuses", "containerStatuses"] {
        assert_eq!(status[list][0]["state"]["waiting"]["reason"], "PodInitializing", "{list}");
    }
    let status = told(init.clone(), vec![record("i", 0, None)], |_| ());
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["conditions"][1]["message"], "containers with incomplete status: [i]");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let status = told(init, vec![record("i", 0, Some(0)), record("a", 0, None)], |_| ());
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(
        (&status["phase"], &status["initContainerStatuses"][0]["ready"]),
        (&json!("Running"), &json!(true))
    );
}

#[test]
fn ephemeral_containers_have_a_list_of_their_own() {
    let mut spec = spec("Always");
    spec["ephemeralContainers"] =
        json!(["d", "e", "f"].map(|name| json!({"name": name, "image": "tools"})));
    let up = vec![record("a", 0, None), record("b", 0, None)];
    let more = vec![record("d", 0, None), record("e", 0, Some(3))];
    let status = told(spec, [up, more].concat(), |_| ());
    assert_eq!(status["phase"], "Running");
    assert_eq!(
        conditions(&status),
        "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled"
    );
    let list = status["ephemeralContainerStatuses"].as_array().unwrap();
    assert_eq!(list[0]["state"]["running"]["startedAt"], "1970-01-01T00:15:00Z");
    assert_eq!((&list[0]["ready"], list[0].get("started")), (&json!(false), None));
    assert_eq!(list[1]["state"]["terminated"]["exitCode"], 3);
    assert_eq!(list[2]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(status["containerStatuses"].as_array().unwrap().len(), 2);
}

#[test]
fn times_of_conditions_stay_where_nothing_changed() {
    let old = json!([
        {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"},
    ]);
    let containers = vec![record("a", 0, None), record("b", 0, None)];
    let status = told(spec("Always"), containers, |memory| {
        memory.status.conditions = serde_json::from_value(old).unwrap();
    });
    assert_eq!(status["conditions"][2]["lastTransitionTime"], "2020-01-01T00:00:00Z");
    assert_eq!(status["conditions"][3]["lastTransitionTime"], "1970-01-01T00:16:41Z");
}

#[test]
fn a_refused_pod_fails() {
    let mut spec = spec("Always");
    spec["os"] = json!({"name": "windows"});
    let status = told(spec, Vec::new(), |_| {});
    let said = ["phase", "reason", "message"].map(|field| status[field].clone());
    let message = "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS";
    assert_eq!(said, ["Failed", "PodOSNotSupported", message]);
}
