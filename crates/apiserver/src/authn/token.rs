//! Tokens of service accounts: JSON web tokens signed with ES256, valid while the account, and the
//! pod that they are bound to, are there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use onggi_api::Status;
use onggi_machinery::resource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::User;
use crate::cache;
use crate::registry::Registry;

/// Mints and verifies.
pub(crate) struct TokenAuthority {
    issuer: String,
    key_id: String,
    x: String,
    y: String,
    encoding: EncodingKey,
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
    pub(crate) pod: Option<Bound>,
}

/// The object that a token dies with.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Private,
    nbf: i64,
    sub: String,
}

#[derive(Serialize, Deserialize)]
struct Private {
    namespace: String,
    serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Bound>,
}

impl TokenAuthority {
    /// From a P-256 key as PKCS #8 PEM.
    pub(crate) fn new(key_pem: &str, issuer: &str) -> Result<Self, String> {
        let encoding =
            EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|error| error.to_string())?;
        let pair = rcgen::KeyPair::from_pem(key_pem).map_err(|error| error.to_string())?;
        let point = pair.public_key_raw();
        // 4, then both coordinates (SEC 1, 2.3.3).
        let [4, coordinates @ ..] = point else {
            return Err("the public key is not an uncompressed point of P-256".into());
        };
        if coordinates.len() != 64 {
            return Err("the key is not of the curve P-256".into());
        }
        let (x, y) = coordinates.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let decoding =
            DecodingKey::from_ec_components(&x, &y).map_err(|error| error.to_string())?;
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(point));
        Ok(Self { issuer: issuer.to_owned(), key_id, x, y, encoding, decoding })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public key as a JSON web key set.
    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": self.x, "y": self.y,
        }]})
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

    /// A signed token.
    pub(crate) fn mint(&self, grant: &Grant) -> Result<String, Status> {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let claims = Claims {
            aud: grant.audiences.clone(),
            exp: grant.expires,
            iat: grant.issued,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: Private {
                namespace: grant.namespace.clone(),
                serviceaccount: Bound { name: grant.name.clone(), uid: grant.uid.clone() },
                pod: grant.pod.clone(),
            },
            nbf: grant.issued,
            sub: format!("system:serviceaccount:{}:{}", grant.namespace, grant.name),
        };
        jsonwebtoken::encode(&header, &claims, &self.encoding).map_err(Status::internal)
    }

    /// Who holds a token, or 401.
    pub(crate) fn verify(&self, registry: &Registry, token: &str) -> Result<User, Status> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[&self.issuer]);
        validation.set_issuer(&[&self.issuer]);
        // Times are compared with the clock that we were given.
        validation.validate_exp = false;
        let claims: Claims = jsonwebtoken::decode(token, &self.decoding, &validation)
            .map_err(|error| {
                tracing::debug!(%error, "a token was refused");
                Status::unauthorized()
            })?
            .claims;
        let now = registry.clock.seconds();
        if now >= claims.exp || now + 60 < claims.nbf {
            return Err(Status::unauthorized());
        }
        let Private { namespace, serviceaccount, pod } = claims.kubernetes;
        let lives = |plural: &str, bound: &Bound| {
            let row = resource::by_gvr("", "v1", plural).ok_or_else(Status::unauthorized)?;
            let object = registry.cache.of(row)?.get(&cache::key(row, &namespace, &bound.name));
            match object {
                Some(object) if object.head().uid == bound.uid => Ok(()),
                _ => Err(Status::unauthorized()),
            }
        };
        lives("serviceaccounts", &serviceaccount)?;
        if let Some(pod) = &pod {
            lives("pods", pod)?;
        }
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
        Ok(User { uid: serviceaccount.uid, ..User::new(claims.sub, &groups) })
    }
}
