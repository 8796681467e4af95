//! Children of the shim: containers' first processes and execs.

use std::os::fd::{AsFd, OwnedFd};

use onggi_sys::process::{Fork, Namespaces, fork};
use onggi_sys::seccomp::Program;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitIdOptions, pidfd_send_signal, waitid};

use super::logs::LogFile;
use super::output::Output;
use super::setup::Sandbox;
use crate::init::{self, Control, Report, Shared, Streams};
use crate::protocol::{ContainerRecord, Failure};
use crate::spec::{ContainerSpec, ProcessSpec};
use crate::wire;

/// Who waits for an answer: connection, request.
pub(super) type Caller = (u64, u64);

/// A forked process.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    /// None: dead and buried.
    pub(super) pidfd: Option<OwnedFd>,
    /// Closed by `execve`.
    pub(super) control: Option<OwnedFd>,
    pub(super) caller: Option<Caller>,
    pub(super) failure: Option<Failure>,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Preparing,
    Prepared,
    Starting,
    Running,
    Dead,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: ContainerSpec,
    pub(super) record: ContainerRecord,
    pub(super) stage: Stage,
    pub(super) child: Child,
    /// Output and errors, or the terminal.
    pub(super) outputs: Vec<Output>,
    pub(super) log: Option<LogFile>,
    /// Where input is written to: a pipe, or the terminal.
    pub(super) stdin: Option<OwnedFd>,
}

#[derive(Debug)]
pub(super) struct Exec {
    pub(super) child: Child,
    /// The connection that asked for it; it ends with that.
    pub(super) owner: u64,
    pub(super) terminal: Option<OwnedFd>,
}

impl Child {
    /// Signals it, or its session.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pidfd) = &self.pidfd {
            // It may be dying already.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Kills it and what is in its process group. We are its parent, so its id is its own until we
    /// bury it.
    pub(super) fn kill_group(&self) {
        if self.pidfd.is_some() {
            if let Some(pid) = Pid::from_raw(self.pid) {
                // Before its setsid there is no such group.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            self.signal(Signal::KILL);
        }
    }

    /// Buries it; its exit code, 128 + signal when killed.
    pub(super) fn bury(&mut self) -> i32 {
        let Some(pidfd) = self.pidfd.take() else { return 255 };
        let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
        match waitid(id, WaitIdOptions::EXITED) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => 255,
            },
            _ => 255,
        }
    }

    /// The next report; `None`: nothing yet. At the end `control` becomes none.
    pub(super) fn report(&mut self) -> Option<(Report, Vec<OwnedFd>)> {
        let control = self.control.as_ref()?;
        let mut buffer = [0; 8 << 10];
        match wire::receive(control, &mut buffer) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
            Ok((count, fds)) if count > 0 => {
                let report = serde_json::from_slice(&buffer[..count]).unwrap_or_else(|error| {
                    Report::Failed(Failure::io("report of a child", error))
                });
                Some((report, fds))
            }
            _ => {
                self.control = None;
                None
            }
        }
    }

    /// Lets it go on.
    pub(super) fn go(&self) -> Result<(), Failure> {
        let Some(control) = &self.control else {
            return Err(Failure::not_found("the container is dead"));
        };
        wire::send(control, b"g", &[]).map_err(|e| Failure::io("child", e))?;
        Ok(())
    }
}

/// Filters that the daemon compiled.
fn filters(spec: &ProcessSpec) -> Result<Option<Program>, Failure> {
    let Some(path) = &spec.seccomp else { return Ok(None) };
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Failure::io(&name, e))?;
    Program::from_bytes(&bytes).map(Some).map_err(|e| Failure::io(&name, e))
}

fn control_pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    let flags = SocketFlags::CLOEXEC;
    let failed = |e| Failure::io("socket for a child", e);
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
    let status = rustix::fs::fcntl_getfl(&ours).map_err(failed)?;
    rustix::fs::fcntl_setfl(&ours, status | rustix::fs::OFlags::NONBLOCK).map_err(failed)?;
    Ok((ours, theirs))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|e| Failure::io("pipe", e))
}

/// Forks a container's first process. `given`: where its output goes when it has no log. `beside`:
/// the process whose namespace of process ids it joins. In the child `forget` drops what the shim
/// holds for others.
pub(super) fn container(
    sandbox: &Sandbox,
    spec: ContainerSpec,
    beside: Option<OwnedFd>,
    given: Vec<OwnedFd>,
    caller: Caller,
    forget: impl FnOnce(),
) -> Result<Container, Failure> {
    let seccomp = filters(&spec.process)?;
    let log = match &spec.log {
        Some(log) => {
            let name = log.path.display().to_string();
            Some(LogFile::open(log.clone()).map_err(|e| Failure::io(&name, e))?)
        }
        None => None,
    };
    let mut streams = Streams::default();
    let (mut outputs, mut stdin) = (Vec::new(), None);
    let awaited = spec.stdin;
    let stream =
        |source, name| Output::new(source, name, awaited).map_err(|e| Failure::io("pipe", e));
    if !spec.process.tty {
        if log.is_some() {
            let (out, out_end) = pipe()?;
            let (err, err_end) = pipe()?;
            outputs = vec![stream(out, "stdout")?, stream(err, "stderr")?];
            (streams.stdout, streams.stderr) = (Some(out_end), Some(err_end));
        } else if let Some(fd) = given.into_iter().next() {
            streams.stderr = Some(fd.try_clone().map_err(|e| Failure::io("descriptor", e))?);
            streams.stdout = Some(fd);
        }
        if spec.stdin {
            let (end, write) = pipe()?;
            (streams.stdin, stdin) = (Some(end), Some(write));
        }
    }
    let (ours, theirs) = control_pair()?;
    let mut namespaces = Namespaces::NEWNS;
    namespaces.set(Namespaces::NEWPID, spec.owns_processes());
    let forked = match &beside {
        Some(process) => sandbox.fork_beside(process, namespaces),
        // In the pod's process namespace, where there is one, children are born anyway.
        None => fork(namespaces),
    };
    match forked.map_err(|e| Failure::io("fork", e))? {
        Fork::Child => {
            drop((ours, outputs, stdin, log, beside));
            forget();
            let shared = Shared {
                node_mounts: sandbox.node_mounts.as_fd(),
                shared_memory: &sandbox.shared_memory,
            };
            init::container(&spec, seccomp.as_ref(), &shared, streams, &Control(theirs))
        }
        Fork::Parent { pid, pidfd } => {
            let child = parent(&spec, pid, pidfd, ours, caller)?;
            let record = ContainerRecord { id: spec.id.clone(), pid, ..Default::default() };
            let stage = Stage::Preparing;
            Ok(Container { spec, record, stage, child, outputs, log, stdin })
        }
    }
}

/// Moves a new child into its group and lets it begin; a child that cannot is killed.
fn parent(
    spec: &ContainerSpec,
    pid: i32,
    pidfd: OwnedFd,
    control: OwnedFd,
    caller: Caller,
) -> Result<Child, Failure> {
    let mut child = Child {
        pid,
        pidfd: Some(pidfd),
        control: Some(control),
        caller: Some(caller),
        failure: None,
    };
    let begun = spec
        .cgroup
        .add(pid)
        .map_err(|e| Failure::io("cgroup of the container", e))
        .and_then(|()| child.go());
    if let Err(failure) = begun {
        child.signal(Signal::KILL);
        child.bury();
        return Err(failure);
    }
    Ok(child)
}

/// Forks a further process of a running container.
pub(super) fn exec(
    sandbox: &Sandbox,
    container: &Container,
    process: &ProcessSpec,
    streams: Streams,
    caller: Caller,
) -> Result<Exec, Failure> {
    let (Stage::Running, Some(init)) = (container.stage, &container.child.pidfd) else {
        return Err(Failure::not_found("the container is not running"));
    };
    let seccomp = filters(process)?;
    let (ours, theirs) = control_pair()?;
    let apart = container.spec.owns_processes() || container.spec.pids_of.is_some();
    let forked = if apart {
        sandbox.fork_beside(init, Namespaces::empty())
    } else {
        fork(Namespaces::empty())
    };
    match forked.map_err(|e| Failure::io("fork", e))? {
        Fork::Child => {
            drop(ours);
            init::exec(init.as_fd(), process, seccomp.as_ref(), streams, &Control(theirs))
        }
        Fork::Parent { pid, pidfd } => {
            let child = parent(&container.spec, pid, pidfd, ours, caller)?;
            Ok(Exec { child, owner: caller.0, terminal: None })
        }
    }
}
