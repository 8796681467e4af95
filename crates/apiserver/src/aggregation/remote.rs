//! A server behind a Service, and the connections to it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use onggi_client::Config;
use onggi_client::http::{Io, causes};
use onggi_client::node::Duplex;
use onggi_machinery::value::{at, i64_at, str_at};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::{Aggregation, FrontProxy};
use crate::ApiServer;
use crate::http::Body;
use crate::streams::proxy::{Backend, endpoint};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that is gone without a word is noticed after this and [`PONG`].
const PING: Duration = Duration::from_secs(15);
const PONG: Duration = Duration::from_secs(10);
/// What may be under way in an answer, and in all of a connection: a watch that nobody reads must
/// not hold up what is beside it.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Where a server is, and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: i64,
    /// Base64 of PEM; empty: the machine's authorities.
    bundle: String,
    insecure: bool,
}

/// See the module.
pub(super) struct Remote {
    place: Place,
    pool: OnceLock<Result<Ready, String>>,
}

struct Ready {
    pool: Pool<Dial, Body>,
    dial: Dial,
}

impl Place {
    pub(super) fn read(object: &Value) -> Self {
        Self {
            namespace: str_at(object, "spec.service.namespace").to_owned(),
            service: str_at(object, "spec.service.name").to_owned(),
            port: i64_at(object, "spec.service.port").unwrap_or(443),
            bundle: str_at(object, "spec.caBundle").to_owned(),
            insecure: at(object, "spec.insecureSkipTLSVerify") == true,
        }
    }

    /// The name that its certificate has.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    fn tls(&self, front: Option<&FrontProxy>) -> Result<ClientConfig, String> {
        let ca = match self.bundle.as_str() {
            "" => None,
            bundle => {
                let pem = STANDARD.decode(bundle).ok().and_then(|pem| String::from_utf8(pem).ok());
                Some(pem.ok_or("unable to load root certificates: spec.caBundle is no PEM")?)
            }
        };
        let client = front.map(|front| front.client.clone());
        let config = Config { ca, insecure: self.insecure, client, ..Config::default() };
        config.client_config().map_err(|error| error.to_string())
    }
}

impl Remote {
    pub(super) fn new(place: Place) -> Self {
        Self { place, pool: OnceLock::new() }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The error is about the configuration.
    fn ready(&self, aggregation: &Aggregation) -> Result<&Ready, String> {
        let make = || {
            let server = aggregation.server.get().cloned().unwrap_or_default();
            let name = ServerName::try_from(self.place.host()).map_err(|e| e.to_string())?;
            let mut http1 = self.place.tls(aggregation.front.as_ref())?;
            http1.alpn_protocols = vec![b"http/1.1".to_vec()];
            let mut any = http1.clone();
            any.alpn_protocols.insert(0, b"h2".to_vec());
            let place = self.place.clone();
            let dial = Dial { server, place, name, any: any.into(), http1: http1.into() };
            let pool = Pool::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_keep_alive_interval(PING)
                .http2_keep_alive_timeout(PONG)
                .build(dial.clone());
            Ok(Ready { pool, dial })
        };
        self.pool.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// The address of a path at it.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, String> {
        let text = format!("https://{}:{}{path}", self.place.host(), self.place.port);
        text.parse().map_err(|e| format!("{text}: {e}"))
    }

    /// Sends a request; its URI is absolute ([`Self::uri`]).
    pub(super) async fn send(
        &self,
        aggregation: &Aggregation,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, String> {
        let ready = self.ready(aggregation)?;
        ready.pool.request(request).await.map_err(|error| causes(&error))
    }

    /// A connection of its own, for what will switch protocols.
    pub(super) async fn connect(
        &self,
        aggregation: &Aggregation,
    ) -> Result<Box<dyn Duplex>, String> {
        let dial = self.ready(aggregation)?.dial.clone();
        let (stream, _) = dial.open(true).await.map_err(|error| error.to_string())?;
        Ok(stream)
    }
}

/// How connections are opened.
#[derive(Clone)]
struct Dial {
    server: Weak<ApiServer>,
    place: Place,
    name: ServerName<'static>,
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl Dial {
    async fn open(&self, http1: bool) -> std::io::Result<(Box<dyn Duplex>, bool)> {
        let text = || format!("no answer within {} s", CONNECT.as_secs());
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, text());
        let open = async {
            let closing = || std::io::Error::other("the API server is shutting down");
            let server = self.server.upgrade().ok_or_else(closing)?;
            let Place { namespace, service, port, .. } = &self.place;
            let Backend { connection, .. } =
                endpoint(&server, namespace, service, &port.to_string())
                    .await
                    .map_err(|status| std::io::Error::other(status.message))?;
            let config = if http1 { &self.http1 } else { &self.any };
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(self.name.clone(), connection).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok((Box::new(stream) as Box<dyn Duplex>, http2))
        };
        tokio::time::timeout(CONNECT, open).await.map_err(late)?
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = Io;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Io>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let (stream, http2) = dial.open(false).await?;
            Ok(Io::new(stream, http2))
        })
    }
}
