//! One HTTP/2 connection, as lean as it can be, so that a figure shows the server and not its
//! client; the same code asks us (through TLS) and the peer (in the clear).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt, Collected, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection; requests go one after the other.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// In the clear.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::over(connect(address).await).await
    }

    /// Through TLS, with the client certificate of a configuration.
    pub(crate) async fn tls(config: &onggi_client::Config) -> Self {
        let address: SocketAddr = config.server.trim_start_matches("https://").parse().unwrap();
        let ca = config.ca.as_deref().unwrap();
        let mut tls = onggi_base::pki::client_config(ca, config.client.as_ref()).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::from(address.ip());
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, connect(address).await).await;
        Self::over(stream.unwrap()).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request; answers head and body, trailers included.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> (Parts, Collected<Bytes>) {
        self.0.ready().await.unwrap();
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap())
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
