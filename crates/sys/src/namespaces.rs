//! Namespaces of the calling thread.
#![allow(unsafe_code)] // An ioctl on an interface has no safe wrapper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
pub use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

/// Leaves namespaces for new ones. For single-threaded processes and throw-away threads.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the dangerous flag is CLONE_FILES, which would make descriptors of this thread
    // differ from those of others; it is taken out.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }?)
}

/// Opens a namespace of the calling thread: `net`, `pid`, `mnt` …
pub fn own(kind: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/thread-self/ns/{kind}"), flags, Mode::empty())?)
}

/// Enters a namespace.
pub fn enter(namespace: impl AsFd, kind: LinkNameSpaceType) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))?)
}

/// Enters namespaces of another process.
pub fn enter_process(pidfd: impl AsFd, kinds: ThreadNameSpaceType) -> io::Result<()> {
    Ok(rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), kinds)?)
}

/// A new network namespace with `lo` up. Made on a throw-away thread; the caller stays where it is.
pub fn new_network() -> io::Result<OwnedFd> {
    let made = std::thread::spawn(|| {
        unshare(UnshareFlags::NEWNET)?;
        loopback_up()?;
        own("net")
    });
    made.join().unwrap_or_else(|_| Err(io::Error::other("thread for a network namespace died")))
}

/// Sets `lo` up in the network namespace of the calling thread.
pub fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which lives until the call returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
