//! The child's side of a fork: from a copy of the shim to the container's program. Talks with the
//! shim over a socket that `execve` closes; its silence is success.

mod process;
mod rootfs;
mod user;

pub(crate) use rootfs::Shared;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_sys::namespaces::{ThreadNameSpaceType, UnshareFlags, enter_process, unshare};
use onggi_sys::seccomp::Program;
use serde::{Deserialize, Serialize};

use crate::protocol::Failure;
use crate::spec::{ContainerSpec, ProcessSpec};
use crate::wire;

/// Child to shim, a packet each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The terminal's other end comes with this.
    Terminal,
    /// All is prepared; waiting for the word to go.
    Prepared,
    /// The end.
    Failed(Failure),
}

/// Standard streams of a child; with a terminal none.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// The child's end of the socket.
pub(crate) struct Control(pub(crate) OwnedFd);

impl Control {
    fn report(&self, report: &Report, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(report).map_err(|e| Failure::io("report", e))?;
        wire::send(&self.0, &bytes, fds).map_err(|e| Failure::io("report", e))?;
        Ok(())
    }

    /// Waits for the shim's word; without a shim there is nothing to live for.
    fn wait(&self) {
        let mut word = [0];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut word)) {
            Ok(1) => {}
            _ => onggi_sys::process::exit_now(1),
        }
    }
}

/// Becomes the first process of a container.
pub(crate) fn container(
    spec: &ContainerSpec,
    seccomp: Option<&Program>,
    shared: &Shared<'_>,
    streams: Streams,
    control: &Control,
) -> ! {
    let failure = match try_container(spec, seccomp, shared, streams, control) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    die(control, failure)
}

/// Becomes a further process of a container whose first process is `init`.
pub(crate) fn exec(
    init: BorrowedFd<'_>,
    spec: &ProcessSpec,
    seccomp: Option<&Program>,
    streams: Streams,
    control: &Control,
) -> ! {
    let failure = match try_exec(init, spec, seccomp, streams, control) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    die(control, failure)
}

fn die(control: &Control, failure: Failure) -> ! {
    // Nobody else can be told.
    let _ = control.report(&Report::Failed(failure), &[]);
    onggi_sys::process::exit_now(1)
}

fn try_container(
    spec: &ContainerSpec,
    seccomp: Option<&Program>,
    shared: &Shared<'_>,
    streams: Streams,
    control: &Control,
) -> Result<Infallible, Failure> {
    process::die_with_shim()?;
    // The shim says when we are in our control group: the namespace is rooted where we are.
    control.wait();
    unshare(UnshareFlags::NEWCGROUP).map_err(|e| Failure::io("cgroup namespace", e))?;
    process::set_oom_score(spec.process.oom_score_adj);
    rootfs::enter_root(spec, shared)?;
    let ready = process::prepare(&spec.process, streams, control, true)?;
    control.report(&Report::Prepared, &[])?;
    control.wait();
    process::run(&spec.process, ready, seccomp)
}

fn try_exec(
    init: BorrowedFd<'_>,
    spec: &ProcessSpec,
    seccomp: Option<&Program>,
    streams: Streams,
    control: &Control,
) -> Result<Infallible, Failure> {
    process::die_with_shim()?;
    control.wait();
    process::set_oom_score(spec.oom_score_adj);
    let kinds = ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::CONTROL_GROUP;
    enter_process(init.as_fd(), kinds)
        .map_err(|_| Failure::not_found("the container is not running"))?;
    let ready = process::prepare(spec, streams, control, false)?;
    process::run(spec, ready, seccomp)
}
