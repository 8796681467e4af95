//! Node ports on 127.0.0.1, where translation alone does not reach: what a local process sends to
//! 127.0.0.1 cannot leave by another interface.
//!
//! A listener hands each connection on to the node's own address, where the kernel's rules choose the
//! endpoint as for everybody else; that of a host port with `hostIP: 127.0.0.1` to the pod. There is
//! a listener only while there is an endpoint, so that a port without one is refused.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Protocol;

/// A UDP client that is silent so long is forgotten (as connection tracking does).
const UDP_IDLE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const DATAGRAM: usize = 65_536;
/// Clients of a UDP port at the same time.
const UDP_CLIENTS: usize = 4096;

/// The listeners.
#[derive(Debug)]
pub(super) struct NodePorts {
    open: BTreeMap<(Protocol, u16), Listener>,
}

#[derive(Debug)]
struct Listener {
    target: SocketAddrV4,
    stop: CancellationToken,
}

impl NodePorts {
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new() }
    }

    /// Listens on these ports and no others, and hands on to what is said of each. Answers in words
    /// those that are taken; they are tried again at the next call.
    pub(super) async fn listen(
        &mut self,
        wanted: &BTreeMap<(Protocol, u16), SocketAddrV4>,
    ) -> Vec<String> {
        self.open.retain(|key, listener| {
            let stays = wanted.get(key) == Some(&listener.target);
            if !stays {
                listener.stop.cancel();
            }
            stays
        });
        let mut taken = Vec::new();
        for (&(protocol, port), &target) in wanted {
            if self.open.contains_key(&(protocol, port)) || protocol == Protocol::Sctp {
                continue;
            }
            match open_port(protocol, port, target.into()).await {
                Ok(stop) => {
                    self.open.insert((protocol, port), Listener { target, stop });
                }
                Err(error) => {
                    taken.push(format!("node port {port}/{protocol} on 127.0.0.1: {error}"));
                }
            }
        }
        taken
    }
}

impl Drop for NodePorts {
    fn drop(&mut self) {
        self.open.values().for_each(|listener| listener.stop.cancel());
    }
}

async fn open_port(
    protocol: Protocol,
    port: u16,
    target: SocketAddr,
) -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // `localhost` is ::1 first for many clients; without IPv6 they try 127.0.0.1.
    let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if protocol == Protocol::Tcp {
        let listener = TcpListener::bind((four, port)).await?;
        tokio::spawn(serve_tcp(listener, target, stop.clone()));
        if let Ok(listener) = TcpListener::bind((six, port)).await {
            tokio::spawn(serve_tcp(listener, target, stop.clone()));
        }
    } else {
        let socket = UdpSocket::bind((four, port)).await?;
        tokio::spawn(serve_udp(socket, target, stop.clone()));
    }
    Ok(stop)
}

/// Connections that exist go on after the listener's end, as they do in the kernel.
async fn serve_tcp(listener: TcpListener, target: SocketAddr, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((mut client, _)) => {
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        // Resets, so that the client sees a refusal and no empty answer.
                        let _ = client.set_zero_linger();
                        return;
                    };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    // How it ends is the business of the two ends.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
            Err(error) => {
                // The client is gone already, or we are out of descriptors: not again at once.
                tracing::debug!(%error, %target, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_udp(socket: UdpSocket, target: SocketAddr, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let mut clients = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = answers.join_next(), if !answers.is_empty() => {
                if let Ok(client) = ended {
                    clients.remove(&client);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, client)) = received else { continue };
                let server = match clients.get(&client) {
                    Some(server) => Arc::clone(server),
                    None if clients.len() >= UDP_CLIENTS => continue,
                    None => {
                        let Ok(server) = connect_udp(target).await else { continue };
                        let server = Arc::new(server);
                        clients.insert(client, Arc::clone(&server));
                        answers.spawn(answer(Arc::clone(&socket), Arc::clone(&server), client));
                        server
                    }
                };
                // Lost datagrams are UDP's own way.
                let _ = server.send(&buffer[..length]).await;
            }
        }
    }
}

async fn connect_udp(target: SocketAddr) -> io::Result<UdpSocket> {
    let server = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    server.connect(target).await?;
    Ok(server)
}

async fn answer(socket: Arc<UdpSocket>, server: Arc<UdpSocket>, client: SocketAddr) -> SocketAddr {
    let mut buffer = vec![0; DATAGRAM];
    while let Ok(Ok(length)) = tokio::time::timeout(UDP_IDLE, server.recv(&mut buffer)).await {
        let _ = socket.send_to(&buffer[..length], client).await;
    }
    client
}
