//! Service account tokens of a pod (`TokenRequest`), kept until a fifth of their time is left.

use std::collections::BTreeMap;

use onggi_api::GroupVersionResource;
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_client::{Body, Request, Response};
use onggi_machinery::resource::Verb;
use serde_json::json;

use crate::context::Context;
use crate::pod::Pod;

/// What a projection that does not say gets, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// However long it is valid: not older than this.
const MOST_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Tokens by volume and path.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens(BTreeMap<(String, String), Token>);

#[derive(Debug, Clone)]
struct Token {
    text: String,
    refresh_at: Timestamp,
}

impl Tokens {
    /// Fetches what is missing or due.
    pub(super) async fn fetch(
        &mut self,
        context: &Context,
        pod: &Pod,
    ) -> Result<(), (String, String)> {
        for volume in pod.spec.volumes.iter().flatten() {
            let sources = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
            for wanted in sources.filter_map(|source| source.service_account_token.as_ref()) {
                let key = (volume.name.clone(), wanted.path.clone());
                let now = context.clock.now();
                if self.0.get(&key).is_some_and(|token| token.refresh_at > now) {
                    continue;
                }
                let seconds = wanted.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
                let token =
                    request(context, pod, wanted.audience.as_deref(), seconds, now).await.map_err(
                        |text| (volume.name.clone(), format!("failed to fetch token: {text}")),
                    )?;
                self.0.insert(key, token);
            }
        }
        Ok(())
    }

    /// When the first of them is due.
    pub(super) fn refresh_at(&self) -> Option<Timestamp> {
        self.0.values().map(|token| token.refresh_at).min()
    }

    pub(super) fn texts(&self) -> BTreeMap<(String, String), String> {
        self.0.iter().map(|(key, token)| (key.clone(), token.text.clone())).collect()
    }
}

async fn request(
    context: &Context,
    pod: &Pod,
    audience: Option<&str>,
    seconds: i64,
    now: Timestamp,
) -> Result<Token, String> {
    let audiences: Vec<&str> = audience.into_iter().filter(|text| !text.is_empty()).collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef":
                {"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()},
        },
    });
    let accounts = GroupVersionResource::new("", "v1", "serviceaccounts");
    let request = Request::new(Verb::Create, accounts, pod.namespace(), pod.service_account())
        .subresource("token")
        .body(Body::Object(body));
    let value = match context.client.call(request).await.map_err(|error| error.to_string())? {
        Response::Document { value, .. } => value,
        Response::Object { object, .. } => object.value().map_err(|error| error.to_string())?,
        _ => return Err("the API server answered with something else than a token".into()),
    };
    let text = value["status"]["token"].as_str().ok_or("the answer has no status.token")?;
    let end: Option<Timestamp> =
        value["status"]["expirationTimestamp"].as_str().and_then(|text| text.parse().ok());
    let life = end.map_or(SignedDuration::from_secs(seconds), |end| end.duration_since(now));
    let refresh_at = now + (life / 5 * 4).min(MOST_AGE);
    Ok(Token { text: text.to_owned(), refresh_at })
}
