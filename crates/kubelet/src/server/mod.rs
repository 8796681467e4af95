//! The node server: logs, exec, attach, port-forward and the kubelet's own paths for the API server.

mod http;
mod inotify;
mod lines;
mod logs;
mod usage;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use onggi_api::core::ContainerStatus as ApiStatus;
use onggi_client::node::{
    Duplex, ExecRequest, ExitStatus, LogRequest, NodeAnswer, NodeError, NodeServer, PodRef, Streams,
};
use onggi_node_api::{ContainerState, ContainerStatus, ExecIo, RuntimeError};
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::directory::View;
use inotify::Inotify;

/// The kubelet's side of `pods/NAME/{log,exec,attach,portforward}`.
pub(crate) struct Server {
    context: Arc<Context>,
    inotify: Inotify,
}

impl Server {
    pub(crate) fn new(context: Arc<Context>) -> std::io::Result<Self> {
        Ok(Self { context, inotify: Inotify::new()? })
    }

    fn view(&self, pod: &PodRef) -> Result<watch::Receiver<Arc<View>>, NodeError> {
        let directory = &self.context.directory;
        let entry = if pod.uid.is_empty() {
            directory.find(&pod.namespace, &pod.name)
        } else {
            directory.get(&pod.uid)
        };
        let entry = entry.ok_or_else(|| {
            let full = format!("{}_{}", pod.name, pod.namespace);
            NodeError::NotFound(format!("pod {full:?} is not on this node"))
        })?;
        Ok(entry.view)
    }

    /// The container that runs under a name.
    fn running(&self, request: &ExecRequest) -> Result<String, NodeError> {
        let view = self.view(&request.pod)?.borrow().clone();
        let running = |c: &&ContainerStatus| {
            c.name == request.container && c.state == ContainerState::Running
        };
        match view.containers.iter().filter(running).max_by_key(|c| c.attempt) {
            Some(container) => Ok(container.id.clone()),
            None => {
                Err(NodeError::NotFound(format!("container not found ({:?})", request.container)))
            }
        }
    }
}

#[async_trait]
impl NodeServer for Server {
    async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeError>>, NodeError> {
        let view = self.view(&request.pod)?;
        let container = log_of(&view.borrow(), &request)?;
        Ok(logs::stream(request, container, view, self.inotify.clone()))
    }

    async fn exec(&self, request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError> {
        let id = self.running(&request)?;
        let ExecRequest { command, tty, .. } = request;
        let code = self.context.runtime.exec(&id, command, tty, exec_io(io)).await;
        code.map(ExitStatus).map_err(node_error)
    }

    async fn attach(&self, request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError> {
        let id = self.running(&request)?;
        let code = self.context.runtime.attach(&id, exec_io(io)).await;
        code.map(ExitStatus).map_err(node_error)
    }

    async fn port_forward(
        &self,
        pod: PodRef,
        port: u16,
        stream: Box<dyn Duplex>,
    ) -> Result<(), NodeError> {
        let view = self.view(&pod)?.borrow().clone();
        let sandbox = view.sandbox.clone().ok_or_else(|| {
            NodeError::BadState(format!(
                "unable to forward port because pod is not running: {}",
                pod.name
            ))
        })?;
        self.context
            .runtime
            .port_forward(&sandbox, port, Box::new(stream))
            .await
            .map_err(node_error)
    }

    async fn get(&self, target: &::http::Uri) -> Result<NodeAnswer, NodeError> {
        http::answer(self, target).await
    }
}

fn exec_io(io: Streams) -> ExecIo {
    let Streams { stdin, stdout, stderr, resize } = io;
    let resize = resize.map(|mut sizes| {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                if sender.send((size.width, size.height)).await.is_err() {
                    return;
                }
            }
        });
        receiver
    });
    ExecIo { stdin, stdout, stderr, resize }
}

fn node_error(error: RuntimeError) -> NodeError {
    match error {
        RuntimeError::NotFound(text) => NodeError::NotFound(text),
        RuntimeError::Config(text) | RuntimeError::CannotRun(text) => NodeError::BadState(text),
        error => NodeError::Failed(error.to_string()),
    }
}

/// The run whose log is asked for; errors are worded as the kubelet words them.
fn log_of(view: &View, request: &LogRequest) -> Result<ContainerStatus, NodeError> {
    let (name, pod) = (&request.container, &request.pod.name);
    let statuses =
        view.status.container_statuses.iter().chain(&view.status.init_container_statuses);
    let statuses = statuses.chain(&view.status.ephemeral_container_statuses);
    let status = statuses.flatten().find(|status| status.name == *name);
    let Some(status) = status else {
        let text = format!("container {name:?} in pod {pod:?} is not available");
        return Err(NodeError::BadState(text));
    };
    let id = if request.previous {
        last_id(status).ok_or_else(|| {
            NodeError::BadState(format!(
                "previous terminated container {name:?} in pod {pod:?} not found"
            ))
        })?
    } else {
        current_id(status).ok_or_else(|| {
            let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
            let why = match waiting.and_then(|waiting| waiting.reason.as_deref()) {
                Some("ErrImagePull") => "image can't be pulled",
                Some("ImagePullBackOff") => "trying and failing to pull image",
                Some(reason) => reason,
                None => "ContainerCreating",
            };
            let text = format!("container {name:?} in pod {pod:?} is waiting to start: {why}");
            NodeError::BadState(text)
        })?
    };
    let id = id.rsplit('/').next().unwrap_or(id);
    view.containers.iter().find(|container| container.id == id).cloned().ok_or_else(|| {
        NodeError::NotFound(format!("the log of container {name:?} in pod {pod:?} is gone"))
    })
}

fn last_id(status: &ApiStatus) -> Option<&str> {
    status.last_state.as_ref()?.terminated.as_ref()?.container_id.as_deref()
}

fn current_id(status: &ApiStatus) -> Option<&str> {
    let state = status.state.as_ref()?;
    if state.running.is_some() {
        return status.container_id.as_deref();
    }
    match &state.terminated {
        Some(ended) if ended.container_id.is_some() => ended.container_id.as_deref(),
        // One that waits to be restarted shows the log of its last run.
        _ => last_id(status),
    }
}

/// The end of a log as text.
pub(crate) async fn tail_of(path: &Path, lines: u64, bytes: u64) -> std::io::Result<String> {
    logs::tail(path, lines, bytes).await
}
