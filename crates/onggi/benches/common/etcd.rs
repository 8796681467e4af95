//! The peer of the store: an etcd of its own, asked over its gRPC protocol without generated code.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::Full;

use super::rig::{Cluster, PATIENCE, on_path};
use super::wire::Connection;

pub(crate) const CLIENTS: SocketAddr = SocketAddr::new(LOOPBACK, 2379);
const PEERS: SocketAddr = SocketAddr::new(LOOPBACK, 2380);
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A running etcd; it ends with this value.
pub(crate) struct Etcd(Child);

impl Etcd {
    /// Starts it in the namespace of a cluster with its data in a directory; `None` where it is not
    /// installed.
    pub(crate) fn start(cluster: &Cluster, directory: &Path) -> Option<Self> {
        let mut command = Command::new(on_path("etcd")?);
        command
            .args(["--name", "peer", "--log-level", "error"])
            .args(["--data-dir", &directory.display().to_string()])
            .args(["--initial-cluster", &format!("peer=http://{PEERS}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (flag, address) in [
            ("--listen-client-urls", CLIENTS),
            ("--advertise-client-urls", CLIENTS),
            ("--listen-peer-urls", PEERS),
            ("--initial-advertise-peer-urls", PEERS),
        ] {
            command.args([flag, &format!("http://{address}")]);
        }
        let etcd = Self(cluster.inside(|| command.spawn()).unwrap());
        let began = Instant::now();
        // It has no way to tell that it is ready.
        while cluster.inside(|| std::net::TcpStream::connect(CLIENTS)).is_err() {
            assert!(began.elapsed() < PATIENCE, "etcd does not listen on {CLIENTS}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(etcd)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A connection to it.
pub(crate) async fn connect() -> Connection {
    Connection::plain(CLIENTS).await
}

/// Writes a key; the answer comes when it is on disk.
pub(crate) async fn put(connection: &mut Connection, key: &str, value: &[u8]) {
    let request = Request::post(format!("http://{CLIENTS}/etcdserverpb.KV/Put"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(put_request(key.as_bytes(), value)))
        .unwrap();
    let (parts, body) = connection.send(request).await;
    // An answer that is only trailers comes as headers.
    let status = body.trailers().unwrap_or(&parts.headers).get("grpc-status");
    assert_eq!(status.map(|s| s.as_bytes()), Some(b"0".as_slice()), "{parts:?}");
}

/// `etcdserverpb.PutRequest` with `key` (1) and `value` (2), in a gRPC frame: no compression, length.
fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    for (field, content) in [(1, key), (2, value)] {
        message.put_u8(field << 3 | 2);
        varint(&mut message, content.len());
        message.extend_from_slice(content);
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len().try_into().unwrap());
    frame.extend_from_slice(&message);
    frame.freeze()
}

fn varint(message: &mut BytesMut, mut number: usize) {
    while number > 0x7f {
        message.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.put_u8(number as u8);
}
