//! Names that are not the cluster's: asked of the node's own resolvers, with a cache.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Where `/etc/resolv.conf` of the node is.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Reads the name servers of a `resolv.conf`, without those that are ourselves: a question must not
/// come back. A missing file means none.
pub fn read(path: &Path, ours: &[IpAddr]) -> Vec<SocketAddr> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no upstream name servers");
            return Vec::new();
        }
    };
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .filter(|ip| !ours.contains(ip))
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

/// A resolver that asks these servers; none when there are none: then the answer is SERVFAIL at
/// once, not after a time-out.
pub(crate) fn resolver(servers: &[SocketAddr]) -> Option<TokioResolver> {
    if servers.is_empty() {
        return None;
    }
    let name_servers = servers
        .iter()
        .map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        })
        .collect();
    let mut options = ResolverOpts::default();
    options.ndots = 0;
    options.preserve_intermediates = true;
    let config = ResolverConfig::from_parts(None, Vec::new(), name_servers);
    let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build();
    match built {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            tracing::warn!(%error, "upstream name servers cannot be used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_address_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        std::fs::write(&path, "search a.b\nnameserver 10.96.0.10\nnameserver 192.0.2.1\n").unwrap();
        let ours = ["10.96.0.10".parse().unwrap()];
        assert_eq!(read(&path, &ours), ["192.0.2.1:53".parse().unwrap()]);
        assert!(read(&directory.path().join("none"), &ours).is_empty());
    }
}
