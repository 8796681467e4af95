//! How a service asks another one: names by the cluster's DNS, JSON back.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use http_body_util::{BodyExt, Empty};
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// A pool of connections.
pub(crate) struct Client {
    pool: Pool<HttpConnector<Resolver>, Empty<Bytes>>,
    authorization: Option<String>,
}

/// Why another service gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}: {1}")]
    Unreachable(String, String),
    #[error("{0}: no answer within 5 s")]
    Timeout(String),
    #[error("{0}: {1}")]
    Answer(String, StatusCode),
}

impl Client {
    pub(crate) fn new(authorization: Option<String>) -> Self {
        let connector = HttpConnector::new_with_resolver(Resolver);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { pool, authorization }
    }

    /// GET; anything but 200 is an error.
    pub(crate) async fn get(&self, url: &str) -> Result<Value, AskError> {
        match tokio::time::timeout(TIMEOUT, self.fetch(url)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Timeout(url.to_owned())),
        }
    }

    async fn fetch(&self, url: &str) -> Result<Value, AskError> {
        let unreachable =
            |error: &dyn std::error::Error| AskError::Unreachable(url.to_owned(), chain(error));
        let mut request = Request::get(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new()).map_err(|e| unreachable(&e))?;
        let response = self.pool.request(request).await.map_err(|e| unreachable(&e))?;
        let code = response.status();
        let body = response.into_body().collect().await.map_err(|e| unreachable(&e))?.to_bytes();
        if code != StatusCode::OK {
            return Err(AskError::Answer(url.to_owned(), code));
        }
        serde_json::from_slice(&body).map_err(|e| unreachable(&e))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Reads `/etc/resolv.conf` for each look-up: it is small, and a pod's never goes stale.
#[derive(Clone)]
struct Resolver;

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            if name.as_str() == "localhost" {
                return Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))].into_iter());
            }
            let resolver = TokioResolver::builder_tokio()
                .and_then(|builder| builder.build())
                .map_err(io::Error::other)?;
            let found = resolver.lookup_ip(name.as_str()).await.map_err(io::Error::other)?;
            Ok(found.iter().map(|ip| SocketAddr::new(ip, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}
