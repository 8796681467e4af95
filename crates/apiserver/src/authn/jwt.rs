//! JSON web tokens of other issuers (OpenID Connect): their keys are found by discovery when the
//! first token comes, and again when one is signed with a key that is not known.

use std::str::FromStr;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use onggi_client::{Config, HttpTransport};
use onggi_machinery::authentication::{self, Jwt};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Shown, User};

/// How often keys are looked for again: whoever sends odd tokens must not make us ask for each.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an issuer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// All that we can verify.
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// An issuer.
pub(super) struct Issuer {
    jwt: Jwt,
    algorithms: Vec<Algorithm>,
    keys: ArcSwapOption<JwkSet>,
    asked: Mutex<Option<Instant>>,
}

/// The issuer that a token names, which nobody has checked.
pub(super) fn named(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

impl Issuer {
    pub(super) fn new(jwt: &Jwt) -> Result<Self, String> {
        let names: Vec<&str> = match jwt.signing_algs.as_slice() {
            [] => ALGORITHMS.to_vec(),
            some => some.iter().map(String::as_str).collect(),
        };
        let parse = |name: &&str| {
            let known = ALGORITHMS.contains(name).then(|| Algorithm::from_str(name).ok()).flatten();
            known.ok_or_else(|| {
                format!("oidc: unsupported signing alg: {name:?}; known are {ALGORITHMS:?}")
            })
        };
        let algorithms = names.iter().map(parse).collect::<Result<_, _>>()?;
        // What is wrong with it shows at the start.
        let issuer = Self {
            jwt: jwt.clone(),
            algorithms,
            keys: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        };
        issuer.transport(&jwt.url)?;
        Ok(issuer)
    }

    /// Whether a token is of it.
    pub(super) fn is(&self, named: &str) -> bool {
        self.jwt.url == named
    }

    /// Who holds a token; `now` in seconds since 1970.
    pub(super) async fn verify(&self, token: &str, now: i64) -> Result<Shown, String> {
        let claims = self.signed(token).await.map_err(|e| format!("oidc: verify token: {e}"))?;
        self.check(&claims, now)?;
        let claimed = authentication::user(&self.jwt, &claims)?;
        let groups: Vec<&str> = claimed.groups.iter().map(String::as_str).collect();
        let mut user =
            User { uid: claimed.uid, extra: claimed.extra, ..User::new(claimed.name, &groups) };
        if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
            user.extra.insert(super::CREDENTIAL_ID.into(), vec![format!("JTI={id}")]);
        }
        Ok(Shown { user, audiences: Vec::new() })
    }

    fn check(&self, claims: &Value, now: i64) -> Result<(), String> {
        let refused = |why: String| Err(format!("oidc: verify token: oidc: {why}"));
        let seconds = |claim: &str| claims[claim].as_f64().map(|seconds| seconds as i64);
        match seconds("exp") {
            None => return refused("token has no expiry".into()),
            Some(expiry) if now >= expiry => return refused("token is expired".into()),
            Some(_) => {}
        }
        // Clocks differ.
        const LEEWAY: i64 = 300;
        if seconds("nbf").is_some_and(|from| now + LEEWAY < from) {
            return refused("current time is before the nbf (not before) time".into());
        }
        let wanted = &self.jwt.audiences;
        let meant = match &claims["aud"] {
            Value::String(one) => wanted.contains(one),
            Value::Array(list) => {
                list.iter().filter_map(Value::as_str).any(|one| wanted.iter().any(|w| w == one))
            }
            _ => false,
        };
        if !meant {
            return refused(format!("expected audience in {wanted:?} got {}", claims["aud"]));
        }
        Ok(())
    }

    /// The claims of a token that one of its keys has signed.
    async fn signed(&self, token: &str) -> Result<Value, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if !self.algorithms.contains(&header.alg) {
            return Err(format!(
                "oidc: id token signed with unsupported algorithm {:?}",
                header.alg
            ));
        }
        let before = self.keys.load_full();
        if let Some(claims) = before.as_ref().and_then(|keys| decode(token, &header, keys)) {
            return Ok(claims);
        }
        self.refresh().await?;
        let keys = self.keys.load_full().ok_or("the issuer's keys are not known")?;
        decode(token, &header, &keys).ok_or_else(|| "failed to verify signature".to_owned())
    }

    fn transport(&self, url: &str) -> Result<HttpTransport, String> {
        let ca = Some(self.jwt.authority.clone()).filter(|pem| !pem.is_empty());
        let config = Config { server: url.to_owned(), ca, ..Config::default() };
        HttpTransport::new(&config).map_err(|error| error.to_string())
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let uri: http::Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{url:?} is no URL"));
        };
        let transport = self.transport(&format!("{scheme}://{authority}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let got = tokio::time::timeout(PATIENCE, transport.get(path, "application/json"));
        let got = got.await.map_err(|_| format!("{url}: context deadline exceeded"))?;
        let bytes = got.map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{url}: {error}"))
    }

    /// Looks for its keys anew, unless that was done just now.
    async fn refresh(&self) -> Result<(), String> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        *asked = Some(Instant::now());
        let url = match self.jwt.discovery_url.as_str() {
            "" => {
                let base = self.jwt.url.trim_end_matches('/');
                format!("{base}/.well-known/openid-configuration")
            }
            url => url.to_owned(),
        };
        let configuration = self.get(&url).await?;
        let issuer = configuration["issuer"].as_str().unwrap_or_default();
        if issuer != self.jwt.url {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got \
                 {issuer:?}",
                self.jwt.url
            ));
        }
        let place = configuration["jwks_uri"].as_str().unwrap_or_default();
        let set = self.get(place).await?;
        // A key of a kind that we do not know spoils none beside it.
        let keys = set["keys"].as_array().into_iter().flatten();
        let keys = keys.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        self.keys.store(Some(JwkSet { keys }.into()));
        Ok(())
    }
}

fn decode(token: &str, header: &jsonwebtoken::Header, keys: &JwkSet) -> Option<Value> {
    let mut validation = Validation::new(header.alg);
    // What the claims say is compared by the caller, with the clock that the server was given.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let named = |key: &&jsonwebtoken::jwk::Jwk| {
        header.kid.as_ref().is_none_or(|id| key.common.key_id.as_ref().is_none_or(|k| k == id))
    };
    keys.keys.iter().filter(named).find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        jsonwebtoken::decode::<Value>(token, &key, &validation).ok().map(|data| data.claims)
    })
}
