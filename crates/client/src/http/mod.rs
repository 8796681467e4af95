//! The transport over HTTP: one HTTP/2 connection over TLS, or HTTP/1.1 where the server has no
//! other. [`HttpTransport::send`] serves what is no object: logs, tables, discovery.

mod decode;
pub(crate) mod encode;
mod lines;
mod over;
mod upgrade;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{Connected as PoolInfo, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::node::Duplex;
use crate::tls::{Config, ConfigError, Connector, Impersonation, Token};
use crate::transport::{Error, EventStream, Request, Response, Transport, WatchSpec};

pub use decode::{body_stream, failure, warnings};
pub use over::{Carrier, call, watch};

/// What an answer other than a stream may take. Deletions and lists can be long.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that is gone without a word is noticed after this and [`PING_TIMEOUT`].
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What may be under way in an answer before it is read.
const STREAM_WINDOW: u32 = 4 << 20;
/// The same for all answers of a connection: enough that a watch that nobody reads for a while
/// never holds up the calls beside it.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// How often a request is sent again that the server put off (`Retry-After`).
const PUT_OFF_RETRIES: u32 = 10;

/// A [`Transport`] to an API server elsewhere. A cheap handle.
#[derive(Clone)]
pub struct HttpTransport {
    pool: Pool<Dial, Full<Bytes>>,
    pub(crate) connector: Connector,
    server: Uri,
    token: Option<Token>,
    user_agent: HeaderValue,
    /// `Impersonate-…`.
    impersonation: HeaderMap,
    watcher: Option<Watcher>,
}

/// Is told of every answer.
pub type Watcher = std::sync::Arc<dyn Fn(&Seen<'_>) + Send + Sync>;

/// What goes to the server and what comes back.
pub enum Seen<'a> {
    /// A request goes out.
    Request {
        /// `GET`.
        method: &'a http::Method,
        /// The whole address.
        url: &'a Uri,
        /// What is sent.
        headers: &'a HeaderMap,
        /// Empty: none.
        body: &'a [u8],
    },
    /// An answer begins.
    Response {
        /// `GET`.
        method: &'a http::Method,
        /// The whole address.
        url: &'a Uri,
        /// The code of the answer.
        status: StatusCode,
        /// What came back.
        headers: &'a HeaderMap,
        /// Until the answer began.
        took: Duration,
    },
    /// The whole body of an answer; of what is read as it comes nothing is told.
    Body(&'a [u8]),
}

impl HttpTransport {
    /// From a configuration; connects at the first request.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let connector = config.connector()?;
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(Dial(connector.clone()));
        let user_agent = concat!("onggi/", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            pool,
            connector,
            server: config.uri()?,
            token: config.token.clone(),
            impersonation: impersonation(&config.impersonate)?,
            user_agent: HeaderValue::from_static(user_agent),
            watcher: None,
        })
    }

    /// The same, with somebody who is told of all that goes and comes.
    pub fn watched(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// The server, as the configuration names it.
    pub fn server(&self) -> &Uri {
        &self.server
    }

    /// Any request; the URI is a path with a query (`/api/v1/…?…`). What is no success comes back
    /// as an error with the server's `Status`.
    pub async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        let response = self.raw(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.read(response).await?;
        Err(failure(status, &body).into())
    }

    /// As [`Self::send`], with the answer as it is, failures too.
    pub fn raw(
        &self,
        mut request: http::Request<Full<Bytes>>,
    ) -> BoxFuture<'_, Result<http::Response<Incoming>, Error>> {
        Box::pin(async move {
            *request.uri_mut() = self.absolute(request.uri())?;
            self.headers(request.headers_mut()).await?;
            let failed = |e: hyper_util::client::legacy::Error| self.broken(&e);
            let Some(watcher) = &self.watcher else {
                return self.pool.request(request).await.map_err(failed);
            };
            let (method, url) = (request.method().clone(), request.uri().clone());
            let body = request.body().clone().collect().await.map(|body| body.to_bytes());
            watcher(&Seen::Request {
                method: &method,
                url: &url,
                headers: request.headers(),
                body: body.as_deref().unwrap_or_default(),
            });
            let begun = std::time::Instant::now();
            let response = self.pool.request(request).await.map_err(failed)?;
            watcher(&Seen::Response {
                method: &method,
                url: &url,
                status: response.status(),
                headers: response.headers(),
                took: begun.elapsed(),
            });
            Ok(response)
        })
    }

    /// `GET` of a path, whole.
    pub async fn get(&self, path: &str, accept: &'static str) -> Result<Bytes, Error> {
        let request = http::Request::get(path)
            .header(ACCEPT, accept)
            .body(Full::default())
            .map_err(|e| Error::Decode(format!("path {path:?}: {e}")))?;
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// The whole body of an answer.
    pub async fn read(&self, response: http::Response<Incoming>) -> Result<Bytes, Error> {
        self.whole(response.into_body()).await
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Error> {
        let body = body.collect().await.map_err(|e| self.broken(&e))?.to_bytes();
        if let Some(watcher) = &self.watcher {
            watcher(&Seen::Body(&body));
        }
        Ok(body)
    }

    /// The body of an answer as it comes, as of `logs -f`.
    pub fn stream(
        &self,
        response: http::Response<Incoming>,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let server = self.server.to_string();
        body_stream(response.into_body())
            .map(move |part| part.map_err(|message| connection(&server, message)))
            .boxed()
    }

    /// The headers that every request has.
    pub(crate) async fn headers(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        headers.entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        for (name, value) in &self.impersonation {
            headers.append(name, value.clone());
        }
        if let Some(token) = &self.token {
            let text = token.read().await.map_err(|e| self.broken(&e))?;
            let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| {
                let text = "the token holds characters that no token has".to_owned();
                connection(&self.server.to_string(), text)
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// A path below the server's address.
    pub(crate) fn absolute(&self, path: &Uri) -> Result<Uri, Error> {
        let prefix = self.server.path().trim_end_matches('/');
        let rest = path.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut parts = self.server.clone().into_parts();
        parts.path_and_query = format!("{prefix}{rest}").parse().ok();
        Uri::from_parts(parts).map_err(|e| Error::Decode(format!("path {path}: {e}")))
    }

    pub(crate) fn host_header(&self) -> Option<(http::HeaderName, HeaderValue)> {
        let authority = self.server.authority()?;
        Some((HOST, HeaderValue::from_str(authority.as_str()).ok()?))
    }

    pub(crate) fn broken(&self, error: &dyn std::error::Error) -> Error {
        connection(&self.server.to_string(), causes(error))
    }

    /// Sends a call until the server no longer puts it off.
    async fn persist(
        &self,
        request: &http::Request<Full<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), Error> {
        let mut tries = 0;
        loop {
            let (parts, body) = self.raw(request.clone()).await?.into_parts();
            let body = self.whole(body).await?;
            tries += 1;
            match put_off(&parts) {
                Some(delay) if tries <= PUT_OFF_RETRIES => tokio::time::sleep(delay).await,
                _ => return Ok((parts, body)),
            }
        }
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let context = decode::Context::of(&request);
        let encoded = encode::request(request)?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.persist(&encoded)).await;
        let (parts, body) = answer.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
            Err(connection(&self.server.to_string(), text))
        })?;
        if !parts.status.is_success() {
            return Err(failure(parts.status, &body).into());
        }
        decode::response(&context, &parts, &body)
    }

    async fn watch(&self, spec: WatchSpec) -> Result<EventStream, Error> {
        let fields = decode::fields_of(&spec.resource);
        let response = self.send(encode::watch(&spec)?).await?;
        let lines = lines::lines(self.stream(response));
        let events = lines.map(move |line| decode::event(&line?, fields));
        Ok(Box::pin(events))
    }

    async fn aggregated(&self) -> Result<serde_json::Value, Error> {
        const GROUPS: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let bytes = self.get("/apis", GROUPS).await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Decode(format!("/apis: {e}")))
    }
}

/// The headers of an impersonation.
fn impersonation(wanted: &Impersonation) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    let extra = wanted.extra.iter().map(|(key, value)| (format!("Impersonate-Extra-{key}"), value));
    let groups = wanted.groups.iter().map(|group| ("Impersonate-Group".to_owned(), group));
    let named = [("Impersonate-User", &wanted.user), ("Impersonate-Uid", &wanted.uid)];
    let named = named.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in named.chain(groups).chain(extra).filter(|(_, value)| !value.is_empty()) {
        let wrong = |problem: String| ConfigError::Server { server: name.clone(), problem };
        let header = http::HeaderName::try_from(&name).map_err(|e| wrong(e.to_string()))?;
        let value = HeaderValue::try_from(value).map_err(|e| wrong(e.to_string()))?;
        headers.append(header, value);
    }
    Ok(headers)
}

/// The wait that a server asks for that is too busy (429) or not ready (503).
fn put_off(parts: &http::response::Parts) -> Option<Duration> {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let seconds = parts.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    busy.contains(&parts.status).then(|| Duration::from_secs(seconds))
}

fn connection(server: &str, message: String) -> Error {
    Error::Connection { server: server.trim_end_matches('/').to_owned(), message }
}

/// The innermost causes: outer ones only say that something failed.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut inner = error.source();
    while let Some(cause) = inner {
        let text = cause.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        inner = cause.source();
    }
    texts.join(": ")
}

/// How the pool opens connections.
#[derive(Clone)]
struct Dial(Connector);

impl tower_service::Service<Uri> for Dial {
    type Response = Io;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Io>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move {
            let connected = connector.connect(false).await?;
            Ok(Io::new(connected.stream, connected.http2))
        })
    }
}

/// A connection as a pool of hyper's takes it.
pub struct Io {
    stream: TokioIo<Box<dyn Duplex>>,
    http2: bool,
}

impl Io {
    /// `http2`: what the other side has chosen.
    pub fn new(stream: Box<dyn Duplex>, http2: bool) -> Self {
        Self { stream: TokioIo::new(stream), http2 }
    }
}

impl Connection for Io {
    fn connected(&self) -> PoolInfo {
        if self.http2 { PoolInfo::new().negotiated_h2() } else { PoolInfo::new() }
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
