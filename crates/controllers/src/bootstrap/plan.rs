//! Bootstrap tokens, and what they sign: a node that knows a token alone learns by it whom to
//! trust.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_machinery::value::{entries_at, str_at};
use ring::hmac;
use serde_json::{Value, json};

pub(super) const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME: &str = "bootstrap-token-";
const CONTENT: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// The time of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Never,
    In(SignedDuration),
    Past,
}

/// When a token ends; a time that cannot be read is one that is over.
pub(super) fn expiry(secret: &Value, now: Timestamp) -> Expiry {
    match data(secret, "expiration").as_deref() {
        None | Some("") => Expiry::Never,
        Some(text) => match text.parse::<Timestamp>() {
            Ok(end) if end > now => Expiry::In(end.duration_since(now)),
            _ => Expiry::Past,
        },
    }
}

/// The identifier and the secret of a token that may sign.
fn signs(secret: &Value, now: Timestamp) -> Option<(String, String)> {
    let id = data(secret, "token-id")?;
    let named = str_at(secret, "metadata.name").strip_prefix(NAME) == Some(id.as_str());
    let allowed = data(secret, "usage-bootstrap-signing").as_deref() == Some("true");
    let key = data(secret, "token-secret").filter(|key| !key.is_empty())?;
    let usable = str_at(secret, "type") == TYPE
        && str_at(secret, "metadata.deletionTimestamp").is_empty()
        && !id.is_empty()
        && named
        && allowed
        && expiry(secret, now) != Expiry::Past;
    usable.then_some((id, key))
}

/// The data of `cluster-info` with the signatures of all tokens; nothing where it is as it should
/// be, or has nothing to sign.
pub(super) fn signed<'a>(
    map: &Value,
    secrets: impl IntoIterator<Item = &'a Value>,
    now: Timestamp,
) -> Option<Value> {
    let before = map.get("data")?;
    let content = before.get(CONTENT)?.as_str()?;
    let kept = entries_at(map, "data").filter(|(key, _)| !key.starts_with(SIGNATURE));
    let mut after: BTreeMap<String, Value> =
        kept.map(|(key, value)| (key.to_owned(), value.clone())).collect();
    for (id, key) in secrets.into_iter().filter_map(|secret| signs(secret, now)) {
        let signature = sign(content, &id, &key);
        after.insert(format!("{SIGNATURE}{id}"), signature.into());
    }
    let after = json!(after);
    (after != *before).then_some(after)
}

/// A JSON web signature without what it signs (RFC 7515, appendix F).
fn sign(content: &str, id: &str, key: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature))
}

fn data(secret: &Value, key: &str) -> Option<String> {
    let encoded = secret.get("data")?.get(key)?.as_str()?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(changes: &[(&str, &str)]) -> Value {
        let mut fields = BTreeMap::from([
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-signing", "true"),
        ]);
        fields.extend(changes.iter().copied());
        let data: BTreeMap<&str, String> =
            fields.into_iter().map(|(key, text)| (key, STANDARD.encode(text))).collect();
        json!({"type": TYPE, "metadata": {"name": "bootstrap-token-abcdef"}, "data": data})
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn when_it_ends() {
        let of = |text: &str| expiry(&token(&[("expiration", text)]), now());
        assert_eq!(of(""), Expiry::Never);
        assert_eq!(of("2026-01-01T00:01:00Z"), Expiry::In(SignedDuration::from_mins(1)));
        assert_eq!(of("2026-01-01T09:00:00+09:00"), Expiry::Past);
        assert_eq!(of("tomorrow"), Expiry::Past);
    }

    #[test]
    fn who_may_sign() {
        let map = json!({"data": {"kubeconfig": "k", "jws-kubeconfig-old000": "x"}});
        let key = "jws-kubeconfig-abcdef";
        let after = signed(&map, [&token(&[])], now()).unwrap();
        assert_eq!(after.as_object().unwrap().keys().collect::<Vec<_>>(), [key, "kubeconfig"]);
        assert_eq!(signed(&json!({"data": after}), [&token(&[])], now()), None, "nothing changed");
        for change in [
            ("usage-bootstrap-signing", "false"),
            ("token-id", "ffffff"),
            ("token-secret", ""),
            ("expiration", "2025-01-01T00:00:00Z"),
        ] {
            let after = signed(&map, [&token(&[change])], now()).unwrap();
            assert_eq!(after, json!({"kubeconfig": "k"}), "{change:?}");
        }
        assert_eq!(signed(&json!({"data": {"other": "k"}}), [&token(&[])], now()), None);
    }

    /// With the tool of somebody else: `printf '%s' HEADER.CONTENT | openssl dgst -sha256 -hmac
    /// KEY -binary | basenc --base64url`.
    #[test]
    fn a_signature_that_others_verify() {
        let header = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9";
        assert_eq!(
            sign("content", "abcdef", "0123456789abcdef"),
            format!("{header}..psz1NayrXM3IaFzKZGsb5n_mBl7MjtlsZ1xE8MRmF_4")
        );
    }
}
