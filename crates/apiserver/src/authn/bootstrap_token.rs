//! Tokens by which new nodes come in: `ID.SECRET`, kept in Secrets of kube-system that are named
//! `bootstrap-token-ID`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_machinery::resource;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::User;
use crate::cache;
use crate::registry::{Registry, text};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// Whether it has the form of one.
pub(super) fn looks_like(token: &str) -> bool {
    parts(token).is_some()
}

/// Who holds it.
pub(super) fn verify(registry: &Registry, token: &str) -> Result<User, String> {
    let refused = || "invalid bearer token".to_owned();
    let (id, secret) = parts(token).ok_or_else(refused)?;
    let row = resource::by_gvr("", "v1", "secrets").ok_or_else(refused)?;
    let name = format!("bootstrap-token-{id}");
    let stored =
        registry.cache.of(row).ok().and_then(|c| c.get(&cache::key(row, NAMESPACE, &name)));
    let stored = stored.and_then(|object| object.value().ok()).ok_or_else(refused)?;
    user(&stored, id, secret, registry.clock.seconds()).ok_or_else(refused)
}

fn user(stored: &Value, id: &str, secret: &str, now: i64) -> Option<User> {
    let data = |key: &str| {
        let encoded = text(stored, &format!("/data/{key}"));
        STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let same = |one: &str, other: &str| Sha256::digest(one) == Sha256::digest(other);
    let lives = match data("expiration").filter(|text| !text.is_empty()) {
        None => true,
        Some(time) => time.parse::<jiff::Timestamp>().ok()?.as_second() > now,
    };
    let valid = text(stored, "/type") == TYPE
        && !stored["metadata"]["deletionTimestamp"].is_string()
        && data("token-id")? == id
        && same(&data("token-secret")?, secret)
        && data("usage-bootstrap-authentication").as_deref() == Some("true")
        && lives;
    let more = data("auth-extra-groups").unwrap_or_default();
    let mut groups = vec![GROUP];
    for group in more.split(',').filter(|group| !group.is_empty()) {
        // Only groups of that name, so that nobody makes an administrator of a node.
        group.strip_prefix("system:bootstrappers:").filter(|rest| !rest.is_empty())?;
        groups.push(group);
    }
    valid.then(|| User::new(format!("system:bootstrap:{id}"), &groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_and_what_is_wrong_with_others() {
        let secret = |changes: &[(&str, &str)]| {
            let mut fields = vec![
                ("token-id", "abcdef"),
                ("token-secret", "0123456789abcdef"),
                ("usage-bootstrap-authentication", "true"),
            ];
            fields.extend(changes);
            let data: serde_json::Map<String, Value> = fields
                .into_iter()
                .map(|(key, text)| (key.to_owned(), STANDARD.encode(text).into()))
                .collect();
            json!({"type": TYPE, "data": data, "metadata": {}})
        };
        let try_with = |changes: &[(&str, &str)]| {
            user(&secret(changes), "abcdef", "0123456789abcdef", 1_000)
                .map(|user| format!("{} {}", user.name, user.groups.join(",")))
        };
        assert_eq!(
            try_with(&[("auth-extra-groups", "system:bootstrappers:w")]).unwrap(),
            "system:bootstrap:abcdef \
             system:bootstrappers,system:bootstrappers:w,system:authenticated"
        );
        for change in [
            ("token-secret", "0123456789abcdeX"),
            ("usage-bootstrap-authentication", "false"),
            ("expiration", "1970-01-01T00:10:00Z"),
            ("auth-extra-groups", "system:masters"),
        ] {
            assert!(try_with(&[change]).is_none(), "{change:?}");
        }
        assert!(try_with(&[("expiration", "1970-01-01T00:20:00Z")]).is_some());
        assert!(looks_like("abcdef.0123456789abcdef") && !looks_like("abc.def"));
    }
}
