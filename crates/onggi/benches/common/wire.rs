//! One connection, as lean as it can be, so that a figure shows the server and not its client; the
//! same code asks us (through TLS) and the peer (in the clear).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection; requests go one after the other.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// In the clear.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        Self::over(connect(address).await.unwrap()).await
    }

    /// HTTP/2 through TLS, with the client certificate of a configuration.
    pub(crate) async fn tls(config: &onggi_client::Config) -> Self {
        Self::over(encrypted(config, b"h2").await.unwrap()).await
    }

    /// The same by HTTP/1.1.
    pub(crate) async fn http1(config: &onggi_client::Config) -> Self {
        Self::try_http1(config).await.unwrap()
    }

    /// The same with a server that may not be there yet.
    pub(crate) async fn try_http1(config: &onggi_client::Config) -> std::io::Result<Self> {
        let stream = TokioIo::new(encrypted(config, b"http/1.1").await?);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    /// Sends a request; answers head and body, trailers included.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> (Parts, Collected<Bytes>) {
        let (parts, body) = self.open(request).await;
        (parts, body.collect().await.unwrap())
    }

    /// Sends a request; answers the head and what follows as it comes.
    pub(crate) async fn open(&mut self, request: Request<Full<Bytes>>) -> (Parts, Incoming) {
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
        };
        answer.unwrap().into_parts()
    }
}

async fn encrypted(
    config: &onggi_client::Config,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let address = address(config);
    let ca = config.ca.as_deref().unwrap();
    let mut tls = onggi_base::pki::client_config(ca, config.client.as_ref()).unwrap();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(tls)).connect(name, connect(address).await?).await
}

/// Where the server of a configuration listens.
pub(crate) fn address(config: &onggi_client::Config) -> SocketAddr {
    config.server.trim_start_matches("https://").parse().unwrap()
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
