//! Containers: prepared, started, stopped, removed.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onggi_node_api::{
    ContainerConfig, ContainerState, ContainerStats, ContainerStatus, ImageError, RuntimeError,
    SeccompProfile,
};
use onggi_sys::caps::CapabilitySet;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::sandbox::{Phase, Sandbox};
use super::{
    GROUP_TIMEOUT, Runtime, at, blocking, failed, make_dir, new_id, now, remove_dir, write_json,
};
use crate::plan;
use crate::protocol::{ContainerRecord, Op};
use crate::spec::ContainerSpec;

/// How much of a termination message counts (Kubernetes' `MaxContainerTerminationMessageLength`).
const MESSAGE: u64 = 4096;
/// Exit code of a container whose end nobody saw.
const LOST: i32 = 137;

/// What a daemon writes down of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) sandbox: String,
    pub(super) config: ContainerConfig,
    pub(super) created_at: i64,
    pub(super) spec: ContainerSpec,
    pub(super) stop_signal: i32,
    pub(super) dir: PathBuf,
}

pub(super) struct Container {
    pub(super) record: Record,
    state: watch::Sender<ContainerRecord>,
    message: std::sync::OnceLock<String>,
}

impl Container {
    pub(super) fn new(record: Record, state: ContainerRecord) -> Arc<Self> {
        let state = watch::channel(state).0;
        Arc::new(Self { record, state, message: std::sync::OnceLock::new() })
    }

    /// Takes over what the shim says. What knows less of its life was said earlier, and only heard
    /// later: the answer to who joins the shim, beside the news of an end.
    pub(super) fn learn(&self, state: ContainerRecord) {
        let came = |state: &ContainerRecord| (state.finished_at > 0, state.started_at > 0);
        self.state.send_if_modified(|known| {
            let is_news = came(&state) >= came(known);
            if is_news {
                *known = state;
            }
            is_news
        });
    }

    /// Its shim is gone, so it is dead.
    pub(super) fn lose(&self) {
        self.state.send_if_modified(|state| {
            let alive = state.finished_at == 0;
            if alive {
                state.finished_at = now();
                state.exit_code = LOST;
                state.pid = 0;
            }
            alive
        });
    }

    pub(super) fn state(&self) -> ContainerRecord {
        self.state.borrow().clone()
    }

    /// Waits for its end.
    pub(super) async fn wait(&self) -> i32 {
        let mut state = self.state.subscribe();
        // The sender lives as long as we.
        match state.wait_for(|state| state.finished_at > 0).await {
            Ok(state) => state.exit_code,
            Err(_) => LOST,
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let (record, state) = (&self.record, self.state());
        let phase = phase(&state);
        let (reason, message) = match phase {
            ContainerState::Exited => self.end(&state),
            _ => Default::default(),
        };
        ContainerStatus {
            id: record.id.clone(),
            sandbox: record.sandbox.clone(),
            name: record.config.name.clone(),
            attempt: record.config.attempt,
            state: phase,
            created_at: record.created_at.into(),
            started_at: state.started_at.into(),
            finished_at: state.finished_at.into(),
            exit_code: state.exit_code,
            reason,
            message,
            image: record.config.image.clone(),
            user_image: record.config.user_image.clone(),
            log_path: record.spec.log.as_ref().map(|log| log.path.clone()).unwrap_or_default(),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
            pid: if phase == ContainerState::Running { state.pid } else { 0 },
        }
    }

    /// Reason and message of an ended container.
    fn end(&self, state: &ContainerRecord) -> (String, String) {
        if let Some(failure) = &state.failure {
            return ("ContainerCannotRun".into(), failure.message.clone());
        }
        let reason = match state.exit_code {
            0 => "Completed",
            _ if state.oom_killed => "OOMKilled",
            _ => "Error",
        };
        let message = self.message.get_or_init(|| {
            let path = self.record.dir.join(plan::TERMINATION);
            tail(&path).map(|tail| String::from_utf8_lossy(&tail).into_owned()).unwrap_or_default()
        });
        (reason.into(), message.clone())
    }
}

fn phase(state: &ContainerRecord) -> ContainerState {
    match (state.finished_at, state.started_at) {
        (0, 0) => ContainerState::Created,
        (0, _) => ContainerState::Running,
        _ => ContainerState::Exited,
    }
}

/// The end of a file that a container wrote.
fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MESSAGE)))?;
    let mut bytes = Vec::new();
    file.take(MESSAGE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn image_error(error: ImageError) -> RuntimeError {
    match error {
        ImageError::NotFound(_) => RuntimeError::NotFound(error.to_string()),
        other => failed(other),
    }
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub(super) fn parse_signal(name: &str) -> Result<i32, RuntimeError> {
    let unknown = || RuntimeError::Config(format!("there is no signal {name:?}"));
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = bare.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    if let Some(offset) = bare.strip_prefix("RTMIN+") {
        let offset = offset.parse::<i32>().ok().filter(|offset| (0..=30).contains(offset));
        return offset.map(|offset| 34 + offset).ok_or_else(unknown);
    }
    let signal: nix::sys::signal::Signal = format!("SIG{bare}").parse().map_err(|_| unknown())?;
    Ok(signal as i32)
}

impl Runtime {
    pub(super) async fn create(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String, RuntimeError> {
        let sandbox = self.sandbox(sandbox)?;
        if sandbox.phase() != Phase::Ready {
            return Err(failed(format!("pod sandbox {} is not ready", sandbox.id)));
        }
        let id = new_id();
        let created = self.create_as(&id, &sandbox, config).await;
        if created.is_err() {
            self.containers.lock().remove(&id);
            if let Err(error) = self.discard_container(&id, Some(&sandbox)).await {
                tracing::warn!(%error, container = id, "what is left of it cannot be removed");
            }
        }
        created.map(|()| id)
    }

    async fn create_as(
        &self,
        id: &str,
        sandbox: &Arc<Sandbox>,
        config: ContainerConfig,
    ) -> Result<(), RuntimeError> {
        let rootfs = &self.options.rootfs;
        let image = rootfs.image_config(&config.image).await.map_err(image_error)?;
        let layers = rootfs.layers(&config.image, id).await.map_err(image_error)?;
        let dir = self.container_dir(id);
        let sandbox_config = sandbox.config();
        let path = format!("{}/{id}", sandbox.record.lock().cgroup);
        let mut spec = plan::container(plan::Input {
            id,
            sandbox: &sandbox_config,
            config: &config,
            image: &image,
            layers,
            dir: &dir,
            files: &sandbox.files(),
            cgroup: self.cgroups.group(&path),
            cgroup_v1: &self.cgroups.v1_mounts(),
        })?;
        spec.process.seccomp = self.seccomp(&config, spec.process.capabilities).await?;
        let stop = match (&config.stop_signal, image.stop_signal.as_str()) {
            (Some(signal), _) => signal,
            (None, "") => "SIGTERM",
            (None, signal) => signal,
        };
        let stop_signal = parse_signal(stop)?;
        let (created_at, sandbox_id) = (now(), sandbox.id.clone());
        let record = Record {
            id: id.to_owned(),
            sandbox: sandbox_id,
            config,
            created_at,
            spec: spec.clone(),
            stop_signal,
            dir,
        };
        let limits = plan::limits(&record.config.resources);
        self.cgroups.create(&path, &limits).map_err(failed)?;
        make_directories(&record)?;
        write_json(&record_path(&sandbox.dir, id), &record)?;
        let state = ContainerRecord { id: id.to_owned(), created_at, ..Default::default() };
        self.containers.lock().insert(id.to_owned(), Container::new(record, state));
        sandbox.shim()?.ask(Op::Create(Box::new(spec)), Vec::new()).await?;
        Ok(())
    }

    async fn seccomp(
        &self,
        config: &ContainerConfig,
        capabilities: u64,
    ) -> Result<Option<PathBuf>, RuntimeError> {
        let caps = CapabilitySet::from_bits_retain(capabilities);
        let profile = match &config.security.seccomp {
            _ if config.security.privileged => return Ok(None),
            SeccompProfile::Unconfined => return Ok(None),
            SeccompProfile::RuntimeDefault => None,
            SeccompProfile::Localhost(path) => Some(path.clone()),
        };
        self.filters(profile, caps).await.map(Some)
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        let container = self.container(id)?;
        let sandbox = self.sandbox(&container.record.sandbox)?;
        sandbox.shim()?.ask(Op::Start(id.to_owned()), Vec::new()).await?;
        Ok(())
    }

    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let container = match self.container(id) {
            Err(RuntimeError::NotFound(_)) => return Ok(()),
            result => result?,
        };
        let state = container.state();
        if state.finished_at > 0 {
            return Ok(());
        }
        let Ok(shim) = self.sandbox(&container.record.sandbox)?.shim() else {
            // Its shim has just died, and with it the container.
            container.wait().await;
            return Ok(());
        };
        let signal = |signal| Op::Signal { container: id.to_owned(), signal };
        if state.started_at > 0 && !grace.is_zero() {
            shim.tell(signal(container.record.stop_signal));
            if tokio::time::timeout(grace, container.wait()).await.is_ok() {
                return Ok(());
            }
        }
        shim.tell(signal(nix::sys::signal::Signal::SIGKILL as i32));
        container.wait().await;
        Ok(())
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let container = match self.container(id) {
            Err(RuntimeError::NotFound(_)) => return Ok(()),
            result => result?,
        };
        self.stop(id, Duration::ZERO).await?;
        let sandbox = self.sandbox(&container.record.sandbox).ok();
        if let Some(shim) = sandbox.as_ref().and_then(|sandbox| sandbox.shim().ok()) {
            shim.tell(Op::Forget(id.to_owned()));
        }
        self.discard_container(id, sandbox.as_deref()).await?;
        self.containers.lock().remove(id);
        Ok(())
    }

    /// Removes all that is left of a dead container.
    pub(super) async fn discard_container(
        &self,
        id: &str,
        sandbox: Option<&Sandbox>,
    ) -> Result<(), RuntimeError> {
        let dir = self.container_dir(id);
        let group = sandbox
            .map(|sandbox| self.cgroups.group(&format!("{}/{id}", sandbox.record.lock().cgroup)));
        let record = sandbox.map(|sandbox| record_path(&sandbox.dir, id));
        tokio::task::spawn_blocking(move || {
            if let Some(group) = group {
                group.kill(GROUP_TIMEOUT).map_err(failed)?;
                group.remove(GROUP_TIMEOUT).map_err(failed)?;
            }
            remove_dir(&dir)?;
            match record.as_deref().map(std::fs::remove_file) {
                Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed(error))
                }
                _ => Ok(()),
            }
        })
        .await
        .map_err(failed)??;
        self.options.rootfs.release(id).await.map_err(failed)
    }

    pub(super) async fn stats(&self, id: &str) -> Result<ContainerStats, RuntimeError> {
        let group = self.container(id)?.record.spec.cgroup.clone();
        let usage = blocking(move || group.usage()).await?;
        Ok(ContainerStats {
            cpu_nanos: usage.cpu_nanos,
            working_set_bytes: usage.working_set_bytes,
        })
    }
}

/// File of a container's record.
pub(super) fn record_path(sandbox: &Path, id: &str) -> PathBuf {
    sandbox.join(format!("container-{id}.json"))
}

fn make_directories(record: &Record) -> Result<(), RuntimeError> {
    use std::os::unix::fs::PermissionsExt;
    make_dir(&record.dir)?;
    for name in ["upper", "work", "root"] {
        let path = record.dir.join(name);
        std::fs::create_dir(&path).map_err(at(&path))?;
    }
    // It becomes the root directory that the container sees.
    let upper = record.dir.join("upper");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&upper, mode).map_err(at(&upper))?;
    let message = record.dir.join(plan::TERMINATION);
    std::fs::write(&message, "")
        .and_then(|()| {
            // Whoever the container runs as may write it.
            std::fs::set_permissions(&message, std::fs::Permissions::from_mode(0o666))
        })
        .map_err(at(&message))?;
    match record.spec.log.as_ref().and_then(|log| log.path.parent()) {
        Some(dir) => std::fs::create_dir_all(dir).map_err(at(dir)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for (name, number) in
            [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("SIGUSR1", 10)]
        {
            assert_eq!(parse_signal(name).unwrap(), number, "{name}");
        }
        for name in ["", "SIGFOO", "0", "65", "RTMIN+99"] {
            assert!(parse_signal(name).is_err(), "{name}");
        }
    }
}
