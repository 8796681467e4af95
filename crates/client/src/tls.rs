//! Connections to an API server: address, TLS, who we are.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use onggi_base::pki::{self, Pair};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::node::Duplex;
use crate::resolve::resolve;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a pod finds the API server and its own identity.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An API server and the caller's credentials: what a context of a kubeconfig comes down to.
#[derive(Clone, Default)]
pub struct Config {
    /// `https://10.0.0.1:6443`, with a path where the server is behind one; or `http://…`.
    pub server: String,
    /// Authorities that the server's certificate may come from (PEM); `None`: the machine's.
    pub ca: Option<String>,
    /// `insecure-skip-tls-verify`.
    pub insecure: bool,
    /// `tls-server-name`, where the certificate has another name than the address.
    pub server_name: Option<String>,
    /// Client certificate.
    pub client: Option<Pair>,
    /// Bearer token.
    pub token: Option<Token>,
    /// Who the caller wants to be taken for.
    pub impersonate: Impersonation,
}

/// `--as`, `--as-group`, `--as-uid` and `as-user-extra`: what the server is asked to take the
/// caller for. All empty: for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// The user.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The uid.
    pub uid: String,
    /// Further keys, each with its values.
    pub extra: Vec<(String, String)>,
}

/// A bearer token.
#[derive(Clone)]
pub enum Token {
    /// As it is.
    Text(String),
    /// In a file that is written anew before it expires, as in a pod; read for each request.
    File(PathBuf),
}

/// The configuration leads to no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// The address cannot be used.
    #[error("server {server:?}: {problem}")]
    Server {
        /// As it was given.
        server: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificates, keys or authorities cannot be used.
    #[error("TLS for {server}: {problem}")]
    Tls {
        /// The server.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("{path}: {problem}")]
    File {
        /// Which.
        path: String,
        /// What happened.
        problem: String,
    },
}

/// Opens connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None` for `http://`.
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    name: ServerName<'static>,
    /// HTTP/2, or HTTP/1.1 where the server has none.
    any: Arc<ClientConfig>,
    /// HTTP/1.1, which WebSockets need.
    http1: Arc<ClientConfig>,
}

/// An open connection.
pub(crate) struct Connected {
    pub(crate) stream: Box<dyn Duplex>,
    pub(crate) http2: bool,
}

// === impl Config ===

impl Config {
    /// For a server and one authority.
    pub fn new(server: impl Into<String>, ca: impl Into<String>) -> Self {
        Self { server: server.into(), ca: Some(ca.into()), ..Self::default() }
    }

    /// With a client certificate.
    pub fn client(mut self, pair: Pair) -> Self {
        self.client = Some(pair);
        self
    }

    /// In a pod: the service account's token and authority, the server of the environment.
    pub fn in_cluster() -> Result<Self, ConfigError> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| ConfigError::Server {
                server: String::new(),
                problem: format!("{name} is not set: this is no pod"),
            })
        };
        let (host, port) =
            (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let path = format!("{SERVICE_ACCOUNT}/ca.crt");
        let ca = fs::read_to_string(&path)
            .map_err(|e| ConfigError::File { path, problem: e.to_string() })?;
        let token = Token::File(format!("{SERVICE_ACCOUNT}/token").into());
        Ok(Self { token: Some(token), ..Self::new(format!("https://{host}:{port}"), ca) })
    }

    /// The address taken apart.
    pub(crate) fn uri(&self) -> Result<Uri, ConfigError> {
        let wrong = |problem: &str| ConfigError::Server {
            server: self.server.clone(),
            problem: problem.to_owned(),
        };
        let uri: Uri = self.server.parse().map_err(|_| wrong("is no URL"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("https" | "http"), Some(_)) => Ok(uri),
            _ => Err(wrong("must begin with https:// and name a host")),
        }
    }

    pub(crate) fn connector(&self) -> Result<Connector, ConfigError> {
        let uri = self.uri()?;
        let host = uri.host().unwrap_or_default().to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(self.tls(&host)?) } else { None };
        Ok(Connector { host, port, tls })
    }

    fn tls(&self, host: &str) -> Result<Tls, ConfigError> {
        let wrong = |problem: String| ConfigError::Tls { server: self.server.clone(), problem };
        let name = self.server_name.as_deref().unwrap_or(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|_| wrong(format!("{name:?} can be no name in a certificate")))?;
        let mut config = self.client_config().map_err(|e| wrong(e.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols.insert(0, b"h2".to_vec());
        Ok(Tls { name, any: Arc::new(config), http1 })
    }

    /// Whom the caller trusts and what it shows, for who dials by another way.
    pub fn client_config(&self) -> Result<ClientConfig, pki::Error> {
        match &self.ca {
            Some(ca) if !self.insecure => pki::client_config(ca, self.client.as_ref()),
            _ => self.unusual_config(),
        }
    }

    /// A server that the machine's authorities vouch for, or nobody.
    fn unusual_config(&self) -> Result<ClientConfig, pki::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wrong = |e: rustls::Error| pki::Error::Invalid {
            what: "TLS configuration".into(),
            message: e.to_string(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots)
        };
        match &self.client {
            None => Ok(builder.with_no_client_auth()),
            Some(pair) => {
                let (chain, key) = pair.to_rustls()?;
                builder.with_client_auth_cert(chain, key).map_err(wrong)
            }
        }
    }
}

// === impl Token ===

impl Token {
    /// The text to send.
    pub(crate) async fn read(&self) -> Result<String, ConfigError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(e) => Err(ConfigError::File {
                    path: path.display().to_string(),
                    problem: e.to_string(),
                }),
            },
        }
    }
}

// === impl Connector ===

impl Connector {
    /// A new connection; `http1` where HTTP/2 will not do.
    pub(crate) async fn connect(&self, http1: bool) -> std::io::Result<Connected> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open(http1)).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
        })
    }

    async fn open(&self, http1: bool) -> std::io::Result<Connected> {
        let addresses = resolve(&self.host, self.port).await?;
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Connected { stream: Box::new(stream), http2: false });
        };
        let config = if http1 { &tls.http1 } else { &tls.any };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(tls.name.clone(), stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected { stream: Box::new(stream), http2 })
    }
}

/// A client that takes whoever answers for the server, and shows no certificate of its own: for
/// probes and proxies, where the address says who it is.
pub fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth())
}

/// `insecure-skip-tls-verify`: whoever answers is taken for the server.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
