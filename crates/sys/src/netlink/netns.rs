//! Network namespaces, held by descriptor and entered by threads that end afterwards, so that no
//! thread of a pool is ever left in a foreign one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace.
#[derive(Debug)]
pub struct NetNs(OwnedFd);

const OWN: &str = "/proc/thread-self/ns/net";

impl NetNs {
    /// A new one, with `lo` down and nothing else in it. It lives as long as something holds it.
    pub fn new() -> io::Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        })?
    }

    /// That of the calling thread.
    pub fn current() -> io::Result<Self> {
        Ok(Self(std::fs::File::open(OWN)?.into()))
    }

    /// Runs a closure in it, on a thread of its own. Sockets that it opens stay in the namespace;
    /// threads that it starts (those of a runtime too) are born there.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(task())
        })?
    }
}

impl From<OwnedFd> for NetNs {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn on_a_thread<T: Send>(task: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, task)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
