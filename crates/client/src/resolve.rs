//! Names to addresses without getaddrinfo, which a static binary on an empty root does not have.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::BoxFuture;
use hickory_resolver::Resolver;

/// The addresses of a host. IP addresses and `localhost` are known; other names are looked up in
/// `/etc/hosts` and with the servers of `/etc/resolv.conf`.
pub fn resolve(host: &str, port: u16) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if host.eq_ignore_ascii_case("localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec());
        }
        let failed = |e: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::NotFound, format!("cannot look up {host}: {e}"))
        };
        let resolver = Resolver::builder_tokio()
            .and_then(hickory_resolver::ResolverBuilder::build)
            .map_err(|e| failed(&e))?;
        let found = resolver.lookup_ip(host).await.map_err(|e| failed(&e))?;
        Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_needs_no_look_up() {
        for (host, first) in [
            ("10.1.2.3", "10.1.2.3:6443"),
            ("[::1]", "[::1]:6443"),
            ("::1", "[::1]:6443"),
            ("localhost", "127.0.0.1:6443"),
        ] {
            assert_eq!(resolve(host, 6443).await.unwrap()[0].to_string(), first);
        }
    }
}
