//! A way into the pod's network.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::protocol::Failure;

/// A socket that is connecting to a port on the pod's loopback.
pub(super) fn connect_loopback(port: u16) -> Result<OwnedFd, Failure> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let attempt = |family, address: std::net::SocketAddr| {
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    };
    attempt(AddressFamily::INET, (std::net::Ipv4Addr::LOCALHOST, port).into())
        .or_else(|_| attempt(AddressFamily::INET6, (std::net::Ipv6Addr::LOCALHOST, port).into()))
        .map_err(|error| Failure::io(&format!("port {port} of the pod"), error))
}
