//! Logging in: Basic (RFC 7617), and the token service that registries name in a Bearer challenge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use onggi_node_api::RegistryAuth;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Remote;
use crate::Result;
use crate::body;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Remote {
    /// What to say in `Authorization`; none when there is nothing (more) to say.
    pub(super) async fn answer_challenge(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>> {
        // Said once already: it was not enough.
        if self.authorization.lock().is_some() {
            return Ok(None);
        }
        if let Some(RegistryAuth::Bearer(token)) = &self.login {
            return Ok(secret(&format!("Bearer {token}")));
        }
        let challenges =
            || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        if let Some(bearer) = challenges().find_map(|c| strip_scheme(c, "bearer")) {
            return self.token(bearer).await.map(Some);
        }
        match challenges().any(|c| strip_scheme(c, "basic").is_some()) {
            true => Ok(self.basic()),
            false => Ok(None),
        }
    }

    fn basic(&self) -> Option<HeaderValue> {
        match &self.login {
            Some(RegistryAuth::Basic(user, password)) => {
                secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            _ => None,
        }
    }

    /// Asks the token service, which also tells anonymous users what they may.
    async fn token(&self, challenge: &str) -> Result<HeaderValue> {
        let realm = parameter(challenge, "realm")
            .ok_or_else(|| self.failed("its Bearer challenge names no realm"))?;
        if self.origin.starts_with("https:") && !realm.starts_with("https:") {
            return Err(self.failed(format!("its token service {realm} is not encrypted")));
        }
        let actions = if self.push { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let separator = if realm.contains('?') { '&' } else { '?' };
        let mut url = format!("{realm}{separator}scope={}", encode(&scope));
        if let Some(service) = parameter(challenge, "service") {
            url.push_str(&format!("&service={}", encode(&service)));
        }
        let mut headers = HeaderMap::new();
        if let Some(basic) = self.basic() {
            headers.insert(AUTHORIZATION, basic);
        }
        let uri = self.parse(&url)?;
        let response = self.send(Method::GET, &uri, &headers, body::empty()).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let text = self.whole(response).await?;
        let token: Token = serde_json::from_slice(&text)
            .map_err(|e| self.failed(format!("its token service answered: {e}")))?;
        token
            .token
            .or(token.access_token)
            .and_then(|token| secret(&format!("Bearer {token}")))
            .ok_or_else(|| self.failed("its token service sent no token"))
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn strip_scheme<'a>(challenge: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = challenge.trim().split_once(' ').unwrap_or((challenge.trim(), ""));
    name.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// `name="value"` or `name=value`, separated by commas.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut rest = challenge;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim_matches([',', ' ']).eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let text = r#"realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error=x"#;
        assert_eq!(parameter(text, "realm").as_deref(), Some("https://auth.docker.io/token"));
        assert_eq!(parameter(text, "service").as_deref(), Some("registry.docker.io"));
        assert_eq!(parameter(text, "scope").as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(parameter(text, "error").as_deref(), Some("x"));
        assert_eq!(parameter(text, "none"), None);
        assert_eq!(strip_scheme("Bearer a=b", "bearer"), Some("a=b"));
        assert_eq!(strip_scheme("Basic", "basic"), Some(""));
    }
}
