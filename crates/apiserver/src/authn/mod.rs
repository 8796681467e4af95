//! Who is it: client certificates, service account tokens; whoever shows nothing is
//! `system:anonymous`. Whoever shows something wrong is refused (401).

mod token;

use onggi_api::Status;
use onggi_base::pki;

use crate::registry::Registry;

pub(crate) use token::{Bound, Grant, TokenAuthority};

/// A user as authorization sees it (`user.Info`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// `system:kube-scheduler`, `system:serviceaccount:default:web` …
    pub name: String,
    /// Uid of a service account.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
}

/// The group of all who have shown who they are.
const AUTHENTICATED: &str = "system:authenticated";

impl User {
    /// A known user; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]);
        Self { name: name.into(), uid: String::new(), groups: groups.map(str::to_owned).collect() }
    }

    /// Who has shown nothing.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            uid: String::new(),
            groups: vec!["system:unauthenticated".into()],
        }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node that a kubelet speaks for.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|_| self.is_in("system:nodes"))
    }
}

/// The holder of a client certificate that TLS has verified.
pub(crate) fn from_certificate(
    certificate: &rustls::pki_types::CertificateDer<'_>,
) -> Option<User> {
    match pki::identity(certificate) {
        Ok(pki::Identity { user, groups }) if !user.is_empty() => {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            Some(User::new(user, &groups))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "a client certificate cannot be read");
            None
        }
    }
}

/// The user of a request over HTTP: the certificate, else the token, else nobody.
pub(crate) fn from_request(
    registry: &Registry,
    certificate: Option<&User>,
    headers: &http::HeaderMap,
) -> Result<User, Status> {
    if let Some(user) = certificate {
        return Ok(user.clone());
    }
    let Some(header) = headers.get(http::header::AUTHORIZATION) else {
        return Ok(User::anonymous());
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(Status::unauthorized)?;
    registry.tokens.verify(registry, token)
}
