//! The network of one node: what all its pods share, and their addresses.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use onggi_node_api::{NetworkError, PodNetwork, PodNetworkStatus};
use onggi_sys::netlink::NetNs;
use onggi_sys::netlink::conntrack::{Conntrack, Flows};
use onggi_sys::netlink::route::{
    Changes, LOOPBACK, Route, RouteKind, RouteSocket, TABLE_LOCAL, TABLE_MAIN,
};
use onggi_sys::nft::{Batch, Nft};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::instance::ROUTE_PROTOCOL;
use crate::ipam::{Cursor, Pool};
use crate::pod::{Lease, Wiring};
use crate::ruleset::{self, HAIRPIN, Ranges};
use crate::{Cidr, Error, Instance};

/// How a node's network is set up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Written on everything in the kernel.
    pub instance: Instance,
    /// The pods of the whole cluster: 10.244.0.0/16.
    pub pod_cidr: Cidr,
    /// Cluster addresses of Services: 10.96.0.0/16.
    pub service_cidr: Cidr,
    /// The pods of this node, a part of `pod_cidr` (a /22). Its first address is the node's own.
    pub node_cidr: Cidr,
    /// Service addresses that this node itself answers: the API server's and the DNS server's. A
    /// process may listen there, and the proxy leaves them alone.
    pub answered_here: Vec<Ipv4Addr>,
    /// Where the position of the address ring is kept.
    pub state_dir: PathBuf,
    /// MTU of pods: 1450 leaves room for an overlay.
    pub mtu: u32,
}

impl Options {
    /// The usual ones: MTU 1450; 10.96.0.1 (API server) and 10.96.0.10 (DNS) are answered here.
    pub fn new(
        instance: Instance,
        pod_cidr: Cidr,
        service_cidr: Cidr,
        node_cidr: Cidr,
        state_dir: PathBuf,
    ) -> Self {
        let answered_here = [1, 10].into_iter().filter_map(|n| service_cidr.nth(n)).collect();
        Self { instance, pod_cidr, service_cidr, node_cidr, answered_here, state_dir, mtu: 1450 }
    }

    /// The node's own address in the pod range: the source of its connections to pods and Services,
    /// and an address at which pods reach it.
    pub fn node_address(&self) -> Ipv4Addr {
        self.node_cidr.nth(1).unwrap_or(self.node_cidr.network())
    }

    /// Checks that the ranges fit together.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { pod_cidr, service_cidr, node_cidr, .. } = self;
        let wrong = |option, message| Err(Error::Option { option, message });
        if !pod_cidr.covers(*node_cidr) {
            return wrong(
                "node-cidr",
                format!("{node_cidr} is not a part of the pods' {pod_cidr}"),
            );
        }
        if !(16..=29).contains(&node_cidr.prefix()) {
            return wrong("node-cidr", format!("{node_cidr} is not between a /16 and a /29"));
        }
        if pod_cidr.overlaps(*service_cidr) {
            let message = format!("{service_cidr} overlaps the pods' {pod_cidr}");
            return wrong("service-cidr", message);
        }
        if let Some(other) = self.answered_here.iter().find(|a| !service_cidr.contains(**a)) {
            return wrong("answered-here", format!("{other} is not in {service_cidr}"));
        }
        if !(576..=65535).contains(&self.mtu) {
            return wrong("mtu", format!("{} is not between 576 and 65535", self.mtu));
        }
        Ok(())
    }

    pub(crate) fn ranges(&self) -> Ranges {
        Ranges {
            pods: self.pod_cidr,
            services: self.service_cidr,
            node: self.node_cidr,
            node_address: self.node_address(),
        }
    }

    /// What every node has, whatever pods: nothing for a dead pod leaves it (unreachable), Services
    /// are routed to `lo` so that connect() gets as far as translation, and the addresses that are
    /// answered here are local. They are routes of the local table and no addresses of an interface:
    /// so they need no dummy interface (a module that kernels may lack), are never chosen as a
    /// source by chance, and carry our metric.
    pub(crate) fn routes(&self) -> Vec<Route> {
        let metric = self.instance.metric();
        let route = |cidr: Cidr, kind, table| Route {
            destination: cidr.network(),
            prefix: cidr.prefix(),
            kind,
            table,
            protocol: ROUTE_PROTOCOL,
            metric,
            interface: None,
            gateway: None,
            source: None,
            mtu: None,
        };
        let local = |address| Route {
            interface: Some(LOOPBACK),
            ..route(Cidr::new(address, 32), RouteKind::Local, TABLE_LOCAL)
        };
        let mut routes = vec![local(self.node_address())];
        routes.extend(self.answered_here.iter().copied().map(local));
        routes.push(route(self.pod_cidr, RouteKind::Unreachable, TABLE_MAIN));
        routes.push(Route {
            interface: Some(LOOPBACK),
            source: Some(self.node_address()),
            mtu: Some(self.mtu),
            ..route(self.service_cidr, RouteKind::Unicast, TABLE_MAIN)
        });
        routes
    }
}

/// The network of this node. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct NodeNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    routes: Mutex<RouteSocket>,
    /// A second one, so that nobody waits for the slow deletions.
    deletions: Mutex<RouteSocket>,
    nft: Mutex<Nft>,
    conntrack: Mutex<Conntrack>,
    state: Mutex<State>,
    cursor: Cursor,
    background: TaskTracker,
}

struct State {
    pool: Pool,
    leases: HashMap<String, Lease>,
    /// Interfaces to delete; their addresses are free only after that.
    dying: Vec<Lease>,
}

impl NodeNetwork {
    /// Opens the network in the network namespace of the calling thread: installs what is missing of
    /// the node's routes and rules, takes up the pods that are connected, removes what is half made.
    /// Idempotent, and pods that run notice nothing.
    pub fn open(options: Options) -> Result<Self, Error> {
        options.validate()?;
        std::fs::create_dir_all(&options.state_dir)
            .map_err(|source| Error::File { path: options.state_dir.clone(), source })?;
        let forward = PathBuf::from("/proc/sys/net/ipv4/ip_forward");
        std::fs::write(&forward, "1").map_err(|source| Error::File { path: forward, source })?;

        let mut routes = RouteSocket::open()?;
        install_routes(&options, &mut routes)?;
        let cursor = Cursor::new(&options.state_dir);
        let mut state = State {
            pool: Pool::new(options.node_cidr, cursor.load()),
            leases: HashMap::new(),
            dying: Vec::new(),
        };
        let mut broken = Vec::new();
        for link in routes.links()? {
            if !options.instance.owns_interface(&link.name) {
                continue;
            }
            match Lease::of(&link) {
                Some(lease) => {
                    state.pool.take(lease.address);
                    state.leases.insert(lease.sandbox.clone(), lease);
                }
                None => broken.push(link.name),
            }
        }
        routes.delete_links(&broken, options.instance.metric())?;
        let inner = Inner {
            routes: Mutex::new(routes),
            deletions: Mutex::new(RouteSocket::open()?),
            nft: Mutex::new(Nft::open()?),
            conntrack: Mutex::new(Conntrack::open()?),
            state: Mutex::new(state),
            cursor,
            background: TaskTracker::new(),
            options,
        };
        inner.install_rules(&mut inner.nft.lock())?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Removes everything of an instance from the network namespace of the calling thread, found by
    /// its id alone. Sysctls stay as they are.
    pub fn purge(instance: &Instance) -> Result<(), Error> {
        crate::purge::purge(instance)
    }

    /// How it was set up.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Which sandbox has which address.
    pub fn leases(&self) -> Vec<(String, Ipv4Addr)> {
        let state = self.inner.state.lock();
        state.leases.values().map(|lease| (lease.sandbox.clone(), lease.address)).collect()
    }

    /// Disconnects every sandbox that `living` does not name. For the runtime's start, which knows
    /// which ones survived.
    pub async fn retain(&self, living: &[String]) -> Result<(), Error> {
        let dead: Vec<_> =
            self.leases().into_iter().filter(|(name, _)| !living.contains(name)).collect();
        for (sandbox, _) in dead {
            self.disconnect(sandbox).await?;
        }
        Ok(())
    }

    /// Waits until the interfaces of pods that were torn down are gone from the kernel.
    pub async fn drained(&self) {
        self.inner.background.close();
        self.inner.background.wait().await;
        self.inner.background.reopen();
    }

    async fn disconnect(&self, sandbox: String) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        let disconnected = blocking(move || inner.disconnect(&sandbox)).await;
        if !matches!(disconnected, Ok(false)) {
            let inner = Arc::clone(&self.inner);
            self.inner.background.spawn_blocking(move || inner.delete_dying());
        }
        disconnected.map(drop)
    }

    pub(crate) async fn with_nft<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Nft, &Kernel<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut nft = inner.nft.lock();
            task(&mut nft, &Kernel { inner: &inner })
        })
        .await
    }
}

/// What the proxy may do beside its batch.
pub(crate) struct Kernel<'a> {
    inner: &'a Inner,
}

impl Kernel<'_> {
    /// Puts the rules back where somebody removed them.
    pub(crate) fn install_rules(&self, nft: &mut Nft) -> Result<(), Error> {
        self.inner.install_rules(nft)
    }

    pub(crate) fn forget(&self, flows: &Flows) -> Result<usize, Error> {
        Ok(self.inner.conntrack.lock().forget(flows)?)
    }
}

#[async_trait]
impl PodNetwork for NodeNetwork {
    async fn setup(&self, sandbox: &str, netns: OwnedFd) -> Result<PodNetworkStatus, NetworkError> {
        let (inner, sandbox) = (Arc::clone(&self.inner), sandbox.to_owned());
        let lease = blocking(move || inner.connect(&sandbox, netns.into())).await?;
        Ok(PodNetworkStatus { ips: vec![lease.address.into()], host_interface: lease.interface })
    }

    async fn teardown(&self, sandbox: &str) -> Result<(), NetworkError> {
        Ok(self.disconnect(sandbox.to_owned()).await?)
    }
}

impl Inner {
    fn connect(&self, sandbox: &str, netns: NetNs) -> Result<Lease, Error> {
        let (lease, known) = self.lease(sandbox)?;
        let wiring = Wiring {
            lease: &lease,
            netns: &netns,
            node_address: self.options.node_address(),
            metric: self.options.instance.metric(),
            mtu: self.options.mtu,
        };
        if known {
            let mut routes = self.routes.lock();
            if wiring.is_done(&mut routes)? {
                return Ok(lease);
            }
            // The namespace is another one than before, or it was cut off half way.
            routes.delete_links(
                std::slice::from_ref(&lease.interface),
                self.options.instance.metric(),
            )?;
        }
        let connected = wiring.connect(&mut self.routes.lock()).and_then(|()| {
            if known {
                return Ok(());
            }
            let mut batch = Batch::new(&self.options.instance.table());
            batch.add_elements(HAIRPIN, &[ruleset::hairpin(lease.address)]);
            self.commit_hairpin(batch)
        });
        if let Err(error) = connected {
            if let Err(second) = self.disconnect(sandbox) {
                tracing::warn!(sandbox, error = %second, "cannot undo a pod's network");
            }
            self.delete_dying();
            return Err(error);
        }
        Ok(lease)
    }

    fn lease(&self, sandbox: &str) -> Result<(Lease, bool), Error> {
        let mut state = self.state.lock();
        if let Some(lease) = state.leases.get(sandbox) {
            return Ok((lease.clone(), true));
        }
        let address = state.pool.allocate()?;
        let place = self.options.node_cidr.index(address).unwrap_or(0);
        let interface = self.options.instance.interface(place);
        let lease = Lease { sandbox: sandbox.to_owned(), address, interface };
        state.leases.insert(lease.sandbox.clone(), lease.clone());
        // Only the order of addresses hangs on it, so that a full disk stops no pod.
        if let Err(error) = self.cursor.store(address) {
            tracing::warn!(%error, "cannot note the address given last");
        }
        Ok((lease, false))
    }

    /// Takes the pod out of the network at once; its interface is deleted later. `false`: it was not
    /// in it.
    fn disconnect(&self, sandbox: &str) -> Result<bool, Error> {
        let lease = {
            let mut state = self.state.lock();
            let Some(lease) = state.leases.remove(sandbox) else { return Ok(false) };
            state.dying.push(lease.clone());
            lease
        };
        let options = &self.options;
        let mut changes = Changes::default();
        let metric = options.instance.metric();
        changes.delete_route(&lease.route(None, options.node_address(), metric));
        let unrouted = self.routes.lock().commit(changes);
        let mut batch = Batch::new(&options.instance.table());
        batch.delete_elements(HAIRPIN, &[ruleset::hairpin(lease.address)]);
        let forgotten = self.commit_hairpin(batch);
        unrouted?;
        forgotten.map(|()| true)
    }

    /// An element that is there or gone already (the table was put back meanwhile) is no error.
    fn commit_hairpin(&self, batch: Batch) -> Result<(), Error> {
        match self.nft.lock().commit(batch) {
            Err(error)
                if matches!(error.errno(), Some(libc_errno::ENOENT | libc_errno::EEXIST)) =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn delete_dying(&self) {
        let mut socket = self.deletions.lock();
        let dying = std::mem::take(&mut self.state.lock().dying);
        if dying.is_empty() {
            return;
        }
        let names: Vec<_> = dying.iter().map(|lease| lease.interface.clone()).collect();
        if let Err(error) = socket.delete_links(&names, self.options.instance.metric()) {
            // Their addresses stay taken until the next start finds the interfaces.
            tracing::error!(%error, interfaces = ?names, "cannot delete interfaces of dead pods");
            return;
        }
        self.forget_connections(&dying);
        let mut state = self.state.lock();
        for lease in dying {
            state.pool.release(lease.address);
        }
    }

    /// The next packet of a connection to them is answered with a reset instead of silence, and who
    /// gets an address next gets no packet of old connections. In the background: the kernel walks
    /// its whole table for it.
    fn forget_connections(&self, dying: &[Lease]) {
        let gone = dying.iter().map(|lease| lease.address).collect();
        if let Err(error) = self.conntrack.lock().forget_addresses(&gone) {
            tracing::warn!(addresses = ?gone, %error, "cannot forget connections of dead pods");
        }
    }

    fn install_rules(&self, nft: &mut Nft) -> Result<(), Error> {
        let instance = &self.options.instance;
        let (mut batch, layout) = ruleset::base(instance, &self.options.ranges());
        if nft.has_chain(&instance.table(), &layout)? {
            return Ok(());
        }
        let leases = self.state.lock();
        let pods: Vec<_> =
            leases.leases.values().map(|lease| ruleset::hairpin(lease.address)).collect();
        batch.add_elements(HAIRPIN, &pods);
        Ok(nft.commit(batch)?)
    }
}

/// Errors by name, without libc in this crate.
mod libc_errno {
    pub(super) const ENOENT: i32 = 2;
    pub(super) const EEXIST: i32 = 17;
}

fn install_routes(options: &Options, socket: &mut RouteSocket) -> Result<(), Error> {
    let wanted = options.routes();
    let mut changes = Changes::default();
    changes.up(LOOPBACK);
    let metric = options.instance.metric();
    for route in socket.routes()? {
        let ours = route.protocol == ROUTE_PROTOCOL && route.metric == metric;
        let same = |w: &Route| {
            (w.destination, w.prefix, w.table) == (route.destination, route.prefix, route.table)
        };
        // Those to pods go with their interfaces.
        let to_pod = route.prefix == 32 && route.table == TABLE_MAIN;
        if ours && !to_pod && !wanted.iter().any(same) {
            changes.delete_route(&route);
        }
    }
    for route in &wanted {
        changes.route(route);
    }
    Ok(socket.commit(changes)?)
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(task).await.map_err(|_| Error::Worker)?
}
