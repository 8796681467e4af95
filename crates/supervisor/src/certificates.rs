//! The instance's own certificates and keys: made once, leaves issued anew at each start, so that
//! none expires while the cluster is in use.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use onggi_apiserver::FrontProxy;
use onggi_base::files::write_atomic;
use onggi_base::pki::{self, Authority, Pair};
use rustls::ServerConfig;

use crate::options::Options;
use crate::paths::Paths;

/// What the API server and its clients show each other.
pub struct Certificates {
    /// The authority's certificate.
    pub ca: String,
    /// For listeners.
    pub server: Arc<ServerConfig>,
    /// Signs the tokens of service accounts: P-256, PKCS #8, PEM.
    pub token_key: String,
    /// The administrator's.
    pub admin: Pair,
    /// Signs requests for certificates.
    pub signer: Arc<Authority>,
    /// As whom the API server speaks to aggregated ones.
    pub front_proxy: FrontProxy,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// An option of the control plane.
    #[error(transparent)]
    Control(#[from] crate::control::Error),
    /// A key file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// Opens or makes the authority and issues the leaves. `addresses` are those at which the API server
/// answers beside loopback.
pub fn open(
    paths: &Paths,
    options: &Options,
    addresses: &[Ipv4Addr],
) -> Result<Certificates, Error> {
    let now = time::OffsetDateTime::now_utc();
    let authority = Authority::open(&paths.pki(), "ca", now)?;
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        &options.node_name,
    ]
    .map(str::to_owned);
    let mut ips: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), options.listen.ip()];
    ips.extend(addresses.iter().copied().map(IpAddr::from));
    ips.sort();
    ips.dedup();
    ips.retain(|ip| !ip.is_unspecified());
    let server = match options.control.serving()? {
        Some(given) => given,
        None => authority.issue_server("onggi-apiserver", &names, &ips, now)?,
    };
    let client_ca = options.control.tls_client_ca(authority.certificate())?;
    let server = Arc::new(pki::server_config(&server, &client_ca)?);
    let admin = authority.issue_client("onggi-admin", Some("system:masters"), now)?;
    let token_key = token_key(paths)?;
    let ca = authority.certificate().to_owned();
    let front_proxy = match options.control.front_proxy()? {
        Some(given) => given,
        None => front_proxy(paths, now)?,
    };
    let signer = options.control.signer()?.unwrap_or_else(|| Arc::new(authority));
    Ok(Certificates { ca, server, token_key, admin, signer, front_proxy })
}

/// An authority of its own: whoever trusts it believes what is said of users.
fn front_proxy(paths: &Paths, now: time::OffsetDateTime) -> Result<FrontProxy, Error> {
    const NAME: &str = "front-proxy-client";
    let authority = Authority::open(&paths.pki(), "front-proxy-ca", now)?;
    Ok(FrontProxy {
        client: authority.issue_client(NAME, None, now)?,
        ca: authority.certificate().to_owned(),
        allowed_names: vec![NAME.to_owned()],
    })
}

fn token_key(paths: &Paths) -> Result<String, Error> {
    let path = paths.pki().join("service-account.key");
    match fs::read_to_string(&path) {
        Ok(key) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = pki::generate_key()?;
            write_atomic(&path, key.as_bytes(), 0o600)
                .map_err(|source| Error::File { path, source })?;
            Ok(key)
        }
        Err(source) => Err(Error::File { path, source }),
    }
}
