//! What daemon and shim say to each other over the shim's socket. A daemon may be newer than the
//! shims it finds: fields are only added, and `VERSION` counts what cannot be understood otherwise.

use std::collections::BTreeMap;

use onggi_node_api::RuntimeError;
use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, ProcessSpec};

/// Version of this protocol.
pub(crate) const VERSION: u32 = 1;

/// Daemon to shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back in the answer.
    pub id: u64,
    /// What to do.
    pub op: Op,
}

/// What a shim can do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    /// Prepare a container. Descriptors: one for output, when the spec has no log.
    Create(Box<ContainerSpec>),
    /// Run its program.
    Start(String),
    /// Signal a container's first process.
    Signal {
        /// The container.
        container: String,
        /// Signal number.
        signal: i32,
    },
    /// Run a further process. Descriptors: as `streams` says, in order.
    Exec {
        /// The container.
        container: String,
        /// Name of the exec, chosen by the daemon.
        exec: String,
        /// The process.
        process: Box<ProcessSpec>,
        /// Which of the standard streams are given; a terminal has none of them.
        streams: [bool; 3],
    },
    /// Kill an exec with the processes of its session.
    KillExec(String),
    /// Copy a container's output to descriptors. Descriptors: as `streams` says. Answers with a
    /// descriptor to write input to, where there is input.
    Attach {
        /// The container.
        container: String,
        /// Which of output and errors are given.
        streams: [bool; 2],
    },
    /// Connect to a port on the pod's loopback. Answers with a connecting socket.
    Connect(u16),
    /// Drop a dead container.
    Forget(String),
    /// The pod's network namespace. Answers with a descriptor.
    Network,
    /// Kill everything and end.
    Shutdown,
}

/// Shim to daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The first message on every connection.
    Hello(State),
    /// An answer.
    Answer {
        /// Of the request.
        id: u64,
        /// Whether it worked.
        result: Result<(), Failure>,
    },
    /// A container changed.
    Container(ContainerRecord),
    /// An exec ended.
    ExecExited {
        /// Its name.
        exec: String,
        /// 128 + signal when killed.
        code: i32,
    },
}

/// All that a shim knows; also its file `state.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Of the protocol.
    pub version: u32,
    /// The shim's process.
    pub pid: i32,
    /// Containers by id.
    pub containers: BTreeMap<String, ContainerRecord>,
}

/// What a shim knows of a container. Times in nanoseconds since 1970; 0: not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// Its id.
    pub id: String,
    /// First process, as the node sees it.
    pub pid: i32,
    /// When it was prepared.
    pub created_at: i64,
    /// When its program ran.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// 128 + signal when killed.
    pub exit_code: i32,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Why its program could not be run.
    pub failure: Option<Failure>,
}

/// Why something did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    /// It is not there.
    NotFound,
    /// The configuration cannot work.
    Config,
    /// The program cannot be run.
    CannotRun,
    /// The node failed.
    Failed,
}

impl Failure {
    /// With this kind.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Something is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, message)
    }

    /// The configuration cannot work.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Config, message)
    }

    /// The node failed at `what`.
    pub(crate) fn io(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(FailureKind::Failed, format!("{what}: {error}"))
    }
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::NotFound => Self::NotFound(failure.message),
            FailureKind::Config => Self::Config(failure.message),
            FailureKind::CannotRun => Self::CannotRun(failure.message),
            FailureKind::Failed => Self::Failed(failure.message),
        }
    }
}
