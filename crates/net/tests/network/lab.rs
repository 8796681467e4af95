//! A node and its pods, each a network namespace that ends with the test.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use onggi_net::proxy::{Backends, Desired, Frontend, Name, Protocol, slots::Slots};
use onggi_net::{Instance, NodeNetwork, Options};
use onggi_node_api::PodNetwork;
use onggi_sys::netlink::NetNs;
use onggi_sys::netlink::route::{Address, Changes, Link, Route, RouteSocket, Veth};
use onggi_sys::nft::Nft;

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Lab {
    pub(crate) network: NodeNetwork,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) struct Pod {
    pub(crate) netns: NetNs,
    pub(crate) address: Ipv4Addr,
    pub(crate) interface: String,
}

/// What an instance leaves traces in.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    links: Vec<Link>,
    routes: Vec<Route>,
    tables: Vec<String>,
}

pub(crate) fn instance() -> Instance {
    Instance::new("lab00001").unwrap()
}

pub(crate) fn options(directory: &std::path::Path) -> Options {
    Options::new(
        instance(),
        "10.244.0.0/16".parse().unwrap(),
        "10.96.0.0/16".parse().unwrap(),
        "10.244.0.0/22".parse().unwrap(),
        directory.to_owned(),
    )
}

/// Runs a test in a namespace of its own; the runtime's threads are born there too.
pub(crate) fn in_node<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F + Send) {
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let network = NodeNetwork::open(options(directory.path())).unwrap();
            test(Lab { network, directory }).await;
        });
    });
}

pub(crate) fn in_namespace(test: impl FnOnce() + Send) {
    match NetNs::new() {
        Ok(node) => node.run(test).unwrap(),
        Err(error) => println!("skipped: no network namespace can be made here: {error}"),
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn traces() -> Traces {
    let mut routes = RouteSocket::open().unwrap();
    let mut traces = Traces {
        links: routes.links().unwrap(),
        routes: routes.routes().unwrap(),
        tables: Nft::open().unwrap().tables().unwrap(),
    };
    traces.routes.sort();
    traces
}

pub(crate) fn set_loopback_up() {
    let mut changes = Changes::default();
    changes.up(1);
    RouteSocket::open().unwrap().commit(changes).unwrap();
}

impl Lab {
    /// Another machine, 192.0.2.2, on a link to the node, 192.0.2.1. It knows no pods.
    pub(crate) fn outside(&self) -> Pod {
        let netns = NetNs::new().unwrap();
        let mut node = RouteSocket::open().unwrap();
        let mut changes = Changes::default();
        changes.veth(&Veth {
            name: "uplink",
            mac: [2, 0, 0, 0, 0, 1],
            peer: "eth0",
            peer_mac: [2, 0, 0, 0, 0, 2],
            peer_netns: netns.as_fd(),
            mtu: 1500,
        });
        node.commit(changes).unwrap();
        let join = |socket: &mut RouteSocket, name: &str, last: u8| {
            let interface = socket.link(name).unwrap().unwrap().index;
            let address = Ipv4Addr::new(192, 0, 2, last);
            let mut changes = Changes::default();
            changes.up(interface).address(&Address { interface, address, prefix: 24 });
            socket.commit(changes).unwrap();
        };
        join(&mut node, "uplink", 1);
        netns.run(|| join(&mut RouteSocket::open().unwrap(), "eth0", 2)).unwrap();
        Pod { netns, address: Ipv4Addr::new(192, 0, 2, 2), interface: "uplink".into() }
    }

    pub(crate) async fn pod(&self, sandbox: &str) -> Pod {
        let netns = NetNs::new().unwrap();
        let fd = netns.as_fd().try_clone_to_owned().unwrap();
        let status = self.network.setup(sandbox, fd).await.unwrap();
        let std::net::IpAddr::V4(address) = status.ips[0] else { panic!("{status:?}") };
        Pod { netns, address, interface: status.host_interface }
    }
}

impl Pod {
    /// Answers each connection with a text and the client's address.
    pub(crate) fn serve(&self, port: u16, text: &'static str) {
        let listener = self.netns.run(|| TcpListener::bind(("0.0.0.0", port))).unwrap().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string());
                let _ = write!(stream, "{text} {}", peer.unwrap_or_default());
            }
        });
    }

    pub(crate) fn serve_udp(&self, port: u16, text: &'static str) {
        let socket = self.netns.run(|| UdpSocket::bind(("0.0.0.0", port))).unwrap().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(text.as_bytes(), client);
            }
        });
    }

    pub(crate) fn ask(&self, address: &str) -> io::Result<String> {
        self.netns.run(|| ask(address)).unwrap()
    }

    pub(crate) fn endpoint(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }
}

pub(crate) fn ask(address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn udp_client() -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn ask_udp(socket: &UdpSocket, address: &str) -> io::Result<String> {
    let mut buffer = [0; 64];
    socket.send_to(b"?", address)?;
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Name of the Service, address (none: a node port), protocol, port, slots, endpoints.
pub(crate) type Row<'a> = (&'a str, Option<&'a str>, Protocol, u16, Slots, Vec<SocketAddrV4>);

/// Services by name: frontends and endpoints.
pub(crate) fn desired(services: &[Row<'_>]) -> Desired {
    let mut plans = BTreeMap::<Name, BTreeMap<Frontend, Backends>>::new();
    for (name, address, protocol, port, slots, endpoints) in services {
        let address = address.map(|address| address.parse().unwrap());
        let frontend = Frontend { address, protocol: *protocol, port: *port };
        let backends = Backends { slots: *slots, endpoints: endpoints.clone() };
        plans.entry(Name::new("d", *name)).or_default().insert(frontend, backends);
    }
    plans.into_iter().map(|(name, plan)| (name, Arc::new(plan))).collect()
}
