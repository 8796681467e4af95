//! What a machine must have, and what must be free, before anything is started.

use std::net::{SocketAddr, TcpListener};

use onggi_net::Instance;

use crate::options::Options;
use crate::paths::Paths;

/// Everything that stands in the way, in words that say what to do. Empty: go ahead.
pub fn check(options: &Options, paths: &Paths) -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return vec![
            "onggi needs root to make namespaces, mounts and cgroups; run it with sudo".to_owned(),
        ];
    }
    let mut problems = Vec::new();
    if let Err(error) = onggi_sys::cgroups::Cgroups::detect() {
        problems.push(format!("cgroups: {error}"));
    }
    // Opened, not looked up: the kernel loads its module at the first use.
    if let Err(error) = onggi_sys::mounts::has_filesystem("overlay") {
        problems.push(format!("overlayfs: {error}; try `modprobe overlay`"));
    }
    if let Err(error) = TcpListener::bind(options.listen) {
        problems.push(taken(options.listen, &error));
    }
    match network(options, paths) {
        Ok(network) => {
            problems.extend(onggi_net::check(&network).iter().map(ToString::to_string));
        }
        Err(error) => problems.push(error.to_string()),
    }
    problems
}

fn taken(address: SocketAddr, error: &std::io::Error) -> String {
    let text = format!("the API server cannot listen on {address}: {error}");
    if error.kind() == std::io::ErrorKind::AddrInUse {
        format!("{text}; end the other program, or choose another address with --listen")
    } else {
        text
    }
}

/// The node's network as the options ask for it.
pub(crate) fn network(
    options: &Options,
    paths: &Paths,
) -> Result<onggi_net::Options, onggi_net::Error> {
    let instance = Instance::new(&paths.instance)?;
    Ok(onggi_net::Options::new(
        instance,
        options.pod_cidr,
        options.service_cidr,
        options.node_cidr(),
        paths.run.join("net"),
    ))
}
