//! The daemon's side: what the node runs, as far as this process knows, and the calls of
//! `RuntimeService`. Shims hold the truth; we keep a copy that their messages bring up to date.

mod client;
mod container;
mod exec;
mod io;
mod launch;
mod recover;
mod sandbox;
mod service;
mod step;

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use futures::stream::{self, TryStreamExt};
use onggi_node_api::{PodNetwork, RootFs, RuntimeError, RuntimeEvent};
use onggi_sys::caps::CapabilitySet;
use onggi_sys::cgroups::{Cgroups, Group};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::broadcast;

use container::Container;
use sandbox::Sandbox;

/// Events kept for a receiver that is slow.
const EVENTS: usize = 4096;

/// What a runtime needs.
#[derive(Clone)]
pub struct Options {
    /// Sockets and state, gone with a reboot: `/run/onggi/<instance>`.
    pub state_dir: PathBuf,
    /// Writable layers and files of pods.
    pub data_dir: PathBuf,
    /// Instance id; part of every name in the kernel.
    pub instance: String,
    /// Program that becomes a shim.
    pub shim_binary: PathBuf,
    /// Its first arguments, such as `shim`; the sandbox's id follows.
    pub shim_arguments: Vec<String>,
    /// Connects pods.
    pub network: Arc<dyn PodNetwork>,
    /// Files of images.
    pub rootfs: Arc<dyn RootFs>,
}

/// Runs pods, each in a shim.
pub struct Runtime {
    options: Options,
    cgroups: Cgroups,
    /// `shim_binary`, behind a mount that cannot be written.
    program: Option<OwnedFd>,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    events: broadcast::Sender<RuntimeEvent>,
    filters: Mutex<HashMap<(Option<PathBuf>, u64), PathBuf>>,
    this: Weak<Self>,
}

impl Runtime {
    /// Prepares directories. Pods that an earlier daemon left are found by `recover`.
    pub fn new(options: Options) -> Result<Arc<Self>, RuntimeError> {
        let cgroups = Cgroups::detect().map_err(|e| RuntimeError::Failed(e.to_string()))?;
        for dir in [options.state_dir.join(SANDBOXES), options.data_dir.join(CONTAINERS)] {
            make_dir(&dir)?;
        }
        let program = match onggi_sys::process::open_readonly(&options.shim_binary) {
            Ok(program) => Some(program),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let path = options.shim_binary.display();
                return Err(RuntimeError::Failed(format!("shim program {path}: {error}")));
            }
            Err(error) => {
                // The file itself will do; it is only less well guarded.
                tracing::warn!(%error, "no read-only mount of the shim program");
                None
            }
        };
        Ok(Arc::new_cyclic(|this| Self {
            options,
            cgroups,
            program,
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            filters: Mutex::default(),
            this: this.clone(),
        }))
    }

    /// Ends and removes every pod and every control group of this instance.
    pub async fn remove_all(&self) -> Result<(), RuntimeError> {
        let ids: Vec<_> = self.sandboxes.lock().keys().cloned().collect();
        stream::iter(ids.into_iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, async |id: String| self.remove_sandbox(&id).await)
            .await?;
        let group = self.cgroups.group(&self.instance_group());
        blocking(move || group.kill(GROUP_TIMEOUT).and_then(|()| group.remove(GROUP_TIMEOUT))).await
    }

    fn instance_group(&self) -> String {
        format!("onggi-{}", self.options.instance)
    }

    /// Group of all shims: a pod's limits are not theirs, and a service manager that ends the
    /// daemon's group does not end them.
    fn shim_group(&self) -> Result<Group, RuntimeError> {
        let path = format!("{}/shims", self.instance_group());
        self.cgroups.create(&path, &Default::default()).map_err(failed)
    }

    fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.options.state_dir.join(SANDBOXES).join(id)
    }

    fn container_dir(&self, id: &str) -> PathBuf {
        self.options.data_dir.join(CONTAINERS).join(id)
    }

    fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, RuntimeError> {
        let found = self.sandboxes.lock().get(id).cloned();
        found.ok_or_else(|| RuntimeError::NotFound(format!("no pod sandbox {id}")))
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, RuntimeError> {
        let found = self.containers.lock().get(id).cloned();
        found.ok_or_else(|| RuntimeError::NotFound(format!("no container {id}")))
    }

    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        let containers = self.containers.lock();
        containers.values().filter(|c| c.record.sandbox == sandbox).cloned().collect()
    }

    fn emit(&self, event: RuntimeEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Compiled filters as a file for shims; compiled once for each profile and capability set.
    async fn filters(
        &self,
        profile: Option<PathBuf>,
        caps: CapabilitySet,
    ) -> Result<PathBuf, RuntimeError> {
        let key = (profile, caps.bits());
        // A profile of the node's may have changed; the default cannot.
        if key.0.is_none()
            && let Some(path) = self.filters.lock().get(&key)
        {
            return Ok(path.clone());
        }
        let dir = self.options.state_dir.join("seccomp");
        let profile = key.0.clone();
        let path = tokio::task::spawn_blocking(move || compile(&dir, profile.as_deref(), caps))
            .await
            .map_err(failed)??;
        self.filters.lock().insert(key, path.clone());
        Ok(path)
    }
}

/// Pods that are removed at the same time.
const AT_ONCE: usize = 16;
const SANDBOXES: &str = "sandboxes";
const CONTAINERS: &str = "containers";
/// How long the kernel may take to end what was killed.
const GROUP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

fn compile(
    dir: &Path,
    profile: Option<&Path>,
    caps: CapabilitySet,
) -> Result<PathBuf, RuntimeError> {
    use onggi_sys::seccomp::{Profile, default_profile};
    use sha2::Digest;
    let wrong = |e: onggi_sys::seccomp::SeccompError| RuntimeError::Config(e.to_string());
    let profile = match profile {
        None => default_profile(caps),
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| {
                RuntimeError::Config(format!("seccomp profile {}: {error}", path.display()))
            })?;
            Profile::parse(&text).map_err(wrong)?
        }
    };
    let bytes = profile.compile(caps).map_err(wrong)?.to_bytes();
    make_dir(dir)?;
    let path = dir.join(format!("{}.bpf", hex::encode(&sha2::Sha256::digest(&bytes)[..16])));
    write_whole(&path, &bytes)?;
    Ok(path)
}

fn failed(error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Failed(error.to_string())
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> RuntimeError {
    move |error| RuntimeError::Failed(format!("{}: {error}", path.display()))
}

fn make_dir(path: &Path) -> Result<(), RuntimeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.map_err(at(path))
}

fn remove_dir(path: &Path) -> Result<(), RuntimeError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RuntimeError> {
    let new = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path)).map_err(at(path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RuntimeError> {
    write_whole(path, &serde_json::to_vec(value).map_err(failed)?)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RuntimeError> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RuntimeError::Failed(format!("{}: {error}", path.display())))
}

/// Runs what waits for the kernel's file systems away from the tasks.
async fn blocking<T: Send + 'static>(
    body: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(body).await.map_err(failed)?.map_err(failed)
}

fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
