//! Cluster DNS: names of services and pods; everything else is forwarded.
//!
//! [`zone`] is pure: a table of services and its answers. [`Dns`] feeds it from informers, binds
//! the sockets and serves them.

mod server;
mod source;
pub mod upstream;
pub mod zone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use hickory_server::Server;
use onggi_base::Shutdown;
use onggi_client::{Cache, Index, SharedInformers, Source};
use parking_lot::RwLock;
use tokio::net::{TcpListener, UdpSocket};

use crate::server::Handler;
use crate::source::{ServiceView, SliceView};
use crate::zone::Zone;

/// What the name server is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it answers, over UDP and TCP. Port 0 is chosen by the kernel, for tests.
    pub listen: SocketAddr,
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
    /// Who is asked about other names; see [`upstream::read`].
    pub upstream: Vec<SocketAddr>,
}

/// The name server: bound, not yet answering.
pub struct Dns {
    address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
    handler: Handler,
    feed: Feed,
}

/// Keeps the zone true.
struct Feed {
    zone: Arc<RwLock<Zone>>,
    services: Cache<ServiceView>,
    slices: Cache<SliceView>,
}

/// Why there are no names.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this node's.
    #[error("DNS cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The domain is no domain name.
    #[error("{0:?} is no domain name")]
    Domain(String),
    /// The server ended.
    #[error("DNS ended: {0}")]
    Server(String),
}

impl Dns {
    /// Binds the sockets, so that a taken address is known before anything else starts.
    pub async fn bind(options: Options, informers: &SharedInformers) -> Result<Self, Error> {
        let bind = |source| Error::Bind { address: options.listen, source };
        let udp = UdpSocket::bind(options.listen).await.map_err(bind)?;
        let address = udp.local_addr().map_err(bind)?;
        let tcp = TcpListener::bind(address).await.map_err(bind)?;
        let zone = Arc::new(RwLock::new(Zone::new(&options.domain)));
        let upstream = ArcSwapOption::from(upstream::resolver(&options.upstream).map(Arc::new));
        let soa = server::start_of_authority(&options.domain)
            .ok_or_else(|| Error::Domain(options.domain.clone()))?;
        let handler = Handler { zone: Arc::clone(&zone), upstream: Arc::new(upstream), soa };
        let feed = Feed {
            zone,
            services: informers.informer(Source::of::<onggi_api::core::Service>()),
            slices: informers.informer(Source::of::<onggi_api::discovery::EndpointSlice>()),
        };
        Ok(Self { address, udp, tcp, handler, feed })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the shutdown. The zone is filled before the first question is read.
    pub fn run(self, shutdown: Shutdown) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let Self { udp, tcp, handler, feed, .. } = self;
            let filled = async { feed.services.synced().await.and(feed.slices.synced().await) };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                filled = filled => if filled.is_err() { return Ok(()) },
            }
            let index = feed.index();
            for key in feed.services.keys() {
                feed.refresh(&index, &key.namespace, &key.name);
            }
            let mut server = Server::new(handler);
            server.register_socket(udp);
            server.register_listener(tcp, Duration::from_secs(10), 4096);
            let follow = feed.follow(index);
            tokio::pin!(follow);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = &mut follow => {}
                ended = server.block_until_done() => {
                    let text = ended.err().map_or_else(|| "no socket left".to_owned(), |e| e.to_string());
                    return Err(Error::Server(text));
                }
            }
            server.shutdown_gracefully().await.map_err(|e| Error::Server(e.to_string()))
        })
    }
}

// === impl Feed ===

impl Feed {
    fn index(&self) -> Index<SliceView> {
        self.slices.index("service", |slice| slice.service().into_iter().collect())
    }

    /// Follows changes until the informers stop.
    async fn follow(self, index: Index<SliceView>) {
        let mut services = self.services.subscribe();
        let mut slices = self.slices.subscribe();
        loop {
            tokio::select! {
                change = services.recv() => {
                    let Some(change) = change else { return };
                    self.refresh(&index, &change.key().namespace, &change.key().name);
                }
                change = slices.recv() => {
                    let Some(change) = change else { return };
                    for slice in change.before().into_iter().chain(change.after()) {
                        if let Some((namespace, name)) = slice.service().as_deref().and_then(|key| key.split_once('/')) {
                            self.refresh(&index, namespace, name);
                        }
                    }
                }
            }
        }
    }

    fn refresh(&self, index: &Index<SliceView>, namespace: &str, name: &str) {
        match self.services.get(namespace, name) {
            Some(view) => {
                let slices = index.get(&format!("{namespace}/{name}"));
                self.zone.write().set(source::entry(&view, &slices));
            }
            None => self.zone.write().remove(namespace, name),
        }
    }
}
