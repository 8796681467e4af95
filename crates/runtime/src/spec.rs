//! What the daemon tells a shim: sandboxes, containers and processes with every decision taken.

use std::path::PathBuf;

use onggi_sys::cgroups::Group;
use serde::{Deserialize, Serialize};

/// Namespaces of a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    /// Its id.
    pub id: String,
    /// Directory of the socket and the state, below `/run`.
    pub dir: PathBuf,
    /// Group of the shim itself, outside of the daemon's and of the pod's.
    pub shim_cgroup: Group,
    /// Group of the process that holds a shared process namespace.
    pub pause_cgroup: Option<Group>,
    /// A network namespace of its own.
    pub network: bool,
    /// System V IPC and POSIX queues of its own.
    pub ipc: bool,
    /// Host name; none: the node's.
    pub hostname: Option<String>,
    /// Kernel settings (`securityContext.sysctls`): name, value.
    pub sysctls: Vec<(String, String)>,
    /// The shim ends with its first connection (build steps).
    pub tied: bool,
}

/// A container with every decision taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    /// Its id.
    pub id: String,
    /// Its group, made already.
    pub cgroup: Group,
    /// Where its files come from.
    pub root: RootSpec,
    /// Nothing can be written outside of mounts.
    pub readonly_root: bool,
    /// Where its process ids come from.
    pub pid_namespace: PidNamespace,
    /// The container whose process ids it has instead of its own (`targetContainerName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_of: Option<String>,
    /// File systems, then bind mounts, in this order.
    pub mounts: Vec<MountSpec>,
    /// Devices of the node bound into `/dev`: path there, path here.
    pub devices: Vec<(PathBuf, PathBuf)>,
    /// Every device of the node (privileged).
    pub all_devices: bool,
    /// Hidden.
    pub masked_paths: Vec<PathBuf>,
    /// Read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Its first process.
    pub process: ProcessSpec,
    /// Where its output goes; none: to descriptors given with the request.
    pub log: Option<LogSpec>,
    /// Whether its input is a pipe.
    pub stdin: bool,
    /// Whether the input ends with the first attach.
    pub stdin_once: bool,
}

impl ContainerSpec {
    /// Whether its processes end with its first one, by the kernel: nobody else is among them.
    pub(crate) fn owns_processes(&self) -> bool {
        self.pid_namespace == PidNamespace::Own && self.pids_of.is_none()
    }
}

/// A log file in CRI format.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogSpec {
    /// The file.
    pub path: PathBuf,
    /// Bytes after which it becomes `path.1`.
    pub max_bytes: u64,
    /// How many files are kept, this one included.
    pub max_files: u32,
}

/// Root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum RootSpec {
    /// Layers, uppermost first, below a directory with `upper`, `work` and `root`.
    Overlay {
        /// Unpacked layers.
        lower: Vec<PathBuf>,
        /// The container's own directory.
        dir: PathBuf,
    },
    /// A directory that is there already.
    Directory(PathBuf),
}

/// Where process ids come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PidNamespace {
    /// The container's own.
    Own,
    /// The pod's (`shareProcessNamespace`).
    Pod,
    /// The node's.
    Node,
}

/// A mount in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountSpec {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// What is mounted.
    pub source: MountSource,
    /// Nothing can be written.
    pub readonly: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountSource {
    /// A path of the node.
    Bind {
        /// The path.
        path: PathBuf,
        /// How mount events travel.
        propagation: BindPropagation,
    },
    /// A new file system with options; without `suid`, `dev` or `exec`.
    Filesystem {
        /// `proc`, `tmpfs` …
        kind: String,
        /// Its options.
        options: Vec<String>,
        /// Programs may run from it.
        exec: bool,
    },
    /// The pod's `/dev/shm`.
    SharedMemory,
}

/// `mountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BindPropagation {
    /// `None`.
    Private,
    /// `HostToContainer`.
    HostToContainer,
    /// `Bidirectional`.
    Bidirectional,
}

/// A process of a container: its first one, or an exec.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    #[serde(with = "hex_list")]
    pub env: Vec<Vec<u8>>,
    /// Working directory, made where missing.
    pub cwd: PathBuf,
    /// Who it runs as.
    pub user: UserSpec,
    /// Bits of its capabilities.
    pub capabilities: u64,
    /// It can never gain privileges.
    pub no_new_privs: bool,
    /// File of compiled seccomp filters.
    pub seccomp: Option<PathBuf>,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
    /// It gets a terminal.
    pub tty: bool,
}

/// Who a process runs as. Names are looked up in the container's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserSpec {
    /// The image's `user[:group]`, used where no numbers are given.
    pub image: String,
    /// `runAsUser`.
    pub uid: Option<u32>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    /// Groups besides those of the container's files.
    pub groups: Vec<u32>,
    /// Refuse to run as root.
    pub non_root: bool,
}

/// JSON has no byte strings.
mod hex_list {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(d)?;
        list.iter().map(|text| hex::decode(text).map_err(D::Error::custom)).collect()
    }
}
