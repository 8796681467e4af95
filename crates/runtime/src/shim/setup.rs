//! From a plain process to the holder of a pod's namespaces.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use onggi_sys::mounts::{Attributes, Propagation, attach, new_filesystem, set_propagation};
use onggi_sys::namespaces::{
    LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, enter, enter_process, loopback_up, own,
    unshare,
};
use onggi_sys::process::{Fork, Namespaces, exit_now, fork, ignore_exits, reset_signals};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Signal};

use super::sysctls;
use crate::protocol::Failure;
use crate::spec::SandboxSpec;
use crate::wire::Wire;

/// Name of the socket in the sandbox's directory.
pub(crate) const SOCKET: &str = "shim.sock";
/// Mount point of the pod's shared memory there.
const SHARED_MEMORY: &str = "shm";

/// A pod's namespaces.
pub(super) struct Sandbox {
    pub(super) spec: SandboxSpec,
    pub(super) listener: UnixListener,
    /// The mount namespace of the node.
    pub(super) node_mounts: OwnedFd,
    /// The process namespace that the shim itself is in.
    pub(super) own_pids: OwnedFd,
    /// Holds a process namespace for all containers.
    pub(super) pause: Option<OwnedFd>,
    pub(super) shared_memory: PathBuf,
}

/// The first frame on the socket says what to be.
pub(super) fn receive_spec(socket: &UnixStream) -> io::Result<SandboxSpec> {
    let mut wire = Wire::new(socket.try_clone()?)?;
    loop {
        if let Some((body, _)) = wire.next_frame()? {
            return Ok(serde_json::from_slice(&body)?);
        }
        let mut ready = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ready, None)?;
        if !wire.fill()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub(super) fn sandbox(spec: SandboxSpec) -> Result<Sandbox, Failure> {
    let failed = |what: &'static str| move |error: io::Error| Failure::io(what, error);
    let failed_errno =
        |what: &'static str| move |error: rustix::io::Errno| Failure::io(what, error);
    rustix::process::setsid().map_err(failed_errno("setsid"))?;
    // Nobody in a container may look into us, not even between fork and execve.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed_errno("dumpable"))?;
    // Best effort: without CAP_SYS_RESOURCE we are as likely a victim as others.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-998");
    spec.shim_cgroup.join().map_err(failed("cgroup of the shim"))?;
    let node_mounts = own("mnt").map_err(failed("mount namespace"))?;
    let own_pids = own("pid").map_err(failed("process namespace"))?;
    let mut leave = UnshareFlags::NEWNS;
    leave.set(UnshareFlags::NEWNET, spec.network);
    leave.set(UnshareFlags::NEWIPC, spec.ipc);
    leave.set(UnshareFlags::NEWUTS, spec.hostname.is_some());
    unshare(leave).map_err(failed("namespaces of the pod"))?;
    set_propagation(std::path::Path::new("/"), Propagation::Slave)
        .map_err(failed("mounts of the node"))?;
    if spec.network {
        loopback_up().map_err(failed("loopback of the pod"))?;
    }
    if let Some(hostname) = &spec.hostname {
        rustix::system::sethostname(hostname.as_bytes())
            .map_err(|e| Failure::config(format!("hostname {hostname:?}: {e}")))?;
    }
    for (name, value) in &spec.sysctls {
        let path = sysctls::path(name, spec.network, spec.ipc).map_err(Failure::config)?;
        std::fs::write(&path, value)
            .map_err(|e| Failure::config(format!("sysctl {name} = {value:?}: {e}")))?;
    }
    let shared_memory = if spec.ipc {
        mount_shared_memory(&spec).map_err(failed("shared memory of the pod"))?
    } else {
        PathBuf::from("/dev/shm")
    };
    let pause = match &spec.pause_cgroup {
        Some(group) => Some(pause(group).map_err(failed("process namespace of the pod"))?),
        None => None,
    };
    let path = spec.dir.join(SOCKET);
    // A socket of a shim that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed("socket of the shim"))?;
    listener.set_nonblocking(true).map_err(failed("socket of the shim"))?;
    Ok(Sandbox { spec, listener, node_mounts, own_pids, pause, shared_memory })
}

/// All containers of a pod share `/dev/shm`. Mounted in our own mount namespace only.
fn mount_shared_memory(spec: &SandboxSpec) -> io::Result<PathBuf> {
    let path = spec.dir.join(SHARED_MEMORY);
    std::fs::create_dir_all(&path)?;
    let attributes = Attributes::NOSUID.with(Attributes::NODEV).with(Attributes::NOEXEC);
    let memory = new_filesystem("tmpfs", &["mode=1777", "size=64m"], attributes)?;
    let at = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    attach(memory, at)?;
    Ok(path)
}

/// A process that does nothing but be number 1 of a namespace. Our own children are born into that
/// namespace from now on.
fn pause(group: &onggi_sys::cgroups::Group) -> io::Result<OwnedFd> {
    match fork(Namespaces::NEWPID)? {
        Fork::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            reset_signals();
            // We never return, so nobody misses the descriptors that came with the fork.
            let _ = onggi_sys::process::close_inherited(0);
            // Orphans end up with us, and the kernel buries them.
            ignore_exits();
            loop {
                if rustix::event::poll(&mut [], None).is_err_and(|e| e != rustix::io::Errno::INTR) {
                    exit_now(1);
                }
            }
        }
        Fork::Parent { pid, pidfd } => {
            group.add(pid)?;
            enter_process(&pidfd, ThreadNameSpaceType::PROCESS_ID)?;
            Ok(pidfd)
        }
    }
}

impl Sandbox {
    /// Forks into the process namespace that `process` is in, and into new ones of `namespaces`.
    pub(super) fn fork_beside(
        &self,
        process: &OwnedFd,
        namespaces: Namespaces,
    ) -> io::Result<Fork> {
        enter_process(process, ThreadNameSpaceType::PROCESS_ID)?;
        let forked = fork(namespaces);
        if let Ok(Fork::Child) = forked {
            // It is where it shall be, and cannot go back.
            return forked;
        }
        // Containers that come later must not be born there.
        let back = match &self.pause {
            Some(pause) => enter_process(pause, ThreadNameSpaceType::PROCESS_ID),
            None => enter(&self.own_pids, LinkNameSpaceType::ProcessID),
        };
        if let (Err(_), Ok(Fork::Parent { pidfd, .. })) = (&back, &forked) {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
        back.and(forked)
    }
}
