//! Tables of plans: what is known, and what is done next.

use std::collections::BTreeSet;

use onggi_node_api::{PodSandbox, PodSandboxConfig};
use serde_json::{Value, json};

use super::super::snapshot::{Crash, Health, Kill, Memory, Stopping, Trouble};
use super::*;
use crate::pod::Pod;
use crate::test::pod;

/// A pod in a sandbox with volumes mounted and images there; a test says what is different.
struct Case {
    pod: Pod,
    gone: bool,
    now: i64,
    sandboxes: Vec<PodSandbox>,
    containers: Vec<ContainerStatus>,
    memory: Memory,
    busy: BTreeSet<Slot>,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn record(name: &str, attempt: u32, state: ContainerState, code: i32) -> ContainerStatus {
    let mut value = json!({
        "id": format!("{name}-{attempt}"), "sandbox": "s0", "name": name, "attempt": attempt,
        "state": "Running", "created_at": 0, "started_at": 0, "finished_at": 0,
        "exit_code": code, "reason": "", "message": "", "image": "id", "user_image": "img",
        "log_path": "", "labels": {}, "annotations": {}, "pid": 0,
    });
    if state == ContainerState::Exited {
        value["finished_at"] = json!(1_000_000_000_000_i64);
    }
    let record: ContainerStatus = serde_json::from_value(value).unwrap();
    ContainerStatus { state, ..record }
}

fn running(name: &str) -> ContainerStatus {
    record(name, 0, ContainerState::Running, 0)
}

fn exited(name: &str, attempt: u32, code: i32) -> ContainerStatus {
    record(name, attempt, ContainerState::Exited, code)
}

impl Case {
    fn new(spec: Value) -> Self {
        let pod = pod(spec);
        let images = pod.all_containers().map(|(_, c)| (c.name.clone(), "id".to_owned())).collect();
        let memory = Memory { mounted: true, images, ..Memory::default() };
        let sandbox = PodSandbox {
            id: "s0".into(),
            config: PodSandboxConfig::default(),
            ready: true,
            created_at: 0,
            ips: vec![],
        };
        let sandboxes = vec![sandbox];
        let (containers, busy) = (Vec::new(), BTreeSet::new());
        Self { pod, gone: false, now: 1000, sandboxes, containers, memory, busy }
    }

    fn containers(mut self, containers: Vec<ContainerStatus>) -> Self {
        for record in containers.iter().filter(|c| c.state == ContainerState::Running) {
            self.memory.health.insert(record.id.clone(), Health { started: true, ready: true });
        }
        self.containers = containers;
        self
    }

    fn with<R>(mut self, change: impl FnOnce(&mut Self) -> R) -> Self {
        change(&mut self);
        self
    }

    fn deleted(self, grace: i64) -> Self {
        self.with(|case| {
            case.pod.metadata.deletion_timestamp = Some(onggi_api::meta::Time(at(1000 + grace)));
            case.pod.metadata.deletion_grace_period_seconds = Some(grace);
            case.memory.ending_since = Some(at(1000));
        })
    }

    fn plan(&self) -> Plan {
        plan(&Snapshot {
            pod: &self.pod,
            gone: self.gone,
            now: at(self.now),
            sandboxes: &self.sandboxes,
            containers: &self.containers,
            memory: &self.memory,
            busy: &self.busy,
        })
    }

    /// The actions in few words.
    #[track_caller]
    fn does(&self, expected: &[&str]) {
        let actions: Vec<String> = self.plan().actions.iter().map(words).collect();
        assert_eq!(actions, expected);
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::Mount => "mount".into(),
        Action::CreateSandbox { attempt } => format!("sandbox {attempt}"),
        Action::Pull { container } => format!("pull {container}"),
        Action::TellBackOff { container, .. } => format!("tell {container}"),
        Action::Start { container, attempt, target: None, .. } => {
            format!("start {container} {attempt}")
        }
        Action::Start { container, target: Some(target), .. } => {
            format!("start {container} beside {target}")
        }
        Action::Withdraw { .. } => "withdraw".into(),
        Action::PreStop { id, .. } => format!("preStop {id}"),
        Action::Stop { id, grace, .. } => format!("stop {id} {grace}"),
        Action::Remove { id, .. } => format!("remove {id}"),
        Action::StopSandbox { id } => format!("stop {id}"),
        Action::RemoveSandbox { id } => format!("remove {id}"),
        Action::Release { files } => format!("release {files}"),
        Action::FinalDelete => "delete".into(),
    }
}

fn two() -> Value {
    json!({"containers": [{"name": "a", "image": "img"}, {"name": "b", "image": "img"}]})
}

fn with_init(policy: &str) -> Value {
    json!({
        "restartPolicy": policy,
        "initContainers": [
            {"name": "i", "image": "img"},
            {"name": "side", "image": "img", "restartPolicy": "Always"},
            {"name": "j", "image": "img"},
        ],
        "containers": [{"name": "a", "image": "img"}],
    })
}

#[test]
fn a_new_pod_does_all_at_once() {
    let case = Case::new(two()).with(|case| {
        case.sandboxes.clear();
        case.memory = Memory::default();
    });
    case.does(&["mount", "sandbox 0", "pull a", "pull b"]);
    Case::new(two()).does(&["start a 0", "start b 0"]);
    Case::new(two()).with(|case| case.busy.insert(Slot::Start("a".into()))).does(&["start b 0"]);
    Case::new(two()).with(|case| case.memory.mounted = false).does(&["mount"]);
}

#[test]
fn init_containers_come_in_order() {
    let case = |containers| Case::new(with_init("Always")).containers(containers);
    case(vec![]).does(&["start i 0"]);
    case(vec![running("i")]).does(&[]);
    case(vec![exited("i", 0, 1)]).does(&["start i 1"]);
    case(vec![exited("i", 0, 0)]).does(&["start side 0"]);
    case(vec![exited("i", 0, 0), running("side")]).does(&["start j 0"]);
    case(vec![exited("i", 0, 0), running("side")])
        .with(|case| case.memory.health.clear())
        .does(&[]);
    let done = || vec![exited("i", 0, 0), running("side"), exited("j", 0, 0)];
    case(done()).does(&["start a 0"]);
    // A sidecar that dies is started again, the others go on.
    let mut later = vec![exited("i", 0, 0), exited("side", 0, 1), exited("j", 0, 0)];
    later.push(running("a"));
    case(later).does(&["start side 1"]);
}

fn with_debugger(policy: &str) -> Value {
    let mut spec = with_init(policy);
    spec["ephemeralContainers"] = json!([
        {"name": "d", "image": "tools"},
        {"name": "e", "image": "tools", "targetContainerName": "a"},
    ]);
    spec
}

#[test]
fn ephemeral_containers_start_once_and_wait_for_none() {
    let case = |containers| Case::new(with_debugger("Always")).containers(containers);
    case(vec![]).does(&["start d 0", "start e 0", "start i 0"]);
    // Even while an init container keeps failing.
    case(vec![exited("i", 0, 1)]).does(&["start d 0", "start e 0", "start i 1"]);
    let up = || vec![exited("i", 0, 0), running("side"), exited("j", 0, 0), running("a")];
    case(up()).does(&["start d 0", "start e beside a-0"]);
    let with = |more: &[ContainerStatus]| [&up()[..], more].concat();
    case(with(&[running("d"), running("e")])).does(&[]);
    case(with(&[exited("d", 0, 0), exited("e", 0, 1)])).does(&[]);
    // Nor in a new sandbox, nor after a reboot, when only the API remembers it.
    let mut old = exited("d", 0, 0);
    old.sandbox = "before".into();
    case(with(&[old, running("e")])).does(&[]);
    case(with(&[running("e")]))
        .with(|case| {
            case.pod.status.ephemeral_container_statuses = serde_json::from_value(json!([
                {"name": "d", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "containerID": "onggi://d-0"},
            ]))
            .unwrap();
        })
        .does(&[]);
}

#[test]
fn ephemeral_containers_end_with_the_pod_and_do_not_hold_it() {
    let containers = || vec![exited("i", 0, 0), exited("side", 0, 0), exited("j", 0, 0)];
    let ended = [&containers()[..], &[exited("a", 0, 0), running("d"), running("e")]].concat();
    let case = Case::new(with_debugger("Never")).containers(ended.clone());
    case.with(|case| case.memory.drained = true).does(&["stop d-0 30", "stop e-0 30"]);
    let case = Case::new(with_debugger("Always")).containers(ended).deleted(5);
    case.with(|case| case.memory.drained = true).does(&["stop d-0 5", "stop e-0 5"]);
}

#[test]
fn restart_policies() {
    for (policy, code, expected) in [
        ("Always", 0, &["start a 1"][..]),
        ("Always", 1, &["start a 1"]),
        ("OnFailure", 1, &["start a 1"]),
        // It ended: its network is given back.
        ("OnFailure", 0, &["stop s0"]),
        ("Never", 1, &["stop s0"]),
    ] {
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "img"}]});
        Case::new(spec).containers(vec![exited("a", 0, code)]).does(expected);
    }
    Case::new(with_init("Never")).containers(vec![exited("i", 0, 1)]).does(&["stop s0"]);
}

#[test]
fn crashes_back_off() {
    let crash = Crash { delay: SignedDuration::from_secs(20), started: at(995) };
    let case = |now: i64| {
        Case::new(two()).containers(vec![exited("a", 3, 1), running("b")]).with(|case| {
            case.memory.crashes.insert("a".into(), crash);
            case.now = now;
        })
    };
    case(1001).does(&["tell a"]);
    assert_eq!(case(1001).plan().wake_at, Some(at(1020)));
    case(1001).with(|case| case.memory.waits_told.insert("a-3".into())).does(&[]);
    case(1020).does(&["start a 4"]);
}

#[test]
fn what_failed_waits() {
    let trouble = Trouble {
        reason: "ErrImagePull".into(),
        message: String::new(),
        then: Some((at(1003), "ImagePullBackOff".into(), String::new())),
        until: at(1010),
        failures: 1,
    };
    let case = |now: i64| {
        Case::new(two()).containers(vec![running("b")]).with(|case| {
            case.memory.images.clear();
            case.memory.troubles.insert("a".into(), trouble.clone());
            case.now = now;
        })
    };
    assert_eq!(case(1000).plan(), Plan { wake_at: Some(at(1003)), ..Plan::default() });
    case(1003).does(&["tell a"]);
    case(1010).does(&["pull a"]);
}

#[test]
fn a_dead_sandbox_is_given_back_before_the_next() {
    let dead = Case::new(two()).containers(vec![running("a"), running("b")]).with(|case| {
        case.sandboxes[0].ready = false;
    });
    dead.does(&["stop s0"]);
    let stopped = dead.with(|case| case.memory.stopped_sandboxes.insert("s0".into()));
    stopped.does(&["sandbox 1"]);
}

#[test]
fn what_must_be_restarted_is_stopped_first() {
    let kill = Kill { message: String::new(), grace: 7, since: at(1000) };
    let case = Case::new(two()).containers(vec![running("a"), running("b")]);
    case.with(|case| case.memory.kills.insert("a-0".into(), kill)).does(&["stop a-0 7"]);
}

#[test]
fn old_records_are_removed() {
    let newest = record("a", 2, ContainerState::Running, 0);
    let mut records = vec![exited("a", 0, 1), exited("a", 1, 1), newest];
    records.push(running("b"));
    records.push(record("b", 1, ContainerState::Created, 0));
    Case::new(two()).containers(records).does(&["remove a-0", "remove b-1"]);
}

#[test]
fn the_end_comes_in_order() {
    let hook = json!({"preStop": {"exec": {"command": ["x"]}}});
    let spec = json!({"containers": [{"name": "a", "image": "img", "lifecycle": hook}]});
    let case = || Case::new(spec.clone()).containers(vec![running("a")]).deleted(30);
    case().does(&["withdraw"]);
    let drained = || case().with(|case| case.memory.drained = true);
    drained().does(&["preStop a-0"]);
    let done = || {
        drained().with(|case| {
            let stopping = Stopping { pre_stop_done: true, kill_at: None };
            case.memory.stops.insert("a-0".into(), stopping);
            case.now = 1010;
        })
    };
    done().does(&["stop a-0 20"]);
    done().with(|case| case.now = 1031).does(&["stop a-0 2"]);
    let dead = || case().containers(vec![exited("a", 0, 143)]);
    dead().does(&["stop s0"]);
    let stopped = || dead().with(|case| case.memory.stopped_sandboxes.insert("s0".into()));
    stopped().does(&["remove s0"]);
    let removed = || stopped().with(|case| case.sandboxes.clear());
    removed().does(&["release true"]);
    let released = || removed().with(|case| case.memory.removed = true);
    // Its last status goes first.
    released().does(&[]);
    released().with(|case| case.memory.status_settled = true).does(&["delete"]);
    assert!(released().with(|case| case.gone = true).plan().finished);
}

#[test]
fn a_shorter_grace_period_takes_over() {
    let case = Case::new(two()).containers(vec![running("a")]).deleted(1).with(|case| {
        case.memory.drained = true;
        case.now = 1005;
        case.busy.insert(Slot::Stop("a-0".into()));
        let stopping = Stopping { pre_stop_done: false, kill_at: Some(at(1600)) };
        case.memory.stops.insert("a-0".into(), stopping);
    });
    case.does(&["stop a-0 1"]);
    let stopping = Stopping { pre_stop_done: false, kill_at: Some(at(1006)) };
    case.with(|case| case.memory.stops.insert("a-0".into(), stopping)).does(&[]);
}

#[test]
fn the_way_to_the_signal_takes_no_second_of_the_grace_period() {
    let case = Case::new(two()).containers(vec![running("a")]).deleted(2).with(|case| {
        case.memory.drained = true;
        case.memory.ending_since = Some(Timestamp::from_millisecond(999_995).unwrap());
    });
    case.does(&["stop a-0 2"]);
    // It runs until 1002, five milliseconds after the deadline: that is no other period.
    let stopping = Stopping { pre_stop_done: false, kill_at: Some(at(1002)) };
    let case = case.with(|case| {
        case.memory.stops.insert("a-0".into(), stopping);
        case.busy.insert(Slot::Stop("a-0".into()));
    });
    case.does(&[]);
}

#[test]
fn sidecars_end_last() {
    let containers = vec![exited("i", 0, 0), running("side"), exited("j", 0, 0), running("a")];
    let case = Case::new(with_init("Always")).containers(containers).deleted(30);
    let case = case.with(|case| case.memory.drained = true);
    case.does(&["stop a-0 30"]);
    let rest = vec![exited("i", 0, 0), running("side"), exited("j", 0, 0), exited("a", 0, 0)];
    case.containers(rest).does(&["stop side-0 30"]);
}
