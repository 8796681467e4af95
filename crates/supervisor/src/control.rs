//! Options of the control plane, by the names that kube-apiserver and kube-controller-manager give
//! them: for test rigs, and for people who embed us.

mod identity;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onggi_apiserver::{
    Access, Anonymous, AuditOptions, AuditWebhook, FrontProxy, Log, LogPlace, Mode, Plugins,
    RequestHeader, StaticTokens, UnknownPlugin, sealed_prefixes, sealed_resources,
};
use onggi_base::pki::{self, Authority, Pair};
use onggi_controllers::Chosen;
use onggi_machinery::audit;
use serde::{Deserialize, Serialize};

use identity::duration;

pub use identity::Identity;

/// What is left out is as `onggi up` has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// No node on this machine: API server, controllers and scheduler alone.
    pub no_node: bool,
    /// `--controllers`.
    pub controllers: Vec<String>,
    /// Somebody else binds pods to nodes.
    pub disable_scheduler: bool,
    /// `--token-auth-file`.
    pub token_auth_file: Option<PathBuf>,
    /// `--client-ca-file`: further authorities of users' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// `--authorization-mode`.
    pub authorization_modes: Vec<Mode>,
    /// `--enable-admission-plugins`.
    pub enable_admission_plugins: Vec<String>,
    /// `--disable-admission-plugins`.
    pub disable_admission_plugins: Vec<String>,
    /// `--tls-cert-file`.
    pub tls_cert_file: Option<PathBuf>,
    /// `--tls-private-key-file`.
    pub tls_private_key_file: Option<PathBuf>,
    /// `--anonymous-auth`.
    pub anonymous_auth: Option<bool>,
    /// `--service-account-issuer`.
    pub service_account_issuer: Option<String>,
    /// `--service-account-key-file`: further keys that tokens may be signed with.
    pub service_account_key_files: Vec<PathBuf>,
    /// `--api-audiences`.
    pub api_audiences: Vec<String>,
    /// `--encryption-provider-config`.
    pub encryption_provider_config: Option<PathBuf>,
    /// `--cluster-signing-cert-file`.
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// `--cluster-signing-key-file`.
    pub cluster_signing_key_file: Option<PathBuf>,
    /// `--requestheader-client-ca-file`.
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// `--requestheader-allowed-names`.
    pub requestheader_allowed_names: Vec<String>,
    /// `--requestheader-username-headers`.
    pub requestheader_username_headers: Vec<String>,
    /// `--requestheader-group-headers`.
    pub requestheader_group_headers: Vec<String>,
    /// `--requestheader-extra-headers-prefix`.
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// `--oidc-*`, `--authentication-*`, `--authorization-*`.
    pub identity: Identity,
    /// `--proxy-client-cert-file`: what is shown to aggregated servers.
    pub proxy_client_cert_file: Option<PathBuf>,
    /// `--proxy-client-key-file`.
    pub proxy_client_key_file: Option<PathBuf>,
    /// `--audit-policy-file`.
    pub audit_policy_file: Option<PathBuf>,
    /// `--audit-log-path`.
    pub audit_log_path: Option<PathBuf>,
    /// `--audit-log-maxage`, in days.
    pub audit_log_maxage: u32,
    /// `--audit-log-maxbackup`.
    pub audit_log_maxbackup: u32,
    /// `--audit-log-maxsize`, in MiB.
    pub audit_log_maxsize: u32,
    /// `--audit-webhook-config-file`.
    pub audit_webhook_config_file: Option<PathBuf>,
    /// `--audit-webhook-batch-max-size`.
    pub audit_webhook_batch_max_size: Option<usize>,
    /// `--audit-webhook-batch-max-wait`, as `30s`.
    pub audit_webhook_batch_max_wait: Option<String>,
    /// `--audit-webhook-batch-buffer-size`.
    pub audit_webhook_batch_buffer_size: Option<usize>,
    /// `--audit-webhook-initial-backoff`, as `10s`.
    pub audit_webhook_initial_backoff: Option<String>,
}

/// An option cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("--{option}: {problem}")]
pub struct Error {
    option: &'static str,
    problem: String,
}

fn wrong(option: &'static str) -> impl Fn(String) -> Error {
    move |problem| Error { option, problem }
}

fn read(option: &'static str, path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| wrong(option)(format!("{}: {e}", path.display())))
}

/// A file of authorities; one that holds none would lock out everybody in silence.
fn authorities(option: &'static str, path: &Path) -> Result<String, Error> {
    let pem = read(option, path)?;
    match pki::has_certificates(&pem) {
        Ok(true) => Ok(pem),
        Ok(false) => {
            let problem = format!("{}: there is no certificate in it", path.display());
            Err(wrong(option)(problem))
        }
        Err(error) => Err(wrong(option)(format!("{}: {error}", path.display()))),
    }
}

impl Control {
    /// Who is let in, and what they may; `own_ca` is the cluster's authority.
    pub(crate) fn access(&self, own_ca: &str, front: &FrontProxy) -> Result<Access, Error> {
        let mut access = Access {
            front_proxy: Some(front.clone()),
            client_ca: self.client_ca(own_ca)?,
            root_ca: own_ca.to_owned(),
            api_audiences: self.api_audiences.clone(),
            audit: self.audit()?,
            ..Access::default()
        };
        if !self.authorization_modes.is_empty() {
            access.modes.clone_from(&self.authorization_modes);
        }
        self.identity.apply(&mut access)?;
        match self.anonymous_auth {
            Some(true) => access.anonymous = Anonymous::Everywhere,
            Some(false) => access.anonymous = Anonymous::Nowhere,
            None => {}
        }
        if let Some(path) = &self.token_auth_file {
            const OPTION: &str = "token-auth-file";
            let text = read(OPTION, path)?;
            let problem = |e| wrong(OPTION)(format!("{}: {e}", path.display()));
            access.static_tokens = StaticTokens::parse(&text).map_err(problem)?;
        }
        for path in &self.service_account_key_files {
            access.verify_keys.push(read("service-account-key-file", path)?);
        }
        if let Some(path) = &self.requestheader_client_ca_file {
            let or = |given: &[String], usual: &str| {
                if given.is_empty() { vec![usual.to_owned()] } else { given.to_vec() }
            };
            access.request_header = Some(RequestHeader {
                ca: read("requestheader-client-ca-file", path)?,
                allowed_names: self.requestheader_allowed_names.clone(),
                username_headers: or(&self.requestheader_username_headers, "x-remote-user"),
                group_headers: or(&self.requestheader_group_headers, "x-remote-group"),
                extra_headers_prefix: or(
                    &self.requestheader_extra_headers_prefix,
                    "x-remote-extra-",
                ),
            });
        }
        Ok(access)
    }

    /// What is kept of requests, and where it goes; it takes a policy and a place to keep anything.
    fn audit(&self) -> Result<Option<AuditOptions>, Error> {
        const OPTION: &str = "audit-policy-file";
        let policy = match &self.audit_policy_file {
            Some(path) => {
                let problem = |e| wrong(OPTION)(format!("{}: {e}", path.display()));
                Some(audit::read(&read(OPTION, path)?).map_err(problem)?)
            }
            None => None,
        };
        let (log, webhook) = (self.audit_log(), self.audit_webhook()?);
        let Some(policy) = policy else {
            if log.is_some() || webhook.is_some() {
                tracing::warn!("no --{OPTION}: nothing is kept of requests");
            }
            return Ok(None);
        };
        if log.is_none() && webhook.is_none() {
            tracing::warn!(
                "no --audit-log-path and no --audit-webhook-config-file: the audit policy is not \
                 followed"
            );
            return Ok(None);
        }
        Ok(Some(AuditOptions { policy, log, webhook }))
    }

    fn audit_log(&self) -> Option<Log> {
        let path = self.audit_log_path.as_ref()?;
        let place = match path.as_os_str() {
            dash if dash == "-" => LogPlace::Stdout,
            _ => LogPlace::File(path.clone()),
        };
        Some(Log {
            place,
            max_age_days: self.audit_log_maxage,
            max_backups: self.audit_log_maxbackup,
            max_megabytes: self.audit_log_maxsize,
        })
    }

    fn audit_webhook(&self) -> Result<Option<AuditWebhook>, Error> {
        let Some(path) = &self.audit_webhook_config_file else { return Ok(None) };
        let (wait, pause) =
            (&self.audit_webhook_batch_max_wait, &self.audit_webhook_initial_backoff);
        let usual = AuditWebhook::new(path.to_string_lossy());
        let time = |option, text: &Option<String>, usual: Duration| {
            duration(option, text.as_deref(), usual.as_secs())
        };
        Ok(Some(AuditWebhook {
            buffer: self.audit_webhook_batch_buffer_size.unwrap_or(usual.buffer),
            batch: self.audit_webhook_batch_max_size.unwrap_or(usual.batch),
            wait: time("audit-webhook-batch-max-wait", wait, usual.wait)?,
            backoff: time("audit-webhook-initial-backoff", pause, usual.backoff)?,
            ..usual
        }))
    }

    /// The authorities of users' certificates: the cluster's own, and others.
    fn client_ca(&self, own_ca: &str) -> Result<String, Error> {
        let others = match &self.client_ca_file {
            Some(path) => authorities("client-ca-file", path)?,
            None => String::new(),
        };
        Ok(format!("{own_ca}\n{others}"))
    }

    /// All authorities that TLS lets through: those of users and of proxies.
    pub(crate) fn tls_client_ca(&self, own_ca: &str) -> Result<String, Error> {
        let proxies = match &self.requestheader_client_ca_file {
            Some(path) => authorities("requestheader-client-ca-file", path)?,
            None => String::new(),
        };
        Ok(format!("{}\n{proxies}", self.client_ca(own_ca)?))
    }

    /// The server's certificate and key, where they are given.
    pub(crate) fn serving(&self) -> Result<Option<Pair>, Error> {
        pair(
            ("tls-cert-file", &self.tls_cert_file),
            ("tls-private-key-file", &self.tls_private_key_file),
        )
    }

    /// As whom aggregated servers are spoken to, where it is not as our own front proxy.
    pub(crate) fn front_proxy(&self) -> Result<Option<FrontProxy>, Error> {
        const OPTION: &str = "proxy-client-cert-file";
        let client = pair(
            (OPTION, &self.proxy_client_cert_file),
            ("proxy-client-key-file", &self.proxy_client_key_file),
        )?;
        let Some(client) = client else { return Ok(None) };
        let Some(path) = &self.requestheader_client_ca_file else {
            let problem = "--requestheader-client-ca-file must say who has signed it";
            return Err(wrong(OPTION)(problem.into()));
        };
        let ca = read("requestheader-client-ca-file", path)?;
        let allowed_names = self.requestheader_allowed_names.clone();
        Ok(Some(FrontProxy { client, ca, allowed_names }))
    }

    /// Who signs requests for certificates, where it is not the cluster's own authority.
    pub(crate) fn signer(&self) -> Result<Option<Arc<Authority>>, Error> {
        const OPTION: &str = "cluster-signing-cert-file";
        let pair = pair(
            (OPTION, &self.cluster_signing_cert_file),
            ("cluster-signing-key-file", &self.cluster_signing_key_file),
        )?;
        let authority = pair.map(Authority::from_pair).transpose();
        Ok(authority.map_err(|e| wrong(OPTION)(e.to_string()))?.map(Arc::new))
    }

    /// The controllers that run.
    pub(crate) fn controllers(&self) -> Result<Chosen, Error> {
        Chosen::parse(&self.controllers).map_err(wrong("controllers"))
    }

    /// The admission plugins.
    pub(crate) fn plugins(&self) -> Result<Plugins, Error> {
        Plugins::new(&self.enable_admission_plugins, &self.disable_admission_plugins).map_err(|e| {
            let option = match &e {
                UnknownPlugin::Unknown { option, .. } => option,
                _ => "enable-admission-plugins",
            };
            wrong(option)(e.to_string())
        })
    }

    /// The beginnings of the store's keys whose values are sealed.
    pub(crate) fn sealed(&self) -> Result<Vec<String>, Error> {
        const OPTION: &str = "encryption-provider-config";
        let Some(path) = &self.encryption_provider_config else {
            return Ok(sealed_prefixes(&[]));
        };
        let problem = |e| wrong(OPTION)(format!("{}: {e}", path.display()));
        let resources = sealed_resources(&read(OPTION, path)?).map_err(problem)?;
        Ok(sealed_prefixes(&resources))
    }
}

/// A certificate and its key: both or neither.
fn pair(
    (certificate_option, certificate): (&'static str, &Option<PathBuf>),
    (key_option, key): (&'static str, &Option<PathBuf>),
) -> Result<Option<Pair>, Error> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Pair {
            certificate: read(certificate_option, certificate)?,
            key: read(key_option, key)?,
        })),
        (Some(_), None) => Err(wrong(key_option)("is missing".into())),
        (None, Some(_)) => Err(wrong(certificate_option)("is missing".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_audit_events_go() {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy.yaml");
        let text = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";
        fs::write(&policy, text).unwrap();
        let of = |policy: Option<&PathBuf>, log: Option<&str>, hook: Option<&str>| {
            let control = Control {
                audit_policy_file: policy.cloned(),
                audit_log_path: log.map(PathBuf::from),
                audit_webhook_config_file: hook.map(PathBuf::from),
                audit_webhook_batch_max_wait: Some("2m".into()),
                ..Control::default()
            };
            control.audit()
        };
        for (log, hook) in
            [(None, None), (Some("-"), None), (None, Some("k")), (Some("f"), Some("k"))]
        {
            assert!(of(None, log, hook).unwrap().is_none(), "no policy, nothing kept");
            let found = of(Some(&policy), log, hook).unwrap();
            assert_eq!(found.is_some(), log.is_some() || hook.is_some(), "{log:?} {hook:?}");
            let Some(found) = found else { continue };
            assert_eq!(
                (found.log.is_some(), found.webhook.is_some()),
                (log.is_some(), hook.is_some())
            );
            if let Some(webhook) = found.webhook {
                assert_eq!(webhook.kubeconfig, "k");
                assert_eq!((webhook.batch, webhook.buffer), (400, 10_000));
                assert_eq!(webhook.wait, Duration::from_mins(2));
                assert_eq!(webhook.backoff, Duration::from_secs(10));
            }
        }
        let control = Control {
            audit_policy_file: Some(policy.clone()),
            audit_webhook_config_file: Some("k".into()),
            audit_webhook_initial_backoff: Some("soon".into()),
            ..Control::default()
        };
        let error = control.audit().unwrap_err().to_string();
        assert!(error.starts_with("--audit-webhook-initial-backoff: "), "{error}");
    }
}
