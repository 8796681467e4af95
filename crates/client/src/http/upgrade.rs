//! Requests whose connection becomes something else: WebSockets and SPDY that are passed on.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::HttpTransport;
use crate::transport::Error;

impl HttpTransport {
    /// Sends a request over a connection of its own, with HTTP/1.1. After an answer of 101 the
    /// connection is what `hyper::upgrade::on` gives of the answer.
    pub async fn upgrade(
        &self,
        mut request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        self.headers(request.headers_mut()).await?;
        if let Some((name, value)) = self.host_header() {
            request.headers_mut().insert(name, value);
        }
        // To the server itself a path is enough.
        let path = self.absolute(request.uri())?;
        let path = path.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() =
            path.parse().map_err(|e| Error::Decode(format!("path {path:?}: {e}")))?;
        let connected = self.connector.connect(true).await.map_err(|e| self.broken(&e))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(connected.stream)).await.map_err(|e| self.broken(&e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection that was passed on ended");
            }
        });
        sender.send_request(request).await.map_err(|e| self.broken(&e))
    }
}
