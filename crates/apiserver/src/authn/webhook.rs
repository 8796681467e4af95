//! Tokens that another server knows (`--authentication-token-webhook-config-file`).

use std::time::Duration;

use onggi_machinery::value::{at, list_at, str_at};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Shown, User};
use crate::callout::{Answers, Callout};

/// How long it may take (`webhook.DefaultRequestTimeout`).
const TIMEOUT: Duration = Duration::from_secs(30);

/// The options of it.
#[derive(Debug, Clone)]
pub struct TokenWebhook {
    /// `--authentication-token-webhook-config-file`.
    pub kubeconfig: String,
    /// `--authentication-token-webhook-version`: `v1` or `v1beta1`.
    pub version: String,
    /// `--authentication-token-webhook-cache-ttl`.
    pub ttl: Duration,
}

/// See the module.
pub(super) struct Webhook {
    callout: Callout,
    version: String,
    ttl: Duration,
    /// By the hash of token and audiences.
    answers: Answers<[u8; 32], Result<Shown, String>>,
}

impl Webhook {
    pub(super) fn new(options: &TokenWebhook) -> Result<Self, String> {
        if !matches!(options.version.as_str(), "v1" | "v1beta1") {
            let version = &options.version;
            return Err(format!("unsupported authentication webhook version {version:?}"));
        }
        Ok(Self {
            callout: Callout::new(&options.kubeconfig)?,
            version: options.version.clone(),
            ttl: options.ttl,
            answers: Answers::default(),
        })
    }

    /// Who holds a token.
    pub(super) async fn verify(&self, token: &str, audiences: &[String]) -> Result<Shown, String> {
        let mut hash = Sha256::new();
        for text in std::iter::once(token).chain(audiences.iter().map(String::as_str)) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let key: [u8; 32] = hash.finalize().into();
        if let Some(answer) = self.answers.get(&key) {
            return answer;
        }
        let review = json!({
            "kind": "TokenReview",
            "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": {"creationTimestamp": null},
            "spec": {"token": token, "audiences": audiences},
            "status": {"user": {}},
        });
        // What was not answered is not kept.
        let answer = self.callout.ask(&review, TIMEOUT).await?;
        let shown = shown(at(&answer, "status"), audiences);
        self.answers.keep(key, shown.clone(), self.ttl);
        shown
    }
}

fn shown(status: &Value, asked: &[String]) -> Result<Shown, String> {
    if at(status, "authenticated") != true {
        return Err(match str_at(status, "error") {
            "" => "invalid bearer token".to_owned(),
            error => error.to_owned(),
        });
    }
    let texts = |list: &[Value]| -> Vec<String> {
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let said = texts(list_at(status, "audiences"));
    let audiences: Vec<String> = said.iter().filter(|one| asked.contains(one)).cloned().collect();
    if audiences.is_empty() && !said.is_empty() && !asked.is_empty() {
        return Err("invalid bearer token".into());
    }
    let user = at(status, "user");
    let groups = texts(list_at(user, "groups"));
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let extra = at(user, "extra").as_object().into_iter().flatten();
    let extra = extra.map(|(key, values)| {
        (key.to_ascii_lowercase(), texts(values.as_array().map_or(&[], Vec::as_slice)))
    });
    let user = User {
        uid: str_at(user, "uid").to_owned(),
        extra: extra.collect(),
        ..User::new(str_at(user, "username"), &groups)
    };
    Ok(Shown { user, audiences })
}
