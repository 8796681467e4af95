//! What a client's certificate says: who holds it, or that it is a proxy which says who asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_base::pki;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};

use super::{CREDENTIAL_ID, User};
use crate::access::{Access, RequestHeader};

/// The other end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The holder of a certificate that is good for users.
    pub(crate) user: Option<Arc<User>>,
    /// It is a proxy in front of us: what its headers say counts.
    proxy: bool,
}

/// Who may sign certificates of users and of proxies.
pub(crate) struct ClientAuthorities {
    /// `None`: whatever TLS has let through.
    users: Option<Arc<dyn ClientCertVerifier>>,
    proxies: Option<(Arc<dyn ClientCertVerifier>, RequestHeader)>,
}

impl ClientAuthorities {
    pub(super) fn new(access: &Access) -> Result<Self, String> {
        let verifier = |pem: &str| pki::client_verifier(pem).map_err(|error| error.to_string());
        let Some(request_header) = &access.request_header else {
            return Ok(Self { users: None, proxies: None });
        };
        let users = Some(verifier(&access.client_ca)?);
        Ok(Self { users, proxies: Some((verifier(&request_header.ca)?, request_header.clone())) })
    }

    /// Reads the certificates that TLS has verified against one of the authorities.
    pub(crate) fn peer(&self, chain: &[CertificateDer<'_>]) -> Peer {
        let Some((own, others)) = chain.split_first() else { return Peer::default() };
        let good = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(own, others, UnixTime::now()).is_ok()
        };
        let identity = match pki::identity(own) {
            Ok(identity) => identity,
            Err(error) => {
                tracing::debug!(%error, "a client certificate cannot be read");
                return Peer::default();
            }
        };
        let proxy = self.proxies.as_ref().is_some_and(|(verifier, options)| {
            let names = &options.allowed_names;
            good(verifier) && (names.is_empty() || names.contains(&identity.user))
        });
        let is_user = !identity.user.is_empty() && self.users.as_ref().is_none_or(good);
        let user = is_user.then(|| {
            let groups: Vec<&str> = identity.groups.iter().map(String::as_str).collect();
            let id = format!("X509SHA256={}", hex::encode(Sha256::digest(own)));
            let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![id])]);
            Arc::new(User { extra, ..User::new(identity.user, &groups) })
        });
        Peer { user, proxy }
    }

    /// The user that a proxy names.
    pub(super) fn proxied(&self, peer: &Peer, headers: &http::HeaderMap) -> Option<User> {
        let (_, options) = self.proxies.as_ref().filter(|_| peer.proxy)?;
        let texts = |name: &String| {
            let values = headers.get_all(name.as_str()).into_iter();
            values.filter_map(|value| value.to_str().ok()).map(str::trim).map(str::to_owned)
        };
        let name = options
            .username_headers
            .iter()
            .find_map(|header| texts(header).find(|name| !name.is_empty()))?;
        let groups = options.group_headers.iter().flat_map(texts).filter(|g| !g.is_empty());
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &options.extra_headers_prefix {
            for (header, value) in headers {
                let prefix = prefix.to_ascii_lowercase();
                let Some(key) = header.as_str().strip_prefix(&prefix) else { continue };
                let key = super::impersonate::unescape(key);
                extra.entry(key).or_default().extend(value.to_str().ok().map(str::to_owned));
            }
        }
        let groups: Vec<String> = groups.collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        Some(User { extra, ..User::new(name, &groups) })
    }
}
