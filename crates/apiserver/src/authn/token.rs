//! Tokens of service accounts: JSON web tokens signed with ES256, valid while the account, and what
//! they are bound to, are there.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use onggi_api::{Object, Status};
use onggi_machinery::resource;
use onggi_machinery::value::list_at;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::{CREDENTIAL_ID, Shown, User, last_used};
use crate::cache;
use crate::registry::{Registry, text};

/// The issuer of tokens that live in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// The type of these Secrets.
const LEGACY_TYPE: &str = "kubernetes.io/service-account-token";

/// Mints with one key and verifies with all.
pub(crate) struct TokenAuthority {
    issuer: String,
    encoding: EncodingKey,
    /// The first is the one that signs.
    keys: Vec<PublicKey>,
}

struct PublicKey {
    id: String,
    x: String,
    y: String,
    decoding: DecodingKey,
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) audiences: Vec<String>,
    /// Seconds since 1970.
    pub(crate) issued: i64,
    /// Seconds since 1970.
    pub(crate) expires: i64,
    /// From when on its use is a sign that its holder does not read it anew.
    pub(crate) warn_after: Option<i64>,
    /// What it dies with.
    pub(crate) bound: Vec<(BoundKind, Bound)>,
}

/// What a token may die with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub(crate) enum BoundKind {
    Pod,
    Secret,
    Node,
}

/// The object that a token dies with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Private,
    nbf: i64,
    sub: String,
}

#[derive(Serialize, Deserialize)]
struct Private {
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Bound>,
    serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warnafter: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct LegacyClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

/// A P-256 key in PEM, private (PKCS #8) or public, as a point (SEC 1, 2.3.3).
fn point(pem: &str) -> Result<Vec<u8>, String> {
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use rustls::pki_types::pem::PemObject;
    if pem.contains("BEGIN PUBLIC KEY") {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| error.to_string())?;
        // The point stands last in the structure, for this curve always at the same place.
        let at = info.len().checked_sub(65).ok_or("the key is not of the curve P-256")?;
        return Ok(info[at..].to_vec());
    }
    let pair = rcgen::KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
    Ok(pair.public_key_raw().to_vec())
}

impl PublicKey {
    fn new(pem: &str) -> Result<Self, String> {
        let point = point(pem)?;
        let [4, coordinates @ ..] = point.as_slice() else {
            return Err("the public key is not an uncompressed point of P-256".into());
        };
        if coordinates.len() != 64 {
            return Err("the key is not of the curve P-256".into());
        }
        let (x, y) = coordinates.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let decoding =
            DecodingKey::from_ec_components(&x, &y).map_err(|error| error.to_string())?;
        Ok(Self { id: URL_SAFE_NO_PAD.encode(Sha256::digest(&point)), x, y, decoding })
    }
}

impl TokenAuthority {
    /// From the P-256 key that signs (PKCS #8, PEM) and others that may have signed.
    pub(crate) fn new(key_pem: &str, others: &[String], issuer: &str) -> Result<Self, String> {
        let encoding =
            EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|error| error.to_string())?;
        let mut keys = vec![PublicKey::new(key_pem)?];
        for pem in others {
            let key = PublicKey::new(pem)?;
            if keys.iter().all(|known| known.id != key.id) {
                keys.push(key);
            }
        }
        Ok(Self { issuer: issuer.to_owned(), encoding, keys })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public keys as a JSON web key set.
    pub(crate) fn jwks(&self) -> Value {
        let key = |key: &PublicKey| {
            json!({
                "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                "x": key.x, "y": key.y,
            })
        };
        json!({"keys": self.keys.iter().map(key).collect::<Vec<_>>()})
    }

    /// `/.well-known/openid-configuration`.
    pub(crate) fn openid_configuration(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/openid/v1/jwks", self.issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    fn header(&self) -> Header {
        let kid = self.keys.first().map(|key| key.id.clone());
        Header { kid, ..Header::new(Algorithm::ES256) }
    }

    /// A signed token.
    pub(crate) fn mint(&self, grant: &Grant) -> Result<String, Status> {
        let bound = |kind: BoundKind| {
            grant.bound.iter().find(|(k, _)| *k == kind).map(|(_, bound)| bound.clone())
        };
        let claims = Claims {
            aud: grant.audiences.clone(),
            exp: grant.expires,
            iat: grant.issued,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: Private {
                namespace: grant.namespace.clone(),
                node: bound(BoundKind::Node),
                pod: bound(BoundKind::Pod),
                secret: bound(BoundKind::Secret),
                serviceaccount: Bound { name: grant.name.clone(), uid: grant.uid.clone() },
                warnafter: grant.warn_after,
            },
            nbf: grant.issued,
            sub: format!("system:serviceaccount:{}:{}", grant.namespace, grant.name),
        };
        jsonwebtoken::encode(&self.header(), &claims, &self.encoding).map_err(Status::internal)
    }

    /// A token that lives in a Secret, and as long as it.
    pub(crate) fn mint_legacy(
        &self,
        namespace: &str,
        secret: &str,
        account: &Bound,
    ) -> Result<String, Status> {
        let claims = LegacyClaims {
            iss: LEGACY_ISSUER.into(),
            namespace: namespace.into(),
            secret: secret.into(),
            name: account.name.clone(),
            uid: account.uid.clone(),
            sub: format!("system:serviceaccount:{namespace}:{}", account.name),
        };
        jsonwebtoken::encode(&self.header(), &claims, &self.encoding).map_err(Status::internal)
    }

    /// The claims of a token that one of our keys has signed, whatever they say.
    fn signed<C: serde::de::DeserializeOwned + Clone>(&self, token: &str) -> Result<C, String> {
        let mut validation = Validation::new(Algorithm::ES256);
        // What the claims say is compared below, with the clock that we were given.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused())?;
        let named = |key: &&PublicKey| header.kid.as_ref().is_none_or(|id| *id == key.id);
        let keys = self.keys.iter().filter(named);
        keys.map(|key| jsonwebtoken::decode::<C>(token, &key.decoding, &validation))
            .find_map(Result::ok)
            .map(|decoded| decoded.claims)
            .ok_or_else(refused)
    }

    /// Who holds a token made for one of `audiences`, or what is wrong with it.
    pub(super) fn verify(
        &self,
        registry: &Registry,
        token: &str,
        audiences: &[String],
    ) -> Result<Shown, String> {
        let claims: Value = self.signed(token)?;
        if claims["iss"] == LEGACY_ISSUER {
            return verify_legacy(registry, token, claims);
        }
        let claims: Claims = serde_json::from_value(claims).map_err(|_| refused())?;
        if claims.iss != self.issuer {
            return Err(refused());
        }
        let now = registry.clock.seconds();
        if now >= claims.exp {
            return Err("[invalid bearer token, service account token has expired]".into());
        }
        if now + 60 < claims.nbf {
            return Err("[invalid bearer token, service account token is not valid yet]".into());
        }
        let meant: Vec<String> =
            claims.aud.iter().filter(|aud| audiences.contains(aud)).cloned().collect();
        if meant.is_empty() {
            return Err(format!(
                "[invalid bearer token, token audiences {:?} is invalid for the target audiences \
                 {audiences:?}]",
                claims.aud
            ));
        }
        let Private { namespace, node, pod, secret, serviceaccount, .. } = claims.kubernetes;
        let account = lives(registry, "serviceaccounts", &namespace, &serviceaccount);
        let account = account.ok_or_else(gone)?;
        let mut user = user(&namespace, &account);
        let mut extra = |key: &str, text: &str| {
            let key = format!("authentication.kubernetes.io/{key}");
            user.extra.insert(key, vec![text.to_owned()]);
        };
        for (plural, bound) in [("pods", &pod), ("secrets", &secret)] {
            if let Some(bound) = bound {
                lives(registry, plural, &namespace, bound).ok_or_else(gone)?;
            }
        }
        if let Some(pod) = &pod {
            extra("pod-name", &pod.name);
            extra("pod-uid", &pod.uid);
        }
        if let Some(node) = &node {
            // Beside a pod the node is only said; alone the token dies with it.
            if pod.is_none() {
                lives(registry, "nodes", "", node).ok_or_else(gone)?;
            }
            extra("node-name", &node.name);
            extra("node-uid", &node.uid);
        }
        if !claims.jti.is_empty() {
            user.extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={}", claims.jti)]);
        }
        Ok(Shown { user, audiences: meant })
    }
}

fn refused() -> String {
    "invalid bearer token".to_owned()
}

fn gone() -> String {
    "[invalid bearer token, service account token has been invalidated]".to_owned()
}

fn user(namespace: &str, account: &Object) -> User {
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
    let name = format!("system:serviceaccount:{namespace}:{}", account.head().name);
    User { uid: account.head().uid.clone(), extra: BTreeMap::new(), ..User::new(name, &groups) }
}

/// The object, if it is still the one that was meant.
fn lives(registry: &Registry, plural: &str, namespace: &str, bound: &Bound) -> Option<Arc<Object>> {
    let row = resource::by_gvr("", "v1", plural)?;
    let object = registry.cache.of(row).ok()?.get(&cache::key(row, namespace, &bound.name))?;
    (object.head().uid == bound.uid).then_some(object)
}

fn verify_legacy(registry: &Registry, token: &str, claims: Value) -> Result<Shown, String> {
    let LegacyClaims { namespace, secret, name, uid, .. } =
        serde_json::from_value(claims).map_err(|_| refused())?;
    let row = resource::by_gvr("", "v1", "secrets").ok_or_else(refused)?;
    let stored = registry.cache.of(row).ok();
    let stored = stored.and_then(|all| all.get(&cache::key(row, &namespace, &secret)));
    let stored = stored.ok_or_else(gone)?;
    let value = stored.value().map_err(|_| refused())?;
    let same = text(&value, "/data/token") == STANDARD.encode(token)
        && text(&value, "/type") == LEGACY_TYPE
        && !stored.head().deleting;
    let account = lives(registry, "serviceaccounts", &namespace, &Bound { name, uid });
    let account = account.filter(|_| same).ok_or_else(gone)?;
    last_used::mark(registry, &stored);
    if !stored.head().labels.get(last_used::INVALID_SINCE).is_none_or(String::is_empty) {
        return Err(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{} has been \
             marked invalid. Use tokens from the TokenRequest API or manually created secret-based \
             tokens, or remove the '{}' label from the secret to temporarily allow use of this token",
            account.head().name,
            last_used::INVALID_SINCE
        ));
    }
    let mut user = user(&namespace, &account);
    let account = account.value().map_err(|_| refused())?;
    if list_at(&account, "secrets").iter().any(|known| known["name"] == secret.as_str()) {
        user.advice = "Use tokens from the TokenRequest API or manually created secret-based tokens \
                       instead of auto-generated secret-based tokens.";
    }
    Ok(Shown { user, audiences: Vec::new() })
}
