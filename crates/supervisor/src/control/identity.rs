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
    /// `--authorization-webhook-version`.
    pub authorization_webhook_version: Option<String>,
    /// `--authorization-webhook-cache-authorized-ttl`.
    pub authorization_webhook_cache_authorized_ttl: Option<String>,
    /// `--authorization-webhook-cache-unauthorized-ttl`.
    pub authorization_webhook_cache_unauthorized_ttl: Option<String>,
}

pub(super) fn duration(
    option: &'static str,
    text: Option<&str>,
    usual: u64,
) -> Result<Duration, Error> {
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
        let version = match self.authorization_webhook_version.as_deref() {
            None => "v1beta1",
            Some(known) if authorization::REVIEWS.contains(&known) => known,
            Some(other) => {
                let problem = format!("{other:?} is neither v1 nor v1beta1");
                return Err(wrong("authorization-webhook-version")(problem));
            }
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
            version: version.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn access(identity: Identity, modes: &[Mode]) -> Result<Access, String> {
        let mut access = Access { modes: modes.to_vec(), ..Access::default() };
        identity.apply(&mut access).map(|()| access).map_err(|error| error.to_string())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn issuer() -> Identity {
        Identity {
            oidc_issuer_url: some("https://issuer.example"),
            oidc_client_id: some("us"),
            ..Identity::default()
        }
    }

    #[test]
    fn an_issuer() {
        let jwt = |identity| access(identity, &[Mode::Rbac]).unwrap().authentication.jwt.remove(0);
        let plain = jwt(issuer());
        assert_eq!(
            (plain.url.as_str(), plain.audiences),
            ("https://issuer.example", vec!["us".into()])
        );
        assert_eq!(plain.signing_algs, ["RS256"]);
        let claim = |mapping: &Mapping, name: &str, prefix: &str| matches!(mapping, Mapping::Claim { name: n, prefix: p } if n == name && p == prefix);
        assert!(claim(&plain.username, "sub", "https://issuer.example#"), "{:?}", plain.username);
        let of = |username: &str, prefix: Option<&str>| {
            jwt(Identity {
                oidc_username_claim: some(username),
                oidc_username_prefix: prefix.map(str::to_owned),
                oidc_groups_claim: some("groups"),
                oidc_groups_prefix: some("g:"),
                oidc_required_claims: vec!["a = b".into()],
                oidc_signing_algs: vec!["ES256".into()],
                ..issuer()
            })
        };
        let email = of("email", None);
        assert!(claim(&email.username, "email", ""), "{:?}", email.username);
        assert!(email.groups.is_some_and(|groups| claim(&groups, "groups", "g:")));
        assert_eq!(email.signing_algs, ["ES256"]);
        assert_eq!(email.claim_rules.len(), 1);
        assert!(claim(&of("name", Some("-")).username, "name", ""));
        assert!(claim(&of("name", Some("o:")).username, "name", "o:"));
    }

    #[test]
    fn webhooks() {
        let with = |version: Option<&str>, ttl: Option<&str>| Identity {
            authentication_token_webhook_config_file: Some("/tokens".into()),
            authentication_token_webhook_cache_ttl: ttl.map(str::to_owned),
            authorization_webhook_config_file: Some("/access".into()),
            authorization_webhook_version: version.map(str::to_owned),
            authorization_webhook_cache_authorized_ttl: some("10s"),
            ..Identity::default()
        };
        let found = access(with(None, None), &[Mode::Webhook, Mode::Rbac]).unwrap();
        let token = found.token_webhook.unwrap();
        assert_eq!((token.kubeconfig.as_str(), token.version.as_str()), ("/tokens", "v1beta1"));
        assert_eq!(token.ttl, Duration::from_secs(120));
        let [Authorizer::Webhook(hook), Authorizer::Own(own)] = found.authorization.as_slice()
        else {
            panic!("{:?}", found.authorization)
        };
        assert_eq!((hook.kubeconfig.as_str(), hook.version.as_str()), ("/access", "v1beta1"));
        let times = (hook.authorized_ttl.as_secs(), hook.unauthorized_ttl.as_secs());
        assert_eq!((times, own.as_str()), ((10, 30), "RBAC"));
        let new = access(with(Some("v1"), Some("5m")), &[Mode::Webhook]).unwrap();
        assert_eq!(new.token_webhook.unwrap().ttl, Duration::from_secs(300));
        assert!(
            matches!(&new.authorization[..], [Authorizer::Webhook(hook)] if hook.version == "v1")
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.yaml");
        std::fs::write(&bad, "kind: Nothing").unwrap();
        for (identity, modes, expected) in [
            (
                Identity { oidc_client_id: None, ..issuer() },
                vec![Mode::Rbac],
                "--oidc-client-id: is missing",
            ),
            (
                Identity { oidc_issuer_url: None, ..issuer() },
                vec![Mode::Rbac],
                "--oidc-issuer-url: is missing",
            ),
            (
                Identity { oidc_issuer_url: some("http://plain"), ..issuer() },
                vec![Mode::Rbac],
                "--oidc-issuer-url: \"http://plain\": URL scheme must be https",
            ),
            (
                Identity { oidc_required_claims: vec!["x".into()], ..issuer() },
                vec![Mode::Rbac],
                "--oidc-required-claim: \"x\" is not of the form key=value",
            ),
            (
                Identity { authentication_config: Some(bad.clone()), ..issuer() },
                vec![Mode::Rbac],
                "--authentication-config: cannot be used with --oidc-issuer-url",
            ),
            (
                Identity { authentication_config: Some(bad.clone()), ..Identity::default() },
                vec![Mode::Rbac],
                "bad.yaml: ",
            ),
            (
                Identity { authorization_config: Some("/nowhere".into()), ..Identity::default() },
                vec![Mode::Rbac],
                "--authorization-config: /nowhere: ",
            ),
            (
                Identity {
                    authorization_webhook_config_file: Some("/k".into()),
                    ..Identity::default()
                },
                vec![Mode::Rbac],
                "--authorization-webhook-config-file: needs --authorization-mode=Webhook",
            ),
            (
                Identity::default(),
                vec![Mode::Webhook],
                "--authorization-webhook-config-file: is missing: a mode is Webhook",
            ),
            (
                Identity {
                    authorization_webhook_config_file: Some("/k".into()),
                    authorization_webhook_version: some("v2"),
                    ..Identity::default()
                },
                vec![Mode::Webhook],
                "--authorization-webhook-version: \"v2\" is neither v1 nor v1beta1",
            ),
            (
                Identity {
                    authentication_token_webhook_config_file: Some("/k".into()),
                    authentication_token_webhook_cache_ttl: some("soon"),
                    ..Identity::default()
                },
                vec![Mode::Rbac],
                "--authentication-token-webhook-cache-ttl: \"soon\" is no duration such as 30s or 5m",
            ),
        ] {
            let error = access(identity, &modes).map(drop).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
