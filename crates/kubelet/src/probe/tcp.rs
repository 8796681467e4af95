//! `tcpSocket`: healthy when a connection is accepted.

use std::time::Duration;

use async_trait::async_trait;
use onggi_api::core::Probe;
use tokio::net::TcpStream;

use super::{ProbeType, Target};

pub(super) struct TcpSocket;

#[async_trait]
impl ProbeType for TcpSocket {
    fn handles(&self, probe: &Probe) -> bool {
        probe.tcp_socket.is_some()
    }

    async fn look(&self, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
        let Some(socket) = &probe.tcp_socket else { return Ok(()) };
        let address =
            format!("{}:{}", target.host(socket.host.as_ref())?, target.port(&socket.port)?);
        connect(&address, timeout).await.map(drop)
    }
}

/// Connects; errors are worded as Go words them, as people know them from events.
pub(super) async fn connect(address: &str, timeout: Duration) -> Result<TcpStream, String> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {}", plain(&error))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".into(),
        _ => error.to_string(),
    }
}
