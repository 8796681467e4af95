//! The shim: one single-threaded process a pod, started by the daemon and outliving it. It is the
//! parent of the pod's processes, so it knows how they end; it holds their pipes, so no output is
//! lost; it lives in the pod's namespaces, so children are born there.

mod children;
mod connect;
mod logs;
mod output;
mod service;
mod setup;
mod sysctls;

pub(crate) use service::STATE;
pub(crate) use setup::SOCKET;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::protocol::Message;
use crate::wire::Wire;

/// First argument of the program that becomes a shim, behind whatever prefix the daemon was given.
pub(crate) const USAGE: &str = "is started by the node's daemon, with a socket as standard input";

/// Entry of the hidden subcommand. Call it before anything starts a thread. `arguments` (the
/// sandbox's id) are for people who read the list of processes. Answers the exit code.
pub fn main(arguments: &[String]) -> i32 {
    let _ = arguments;
    // A socket at 0, nothing at 1, the log of the shim at 2.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else {
        eprintln!("shim: {USAGE}");
        return 2;
    };
    if onggi_sys::process::close_inherited(4).is_err() {
        return 2;
    }
    match serve(socket) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("shim: {error}");
            1
        }
    }
}

fn serve(socket: OwnedFd) -> Result<(), String> {
    let socket = UnixStream::from(socket);
    let spec = setup::receive_spec(&socket).map_err(|e| format!("{USAGE}: {e}"))?;
    // Twice forked: the daemon is not our parent and need not wait for us.
    match onggi_sys::process::fork(onggi_sys::process::Namespaces::empty()) {
        Ok(onggi_sys::process::Fork::Child) => {}
        Ok(onggi_sys::process::Fork::Parent { .. }) => onggi_sys::process::exit_now(0),
        Err(error) => return Err(format!("fork: {error}")),
    }
    let mut wire = Wire::new(socket).map_err(|e| e.to_string())?;
    match setup::sandbox(spec) {
        Ok(sandbox) => service::Service::new(sandbox, wire)
            .and_then(|mut service| service.run())
            .map_err(|error| error.to_string()),
        Err(failure) => {
            let text = failure.message.clone();
            // Whoever asked is told; if it went away the log has it.
            let _ = wire.push(&Message::Answer { id: 0, result: Err(failure) }, Vec::new());
            let _ = wire.flush();
            Err(text)
        }
    }
}
