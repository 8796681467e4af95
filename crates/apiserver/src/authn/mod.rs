//! Who is it: a proxy's word, client certificates, tokens; whoever shows nothing is
//! `system:anonymous` where that is let in. Whoever shows something wrong is refused (401).

mod bootstrap_token;
mod certificate;
mod counts;
mod impersonate;
mod jwt;
mod last_used;
mod reviews;
mod static_tokens;
mod token;
mod webhook;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use onggi_api::Status;
use onggi_machinery::resource::Resource;
use onggi_machinery::value::map_mut;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::access::{Access, Anonymous};
use crate::registry::Registry;

pub(crate) use certificate::{ClientAuthorities, Peer};
use counts::{Attempt, Counts};
pub(crate) use impersonate::impersonated;
pub(crate) use reviews::{self_subject_review, token_review};
pub use static_tokens::StaticTokens;
pub(crate) use token::{Bound, BoundKind, Grant, TokenAuthority};
pub use webhook::TokenWebhook;

/// A user as authorization sees it (`user.Info`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// `system:kube-scheduler`, `system:serviceaccount:default:web` …
    pub name: String,
    /// Uid of a service account.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// What else is known: which credential it was, which pod it was given to.
    pub extra: BTreeMap<String, Vec<String>>,
    /// What its requests are warned of; empty: nothing.
    pub(crate) advice: &'static str,
}

/// The group of all who have shown who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who have not.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Who has shown nothing.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// `extra`: which credential it was.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

impl User {
    /// A known user; `system:authenticated` is added.
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]);
        Self { name: name.into(), groups: groups.map(str::to_owned).collect(), ..Self::default() }
    }

    /// Who has shown nothing.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node that a kubelet speaks for.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|_| self.is_in("system:nodes"))
    }

    /// As reviews and webhooks show it (`authentication.k8s.io/v1 UserInfo`).
    pub(crate) fn to_value(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".into(), self.name.as_str().into());
        if !self.uid.is_empty() {
            info.insert("uid".into(), self.uid.as_str().into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".into(), json!(self.extra));
        }
        Value::Object(info)
    }
}

/// Who asks for a certificate is for the server to say.
pub(crate) fn stamp_requester(row: &Resource, user: &User, object: &mut Value) {
    if (row.group, row.plural) != ("certificates.k8s.io", "certificatesigningrequests") {
        return;
    }
    let spec = map_mut(object, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    if let Value::Object(info) = user.to_value() {
        spec.extend(info);
    }
}

/// A user, and for whom the token that they have shown was made.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) user: User,
    /// Empty: whoever reads it.
    pub(crate) audiences: Vec<String>,
}

/// All ways to show who one is.
pub(crate) struct Authenticators {
    pub(crate) service_accounts: TokenAuthority,
    static_tokens: StaticTokens,
    bootstrap_tokens: bool,
    issuers: Vec<jwt::Issuer>,
    webhook: Option<webhook::Webhook>,
    anonymous: Anonymous,
    /// Where `Anonymous::Everywhere` is not everywhere; empty: no such restriction.
    anonymous_paths: Vec<String>,
    /// Whom this server takes tokens for.
    audiences: Vec<String>,
    pub(crate) certificates: ClientAuthorities,
    counts: Counts,
    /// Uids of Secrets whose last use is being written down.
    marking: Arc<Mutex<HashSet<String>>>,
}

/// The only paths that `system:anonymous` may see where it is restricted.
const HEALTH: [&str; 3] = ["/livez", "/readyz", "/healthz"];

impl Authenticators {
    pub(crate) fn new(tokens: TokenAuthority, access: &Access) -> Result<Self, String> {
        let mut audiences = access.api_audiences.clone();
        if audiences.is_empty() {
            audiences.push(tokens.issuer().to_owned());
        }
        let own = tokens.issuer();
        if access.authentication.jwt.iter().any(|jwt| jwt.url == own) {
            return Err(format!("{own}: this is the issuer of service account tokens"));
        }
        let (mut anonymous, mut anonymous_paths) = (access.anonymous, Vec::new());
        if let Some(said) = &access.authentication.anonymous {
            anonymous = if said.enabled { Anonymous::Everywhere } else { Anonymous::Nowhere };
            anonymous_paths.clone_from(&said.paths);
        }
        let issuers = access.authentication.jwt.iter().map(jwt::Issuer::new);
        let webhook = access.token_webhook.as_ref().map(webhook::Webhook::new);
        Ok(Self {
            issuers: issuers.collect::<Result<_, _>>()?,
            webhook: webhook.transpose()?,
            anonymous_paths,
            service_accounts: tokens,
            static_tokens: access.static_tokens.clone(),
            bootstrap_tokens: access.bootstrap_tokens,
            anonymous,
            audiences,
            certificates: ClientAuthorities::new(access)?,
            counts: Counts::default(),
            marking: Arc::default(),
        })
    }

    /// Whom this server takes tokens for.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// Who holds a token that is meant for one of `audiences`; the error says what is wrong.
    pub(crate) fn token<'a>(
        &'a self,
        registry: &'a Registry,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Shown, String>> {
        Box::pin(async move {
            // Tokens that name nobody are meant for this server.
            let own = |user: User| {
                let meant = audiences.iter().filter(|asked| self.audiences.contains(asked));
                let meant: Vec<String> = meant.cloned().collect();
                match meant.is_empty() && !audiences.is_empty() {
                    true => Err("invalid bearer token".to_owned()),
                    false => Ok(Shown { user, audiences: meant }),
                }
            };
            if let Some(user) = self.static_tokens.find(token) {
                return own(user);
            }
            if self.bootstrap_tokens && bootstrap_token::looks_like(token) {
                return bootstrap_token::verify(registry, token).and_then(own);
            }
            let named = if self.issuers.is_empty() { None } else { jwt::named(token) };
            let issuer = named.and_then(|named| self.issuers.iter().find(|one| one.is(&named)));
            if let Some(issuer) = issuer {
                let shown = issuer.verify(token, registry.clock.seconds()).await?;
                return own(shown.user);
            }
            match (self.service_accounts.verify(registry, token, audiences), &self.webhook) {
                (Err(_), Some(webhook)) => webhook.verify(token, audiences).await,
                (known, _) => known,
            }
        })
    }

    /// Who sends a request over HTTP: a proxy's word, the certificate, the token, or nobody.
    pub(crate) async fn request(
        &self,
        registry: &Registry,
        peer: Option<&Peer>,
        headers: &http::HeaderMap,
        path: &str,
    ) -> Result<Arc<User>, Status> {
        let found = self.identify(registry, peer, headers, path).await;
        self.counts.count(match &found {
            Ok(user) => Attempt::Success(&user.name),
            Err(_) if headers.contains_key(http::header::AUTHORIZATION) => Attempt::Error,
            Err(_) => Attempt::Failure,
        });
        found
    }

    /// What is counted, in the text format of Prometheus.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        self.counts.write(out);
    }

    async fn identify(
        &self,
        registry: &Registry,
        peer: Option<&Peer>,
        headers: &http::HeaderMap,
        path: &str,
    ) -> Result<Arc<User>, Status> {
        if let Some(user) = peer.and_then(|peer| self.certificates.proxied(peer, headers)) {
            return Ok(Arc::new(user));
        }
        if let Some(user) = peer.and_then(|peer| peer.user.as_ref()) {
            return Ok(Arc::clone(user));
        }
        match bearer(headers)? {
            Some(token) => match self.token(registry, &token, &self.audiences).await {
                Ok(shown) => Ok(Arc::new(shown.user)),
                Err(problem) => {
                    tracing::debug!(problem, "a token was refused");
                    Err(Status::unauthorized())
                }
            },
            None => {
                let allowed = match self.anonymous {
                    Anonymous::Nowhere => false,
                    Anonymous::Health => HEALTH.contains(&path),
                    Anonymous::Everywhere if self.anonymous_paths.is_empty() => true,
                    Anonymous::Everywhere => self.anonymous_paths.iter().any(|p| p == path),
                };
                if allowed { Ok(Arc::new(User::anonymous())) } else { Err(Status::unauthorized()) }
            }
        }
    }
}

/// The token of a request; 401 when there is a header that holds none.
fn bearer(headers: &http::HeaderMap) -> Result<Option<String>, Status> {
    let Some(header) = headers.get(http::header::AUTHORIZATION) else {
        return Ok(websocket_bearer(headers));
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .filter(|token| !token.is_empty())
        .ok_or_else(Status::unauthorized)?;
    Ok(Some(token))
}

/// A browser's WebSocket can set no header but the names of its subprotocols.
fn websocket_bearer(headers: &http::HeaderMap) -> Option<String> {
    const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
    let offered = headers.get_all(http::header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut names = offered.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let encoded = names.find_map(|name| name.trim().strip_prefix(PREFIX))?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?;
    String::from_utf8(bytes).ok()
}
