//! Options: who is let in, what they may, what is kept of it.

use onggi_machinery::authentication::Authentication;
use onggi_machinery::authorization::Authorizer;

use crate::aggregation::FrontProxy;
use crate::audit::AuditOptions;
use crate::authn::{StaticTokens, TokenWebhook};
use crate::authz::Mode;

/// Where those who have shown nothing are let in as `system:anonymous`; elsewhere they get 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Anonymous {
    /// Nowhere.
    Nowhere,
    /// At `/livez`, `/readyz` and `/healthz`.
    #[default]
    Health,
    /// Everywhere; what they may is for authorization to say.
    Everywhere,
}

/// The `--requestheader-*` options: a proxy in front that vouches for its users.
#[derive(Debug, Clone, Default)]
pub struct RequestHeader {
    /// Who signs the certificates of proxies (PEM).
    pub ca: String,
    /// Common names that a proxy may have; empty: any.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name; the first that is there counts.
    pub username_headers: Vec<String>,
    /// Headers with groups.
    pub group_headers: Vec<String>,
    /// Beginnings of the headers with more about the user.
    pub extra_headers_prefix: Vec<String>,
}

/// See the module. The default is what `onggi up` runs with.
#[derive(Debug, Clone)]
pub struct Access {
    /// `--authorization-mode`, in this order.
    pub modes: Vec<Mode>,
    /// `--authorization-config`, or the modes where a webhook is among them; empty: the modes.
    pub authorization: Vec<Authorizer>,
    /// `--authentication-config` and `--oidc-*`.
    pub authentication: Authentication,
    /// `--authentication-token-webhook-*`.
    pub token_webhook: Option<TokenWebhook>,
    /// `--anonymous-auth`.
    pub anonymous: Anonymous,
    /// `--token-auth-file`.
    pub static_tokens: StaticTokens,
    /// Whether Secrets of the type `bootstrap.kubernetes.io/token` let nodes in.
    pub bootstrap_tokens: bool,
    /// `--service-account-key-file`: further keys that tokens of service accounts may be signed
    /// with (P-256, PEM, private or public).
    pub verify_keys: Vec<String>,
    /// `--api-audiences`; empty: the issuer.
    pub api_audiences: Vec<String>,
    /// Who signs the certificates of users (PEM); needed where `request_header` is set, because
    /// TLS takes both.
    pub client_ca: String,
    /// `--requestheader-*`.
    pub request_header: Option<RequestHeader>,
    /// As whom this server speaks to aggregated ones; `None`: they are told nothing that they could
    /// believe.
    pub front_proxy: Option<FrontProxy>,
    /// The certificates, in PEM, by which pods know this server: `ca.crt` beside long-lived tokens.
    pub root_ca: String,
    /// `--audit-policy-file` and `--audit-log-*`; `None`: no audit log.
    pub audit: Option<AuditOptions>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            modes: vec![Mode::Node, Mode::Rbac],
            authorization: Vec::new(),
            authentication: Authentication::default(),
            token_webhook: None,
            anonymous: Anonymous::default(),
            static_tokens: StaticTokens::default(),
            bootstrap_tokens: true,
            verify_keys: Vec::new(),
            api_audiences: Vec::new(),
            client_ca: String::new(),
            request_header: None,
            front_proxy: None,
            root_ca: String::new(),
            audit: None,
        }
    }
}
