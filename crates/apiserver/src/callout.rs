//! Servers of the operator's that are asked or told something: named by a kubeconfig file, spoken to
//! in JSON. Webhooks for authentication, authorization and audit share it.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use onggi_client::HttpTransport;
use onggi_client::kubeconfig::Kubeconfig;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

/// The largest answer that is read.
const MAX_ANSWER: usize = 4 << 20;
/// How often a server is asked that is busy or not there, and how soon again.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// How many answers are kept.
const MOST: usize = 8192;

/// See the module.
pub(crate) struct Callout {
    transport: HttpTransport,
    path: String,
    url: String,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// It may work later.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl Callout {
    /// The error names the file.
    pub(crate) fn new(kubeconfig: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("{kubeconfig}: {error}");
        let file = Kubeconfig::load(&[PathBuf::from(kubeconfig)]);
        let resolved = file.and_then(|file| file.resolve(None));
        let mut config = resolved.map_err(|error| wrong(error.to_string()))?.config;
        let url = config.server.clone();
        let uri: http::Uri = url.parse().map_err(|_| wrong(format!("server {url:?} is no URL")))?;
        let path = uri.path().to_owned();
        if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
            config.server = format!("{scheme}://{authority}");
        }
        let transport = HttpTransport::new(&config).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { transport, path, url })
    }

    /// Sends a document, again where that may help, and gives the answer.
    pub(crate) async fn ask(&self, body: &Value, timeout: Duration) -> Result<Value, String> {
        let bytes = Bytes::from(body.to_string());
        let asking = async {
            let mut pause = PAUSE;
            for attempt in 1.. {
                match self.send(bytes.clone()).await {
                    Ok(answer) => {
                        return serde_json::from_slice(&answer)
                            .map_err(|error| format!("Post {:?}: {error}", self.url));
                    }
                    Err(Failure::Passing(_)) if attempt < ATTEMPTS => {
                        tokio::time::sleep(pause).await;
                        pause = pause.mul_f64(1.5);
                    }
                    Err(Failure::Passing(why) | Failure::Lasting(why)) => return Err(why),
                }
            }
            Err(String::new())
        };
        let late = |_| Err(format!("Post {:?}: context deadline exceeded", self.url));
        tokio::time::timeout(timeout, asking).await.unwrap_or_else(late)
    }

    /// One POST.
    pub(crate) async fn send(&self, body: Bytes) -> Result<Bytes, Failure> {
        let request = http::Request::post(&self.path)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .map_err(|error| Failure::Lasting(format!("{}: {error}", self.url)))?;
        let broken = |error: String| Failure::Passing(format!("Post {:?}: {error}", self.url));
        let response = self.transport.raw(request).await.map_err(|error| match error {
            onggi_client::Error::Connection { message, .. } => broken(message),
            other => broken(other.to_string()),
        })?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        if code.is_success() {
            return Ok(body);
        }
        let text = format!("Post {:?}: the server responded with {}", self.url, code.as_u16());
        if code.is_server_error() || code.as_u16() == 429 {
            return Err(Failure::Passing(text));
        }
        Err(Failure::Lasting(text))
    }
}

/// Answers that are kept for a while.
pub(crate) struct Answers<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    /// What is still good.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock();
        kept.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    /// Keeps an answer; for no time at all: not.
    pub(crate) fn keep(&self, key: K, value: V, time: Duration) {
        if time.is_zero() {
            return;
        }
        let mut kept = self.0.lock();
        let now = Instant::now();
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, (now + time, value));
    }
}
