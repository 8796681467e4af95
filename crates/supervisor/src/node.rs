//! A node with its control plane in one process: what runs, in which order.
//!
//! Order matters in a few places only: the lock before anything is touched, the network before the
//! listeners on its addresses, the API server before its clients. Everything else waits for what it
//! needs by itself.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use onggi_api::GroupVersionResource;
use onggi_apiserver::{ApiServer, User};
use onggi_base::{Clock, Shutdown, SystemClock, Tasks};
use onggi_client::kubeconfig::NewContext;
use onggi_client::node::{NodeConnector, NodeError, NodeServer};
use onggi_client::{EventType, SharedInformers, WatchSpec};
use onggi_controllers::{Chosen, Controllers};
use onggi_dns::Dns;
use onggi_kubelet::Kubelet;
use onggi_machinery::validation::addresses::special;
use onggi_net::{NodeNetwork, Proxy};
use onggi_scheduler::Scheduler;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::certificates::{self, Certificates};
use crate::daemon::{Report, Reporter};
use crate::drain::ProxyDrain;
use crate::options::Options;
use crate::paths::Paths;
use crate::workloads::Workloads;
use crate::{check, lock};

/// How long components may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long pods may take to end in `onggi down`, whatever their own grace periods say.
pub const DOWN_GRACE_SECONDS: u64 = 10;

/// The port at which pods reach the API server's Service.
const SERVICE_PORT: u16 = 443;

/// The cluster's domain.
pub const DOMAIN: &str = "cluster.local";

/// Node ports, as in Kubernetes.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// Runs until SIGTERM or SIGINT, which leave the pods running, or [`crate::down::END_PODS`], which
/// ends them first.
pub fn run(options: Options, reporter: Reporter) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        if options.control.no_node {
            let ran = run_control_plane(options, &reporter).await;
            if let Err(error) = &ran {
                reporter.report(&Report::Failed(error.to_string()));
            }
            return ran;
        }
        let started = start(options, &reporter).await;
        let node = match started {
            Ok(node) => node,
            Err(error) => {
                reporter.report(&Report::Failed(error.to_string()));
                return Err(error);
            }
        };
        reporter.report(&Report::Ready);
        node.run().await
    })
}

/// A started node.
struct Node {
    server: Arc<ApiServer>,
    store: Arc<dyn onggi_store::Store>,
    network: NodeNetwork,
    workloads: Workloads,
    tasks: Tasks,
    _lock: lock::Lock,
}

async fn start(options: Options, reporter: &Reporter) -> Result<Node, Error> {
    let chosen = options.control.controllers()?;
    let paths = Paths::new(&options.data_dir)?;
    paths.create()?;
    // The kernel tells mounts by the real path: by a link, or from the working directory, the
    // kubelet would not find its own, and remove files through them.
    let options = Options { data_dir: paths.data.clone(), ..options };
    let lock = lock::acquire(&paths.lock())?;
    reporter.step("check the machine");
    let problems = check::check(&options, &paths);
    if !problems.is_empty() {
        return Err(Error::Machine(problems));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let network_options = check::network_options(&options, &paths)?;
    let node_address = network_options.node_address();
    let service_addresses = network_options.answered_here.clone();
    let network = blocking(move || NodeNetwork::open(network_options)).await??;

    reporter.step("start the API server");
    let mut addresses = service_addresses.clone();
    addresses.push(node_address);
    let certificates = certificates::open(&paths, &options, &addresses)?;
    let (server, store) = open_server(&paths, &options, &certificates, &clock).await?;
    let mut tasks = Tasks::new(Shutdown::new());
    let advertise = SocketAddr::new(node_address.into(), options.listen.port());
    listen(&mut tasks, &server, &certificates, &options, advertise).await?;
    server.bootstrap(advertise).await?;
    write_kubeconfig(&paths, &options, &certificates)?;

    start_control(&mut tasks, &server, &options, chosen, &certificates, &clock);

    reporter.step("start the node");
    let applied = start_network(&mut tasks, &server, &network, &options).await?;
    let workloads = Workloads::open(&paths, &network).await?;
    let socket = crate::socket::bind(&paths.node_socket())?;
    let images = workloads.images.clone();
    tasks.spawn("node socket", |shutdown| crate::socket::serve(socket, images, shutdown));
    let since = clock.seconds();
    start_kubelet(&mut tasks, &server, &workloads, &options, applied, &clock)?;
    node_ready(&server, &options.node_name, since).await?;
    Ok(Node { server, store, network, workloads, tasks, _lock: lock })
}

/// The API server on the store of this instance.
async fn open_server(
    paths: &Paths,
    options: &Options,
    certificates: &Certificates,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<ApiServer>, Arc<dyn onggi_store::Store>), Error> {
    let control = &options.control;
    let store_options = onggi_store::sqlite::Options {
        sealing: Some(onggi_store::Sealing {
            key_file: paths.store_key(),
            prefixes: control.sealed()?,
        }),
        ..onggi_store::sqlite::Options::new(paths.store())
    };
    let store = Arc::new(blocking(move || onggi_store::sqlite::open(&store_options)).await??);
    crate::keys::rotate_when_told(&store).map_err(Error::Signals)?;
    let issuer = control.service_account_issuer.clone();
    let server_options = onggi_apiserver::Options {
        store: Arc::clone(&store) as Arc<dyn onggi_store::Store>,
        clock: Arc::clone(clock),
        service_cidr: options.service_cidr,
        node_ports: NODE_PORTS,
        token_key: certificates.token_key.clone(),
        issuer: issuer.unwrap_or_else(|| format!("https://kubernetes.default.svc.{DOMAIN}")),
        access: control.access(&certificates.ca, &certificates.front_proxy)?,
    };
    let server = ApiServer::open_with(server_options, control.plugins()?).await?;
    Ok((server, store))
}

/// API server, controllers and scheduler without a node: needs nothing of the kernel, nor root.
async fn run_control_plane(options: Options, reporter: &Reporter) -> Result<(), Error> {
    let chosen = options.control.controllers()?;
    let mut paths = Paths::new(&options.data_dir)?;
    paths.run = paths.data.join("run");
    paths.create()?;
    let _lock = lock::acquire(&paths.lock())?;
    reporter.step("start the API server");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let certificates = certificates::open(&paths, &options, &[])?;
    let (server, store) = open_server(&paths, &options, &certificates, &clock).await?;
    let mut tasks = Tasks::new(Shutdown::new());
    let address = options.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let (serving, tls) = (Arc::clone(&server), Arc::clone(&certificates.server));
    tasks.spawn("apiserver", |_| serving.serve(listener, tls));
    let advertise = SocketAddr::new(reachable(&options), address.port());
    server.bootstrap(advertise).await?;
    write_kubeconfig(&paths, &options, &certificates)?;
    start_control(&mut tasks, &server, &options, chosen, &certificates, &clock);
    reporter.report(&Report::Ready);
    let shutdown = tasks.shutdown();
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let closing = Arc::clone(&server);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.cancelled() => {}
        }
        shutdown.cancel();
        closing.close();
    };
    let (ended, ()) = tokio::join!(tasks.run(GRACE), told);
    server.flush_audit().await;
    store.close().await;
    Ok(ended?)
}

/// An address at which others may reach this server: the endpoint of the Service `kubernetes`, which
/// must not be of this machine or its links alone.
fn reachable(options: &Options) -> IpAddr {
    let given = options.listen.ip();
    if special(given).is_none() {
        return given;
    }
    // The address that a packet out of here would carry; none is sent.
    let own = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    match own.map(|address| address.ip()) {
        Ok(ip) if special(ip).is_none() => ip,
        _ => options.service_cidr.nth(1).unwrap_or(options.service_cidr.network()).into(),
    }
}

/// The API server answers at `--listen`, at its Service's address, and at the node's address in the
/// pods' range, which is the Service's endpoint.
async fn listen(
    tasks: &mut Tasks,
    server: &Arc<ApiServer>,
    certificates: &Certificates,
    options: &Options,
    advertise: SocketAddr,
) -> Result<(), Error> {
    let mut addresses = vec![options.listen];
    if !options.listen.ip().is_unspecified() {
        addresses.push(advertise);
    }
    addresses
        .extend(options.service_cidr.nth(1).map(|ip| SocketAddr::new(ip.into(), SERVICE_PORT)));
    for address in addresses {
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        let (server, tls) = (Arc::clone(server), Arc::clone(&certificates.server));
        tasks.spawn("apiserver", |_| server.serve(listener, tls));
    }
    Ok(())
}

fn start_control(
    tasks: &mut Tasks,
    server: &Arc<ApiServer>,
    options: &Options,
    chosen: Chosen,
    certificates: &Certificates,
    clock: &Arc<dyn Clock>,
) {
    let disable_scheduler = options.control.disable_scheduler;
    let user = User::new("system:kube-controller-manager", &[]);
    let options = onggi_controllers::Options {
        ca_pem: certificates.ca.clone(),
        signer: Some(Arc::clone(&certificates.signer)),
        chosen,
        ..onggi_controllers::Options::default()
    };
    let controllers = Controllers::new(options, informers(server, tasks, user), Arc::clone(clock));
    server.add_component("controller-manager");
    tasks.spawn("controllers", |shutdown| async move {
        controllers.run(shutdown).await;
        Ok::<_, Infallible>(())
    });
    if disable_scheduler {
        return;
    }
    let user = User::new("system:kube-scheduler", &[]);
    let scheduler = Scheduler::new(informers(server, tasks, user), Arc::clone(clock));
    server.add_component("scheduler");
    tasks.spawn("scheduler", |shutdown| async move {
        scheduler.run(shutdown).await;
        Ok::<_, Infallible>(())
    });
}

async fn start_network(
    tasks: &mut Tasks,
    server: &Arc<ApiServer>,
    network: &NodeNetwork,
    options: &Options,
) -> Result<watch::Receiver<u64>, Error> {
    let user = User::new("system:kube-proxy", &[]);
    let services = informers(server, tasks, user);
    let proxy = Proxy::new(network.clone());
    let applied = proxy.applied();
    let pods = informers(server, tasks, node_user(options));
    let name = options.node_name.clone();
    tasks.spawn(
        "proxy",
        |shutdown| async move { proxy.run(&name, &services, &pods, shutdown).await },
    );

    let Some(address) = options.dns_address() else { return Ok(applied) };
    let names = informers(server, tasks, User::new("system:dns", &[]));
    let dns = Dns::bind(
        onggi_dns::Options {
            listen: SocketAddr::new(address.into(), 53),
            domain: DOMAIN.to_owned(),
            upstream: onggi_dns::upstream::read(
                onggi_dns::upstream::RESOLV_CONF.as_ref(),
                &[IpAddr::from(address)],
            ),
        },
        &names,
    )
    .await?;
    tasks.spawn("dns", |shutdown| dns.run(shutdown));
    Ok(applied)
}

/// Who a node is to the API server.
fn node_user(options: &Options) -> User {
    User::new(format!("system:node:{}", options.node_name), &["system:nodes"])
}

fn start_kubelet(
    tasks: &mut Tasks,
    server: &Arc<ApiServer>,
    workloads: &Workloads,
    options: &Options,
    applied: watch::Receiver<u64>,
    clock: &Arc<dyn Clock>,
) -> Result<(), Error> {
    let node_name = options.node_name.clone();
    let informers = informers(server, tasks, node_user(options));
    let drain = Arc::new(ProxyDrain::new(&informers, applied));
    let node_cidr = options.node_cidr();
    let kubelet_options = onggi_kubelet::Options {
        node_name: node_name.clone(),
        data_dir: options.data_dir.clone(),
        node_ip: node_cidr.nth(1).unwrap_or(node_cidr.network()).into(),
        cluster_dns: options.dns_address().into_iter().map(IpAddr::from).collect(),
        cluster_domain: DOMAIN.to_owned(),
        pod_cidr: node_cidr.to_string(),
        version: onggi_apiserver::VERSION.to_owned(),
        ..onggi_kubelet::Options::default()
    };
    let services = onggi_kubelet::Services {
        informers,
        runtime: Arc::clone(&workloads.runtime) as Arc<dyn onggi_node_api::RuntimeService>,
        images: Arc::new(workloads.images.clone()),
        drain,
        clock: Arc::clone(clock),
    };
    let (kubelet, node) = Kubelet::new(kubelet_options, services)?;
    server.set_node_connector(Arc::new(OwnNode { name: node_name, node }));
    tasks.spawn("kubelet", |shutdown| kubelet.run(shutdown));
    Ok(())
}

/// Waits until the node says that it is ready, and does so since a moment (in seconds since 1970):
/// what an earlier daemon said does not count.
async fn node_ready(server: &Arc<ApiServer>, name: &str, since: i64) -> Result<(), Error> {
    let transport = server.transport(User::new("system:apiserver", &["system:masters"]));
    let spec = WatchSpec {
        field_selector: format!("metadata.name={name}"),
        ..WatchSpec::all(GroupVersionResource::new("", "v1", "nodes"))
    };
    let mut events = transport.watch(spec).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.kind != EventType::Bookmark && is_ready(&event.object.value()?, since) {
            return Ok(());
        }
    }
    Err(Error::NodeNotReady)
}

fn is_ready(node: &serde_json::Value, since: i64) -> bool {
    let said = |condition: &serde_json::Value| {
        let time = condition["lastHeartbeatTime"].as_str()?.parse::<Timestamp>().ok()?;
        Some(time.as_second())
    };
    let conditions = node.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        .any(|condition| said(condition) >= Some(since))
}

/// The one node of this process.
struct OwnNode {
    name: String,
    node: Arc<dyn NodeServer>,
}

#[async_trait]
impl NodeConnector for OwnNode {
    async fn node(&self, name: &str) -> Result<Arc<dyn NodeServer>, NodeError> {
        if name == self.name {
            Ok(Arc::clone(&self.node))
        } else {
            Err(NodeError::Unreachable(name.to_owned()))
        }
    }
}

fn informers(server: &Arc<ApiServer>, tasks: &Tasks, user: User) -> SharedInformers {
    SharedInformers::new(server.transport(user), tasks.shutdown())
}

/// A context for the administrator; `onggi up` merges it into the user's own kubeconfig too.
pub fn administrator(options: &Options, certificates: &Certificates) -> NewContext {
    let ip = options.listen.ip();
    let host = if ip.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { ip };
    let url = format!("https://{}", SocketAddr::new(host, options.listen.port()));
    NewContext::inline("onggi", &url, &certificates.ca, &certificates.admin)
}

fn write_kubeconfig(
    paths: &Paths,
    options: &Options,
    certificates: &Certificates,
) -> Result<(), Error> {
    let path = paths.kubeconfig();
    let text = administrator(options, certificates).to_yaml();
    onggi_base::files::write_atomic(&path, text.as_bytes(), 0o600)
        .map_err(|source| Error::File { path, source })
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Panicked(e.to_string()))
}

// === impl Node ===

impl Node {
    async fn run(self) -> Result<(), Error> {
        let shutdown = self.tasks.shutdown();
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        let mut end_pods = signal(SignalKind::user_defined2()).map_err(Error::Signals)?;
        let server = Arc::clone(&self.server);
        let told = async {
            let pods_too = tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = end_pods.recv() => true,
                () = shutdown.cancelled() => false,
            };
            shutdown.cancel();
            server.close();
            pods_too
        };
        let (ended, pods_too) = tokio::join!(self.tasks.run(GRACE), told);
        if pods_too {
            self.workloads.end_pods(DOWN_GRACE_SECONDS).await?;
        }
        self.network.drained().await;
        self.server.flush_audit().await;
        self.store.close().await;
        Ok(ended?)
    }
}

/// Why a node does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something, or something is taken.
    #[error("this machine is not ready:{}", .0.iter().map(|p| format!("\n  - {p}")).collect::<String>())]
    Machine(Vec<String>),
    /// The data directory.
    #[error(transparent)]
    Paths(#[from] crate::paths::Error),
    /// Another process has the data directory.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// An option of the control plane.
    #[error(transparent)]
    Control(#[from] crate::control::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] onggi_store::Error),
    /// The API server.
    #[error(transparent)]
    ApiServer(#[from] onggi_apiserver::Error),
    /// The node's network.
    #[error(transparent)]
    Network(#[from] onggi_net::Error),
    /// The images.
    #[error(transparent)]
    Images(#[from] onggi_images::Error),
    /// The container runtime.
    #[error("container runtime: {0}")]
    Runtime(#[from] onggi_node_api::RuntimeError),
    /// The kubelet.
    #[error(transparent)]
    Kubelet(#[from] onggi_kubelet::Error),
    /// A request of our own to the API server.
    #[error(transparent)]
    Request(#[from] onggi_client::Error),
    /// An object of ours cannot be read.
    #[error(transparent)]
    Decode(#[from] onggi_api::DecodeError),
    /// The API server ended before the node was ready.
    #[error("the API server ended before the node was ready")]
    NodeNotReady,
    /// The node's socket.
    #[error(transparent)]
    Socket(#[from] crate::socket::Error),
    /// The name server.
    #[error(transparent)]
    Dns(#[from] onggi_dns::Error),
    /// A listener.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A component ended too early.
    #[error(transparent)]
    Task(#[from] onggi_base::task::TaskFailed),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// A part of ours panicked.
    #[error("a blocking part panicked: {0}")]
    Panicked(String),
}
