//! Processes: fork with namespaces, file descriptors and signals before `execve`.
#![allow(unsafe_code)] // clone3, close_range and sigaction have no safe wrapper.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

pub use rustix::thread::UnshareFlags as Namespaces;

/// Which side of a fork one is on.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child's process id, as the parent sees it.
        pid: i32,
        /// Readable when the child is dead.
        pidfd: OwnedFd,
    },
}

/// Forks into new namespaces. Fails with `EDEADLK` in a process of several threads: their locks
/// would stay taken in the child for ever.
pub fn fork(namespaces: Namespaces) -> io::Result<Fork> {
    // Every thread is a directory; two links are the directory's own.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is a valid `clone_args`: every pointer in it is optional.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: no CLONE_VM, so the child goes on with a copy of this stack and memory, as after
    // fork(2); no other thread exists whose locks it could miss. `args` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        // SAFETY: the kernel has put a new descriptor into `pidfd` that nobody else owns.
        _ => Ok(Fork::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Closes every file descriptor from `first` on. For the first lines of `main` only: whoever owned
/// them must not be there any more.
pub fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: called before anything was opened (contract above), so nothing loses its descriptor.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Default action and no mask for every signal: what `execve` must not hand on from us.
pub fn reset_signals() {
    // SAFETY: all-zero is `SIG_DFL` with an empty mask; the calls take valid pointers and fail
    // harmlessly for signals that have no action to change.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Children need no `wait` any more: the kernel buries them.
pub fn ignore_exits() {
    // SAFETY: an ignored signal runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Kills a process; one that is gone already is fine.
pub fn kill(pid: i32) -> io::Result<()> {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return Ok(()) };
    match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends the process at once: no destructors, no buffers written twice after a fork.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns and touches nothing.
    unsafe { libc::_exit(code) }
}

/// A descriptor of a program behind a mount of its own that cannot be written: whoever reaches it
/// through `/proc/PID/exe` from within a container cannot change it. Run it as
/// `/proc/self/fd/N`.
pub fn open_readonly(program: &Path) -> io::Result<OwnedFd> {
    let tree = crate::mounts::clone_tree(program, false)?;
    crate::mounts::set_attributes(&tree, crate::mounts::Attributes::RDONLY, None, false)?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_fork_a_threaded_process() {
        // The test harness runs every test on a thread.
        let error = fork(Namespaces::empty()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
    }
}
