//! For tests: a runtime and an image service that are only memory. Nothing runs; a test says when
//! a container ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::{broadcast, mpsc};

use crate::images::{Image, ImageError, ImageService, PullProgress, RegistryAuth};
use crate::runtime::*;

/// Events that a slow receiver may be behind.
const EVENTS: usize = 1024;

/// The time of records, in nanoseconds since 1970.
pub type Now = Arc<dyn Fn() -> i128 + Send + Sync>;

/// A [`RuntimeService`] in memory.
pub struct FakeRuntime {
    state: Mutex<State>,
    events: broadcast::Sender<RuntimeEvent>,
    next: AtomicU64,
    now: Now,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, PodSandbox>,
    containers: BTreeMap<String, (ContainerConfig, ContainerStatus)>,
    calls: Vec<String>,
    /// What the next call of a name fails with.
    failures: Vec<(String, RuntimeError)>,
    /// Containers that ignore TERM.
    stubborn: BTreeSet<String>,
    /// Containers that end as they are started: their exit code, and their log.
    brief: BTreeMap<String, (i32, PathBuf)>,
    /// Output of commands, by their words.
    outputs: BTreeMap<String, ExecOutput>,
}

/// An [`ImageService`] in memory: what is named in it can be pulled.
#[derive(Default)]
pub struct FakeImages {
    present: Mutex<BTreeSet<String>>,
    remote: Mutex<BTreeSet<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl FakeRuntime ===

impl FakeRuntime {
    /// With the machine's clock.
    pub fn new() -> Arc<Self> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self::with_clock(Arc::new(move || i128::try_from(now()).unwrap_or(0)))
    }

    /// With a clock.
    pub fn with_clock(now: Now) -> Arc<Self> {
        let (events, _) = broadcast::channel(EVENTS);
        Arc::new(Self { state: Mutex::default(), events, next: AtomicU64::new(1), now })
    }

    /// Every call so far: its name and what it is about, as `start_container web`.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.state).calls.clone()
    }

    /// The next call of this name fails so.
    pub fn fail_next(&self, call: &str, error: RuntimeError) {
        lock(&self.state).failures.push((call.to_owned(), error));
    }

    /// Containers of this name ignore TERM: only KILL ends them.
    pub fn ignore_term(&self, container: &str) {
        lock(&self.state).stubborn.insert(container.to_owned());
    }

    /// Containers of this name have ended, and written this log, once they have been started.
    pub fn end_at_once(&self, container: &str, code: i32, log: impl Into<PathBuf>) {
        lock(&self.state).brief.insert(container.to_owned(), (code, log.into()));
    }

    /// What a command, its words joined by blanks, answers.
    pub fn answer(&self, command: &str, output: ExecOutput) {
        lock(&self.state).outputs.insert(command.to_owned(), output);
    }

    /// The configurations of the containers of a name, in the order of their creation.
    pub fn configs(&self, container: &str) -> Vec<ContainerConfig> {
        let state = lock(&self.state);
        let mut all: Vec<_> =
            state.containers.values().filter(|(c, _)| c.name == container).collect();
        all.sort_by_key(|(config, _)| config.attempt);
        all.into_iter().map(|(config, _)| config.clone()).collect()
    }

    /// The running containers of a name end with this code. Answers how many there were.
    pub fn exit(&self, container: &str, code: i32) -> usize {
        let ids: Vec<String> = {
            let state = lock(&self.state);
            let running = state.containers.values().map(|(_, status)| status).filter(|status| {
                status.name == container && status.state == ContainerState::Running
            });
            running.map(|status| status.id.clone()).collect()
        };
        ids.iter().for_each(|id| self.end(id, code));
        ids.len()
    }

    /// A sandbox dies with all that runs in it.
    pub fn kill_sandbox(&self, sandbox: &str) {
        self.end_sandbox(sandbox);
        self.tell(RuntimeEvent::Sandbox { sandbox: sandbox.to_owned() });
    }

    /// Says that events were missed.
    pub fn lose_events(&self) {
        self.tell(RuntimeEvent::Lost);
    }

    fn enter(&self, call: &str, about: &str) -> Result<MutexGuard<'_, State>, RuntimeError> {
        let mut state = lock(&self.state);
        state.calls.push(format!("{call} {about}"));
        match state.failures.iter().position(|(name, _)| name == call) {
            Some(at) => Err(state.failures.remove(at).1),
            None => Ok(state),
        }
    }

    fn name_of(&self, container: &str) -> String {
        let state = lock(&self.state);
        state.containers.get(container).map_or_else(String::new, |(c, _)| c.name.clone())
    }

    fn end(&self, id: &str, code: i32) {
        let mut state = lock(&self.state);
        let Some((_, status)) = state.containers.get_mut(id) else { return };
        if status.state != ContainerState::Running {
            return;
        }
        status.state = ContainerState::Exited;
        status.exit_code = code;
        status.reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
        status.finished_at = (self.now)();
        status.pid = 0;
        let sandbox = status.sandbox.clone();
        drop(state);
        self.tell(RuntimeEvent::Container { sandbox, container: id.to_owned() });
    }

    fn end_sandbox(&self, sandbox: &str) {
        let ids: Vec<String> = {
            let mut state = lock(&self.state);
            if let Some(sandbox) = state.sandboxes.get_mut(sandbox) {
                sandbox.ready = false;
            }
            let own = state.containers.values().filter(|(_, status)| status.sandbox == sandbox);
            own.map(|(_, status)| status.id.clone()).collect()
        };
        ids.iter().for_each(|id| self.end(id, 137));
    }

    fn tell(&self, event: RuntimeEvent) {
        // Nobody listens: nobody misses it.
        let _ = self.events.send(event);
    }

    fn id(&self, kind: &str) -> String {
        format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<String, RuntimeError> {
        let mut state = self.enter("run_pod_sandbox", &config.name)?;
        let id = self.id("sandbox");
        let number = u8::try_from(state.sandboxes.len() % 250 + 2).unwrap_or(2);
        let ips =
            if config.host_network { vec![] } else { vec![IpAddr::from([10, 244, 0, number])] };
        let sandbox =
            PodSandbox { id: id.clone(), config, ready: true, created_at: (self.now)(), ips };
        state.sandboxes.insert(id.clone(), sandbox);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        drop(self.enter("stop_pod_sandbox", sandbox)?);
        self.end_sandbox(sandbox);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        drop(self.enter("remove_pod_sandbox", sandbox)?);
        self.end_sandbox(sandbox);
        let mut state = lock(&self.state);
        state.sandboxes.remove(sandbox);
        state.containers.retain(|_, (_, status)| status.sandbox != sandbox);
        Ok(())
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandbox>, RuntimeError> {
        Ok(lock(&self.state).sandboxes.values().cloned().collect())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let mut state = self.enter("create_container", &config.name)?;
        if !state.sandboxes.get(sandbox).is_some_and(|sandbox| sandbox.ready) {
            return Err(RuntimeError::NotFound(format!("sandbox {sandbox} not found")));
        }
        let id = self.id(&config.name);
        let status = ContainerStatus {
            id: id.clone(),
            sandbox: sandbox.to_owned(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            created_at: (self.now)(),
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: config.image.clone(),
            user_image: config.user_image.clone(),
            log_path: format!("/nowhere/{id}.log").into(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            pid: 0,
        };
        state.containers.insert(id.clone(), (config, status));
        Ok(id)
    }

    async fn start_container(&self, container: &str) -> Result<(), RuntimeError> {
        let name = self.name_of(container);
        let mut state = self.enter("start_container", &name)?;
        let gone = || RuntimeError::NotFound(format!("container {container} not found"));
        let brief = state.brief.get(&name).cloned();
        let (_, status) = state.containers.get_mut(container).ok_or_else(gone)?;
        status.state = ContainerState::Running;
        status.started_at = (self.now)();
        status.pid = 1;
        if let Some((code, log)) = brief {
            status.state = ContainerState::Exited;
            status.finished_at = (self.now)();
            (status.exit_code, status.log_path, status.pid) = (code, log, 0);
        }
        let sandbox = status.sandbox.clone();
        drop(state);
        self.tell(RuntimeEvent::Container { sandbox, container: container.to_owned() });
        Ok(())
    }

    async fn stop_container(
        &self,
        container: &str,
        grace_seconds: u64,
    ) -> Result<(), RuntimeError> {
        let name = self.name_of(container);
        let stubborn = {
            let state = self.enter("stop_container", &format!("{name} {grace_seconds}"))?;
            state.stubborn.contains(&name)
        };
        if stubborn {
            tokio::time::sleep(std::time::Duration::from_secs(grace_seconds)).await;
        }
        self.end(container, if stubborn { 137 } else { 143 });
        Ok(())
    }

    async fn remove_container(&self, container: &str) -> Result<(), RuntimeError> {
        let name = self.name_of(container);
        self.enter("remove_container", &name)?.containers.remove(container);
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        Ok(lock(&self.state).containers.values().map(|(_, status)| status.clone()).collect())
    }

    async fn container_status(&self, container: &str) -> Result<ContainerStatus, RuntimeError> {
        let gone = || RuntimeError::NotFound(format!("container {container} not found"));
        lock(&self.state).containers.get(container).map(|(_, s)| s.clone()).ok_or_else(gone)
    }

    async fn exec_sync(
        &self,
        container: &str,
        command: Vec<String>,
        _timeout_ms: u64,
    ) -> Result<ExecOutput, RuntimeError> {
        let words = command.join(" ");
        let name = self.name_of(container);
        let state = self.enter("exec_sync", &format!("{name} {words}"))?;
        Ok(state.outputs.get(&words).cloned().unwrap_or_default())
    }

    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        _tty: bool,
        _io: ExecIo,
    ) -> Result<i32, RuntimeError> {
        self.exec_sync(container, command, 0).await.map(|output| output.exit_code)
    }

    async fn attach(&self, container: &str, _io: ExecIo) -> Result<i32, RuntimeError> {
        self.container_status(container).await.map(|status| status.exit_code)
    }

    async fn port_forward(
        &self,
        sandbox: &str,
        port: u16,
        _stream: Box<dyn Stream>,
    ) -> Result<(), RuntimeError> {
        self.enter("port_forward", &format!("{sandbox} {port}")).map(drop)
    }

    async fn container_stats(&self, container: &str) -> Result<ContainerStats, RuntimeError> {
        self.container_status(container).await.map(|_| ContainerStats::default())
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        stream::unfold(self.events.subscribe(), |mut receiver| async {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((RuntimeEvent::Lost, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

// === impl FakeImages ===

impl FakeImages {
    /// With these images on the node.
    pub fn with(references: &[&str]) -> Arc<Self> {
        let images = Self::default();
        lock(&images.present).extend(references.iter().map(|text| (*text).to_owned()));
        Arc::new(images)
    }

    /// From now on it can be pulled.
    pub fn publish(&self, reference: &str) {
        lock(&self.remote).insert(reference.to_owned());
    }
}

fn image(reference: &str) -> Image {
    Image {
        id: format!("sha256:{reference}"),
        repo_tags: vec![reference.to_owned()],
        size: 1000,
        ..Image::default()
    }
}

#[async_trait]
impl ImageService for FakeImages {
    async fn list_images(&self) -> Result<Vec<Image>, ImageError> {
        Ok(lock(&self.present).iter().map(|reference| image(reference)).collect())
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        if reference.chars().any(char::is_uppercase) {
            let message = "repository name must be lowercase".to_owned();
            return Err(ImageError::InvalidReference { reference: reference.to_owned(), message });
        }
        Ok(lock(&self.present).contains(reference).then(|| image(reference)))
    }

    async fn pull_image(
        &self,
        reference: &str,
        _auth: Vec<RegistryAuth>,
        _progress: Option<mpsc::Sender<PullProgress>>,
    ) -> Result<Image, ImageError> {
        if !lock(&self.remote).contains(reference) {
            return Err(ImageError::NotFound(reference.to_owned()));
        }
        lock(&self.present).insert(reference.to_owned());
        Ok(image(reference))
    }

    async fn remove_image(&self, reference: &str) -> Result<(), ImageError> {
        lock(&self.present).remove(reference);
        Ok(())
    }
}
