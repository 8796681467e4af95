//! HTTP/1.1 over TCP and TLS, with connections kept for the next request. Names are looked up by
//! hickory, never by the C library; roots of trust are the machine's, or Mozilla's where it has none:
//! both work on an empty root file system.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::body::{self, Body};

/// How long a silent registry is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

type Result<T, E = String> = std::result::Result<T, E>;

/// Connections by origin.
pub(super) struct Wire {
    tls: Arc<rustls::ClientConfig>,
    idle: Mutex<HashMap<String, Vec<SendRequest<Body>>>>,
}

impl Wire {
    pub(super) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls, idle: Mutex::default() }
    }

    /// Sends one request. The answer's body follows at its own pace.
    pub(super) fn send<'a>(
        &'a self,
        method: Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        content: Body,
    ) -> BoxFuture<'a, Result<Response<Incoming>>> {
        Box::pin(async move {
            let mut request = Request::new(content);
            *request.method_mut() = method;
            *request.headers_mut() = headers.clone();
            let authority = uri.authority().ok_or_else(|| format!("{uri} has no host"))?;
            let host = HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?;
            request.headers_mut().insert(HOST, host);
            let agent = HeaderValue::from_static(concat!("onggi/", env!("CARGO_PKG_VERSION")));
            request.headers_mut().insert(USER_AGENT, agent);
            let path = uri.path_and_query().map_or("/", |p| p.as_str());
            *request.uri_mut() = path.parse().map_err(|_| format!("{path:?} is no valid path"))?;

            let origin = origin(uri);
            let mut sender = match self.take(&origin) {
                Some(sender) => sender,
                None => connect(uri, &self.tls).await?,
            };
            let response = timeout(PATIENCE, sender.send_request(request)).await;
            let response = response
                .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
                .map_err(|e| causes(&e))?;
            // Ready again once the answer is read; until then nobody takes it.
            self.idle.lock().entry(origin).or_default().push(sender);
            Ok(response)
        })
    }

    /// Whether a server speaks HTTP in the clear. One that expects TLS answers 400 to that, or nothing
    /// that is HTTP; then it is greeted in TLS. Who does not answer at all does not.
    pub(super) async fn is_plain(&self, host: &str) -> bool {
        let address = |scheme: &str| format!("{scheme}://{host}/v2/").parse::<Uri>();
        let (Ok(plain), Ok(secure)) = (address("http"), address("https")) else { return true };
        let headers = HeaderMap::new();
        let asked = self.send(Method::GET, &plain, &headers, body::empty());
        match timeout(CONNECT, asked).await {
            Ok(Ok(response)) if response.status() != StatusCode::BAD_REQUEST => true,
            _ => !speaks_tls(&secure, &self.tls).await,
        }
    }

    fn take(&self, origin: &str) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        let senders = idle.get_mut(origin)?;
        senders.retain(|sender| !sender.is_closed());
        let ready = senders.iter().position(SendRequest::is_ready)?;
        Some(senders.swap_remove(ready))
    }
}

/// `https://host:port`.
pub(super) fn origin(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |a| a.as_str());
    format!("{}://{authority}", uri.scheme_str().unwrap_or("https"))
}

/// The host of `host`, `host:port`, `[v6]:port`.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

async fn speaks_tls(uri: &Uri, tls: &Arc<rustls::ClientConfig>) -> bool {
    let host = host_of(uri.host().unwrap_or_default()).to_owned();
    let (Ok(name), Ok(tcp)) =
        (ServerName::try_from(host.clone()), dial(&host, uri.port_u16().unwrap_or(443)).await)
    else {
        return false;
    };
    match timeout(CONNECT, TlsConnector::from(Arc::clone(tls)).connect(name, tcp)).await {
        Ok(Ok(_)) => true,
        // It does, and is not believed: whoever asks it next is told so.
        Ok(Err(error)) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
        }
        Err(_) => false,
    }
}

async fn connect(uri: &Uri, tls: &Arc<rustls::ClientConfig>) -> Result<SendRequest<Body>> {
    let host = host_of(uri.host().unwrap_or_default()).to_owned();
    let plain = uri.scheme_str() == Some("http");
    let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
    let tcp = dial(&host, port).await?;
    if plain {
        return start(tcp).await;
    }
    let name = ServerName::try_from(host.clone()).map_err(|e| format!("{host}: {e}"))?;
    let tls = timeout(CONNECT, TlsConnector::from(Arc::clone(tls)).connect(name, tcp)).await;
    let tls = tls
        .map_err(|_| format!("no TLS handshake with {host} within {} s", CONNECT.as_secs()))?
        .map_err(|e| format!("TLS with {host}: {}", causes(&e)))?;
    start(tls).await
}

async fn start<T>(stream: T) -> Result<SendRequest<Body>>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        handshake::<_, Body>(TokioIo::new(stream)).await.map_err(|e| causes(&e))?;
    tokio::spawn(async move {
        // Whoever waits for the answer hears of it too.
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "connection to a registry ended");
        }
    });
    Ok(sender)
}

/// The first address that answers.
async fn dial(host: &str, port: u16) -> Result<TcpStream> {
    let mut failed = format!("{host} has no address");
    for address in look_up(host).await? {
        match timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => {
                // Small requests must not wait for each other's acknowledgement.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(e)) => failed = format!("cannot connect to {host}:{port} ({address}): {e}"),
            Err(_) => failed = format!("cannot connect to {host}:{port} ({address}): timed out"),
        }
    }
    Err(failed)
}

async fn look_up(host: &str) -> Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]);
    }
    let cannot = |e: &dyn StdError| format!("cannot look up {host}: {}", causes(e));
    // Read anew: a machine's name servers change.
    let mut builder = TokioResolver::builder_tokio()
        .map_err(|e| format!("cannot look up {host}: no name servers in /etc/resolv.conf: {e}"))?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|e| cannot(&e))?;
    let found = resolver.lookup_ip(host).await.map_err(|e| cannot(&e))?;
    Ok(found.iter().collect())
}

/// Whom to trust: the machine's roots (Mozilla's where it has none) and those in `own`, PEM files.
pub(crate) fn tls_config(own: &[PathBuf]) -> crate::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for e in native.errors {
        tracing::debug!(error = %e, "root certificate left out");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    for file in own {
        let bad = |e: &dyn StdError| Error::invalid(format!("{}: {e}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))? {
            roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::invalid(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A body whose sender must not fall silent.
pub(super) fn patient<E: StdError + Send + Sync + 'static>(
    stream: impl futures::Stream<Item = std::result::Result<Bytes, E>> + Send + Unpin + 'static,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + Unpin {
    futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        match timeout(PATIENCE, stream.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(stream))),
            Ok(Some(Err(e))) => Some((Err(io::Error::other(e)), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
    .boxed()
}

/// An error with what caused it; the cause of a failed connection is the last.
pub(super) fn causes(e: &dyn StdError) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn tls_with_a_private_authority() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = dir.path().join("ca.pem");
        std::fs::write(&pem, made.cert.pem()).unwrap();
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(Response::new(crate::body::full("hello")))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let uri: Uri = format!("https://localhost:{port}/").parse().unwrap();
        let get = |wire: Arc<Wire>| {
            let uri = uri.clone();
            async move { wire.send(Method::GET, &uri, &HeaderMap::new(), crate::body::empty()).await }
        };
        let trusting = Arc::new(Wire::new(tls_config(&[pem]).unwrap()));
        for _ in 0..3 {
            let response = get(Arc::clone(&trusting)).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
        assert!(
            accepted.load(std::sync::atomic::Ordering::SeqCst) < 3,
            "connections are used again"
        );
        let strict = Arc::new(Wire::new(tls_config(&[]).unwrap()));
        for wire in [&trusting, &strict] {
            assert!(!wire.is_plain(&format!("localhost:{port}")).await);
        }
        let error = get(strict).await.unwrap_err();
        assert!(error.contains("certificate"), "{error}");
        assert!(tls_config(&["/nowhere.pem".into()]).is_err());
    }

    #[tokio::test]
    async fn plain_servers_are_known_by_their_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(Response::new(body::full("hello")))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let wire = Wire::new(tls_config(&[]).unwrap());
        assert!(wire.is_plain(&host).await);
        server.abort();
        assert!(server.await.is_err());
        assert!(wire.is_plain(&host).await, "nobody answers");
    }
}
