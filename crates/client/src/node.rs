//! How the API server reaches a node: logs, exec, attach, port-forward.
//!
//! In one process the connector hands out the kubelet's own server; from afar it will be a tunnel
//! that the agent dialled. Either way the API server sees only these two traits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Finds the way to a node by its name.
#[async_trait]
pub trait NodeConnector: Send + Sync + 'static {
    /// The node's server. `NodeError::Unreachable` when there is no way to it now.
    async fn node(&self, name: &str) -> Result<Arc<dyn NodeServer>, NodeError>;
}

/// What a node does for the API server.
#[async_trait]
pub trait NodeServer: Send + Sync + 'static {
    /// `GET pods/NAME/log`: plain text, following where asked.
    async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeError>>, NodeError>;

    /// `pods/NAME/exec`: runs a command in a container until it ends.
    async fn exec(&self, request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError>;

    /// `pods/NAME/attach`: joins the container's own streams until it ends or the client leaves.
    async fn attach(&self, request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError>;

    /// `pods/NAME/portforward`: copies one connection to a port in the pod's network.
    async fn port_forward(
        &self,
        pod: PodRef,
        port: u16,
        stream: Box<dyn Duplex>,
    ) -> Result<(), NodeError>;

    /// `GET nodes/NAME/proxy/PATH`: what the kubelet's own HTTP server answers, `healthz`, `pods`,
    /// `metrics`, `stats/summary`, `containerLogs`, `configz`, `logs`. `target`: path and query.
    async fn get(&self, target: &http::Uri) -> Result<NodeAnswer, NodeError>;
}

/// An answer of the kubelet's HTTP server. What is wrong with a request is an answer too.
pub struct NodeAnswer {
    /// The code.
    pub status: http::StatusCode,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: BoxStream<'static, Result<Bytes, NodeError>>,
}

impl NodeAnswer {
    /// With a body that is there already.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = futures::stream::once(std::future::ready(Ok(body.into())));
        let status =
            http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, content_type, body: Box::pin(body) }
    }
}

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Names a pod on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid: a name may be used again.
    pub uid: String,
}

/// `PodLogOptions`.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// Whose.
    pub pod: PodRef,
    /// Which container.
    pub container: String,
    /// `follow`.
    pub follow: bool,
    /// `previous`: of the run before this one.
    pub previous: bool,
    /// `timestamps`: each line begins with its time.
    pub timestamps: bool,
    /// `tailLines`.
    pub tail_lines: Option<u64>,
    /// `limitBytes`.
    pub limit_bytes: Option<u64>,
    /// `sinceSeconds` or `sinceTime`, as nanoseconds since 1970.
    pub since_nanos: Option<i128>,
}

/// `PodExecOptions` and `PodAttachOptions`.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Where.
    pub pod: PodRef,
    /// Which container.
    pub container: String,
    /// What; empty for attach.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// The ends of an exec that the node holds. What is `None` was not asked for.
pub struct Streams {
    /// Input of the command; ends when the client closes it.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its output.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its errors; never with a terminal.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Sizes of the client's terminal as they change.
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended: 0 to 255; 128 + signal where a signal ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

/// Why a node could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// No way to the node.
    #[error("node {0} cannot be reached")]
    Unreachable(String),
    /// The pod or container is not on the node.
    #[error("{0}")]
    NotFound(String),
    /// It is there, and not in a state for this (as `container "x" in pod "y" is waiting to start:
    /// ContainerCreating`).
    #[error("{0}")]
    BadState(String),
    /// The node tried and failed.
    #[error("{0}")]
    Failed(String),
}
