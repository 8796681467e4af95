//! `RuntimeService`: pod sandboxes and containers (CRI `runtime.v1.RuntimeService`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Runs pods. Every call is idempotent where CRI says so: stopping or removing what is gone
/// succeeds.
#[async_trait]
pub trait RuntimeService: Send + Sync + 'static {
    /// Creates namespaces, network and cgroup of a pod. Answers its sandbox id.
    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<String, RuntimeError>;

    /// Ends every process of the pod and gives back its network.
    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError>;

    /// Stops it where needed and removes all that is left of it.
    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError>;

    /// Every sandbox on the node, also those that an earlier process of ours started.
    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandbox>, RuntimeError>;

    /// Prepares a container. Answers its id.
    async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String, RuntimeError>;

    /// Starts a created container.
    async fn start_container(&self, container: &str) -> Result<(), RuntimeError>;

    /// Sends the stop signal, waits `grace_seconds`, kills. Returns when it is dead.
    async fn stop_container(&self, container: &str, grace_seconds: u64)
    -> Result<(), RuntimeError>;

    /// Removes a dead container, not its logs.
    async fn remove_container(&self, container: &str) -> Result<(), RuntimeError>;

    /// Every container on the node.
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, RuntimeError>;

    /// One container.
    async fn container_status(&self, container: &str) -> Result<ContainerStatus, RuntimeError>;

    /// Runs a command and waits for it; `timeout` in milliseconds, 0: none. Output is cut at 16 MiB.
    async fn exec_sync(
        &self,
        container: &str,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> Result<ExecOutput, RuntimeError>;

    /// Runs a command with streams. Answers its exit code (128 + signal when killed).
    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        tty: bool,
        io: ExecIo,
    ) -> Result<i32, RuntimeError>;

    /// Joins the streams of the container's first process.
    async fn attach(&self, container: &str, io: ExecIo) -> Result<i32, RuntimeError>;

    /// Connects to a port in the pod's network and copies until either side ends.
    async fn port_forward(
        &self,
        sandbox: &str,
        port: u16,
        stream: Box<dyn Stream>,
    ) -> Result<(), RuntimeError>;

    /// CPU and memory of a container.
    async fn container_stats(&self, container: &str) -> Result<ContainerStats, RuntimeError>;

    /// What happens from now on. A receiver that falls behind gets `Lost` and lists again.
    fn events(&self) -> BoxStream<'static, RuntimeEvent>;
}

/// Streams of an exec, on the runtime's side.
pub struct ExecIo {
    /// Input; its end is passed on.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Output.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Errors; with a terminal all goes to `stdout`.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Terminal sizes: columns, rows.
    pub resize: Option<mpsc::Receiver<(u16, u16)>>,
}

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What happened on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container started or died.
    Container {
        /// Its sandbox.
        sandbox: String,
        /// Its id.
        container: String,
    },
    /// A sandbox became ready or died.
    Sandbox {
        /// Its id.
        sandbox: String,
    },
    /// Events were missed.
    Lost,
}

/// CRI `PodSandboxConfig`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSandboxConfig {
    /// Pod name.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Pod uid.
    pub uid: String,
    /// How often the sandbox was made anew.
    pub attempt: u32,
    /// Host name in the pod.
    pub hostname: String,
    /// Where container logs go: `LOG_DIRECTORY/CONTAINER/N.log`.
    pub log_directory: PathBuf,
    /// `resolv.conf`.
    pub dns: DnsConfig,
    /// Whether the pod uses the network of the node.
    pub host_network: bool,
    /// Whether it uses the process ids of the node.
    pub host_pid: bool,
    /// Whether it uses the IPC of the node.
    pub host_ipc: bool,
    /// `shareProcessNamespace`.
    pub share_process_namespace: bool,
    /// `securityContext.sysctls`.
    pub sysctls: BTreeMap<String, String>,
    /// Labels that come back in lists.
    pub labels: BTreeMap<String, String>,
    /// Annotations that come back in lists.
    pub annotations: BTreeMap<String, String>,
    /// Path of the pod's cgroup below the instance's, such as `burstable/pod<uid>`.
    pub cgroup_parent: String,
    /// Limits of the whole pod.
    pub resources: Resources,
}

/// `resolv.conf` of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// `nameserver`.
    pub servers: Vec<String>,
    /// `search`.
    pub searches: Vec<String>,
    /// `options`.
    pub options: Vec<String>,
}

/// CRI `PodSandbox`, with its status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodSandbox {
    /// Its id.
    pub id: String,
    /// What it was made from.
    pub config: PodSandboxConfig,
    /// Whether its processes can run.
    pub ready: bool,
    /// Nanoseconds since 1970.
    pub created_at: i128,
    /// Its addresses; empty with the network of the node.
    pub ips: Vec<IpAddr>,
}

/// CRI `ContainerConfig`. The image is named by digest or id, pulled before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Container name.
    pub name: String,
    /// How often it was restarted: the log file's number.
    pub attempt: u32,
    /// Image id as `ImageService` answers it.
    pub image: String,
    /// The image as the pod names it.
    pub user_image: String,
    /// Replaces the image's entry point when not empty.
    pub command: Vec<String>,
    /// Replaces the image's command when not empty, or when `command` is not.
    pub args: Vec<String>,
    /// Replaces the image's working directory when not empty.
    pub working_dir: String,
    /// Added to the image's environment; values are bytes, not always text.
    pub env: Vec<(String, Vec<u8>)>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Devices of the node: path, path in the container, permissions.
    pub devices: Vec<(PathBuf, PathBuf, String)>,
    /// Labels that come back in lists.
    pub labels: BTreeMap<String, String>,
    /// Annotations that come back in lists.
    pub annotations: BTreeMap<String, String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its input stays open for attach.
    pub stdin: bool,
    /// Whether input closes after the first attach.
    pub stdin_once: bool,
    /// Limits.
    pub resources: Resources,
    /// Who it runs as and what it may.
    pub security: SecurityContext,
    /// File in the container whose end becomes the termination message.
    pub termination_message_path: PathBuf,
    /// Replaces the image's stop signal when set.
    pub stop_signal: Option<String>,
    /// Id of the container whose processes it sees and is seen by (CRI `NamespaceMode` `TARGET`).
    #[serde(default)]
    pub pids_of: Option<String>,
}

/// Linux resource limits; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU request in thousandths of a core.
    pub cpu_request_millis: u64,
    /// CPU limit in thousandths of a core.
    pub cpu_limit_millis: u64,
    /// Memory limit in bytes.
    pub memory_limit_bytes: u64,
    /// Processes.
    pub pids_limit: u64,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
}

/// CRI `Mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the node.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: PathBuf,
    /// Read-only.
    pub readonly: bool,
    /// `None`, `HostToContainer` or `Bidirectional`.
    pub propagation: String,
}

/// CRI `LinuxContainerSecurityContext`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityContext {
    /// `runAsUser`; none: the image's user.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `supplementalGroups` and `fsGroup`.
    pub supplemental_groups: Vec<u32>,
    /// `runAsNonRoot`: refuse user 0, also when the image chooses it.
    pub run_as_non_root: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `readOnlyRootFilesystem`.
    pub readonly_rootfs: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// Capabilities added to the default set, without `CAP_`; `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken from the default set; `ALL`.
    pub drop_capabilities: Vec<String>,
    /// Seccomp profile.
    pub seccomp: SeccompProfile,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

/// Which system calls are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// The runtime's default; also when nothing was asked: safe by default.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A profile file on the node.
    Localhost(PathBuf),
}

/// Where a container stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Prepared.
    Created,
    /// Its first process lives.
    Running,
    /// Its first process ended.
    Exited,
    /// Its shim is gone and nobody knows how it ended.
    Unknown,
}

/// CRI `ContainerStatus`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Its id.
    pub id: String,
    /// Its sandbox.
    pub sandbox: String,
    /// Container name.
    pub name: String,
    /// How often it was restarted.
    pub attempt: u32,
    /// Where it stands.
    pub state: ContainerState,
    /// Nanoseconds since 1970; 0: not yet.
    pub created_at: i128,
    /// Nanoseconds since 1970; 0: not yet.
    pub started_at: i128,
    /// Nanoseconds since 1970; 0: not yet.
    pub finished_at: i128,
    /// Of the first process; 128 + signal when killed.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun` …
    pub reason: String,
    /// For people; the termination message where there is one.
    pub message: String,
    /// Image id.
    pub image: String,
    /// The image as the pod names it.
    pub user_image: String,
    /// Its log file.
    pub log_path: PathBuf,
    /// Labels it was made with.
    pub labels: BTreeMap<String, String>,
    /// Annotations it was made with.
    pub annotations: BTreeMap<String, String>,
    /// Process id of the first process on the node; 0: none.
    pub pid: i32,
}

/// Output of `exec_sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub exit_code: i32,
}

/// CPU and memory of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// CPU time since it started.
    pub cpu_nanos: u64,
    /// Memory that cannot be taken away at once.
    pub working_set_bytes: u64,
}

/// Why the runtime could not do it. The texts end up in a pod's status: they say what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RuntimeError {
    /// There is no such sandbox, container or image.
    #[error("{0}")]
    NotFound(String),
    /// The configuration cannot work (user, command, mount …): `CreateContainerConfigError`.
    #[error("{0}")]
    Config(String),
    /// The program could not be started (`ContainerCannotRun`), with the cause.
    #[error("{0}")]
    CannotRun(String),
    /// A command took longer than it may.
    #[error("command {0} timed out")]
    Timeout(String),
    /// The node failed.
    #[error("{0}")]
    Failed(String),
}

/// What a build step needs: a process on a root file system that is there already. `RUN` of a
/// Dockerfile; no pod.
#[derive(Debug, Clone)]
pub struct StepConfig {
    /// Where the root file system is mounted, writable.
    pub rootfs: PathBuf,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// `user[:group]`, as in the image.
    pub user: String,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Whether it may use the network of the node; else it has none.
    pub network: bool,
}

/// Runs build steps with the same isolation as containers.
#[async_trait]
pub trait StepRunner: Send + Sync + 'static {
    /// Runs to the end; output goes to `output` as it comes. Answers the exit code.
    async fn run_step(
        &self,
        step: StepConfig,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<i32, RuntimeError>;
}
