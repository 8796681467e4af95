//! Users and decisions from elsewhere: OpenID Connect, and webhooks for tokens and access.

use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_apiserver::{Access, Mode, TokenWebhook};
use onggi_machinery::authentication::{self, Authentication, ClaimRule, Jwt, Mapping};
use onggi_machinery::authorization::{self, Authorizer, Webhook};
use serde::{Deserialize, Serialize};

use super::{Error, read, wrong};

/// By the names of kube-apiserver; what is empty was not given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// `--oidc-issuer-url`.
    pub oidc_issuer_url: Option<String>,
    /// `--oidc-client-id`.
    pub oidc_client_id: Option<String>,
    /// `--oidc-username-claim`.
    pub oidc_username_claim: Option<String>,
    /// `--oidc-username-prefix`; `-`: none.
    pub oidc_username_prefix: Option<String>,
    /// `--oidc-groups-claim`.
    pub oidc_groups_claim: Option<String>,
    /// `--oidc-groups-prefix`.
    pub oidc_groups_prefix: Option<String>,
    /// `--oidc-required-claim`: `key=value`.
    pub oidc_required_claims: Vec<String>,
    /// `--oidc-signing-algs`.
    pub oidc_signing_algs: Vec<String>,
    /// `--oidc-ca-file`.
    pub oidc_ca_file: Option<PathBuf>,
    /// `--authentication-config`.
    pub authentication_config: Option<PathBuf>,
    /// `--authentication-token-webhook-config-file`.
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// `--authentication-token-webhook-version`.
    pub authentication_token_webhook_version: Option<String>,
    /// `--authentication-token-webhook-cache-ttl`, as `2m`.
    pub authentication_token_webhook_cache_ttl: Option<String>,
    /// `--authorization-config`.
    pub authorization_config: Option<PathBuf>,
    /// `--authorization-webhook-config-file`.
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// `--authorization-webhook-cache-authorized-ttl`.
    pub authorization_webhook_cache_authorized_ttl: Option<String>,
    /// `--authorization-webhook-cache-unauthorized-ttl`.
    pub authorization_webhook_cache_unauthorized_ttl: Option<String>,
}

fn duration(option: &'static str, text: Option<&str>, usual: u64) -> Result<Duration, Error> {
    let Some(text) = text else { return Ok(Duration::from_secs(usual)) };
    let problem = || wrong(option)(format!("{text:?} is no duration such as 30s or 5m"));
    authorization::seconds(text).ok_or_else(problem)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Identity {
    /// Puts what was given where the server looks for it.
    pub(super) fn apply(&self, access: &mut Access) -> Result<(), Error> {
        access.authentication = self.authentication()?;
        if let Some(path) = &self.authentication_token_webhook_config_file {
            let ttl = self.authentication_token_webhook_cache_ttl.as_deref();
            let version = self.authentication_token_webhook_version.clone();
            access.token_webhook = Some(TokenWebhook {
                kubeconfig: text(path),
                version: version.unwrap_or_else(|| "v1beta1".into()),
                ttl: duration("authentication-token-webhook-cache-ttl", ttl, 120)?,
            });
        }
        access.authorization = self.authorization(&access.modes)?;
        Ok(())
    }

    fn authentication(&self) -> Result<Authentication, Error> {
        const OPTION: &str = "authentication-config";
        let oidc = self.oidc()?;
        let Some(path) = &self.authentication_config else {
            return Ok(Authentication { jwt: oidc.into_iter().collect(), anonymous: None });
        };
        if oidc.is_some() {
            let problem = "cannot be used with --oidc-issuer-url: name the issuer in the file";
            return Err(wrong(OPTION)(problem.into()));
        }
        let problem = |e| wrong(OPTION)(format!("{}: {e}", path.display()));
        authentication::read(&read(OPTION, path)?).map_err(problem)
    }

    fn oidc(&self) -> Result<Option<Jwt>, Error> {
        const OPTION: &str = "oidc-issuer-url";
        let (url, client) = match (&self.oidc_issuer_url, &self.oidc_client_id) {
            (Some(url), Some(client)) => (url, client),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(wrong("oidc-client-id")("is missing".into())),
            (None, Some(_)) => return Err(wrong(OPTION)("is missing".into())),
        };
        if !url.starts_with("https://") {
            return Err(wrong(OPTION)(format!("{url:?}: URL scheme must be https")));
        }
        let claim = self.oidc_username_claim.clone().unwrap_or_else(|| "sub".into());
        // Names of different issuers must not be taken for one another.
        let prefix = match self.oidc_username_prefix.as_deref() {
            Some("-") => String::new(),
            Some("") | None if claim == "email" => String::new(),
            Some("") | None => format!("{url}#"),
            Some(prefix) => prefix.to_owned(),
        };
        let required = self.oidc_required_claims.iter().map(|pair| {
            let (claim, value) = pair.split_once('=').ok_or_else(|| {
                wrong("oidc-required-claim")(format!("{pair:?} is not of the form key=value"))
            })?;
            Ok(ClaimRule::Required { claim: claim.trim().into(), value: value.trim().into() })
        });
        let groups = self.oidc_groups_claim.clone().map(|name| {
            let prefix = self.oidc_groups_prefix.clone().unwrap_or_default();
            Mapping::Claim { name, prefix }
        });
        let algs = match self.oidc_signing_algs.as_slice() {
            [] => vec!["RS256".to_owned()],
            some => some.to_vec(),
        };
        let authority = match &self.oidc_ca_file {
            Some(path) => read("oidc-ca-file", path)?,
            None => String::new(),
        };
        Ok(Some(Jwt {
            url: url.clone(),
            discovery_url: String::new(),
            authority,
            audiences: vec![client.clone()],
            signing_algs: algs,
            username: Mapping::Claim { name: claim, prefix },
            groups,
            uid: None,
            extra: Vec::new(),
            claim_rules: required.collect::<Result<_, Error>>()?,
            user_rules: Vec::new(),
        }))
    }

    /// The chain, where it is more than our own modes.
    fn authorization(&self, modes: &[Mode]) -> Result<Vec<Authorizer>, Error> {
        const OPTION: &str = "authorization-webhook-config-file";
        if let Some(path) = &self.authorization_config {
            const OPTION: &str = "authorization-config";
            let problem = |e| wrong(OPTION)(format!("{}: {e}", path.display()));
            return authorization::read(&read(OPTION, path)?).map_err(problem);
        }
        if !modes.contains(&Mode::Webhook) {
            return match &self.authorization_webhook_config_file {
                Some(_) => Err(wrong(OPTION)("needs --authorization-mode=Webhook".into())),
                None => Ok(Vec::new()),
            };
        }
        let Some(path) = &self.authorization_webhook_config_file else {
            return Err(wrong(OPTION)("is missing: a mode is Webhook".into()));
        };
        let authorized = self.authorization_webhook_cache_authorized_ttl.as_deref();
        let unauthorized = self.authorization_webhook_cache_unauthorized_ttl.as_deref();
        let hook = Webhook {
            authorized_ttl: duration(
                "authorization-webhook-cache-authorized-ttl",
                authorized,
                300,
            )?,
            unauthorized_ttl: duration(
                "authorization-webhook-cache-unauthorized-ttl",
                unauthorized,
                30,
            )?,
            ..Webhook::new("default", &text(path))
        };
        let one = |mode: &Mode| match mode {
            Mode::Webhook => Authorizer::Webhook(hook.clone()),
            Mode::Node => Authorizer::Own("Node".into()),
            Mode::Rbac => Authorizer::Own("RBAC".into()),
            Mode::AlwaysAllow => Authorizer::Own("AlwaysAllow".into()),
            Mode::AlwaysDeny => Authorizer::Own("AlwaysDeny".into()),
        };
        Ok(modes.iter().map(one).collect())
    }
}
