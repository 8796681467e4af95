//! Doing what the plan says. Nothing is decided here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onggi_api::GroupVersionResource;
use onggi_api::core::PodStatus;

use onggi_client::{Error, Patch, WriteOptions};
use onggi_node_api::{ContainerState, ContainerStatus, PodSandbox, RuntimeError};
use serde_json::{Map, Value, json};

use super::config::{self, CONFIG_ERROR, Resolved};
use super::done::{Done, NotStarted};
use super::plan::Action;
use super::tokens::Tokens;
use super::watching::Handles;
use super::{Found, hooks};
use crate::context::Context;
use crate::fields::NodeFacts;
use crate::objects::{Data, Kind};
use crate::pod::Pod;
use crate::volumes::Sources;
use crate::{dns, env, images, server};

/// What of a log becomes a termination message (`FallbackToLogsOnError`).
const MESSAGE_BYTES: u64 = 2048;
const MESSAGE_LINES: u64 = 80;

/// One action, with all it needs.
pub(super) struct Job {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) facts: NodeFacts,
    pub(super) handles: Handles,
    pub(super) tokens: Tokens,
    pub(super) ips: Vec<IpAddr>,
}

impl Job {
    pub(super) async fn run(self, action: Action) -> Done {
        let runtime = Arc::clone(&self.context.runtime);
        match action {
            Action::Mount => self.mount().await,
            Action::CreateSandbox { attempt } => Done::Sandbox(self.create_sandbox(attempt).await),
            Action::Pull { container } => {
                let result = self.pull(&container).await;
                Done::Image { container, result }
            }
            Action::Start { container, attempt, sandbox, image, target } => {
                let result = self.start(&container, attempt, &sandbox, image, target).await;
                Done::Started { container, result }
            }
            Action::Withdraw { seconds } => {
                let pod = &self.pod;
                let drained = self.context.drain.drained(pod.namespace(), pod.name(), pod.uid());
                // Who does not drain in time is ended all the same.
                let _ = tokio::time::timeout(time(seconds), drained).await;
                Done::Withdrawn
            }
            Action::PreStop { container, id, seconds } => {
                self.pre_stop(&container, &id, seconds).await;
                Done::PreStopped { id }
            }
            Action::Stop { id, grace, .. } => {
                let grace = u64::try_from(grace).unwrap_or(0);
                let result = runtime.stop_container(&id, grace).await;
                let status = refresh(&self.context, &self.pod, &id).await;
                Done::Stopped { id, result, status }
            }
            Action::Remove { id, log } => {
                let result = runtime.remove_container(&id).await;
                if result.is_ok() {
                    remove_log(&log).await;
                }
                Done::Removed { id, result }
            }
            Action::StopSandbox { id } => {
                let result = runtime.stop_pod_sandbox(&id).await;
                Done::SandboxStopped { id, result }
            }
            Action::RemoveSandbox { id } => {
                let result = runtime.remove_pod_sandbox(&id).await;
                Done::SandboxRemoved { id, result }
            }
            Action::Release { files } => {
                let pod_files = self.context.files(self.pod.uid());
                let released = tokio::task::spawn_blocking(move || pod_files.release(files)).await;
                let released = released.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                let result = released.map_err(|error| error.to_string());
                Done::Released { files, result }
            }
            Action::FinalDelete => Done::Deleted(delete(&self.context, &self.pod).await),
            // Done by the worker itself.
            Action::TellBackOff { .. } => Done::Nothing,
        }
    }

    async fn objects(&self) -> Result<BTreeMap<(Kind, String), Arc<Data>>, String> {
        self.handles.read().await.map_err(|error| error.to_string())
    }

    async fn sources(&self) -> Result<Sources, String> {
        Ok(Sources {
            pod: Arc::clone(&self.pod),
            facts: self.facts.clone(),
            objects: self.objects().await?,
            tokens: self.tokens.texts(),
        })
    }

    async fn mount(mut self) -> Done {
        if self.pod.spec.volumes.as_ref().is_none_or(Vec::is_empty) {
            return Done::Mounted { result: Ok(None), tokens: self.tokens };
        }
        let context = Arc::clone(&self.context);
        let pod = Arc::clone(&self.pod);
        if let Err((volume, text)) = self.tokens.fetch(&context, &pod).await {
            let text = format!("MountVolume.SetUp failed for volume {volume:?} : {text}");
            return Done::Mounted { result: Err(text), tokens: self.tokens };
        }
        let result = match self.sources().await {
            Ok(sources) => {
                let files = context.files(pod.uid());
                let stamp = context.clock.now().as_nanosecond().to_string();
                let set_up =
                    tokio::task::spawn_blocking(move || files.set_up(&sources, &stamp)).await;
                match set_up {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(text) => Err(text),
        };
        Done::Mounted { result: result.map(|()| self.tokens.refresh_at()), tokens: self.tokens }
    }

    async fn create_sandbox(&self, attempt: u32) -> Result<PodSandbox, String> {
        let (context, uid) = (&self.context, self.pod.uid());
        let files = context.files(uid);
        let logs = files.logs();
        tokio::fs::create_dir_all(&logs)
            .await
            .map_err(|error| format!("cannot create {}: {error}", logs.display()))?;
        let config = config::sandbox(context, &self.pod, attempt);
        let id =
            context.runtime.run_pod_sandbox(config).await.map_err(|error| error.to_string())?;
        context.directory.bind(&id, uid);
        let all = context.runtime.list_pod_sandboxes().await.map_err(|error| error.to_string())?;
        let found = all.into_iter().find(|sandbox| sandbox.id == id);
        let sandbox = found.ok_or_else(|| format!("sandbox {id} went away at once"))?;
        if !self.pod.is_host_network() {
            let text = dns::hosts(&self.pod, &context.options.cluster_domain, &sandbox.ips);
            let path = files.hosts();
            tokio::fs::write(&path, text)
                .await
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(sandbox)
    }

    async fn pull(&self, name: &str) -> Result<String, images::NoImage> {
        let failed = |message| images::NoImage { reason: "ErrImagePull", message, again: true };
        let Some((_, container)) = self.pod.container(name) else {
            return Err(failed(format!("container {name} not found")));
        };
        let objects = self.objects().await.map_err(failed)?;
        images::ensure(&self.context, &self.pod, container, &objects).await
    }

    async fn start(
        &self,
        name: &str,
        attempt: u32,
        sandbox: &str,
        image: String,
        target: Option<String>,
    ) -> Result<ContainerStatus, NotStarted> {
        let (context, pod) = (&self.context, &*self.pod);
        let part = Some(name);
        let refused = |reason: &'static str, message: String| {
            context.events.warning(pod, part, "Failed", format!("Error: {message}"));
            NotStarted { reason, message, status: None }
        };
        let config = match self.container_config(name, attempt, image, target).await {
            Ok(config) => config,
            Err(message) => return Err(refused(CONFIG_ERROR, message)),
        };
        let id = match context.runtime.create_container(sandbox, config).await {
            Ok(id) => id,
            Err(RuntimeError::Config(message)) => return Err(refused(CONFIG_ERROR, message)),
            Err(error) => return Err(refused("CreateContainerError", error.to_string())),
        };
        context.events.normal(pod, part, "Created", "Container created".to_owned());
        if let Err(error) = context.runtime.start_container(&id).await {
            let mut not = refused("RunContainerError", error.to_string());
            not.status = refresh(context, pod, &id).await.ok().flatten();
            return Err(not);
        }
        context.events.normal(pod, part, "Started", "Container started".to_owned());
        match context.runtime.container_status(&id).await {
            // It may have ended already.
            Ok(status) => Ok(with_message(pod, status).await),
            Err(error) => Err(refused("RunContainerError", error.to_string())),
        }
    }

    async fn container_config(
        &self,
        name: &str,
        attempt: u32,
        image: String,
        target: Option<String>,
    ) -> Result<onggi_node_api::ContainerConfig, String> {
        let (context, pod) = (&self.context, &*self.pod);
        let not_there = || format!("container {name} not found");
        let (_, container) = pod.container(name).ok_or_else(not_there)?;
        if let (Some(wanted), None) = (pod.target_of(name), &target) {
            return Err(format!("unable to find target container {wanted}"));
        }
        let sources = self.sources().await?;
        context.services.synced().await.map_err(|error| error.to_string())?;
        let mut services = context.services.list_in(pod.namespace());
        if pod.namespace() != "default" {
            services.extend(context.services.get("default", "kubernetes"));
        }
        let from = env::Sources {
            pod,
            facts: &self.facts,
            objects: &sources.objects,
            services: &services,
        };
        let env = env::variables(&from, container)?;
        let files = context.files(pod.uid());
        let hosts = files.hosts();
        let look_up: BTreeMap<String, String> = env
            .iter()
            .map(|(key, value)| (key.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let own = container.clone();
        let mounts = tokio::task::spawn_blocking(move || {
            files
                .mounts(&sources, &own, |text| env::expand(text, |name| look_up.get(name).cloned()))
        });
        let mounts = mounts.await.map_err(|error| error.to_string())??;
        let resolved = Resolved { attempt, image, env, mounts, hosts, target };
        Ok(config::container(context, pod, container, resolved))
    }

    async fn pre_stop(&self, name: &str, id: &str, seconds: i64) {
        let Some((_, container)) = self.pod.container(name) else { return };
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook else { return };
        let run = hooks::run(&self.context, &self.pod, container, id, hook, &self.ips);
        let failed = match tokio::time::timeout(time(seconds), run).await {
            Ok(Ok(())) => return,
            Ok(Err(text)) => text,
            Err(_) => format!("it took longer than the grace period of {seconds}s"),
        };
        tracing::info!(pod = %self.pod.full_name(), container = name, failed, "preStop failed");
        let text = "PreStopHook failed".to_owned();
        self.context.events.warning(&self.pod, Some(name), "FailedPreStopHook", text);
    }

    pub(super) async fn post_start(self, name: String, id: String) -> Done {
        let container = self.pod.container(&name).map(|(_, container)| container);
        let hook = container.and_then(|c| c.lifecycle.as_ref()?.post_start.as_ref());
        let (Some(container), Some(hook)) = (container, hook) else {
            return Done::PostStarted { container: name, id, result: Ok(()) };
        };
        let result = hooks::run(&self.context, &self.pod, container, &id, hook, &self.ips).await;
        Done::PostStarted { container: name, id, result }
    }
}

fn time(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Removes a log and what was rotated out of it: `3.log`, `3.log.2026…`.
async fn remove_log(log: &Path) {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name()) else { return };
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return };
    let name = name.to_string_lossy();
    while let Ok(Some(entry)) = entries.next_entry().await {
        let rotated = entry.file_name();
        let rotated = rotated.to_string_lossy();
        let rest = rotated.strip_prefix(&*name);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            && let Err(error) = tokio::fs::remove_file(entry.path()).await
        {
            // It goes with the pod's directory at the latest.
            tracing::debug!(path = %entry.path().display(), %error, "log not removed");
        }
    }
}

/// What the runtime says of a container; none when it is gone.
pub(super) async fn refresh(
    context: &Context,
    pod: &Pod,
    id: &str,
) -> Result<Option<ContainerStatus>, RuntimeError> {
    match context.runtime.container_status(id).await {
        Ok(status) => Ok(Some(with_message(pod, status).await)),
        Err(RuntimeError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What ended in failure and left no message says the end of its log, where the pod wants that.
async fn with_message(pod: &Pod, mut status: ContainerStatus) -> ContainerStatus {
    let policy = pod
        .container(&status.name)
        .and_then(|(_, container)| container.termination_message_policy.as_deref());
    let failed = status.state == ContainerState::Exited && status.exit_code != 0;
    if failed && status.message.is_empty() && policy == Some("FallbackToLogsOnError") {
        let tail = server::tail_of(&status.log_path, MESSAGE_LINES, MESSAGE_BYTES).await;
        // A log that cannot be read is no message.
        status.message = tail.unwrap_or_default();
    }
    status
}

/// [`with_message`], of all containers.
pub(super) async fn with_messages(
    pod: &Pod,
    containers: Vec<ContainerStatus>,
) -> Vec<ContainerStatus> {
    let told = containers.into_iter().map(|status| with_message(pod, status));
    futures::future::join_all(told).await
}

/// What the runtime has of a pod.
pub(super) async fn list(context: &Context, pod: &Pod) -> Result<Found, RuntimeError> {
    let (sandboxes, containers) =
        tokio::try_join!(context.runtime.list_pod_sandboxes(), context.runtime.list_containers())?;
    let sandboxes: Vec<PodSandbox> =
        sandboxes.into_iter().filter(|sandbox| sandbox.config.uid == pod.uid()).collect();
    let own = |c: &ContainerStatus| sandboxes.iter().any(|sandbox| sandbox.id == c.sandbox);
    let containers = containers.into_iter().filter(own).collect();
    let containers = with_messages(pod, containers).await;
    Ok(Found { sandboxes, containers })
}

fn pods() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "pods")
}

/// Writes the status over that of the API; answers the revision. Gone: nothing to write to.
pub(super) async fn write_status(
    context: &Context,
    pod: &Pod,
    old: &PodStatus,
    new: &PodStatus,
) -> Result<u64, Error> {
    let as_map = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(Error::Decode(error.to_string())),
    };
    let (old, mut new) = (as_map(old)?, as_map(new)?);
    for key in old.keys() {
        // A merge patch takes away only what it names.
        new.entry(key.clone()).or_insert(Value::Null);
    }
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": new});
    let written = context
        .client
        .patch_status(&pods(), pod.namespace(), pod.name(), Patch::merge(patch))
        .await;
    match written {
        Ok(object) => Ok(object.head().resource_version),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(0),
        // The same again would be refused again, and the pod must go on.
        Err(Error::Status(status)) if matches!(status.code, 400 | 422) => {
            tracing::error!(pod = %pod.full_name(), %status, "the API server refuses the status");
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

async fn delete(context: &Context, pod: &Pod) -> Result<(), Error> {
    let options = WriteOptions {
        grace_period_seconds: Some(0),
        precondition_uid: Some(pod.uid().to_owned()),
        ..WriteOptions::default()
    };
    match context.client.delete(&pods(), pod.namespace(), pod.name(), options).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
