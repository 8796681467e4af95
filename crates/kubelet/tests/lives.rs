//! The lives of pods on a kubelet whose API server, runtime and images are only memory, in paused
//! time: what has to wait, waits no real time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use onggi_api::core::{ContainerStatus, Pod};
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_api::{GroupVersionResource, Object};
use onggi_base::{Clock, Shutdown};
use onggi_client::node::NodeServer;
use onggi_client::testing::FakeApi;
use onggi_client::{Client, Patch, SharedInformers, WriteOptions};
use onggi_kubelet::{Kubelet, NoDrain, Options, Services};
use onggi_node_api::fake::{FakeImages, FakeRuntime};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

/// The wall clock that goes with tokio's.
struct PausedClock {
    begin: Instant,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.begin.elapsed()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + passed
    }
}

struct World {
    api: FakeApi,
    runtime: Arc<FakeRuntime>,
    images: Arc<FakeImages>,
    clock: Arc<PausedClock>,
    server: Arc<dyn NodeServer>,
    shutdown: Shutdown,
    _end: DropGuard,
    task: tokio::task::JoinHandle<()>,
    directory: TempDir,
}

fn gvr(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(PausedClock { begin: Instant::now() });
        let api = FakeApi::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let now = Arc::clone(&clock);
        let runtime = FakeRuntime::with_clock(Arc::new(move || now.now().as_nanosecond()));
        let images = FakeImages::with(&["img"]);
        let directory = tempfile::tempdir().unwrap();
        Self::over(api, runtime, images, clock, directory)
    }

    fn over(
        api: FakeApi,
        runtime: Arc<FakeRuntime>,
        images: Arc<FakeImages>,
        clock: Arc<PausedClock>,
        directory: TempDir,
    ) -> Self {
        let shutdown = Shutdown::new();
        let options = Options {
            node_name: "n1".into(),
            data_dir: directory.path().to_owned(),
            ..Options::default()
        };
        let services = Services {
            informers: SharedInformers::new(Arc::new(api.clone()), shutdown.clone()),
            runtime: Arc::clone(&runtime) as _,
            images: Arc::clone(&images) as _,
            drain: Arc::new(NoDrain),
            clock: Arc::clone(&clock) as _,
        };
        let (kubelet, server) = Kubelet::new(options, services).unwrap();
        let run = kubelet.run(shutdown.clone());
        let task = tokio::spawn(async move { run.await.unwrap() });
        let _end = shutdown.clone().drop_guard();
        Self { api, runtime, images, clock, server, shutdown, _end, task, directory }
    }

    /// The daemon ends and another begins; the pods go on.
    async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.task.await.unwrap();
        Self::over(self.api, self.runtime, self.images, self.clock, self.directory)
    }

    fn bind(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = "n1".into();
        let metadata = json!({"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1});
        self.api
            .put(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
            .unwrap();
    }

    async fn delete(&self, name: &str, grace: i64) {
        let client = Client::new(Arc::new(self.api.clone()));
        let options = WriteOptions { grace_period_seconds: Some(grace), ..WriteOptions::default() };
        client.delete(&gvr("pods"), "default", name, options).await.unwrap();
    }

    fn find(&self, name: &str) -> Option<Pod> {
        self.api
            .find(&gvr("pods"), "default", name)
            .map(|object: Arc<Object>| object.decode().unwrap())
    }

    /// Waits until the pod is so; fails when it is not within an hour of paused time.
    async fn until(&self, name: &str, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
        let end = Instant::now() + Duration::from_secs(3600);
        loop {
            let pod = self.find(name);
            if let Some(pod) = pod.as_ref().filter(|pod| is(pod)) {
                return pod.clone();
            }
            let status = || serde_json::to_string_pretty(&pod.as_ref().map(|p| &p.status)).unwrap();
            assert!(
                Instant::now() < end,
                "{name} never was {what}: {}\n{:?}",
                status(),
                self.runtime.calls()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_gone(&self, name: &str) {
        let end = Instant::now() + Duration::from_secs(3600);
        while self.find(name).is_some()
            || self.directory.path().join(format!("pods/uid-{name}")).exists()
        {
            assert!(Instant::now() < end, "{name} never went: {:?}", self.runtime.calls());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn calls(&self, prefix: &str) -> Vec<String> {
        self.runtime.calls().into_iter().filter(|call| call.starts_with(prefix)).collect()
    }

    fn events(&self, reason: &str) -> Vec<String> {
        let writes = self.api.requests().into_iter().filter_map(|request| match request.body {
            onggi_client::Body::Object(value) if value["kind"] == "Event" => Some(value),
            _ => None,
        });
        let chosen = writes.filter(|event| event["reason"] == reason);
        chosen.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == kind && c.status == "True")
}

fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready")
}

fn container(pod: &Pod, name: &str) -> ContainerStatus {
    let status = pod.status.clone().unwrap_or_default();
    let all = status.container_statuses.into_iter().chain(status.init_container_statuses);
    all.flatten().find(|c| c.name == name).unwrap_or_default()
}

fn waiting(pod: &Pod, name: &str) -> (String, String) {
    let waiting = container(pod, name).state.and_then(|state| state.waiting).unwrap_or_default();
    (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
}

fn one(extra: Value) -> Value {
    let mut container = json!({"name": "web", "image": "img"});
    for (key, value) in extra.as_object().unwrap() {
        container[key] = value.clone();
    }
    json!({"containers": [container]})
}

#[tokio::test(start_paused = true)]
async fn from_bound_to_running_to_gone() {
    let world = World::new();
    world.bind("p", one(json!({})));
    let pod = world.until("p", "ready", ready).await;
    let status = pod.status.clone().unwrap();
    assert_eq!(phase(&pod), "Running");
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let web = container(&pod, "web");
    assert!(web.ready && web.started == Some(true) && web.restart_count == 0);
    assert!(web.container_id.unwrap().starts_with("onggi://web-"));
    world.delete("p", 30).await;
    world.until_gone("p").await;
    assert_eq!(world.calls("stop_container"), ["stop_container web 30"]);
    assert_eq!(world.events("Killing"), ["Stopping container web"]);
    assert_eq!(world.events("Started"), ["Container started"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_killed_is_started_again() {
    let world = World::new();
    world.bind("p", one(json!({})));
    world.until("p", "ready", ready).await;
    world.runtime.exit("web", 137);
    let pod = world
        .until("p", "restarted", |pod| ready(pod) && container(pod, "web").restart_count == 1)
        .await;
    let last = container(&pod, "web").last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("Error")));
    // The second time it waits.
    world.runtime.exit("web", 1);
    let pod =
        world.until("p", "backing off", |pod| waiting(pod, "web").0 == "CrashLoopBackOff").await;
    let text = "back-off 10s restarting failed container=web pod=p_default(uid-p)";
    assert_eq!(waiting(&pod, "web").1, text);
    let begun = Instant::now();
    world
        .until("p", "restarted", |pod| ready(pod) && container(pod, "web").restart_count == 2)
        .await;
    assert!((9..12).contains(&begun.elapsed().as_secs()));
    assert_eq!(world.events("BackOff").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_log_is_the_message_of_what_failed_as_it_began() {
    let world = World::new();
    let log = world.directory.path().join("web.log");
    std::fs::write(&log, "2026-01-02T03:04:05Z stdout F DONE\n").unwrap();
    world.runtime.end_at_once("web", 1, log);
    for (name, policy, expected) in
        [("p", "FallbackToLogsOnError", Some("DONE\n")), ("q", "File", None)]
    {
        let mut spec = one(json!({"terminationMessagePolicy": policy}));
        spec["restartPolicy"] = "Never".into();
        world.bind(name, spec);
        let pod = world.until(name, "failed", |pod| phase(pod) == "Failed").await;
        let ended = container(&pod, "web").state.and_then(|s| s.terminated).unwrap();
        assert_eq!((ended.exit_code, ended.message.as_deref()), (1, expected));
    }
    // The message stays when everything is looked at anew.
    let world = world.restart().await;
    world.bind("r", one(json!({})));
    world.until("r", "restarted", |pod| container(pod, "web").restart_count > 0).await;
    let pod = world.find("p").unwrap();
    let ended = container(&pod, "web").state.and_then(|s| s.terminated).unwrap();
    assert_eq!(ended.message.as_deref(), Some("DONE\n"));
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_container_comes_once_and_survives_the_daemon() {
    let world = World::new();
    world.bind("p", one(json!({})));
    world.until("p", "ready", ready).await;
    let mut spec = one(json!({}));
    let debuggers = json!([
        {"name": "d", "image": "img", "targetContainerName": "web"},
        {"name": "lost", "image": "img", "targetContainerName": "nobody"},
    ]);
    spec["ephemeralContainers"] = debuggers;
    world.bind("p", spec);
    let status = |pod: &Pod, name: &str| {
        let list = pod.status.iter().flat_map(|s| s.ephemeral_container_statuses.iter().flatten());
        list.into_iter().find(|c| c.name == name).cloned().unwrap_or_default()
    };
    let runs = |pod: &Pod| status(pod, "d").state.is_some_and(|s| s.running.is_some());
    let pod = world.until("p", "looked at", runs).await;
    let target = world.runtime.configs("d")[0].pids_of.clone().unwrap();
    assert_eq!(container(&pod, "web").container_id, Some(format!("onggi://{target}")));
    let why = |pod: &Pod| status(pod, "lost").state.and_then(|s| s.waiting).unwrap_or_default();
    let pod = world
        .until("p", "told why", |pod| {
            why(pod).reason.as_deref() == Some("CreateContainerConfigError")
        })
        .await;
    let text = "unable to find target container nobody";
    assert_eq!(why(&pod).message.as_deref(), Some(text));
    assert!(ready(&pod));
    let world = world.restart().await;
    world.runtime.exit("d", 4);
    let ended = |pod: &Pod| status(pod, "d").state.is_some_and(|s| s.terminated.is_some());
    let pod = world.until("p", "looked at no more", ended).await;
    let state = status(&pod, "d").state.unwrap().terminated.unwrap();
    assert_eq!((state.exit_code, state.reason.as_deref()), (4, Some("Error")));
    world.runtime.exit("web", 1);
    world.until("p", "restarted", |pod| container(pod, "web").restart_count == 1).await;
    assert_eq!(world.calls("create_container d").len(), 1);
    world.delete("p", 1).await;
    world.until_gone("p").await;
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_and_a_job_ends() {
    let world = World::new();
    let mut spec = one(json!({}));
    spec["restartPolicy"] = "Never".into();
    spec["initContainers"] = json!([{"name": "a", "image": "img"}, {"name": "b", "image": "img"}]);
    world.bind("p", spec);
    world
        .until("p", "initializing", |pod| {
            container(pod, "a").state.is_some_and(|s| s.running.is_some())
        })
        .await;
    let pod = world.find("p").unwrap();
    assert_eq!((phase(&pod), waiting(&pod, "web").0.as_str()), ("Pending", "PodInitializing"));
    world.runtime.exit("a", 0);
    world
        .until("p", "at b", |pod| container(pod, "b").state.is_some_and(|s| s.running.is_some()))
        .await;
    assert_eq!(world.calls("start_container"), ["start_container a", "start_container b"]);
    world.runtime.exit("b", 0);
    world.until("p", "ready", ready).await;
    world.runtime.exit("web", 0);
    let pod = world.until("p", "done", |pod| phase(pod) == "Succeeded").await;
    assert!(!ready(&pod) && condition(&pod, "Initialized"));
    // Its network is given back, its log is kept.
    world.until("p", "stopped", |_| !world.calls("stop_pod_sandbox").is_empty()).await;
    assert!(world.calls("remove_pod_sandbox").is_empty());
    assert!(world.directory.path().join("pods/uid-p").exists());
    world.delete("p", 0).await;
    world.until_gone("p").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_named_and_waited_for() {
    let world = World::new();
    let from = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    world.bind("p", one(json!({"env": [{"name": "X", "valueFrom": from}]})));
    let wanted = ("CreateContainerConfigError".to_owned(), "secret \"s\" not found".to_owned());
    world.until("p", "waiting", |pod| waiting(pod, "web") == wanted).await;
    let begun = Instant::now();
    let metadata = json!({"name": "s", "namespace": "default"});
    world
        .api
        .put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dg=="}}))
        .unwrap();
    world.until("p", "ready", ready).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "the event wakes it");
    let env = &world.runtime.configs("web")[0].env;
    assert!(env.contains(&("X".to_owned(), b"v".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_source_is_told_and_waited_for() {
    let world = World::new();
    let mut spec = one(json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/v"}]}));
    spec["volumes"] = json!([{"name": "v", "configMap": {"name": "m"}}]);
    world.bind("p", spec);
    world.until("p", "waiting", |pod| waiting(pod, "web").0 == "ContainerCreating").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let text = "MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found";
    assert_eq!(world.events("FailedMount"), [text]);
    let metadata = json!({"name": "m", "namespace": "default"});
    world
        .api
        .put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}))
        .unwrap();
    world.until("p", "ready", ready).await;
    let mount = &world.runtime.configs("web")[0].mounts[0];
    assert_eq!(std::fs::read_to_string(mount.host_path.join("k")).unwrap(), "v");
}

#[tokio::test(start_paused = true)]
async fn images_that_are_not_there() {
    let world = World::new();
    world.bind("never", one(json!({"image": "gone", "imagePullPolicy": "Never"})));
    world.bind("pull", one(json!({"image": "later"})));
    world.bind("bad", one(json!({"image": "BAD"})));
    let pod =
        world.until("never", "refused", |pod| waiting(pod, "web").0 == "ErrImageNeverPull").await;
    let text = "Container image \"gone\" is not present with pull policy of Never";
    assert_eq!(waiting(&pod, "web").1, text);
    world.until("bad", "refused", |pod| waiting(pod, "web").0 == "InvalidImageName").await;
    world.until("pull", "refused", |pod| waiting(pod, "web").0 == "ErrImagePull").await;
    world.until("pull", "backing off", |pod| waiting(pod, "web").0 == "ImagePullBackOff").await;
    world.images.publish("later");
    world.until("pull", "ready", ready).await;
    assert_eq!(world.events("Pulling"), ["Pulling image \"later\""]);
}

#[tokio::test(start_paused = true)]
async fn probes_decide() {
    let world = World::new();
    let probe = |command: &str, period: u64| json!({"exec": {"command": [command]}, "periodSeconds": period});
    world
        .runtime
        .answer("ready", onggi_node_api::ExecOutput { exit_code: 1, ..Default::default() });
    let mut live = probe("live", 1);
    live["failureThreshold"] = 2.into();
    world.bind("p", one(json!({"readinessProbe": probe("ready", 10), "livenessProbe": live})));
    world.until("p", "running", |pod| phase(pod) == "Running").await;
    assert!(!ready(&world.find("p").unwrap()));
    let begun = Instant::now();
    world.runtime.answer("ready", onggi_node_api::ExecOutput::default());
    world.until("p", "ready", ready).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "not only after its period");
    let failing =
        onggi_node_api::ExecOutput { exit_code: 1, stdout: b"sick".to_vec(), ..Default::default() };
    world.runtime.answer("live", failing);
    world.until("p", "restarted", |pod| container(pod, "web").restart_count == 1).await;
    assert_eq!(world.events("Killing"), ["Container web failed liveness probe, will be restarted"]);
    assert!(world.events("Unhealthy").contains(&"Liveness probe failed: sick".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn pre_stop_comes_before_term_and_kill_after_the_grace_period() {
    let world = World::new();
    world.runtime.ignore_term("web");
    let hook = json!({"preStop": {"exec": {"command": ["bye"]}}});
    world.bind("p", one(json!({"lifecycle": hook})));
    world.until("p", "ready", ready).await;
    let begun = Instant::now();
    world.delete("p", 5).await;
    world.until_gone("p").await;
    assert!((5..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let calls = world.runtime.calls();
    let at = |call: &str| calls.iter().position(|c| c == call).unwrap();
    assert!(at("exec_sync web bye") < at("stop_container web 5"));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_grace_period_takes_over() {
    let world = World::new();
    world.runtime.ignore_term("web");
    world.bind("p", one(json!({})));
    world.until("p", "ready", ready).await;
    let begun = Instant::now();
    world.delete("p", 600).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.delete("p", 1).await;
    world.until_gone("p").await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_its_pods_running() {
    let world = World::new();
    let probe = json!({"exec": {"command": ["ready"]}, "periodSeconds": 10});
    world.bind("p", one(json!({"readinessProbe": probe})));
    world.bind("q", one(json!({})));
    world.until("p", "ready", ready).await;
    world.until("q", "ready", ready).await;
    let before = world.find("p").unwrap();
    // While nobody looks, one pod is taken out of the API.
    let world = {
        world.shutdown.cancel();
        tokio::task::yield_now().await;
        world.api.remove(&gvr("pods"), "default", "q");
        world.restart().await
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.calls("start_container").len(), 2, "nothing was started again");
    assert_eq!(
        world.find("p").unwrap().metadata.resource_version,
        before.metadata.resource_version
    );
    world.until_gone("q").await;
    world.runtime.exit("web", 1);
    world
        .until("p", "restarted", |pod| ready(pod) && container(pod, "web").restart_count == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_sandbox_is_replaced() {
    let world = World::new();
    world.bind("p", one(json!({})));
    world.until("p", "ready", ready).await;
    world.runtime.kill_sandbox("sandbox-1");
    let pod = world
        .until("p", "back", |pod| ready(pod) && container(pod, "web").restart_count == 1)
        .await;
    assert_ne!(pod.status.unwrap().pod_ip.as_deref(), Some("10.244.0.2"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_pod() {
    let world = World::new();
    let mut spec = one(json!({}));
    spec["activeDeadlineSeconds"] = 30.into();
    world.bind("p", spec);
    world.until("p", "ready", ready).await;
    let pod = world.until("p", "over", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_and_keeps_its_lease() {
    let world = World::new();
    let end = Instant::now() + Duration::from_secs(60);
    let lease = GroupVersionResource::new("coordination.k8s.io", "v1", "leases");
    while world.api.find(&lease, "kube-node-lease", "n1").is_none() {
        assert!(Instant::now() < end, "no lease");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let node = world.api.find(&gvr("nodes"), "", "n1").unwrap().value().unwrap();
    let conditions = node["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    assert_eq!(node["status"]["addresses"][0]["address"], "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn what_others_say_the_node_has_can_be_asked_for() {
    let world = World::new();
    let client = Client::new(Arc::new(world.api.clone()));
    // Well before the status is written again because it is old.
    let end = Instant::now() + Duration::from_secs(60);
    let until = async |what: &str, expected: Value| loop {
        let node = world.api.find(&gvr("nodes"), "", "n1").map(|node| node.value().unwrap());
        let status = node.map(|node| node["status"].clone()).unwrap_or_default();
        let allocatable = &status["allocatable"];
        if !allocatable["cpu"].is_null() && allocatable["x.y/device"] == expected {
            return;
        }
        assert!(Instant::now() < end, "{what}: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    until("registered", Value::Null).await;
    for amount in [json!("2"), Value::Null] {
        let patch = Patch::merge(json!({"status": {"capacity": {"x.y/device": amount}}}));
        client.patch_status(&gvr("nodes"), "", "n1", patch).await.unwrap();
        until("allocatable", amount).await;
    }
}

#[tokio::test(start_paused = true)]
async fn logs_of_what_has_not_started() {
    let world = World::new();
    world.bind("p", one(json!({"image": "gone", "imagePullPolicy": "Never"})));
    world.until("p", "refused", |pod| waiting(pod, "web").0 == "ErrImageNeverPull").await;
    let pod = onggi_client::node::PodRef {
        namespace: "default".into(),
        name: "p".into(),
        uid: "uid-p".into(),
    };
    let request = |previous| onggi_client::node::LogRequest {
        pod: pod.clone(),
        container: "web".into(),
        follow: false,
        previous,
        timestamps: false,
        tail_lines: None,
        limit_bytes: None,
        since_nanos: None,
    };
    for (previous, text) in [
        (false, "container \"web\" in pod \"p\" is waiting to start: ErrImageNeverPull"),
        (true, "previous terminated container \"web\" in pod \"p\" not found"),
    ] {
        let got = world.server.logs(request(previous)).await.err().unwrap();
        assert_eq!(got.to_string(), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pods_at_once() {
    let world = World::new();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    for number in 0..100 {
        world.bind(&format!("p{number}"), one(json!({})));
    }
    for number in 0..100 {
        world.until(&format!("p{number}"), "ready", ready).await;
    }
    println!("100 pods ready after {:?}", begun.elapsed());
    let begun = Instant::now();
    for number in 0..100 {
        world.delete(&format!("p{number}"), 30).await;
    }
    for number in 0..100 {
        world.until_gone(&format!("p{number}")).await;
    }
    println!("100 pods gone after {:?}", begun.elapsed());
}
