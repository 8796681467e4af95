//! Pod sandboxes: made, ended, removed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onggi_node_api::{PodSandbox, PodSandboxConfig, RuntimeError, RuntimeEvent};
use onggi_sys::cgroups::Group;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::client::{Event, Shim};
use super::{
    GROUP_TIMEOUT, Runtime, at, blocking, failed, make_dir, new_id, now, remove_dir, write_json,
};
use crate::plan;
use crate::protocol::{Op, State};
use crate::spec::SandboxSpec;

/// File of a sandbox's record, in its directory.
pub(super) const RECORD: &str = "sandbox.json";

/// What a daemon writes down of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) config: PodSandboxConfig,
    pub(super) created_at: i64,
    pub(super) phase: Phase,
    pub(super) ips: Vec<IpAddr>,
    /// Of the pod; containers are below it.
    pub(super) cgroup: String,
}

/// How far a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Nobody knows of it yet.
    Making,
    Ready,
    /// No process runs, the network is still to be given back.
    Dead,
    Stopped,
}

pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) dir: PathBuf,
    pub(super) record: Mutex<Record>,
    pub(super) shim: Mutex<Option<Arc<Shim>>>,
    /// One change at a time.
    pub(super) gate: tokio::sync::Mutex<()>,
}

impl Sandbox {
    pub(super) fn new(dir: PathBuf, record: Record, shim: Option<Shim>) -> Arc<Self> {
        Arc::new(Self {
            id: record.id.clone(),
            dir,
            record: Mutex::new(record),
            shim: Mutex::new(shim.map(Arc::new)),
            gate: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn status(&self) -> PodSandbox {
        let record = self.record.lock();
        PodSandbox {
            id: record.id.clone(),
            config: record.config.clone(),
            ready: record.phase == Phase::Ready,
            created_at: record.created_at.into(),
            ips: record.ips.clone(),
        }
    }

    pub(super) fn config(&self) -> PodSandboxConfig {
        self.record.lock().config.clone()
    }

    pub(super) fn shim(&self) -> Result<Arc<Shim>, RuntimeError> {
        let shim = self.shim.lock().clone();
        shim.ok_or_else(|| RuntimeError::Failed(format!("pod sandbox {} is not ready", self.id)))
    }

    pub(super) fn phase(&self) -> Phase {
        self.record.lock().phase
    }

    /// Changes the record, in memory and on disk.
    pub(super) fn update(&self, change: impl FnOnce(&mut Record)) -> Result<(), RuntimeError> {
        let record = {
            let mut record = self.record.lock();
            change(&mut record);
            record.clone()
        };
        write_json(&self.dir.join(RECORD), &record)
    }

    /// Where the pod's files in `/etc` come from.
    pub(super) fn files(&self) -> PathBuf {
        self.dir.join("etc")
    }
}

impl Runtime {
    pub(super) async fn run_sandbox(
        &self,
        config: PodSandboxConfig,
    ) -> Result<String, RuntimeError> {
        let id = new_id();
        let dir = self.sandbox_dir(&id);
        let parent = match config.cgroup_parent.trim_matches('/') {
            "" => format!("pod{}", config.uid),
            path => path.to_owned(),
        };
        let cgroup = format!("{}/{parent}", self.instance_group());
        let (created_at, phase, ips) = (now(), Phase::Making, Vec::new());
        let record = Record { id: id.clone(), config, created_at, phase, ips, cgroup };
        match self.make_sandbox(dir.clone(), record.clone()).await {
            Ok(()) => {
                self.emit(RuntimeEvent::Sandbox { sandbox: id.clone() });
                Ok(id)
            }
            Err(error) => {
                self.sandboxes.lock().remove(&id);
                if let Err(error) = self.discard_sandbox(&dir, &record).await {
                    tracing::warn!(%error, sandbox = id, "what is left of a pod cannot be removed");
                }
                Err(error)
            }
        }
    }

    async fn make_sandbox(&self, dir: PathBuf, record: Record) -> Result<(), RuntimeError> {
        let config = record.config.clone();
        let spec = self.sandbox_spec(&dir, &record)?;
        write_json(&dir.join(RECORD), &record)?;
        let (shim, _) = self.launch(&spec, self.listener(&record.id)).await?;
        let sandbox = Sandbox::new(dir, record, Some(shim));
        let id = sandbox.id.clone();
        self.sandboxes.lock().insert(id.clone(), sandbox.clone());
        let mut ips = Vec::new();
        if !config.host_network {
            let shim = sandbox.shim()?;
            let netns = shim.ask(Op::Network, Vec::new()).await?;
            let netns = netns.into_iter().next().ok_or_else(|| failed("shim gave no network"))?;
            ips = self.options.network.setup(&id, netns).await.map_err(failed)?.ips;
        }
        write_files(&sandbox.files(), &config, &ips)?;
        sandbox.shim()?;
        sandbox.update(|record| (record.phase, record.ips) = (Phase::Ready, ips))
    }

    /// Makes directories and groups, and tells what the shim has to know.
    fn sandbox_spec(&self, dir: &Path, record: &Record) -> Result<SandboxSpec, RuntimeError> {
        let config = &record.config;
        make_dir(dir)?;
        let limits = plan::limits(&config.resources);
        self.cgroups.create(&record.cgroup, &limits).map_err(failed)?;
        let pause_cgroup = if config.share_process_namespace && !config.host_pid {
            let path = format!("{}/{}", record.cgroup, record.id);
            Some(self.cgroups.create(&path, &Default::default()).map_err(failed)?)
        } else {
            None
        };
        let hostname =
            (!config.hostname.is_empty() && !config.host_network).then(|| config.hostname.clone());
        Ok(SandboxSpec {
            id: record.id.clone(),
            dir: dir.to_owned(),
            shim_cgroup: self.shim_group()?,
            pause_cgroup,
            network: !config.host_network,
            ipc: !config.host_ipc,
            hostname,
            sysctls: config.sysctls.clone().into_iter().collect(),
            tied: false,
        })
    }

    /// What a shim's messages do.
    pub(super) fn listener(&self, sandbox: &str) -> impl FnMut(Event) + Send + 'static {
        let (this, sandbox) = (self.this.clone(), sandbox.to_owned());
        move |event| {
            let Some(runtime) = this.upgrade() else { return };
            match event {
                Event::Container(record) => {
                    let found = runtime.containers.lock().get(&record.id).cloned();
                    if let Some(container) = found {
                        container.learn(record);
                        let container = container.record.id.clone();
                        let sandbox = sandbox.clone();
                        runtime.emit(RuntimeEvent::Container { sandbox, container });
                    }
                }
                Event::Gone => {
                    let sandbox = runtime.sandboxes.lock().get(&sandbox).cloned();
                    if let Some(sandbox) = sandbox {
                        tokio::spawn(async move { runtime.shim_died(&sandbox).await });
                    }
                }
            }
        }
    }

    /// Without its shim nobody knows or controls a pod's processes: they must not go on.
    async fn shim_died(&self, sandbox: &Sandbox) {
        // Stopping waits for us, or we for it; then there is nothing left to do.
        let _gate = sandbox.gate.lock().await;
        sandbox.shim.lock().take();
        if !matches!(sandbox.phase(), Phase::Ready) {
            return;
        }
        tracing::warn!(sandbox = sandbox.id, "shim died; its containers are ended");
        if let Err(error) = self.bury(sandbox, Phase::Dead).await {
            tracing::error!(%error, sandbox = sandbox.id, "containers of a dead shim");
        }
    }

    /// Kills what may be left of a pod without a shim, and writes down that it is dead.
    pub(super) async fn bury(&self, sandbox: &Sandbox, phase: Phase) -> Result<(), RuntimeError> {
        let containers = self.containers_of(&sandbox.id);
        let mut groups: Vec<Group> =
            containers.iter().map(|container| container.record.spec.cgroup.clone()).collect();
        groups.push(self.pause_group(&sandbox.record.lock()));
        blocking(move || groups.iter().try_for_each(|group| group.kill(GROUP_TIMEOUT))).await?;
        let mut state = State { version: crate::protocol::VERSION, ..State::default() };
        for container in &containers {
            container.lose();
            state.containers.insert(container.record.id.clone(), container.state());
        }
        write_json(&sandbox.dir.join(crate::shim::STATE), &state)?;
        sandbox.update(|record| record.phase = phase)?;
        for container in containers {
            let (sandbox, container) = (sandbox.id.clone(), container.record.id.clone());
            self.emit(RuntimeEvent::Container { sandbox, container });
        }
        self.emit(RuntimeEvent::Sandbox { sandbox: sandbox.id.clone() });
        Ok(())
    }

    fn pause_group(&self, record: &Record) -> Group {
        self.cgroups.group(&format!("{}/{}", record.cgroup, record.id))
    }

    pub(super) async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let sandbox = match self.sandbox(id) {
            Err(RuntimeError::NotFound(_)) => return Ok(()),
            result => result?,
        };
        let _gate = sandbox.gate.lock().await;
        if sandbox.phase() == Phase::Stopped {
            return Ok(());
        }
        let shim = sandbox.shim.lock().take();
        if let Some(shim) = shim {
            // It may die before it answers; then `bury` does the rest.
            let _ = shim.ask(Op::Shutdown, Vec::new()).await;
        }
        self.options.network.teardown(id).await.map_err(failed)?;
        self.bury(&sandbox, Phase::Stopped).await
    }

    pub(super) async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        self.stop_sandbox(id).await?;
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        for container in self.containers_of(id) {
            self.remove(&container.record.id).await?;
        }
        let _gate = sandbox.gate.lock().await;
        let record = sandbox.record.lock().clone();
        self.remove_groups(&record).await?;
        remove_dir(&sandbox.dir)?;
        self.sandboxes.lock().remove(id);
        Ok(())
    }

    /// The pod's group goes with its last sandbox.
    async fn remove_groups(&self, record: &Record) -> Result<(), RuntimeError> {
        let (pause, pod) = (self.pause_group(record), self.cgroups.group(&record.cgroup));
        blocking(move || {
            pause.remove(GROUP_TIMEOUT)?;
            pod.remove_if_empty()
        })
        .await
    }

    /// Removes all of a sandbox that nobody knows of.
    pub(super) async fn discard_sandbox(
        &self,
        dir: &Path,
        record: &Record,
    ) -> Result<(), RuntimeError> {
        let socket = dir.join(crate::shim::SOCKET);
        if let Ok(socket) = std::os::unix::net::UnixStream::connect(&socket)
            && let Ok((shim, _)) = Shim::connect(socket, None::<&()>, |_| {}).await
        {
            // It may die before it answers.
            let _ = shim.ask(Op::Shutdown, Vec::new()).await;
        }
        self.options.network.teardown(&record.id).await.map_err(failed)?;
        let pause = self.pause_group(record);
        blocking(move || pause.kill(GROUP_TIMEOUT)).await?;
        self.remove_groups(record).await?;
        remove_dir(dir)
    }
}

/// `hosts`, `hostname` and `resolv.conf` of a pod.
fn write_files(dir: &Path, config: &PodSandboxConfig, ips: &[IpAddr]) -> Result<(), RuntimeError> {
    make_dir(dir)?;
    for (name, text) in [
        ("hosts", hosts(config, ips)?),
        ("hostname", format!("{}\n", config.hostname)),
        ("resolv.conf", resolv_conf(config)?),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(at(&path))?;
    }
    Ok(())
}

fn hosts(config: &PodSandboxConfig, ips: &[IpAddr]) -> Result<String, RuntimeError> {
    if config.host_network {
        return node_file("/etc/hosts");
    }
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    for ip in ips {
        text.push_str(&format!("{ip}\t{}\n", config.hostname));
    }
    Ok(text)
}

fn resolv_conf(config: &PodSandboxConfig) -> Result<String, RuntimeError> {
    let dns = &config.dns;
    if dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty() {
        return node_file("/etc/resolv.conf");
    }
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    Ok(text)
}

fn node_file(path: &str) -> Result<String, RuntimeError> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(at(Path::new(path))),
    }
}
