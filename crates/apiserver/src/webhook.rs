//! Webhooks: JSON to a server of the user's and back. Conversion and admission share it.
//!
//! A hook is named by a `clientConfig`: a `url`, or a `service` of the cluster, which is reached at
//! one of its endpoints under the name `SERVICE.NAMESPACE.svc`, with or without a service proxy on
//! this machine. Connections are kept, one pool for each server and authority.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use onggi_client::{Config, HttpTransport};
use onggi_machinery::kinds;
use onggi_machinery::value::{at, i64_at, is_set, list_at, str_at};
use parking_lot::Mutex;
use rand::seq::IndexedRandom;
use serde_json::Value;

use crate::cache::{Cache, Selection};

/// The largest answer that is read.
const MAX_ANSWER: usize = 32 << 20;
/// How many pools are kept.
const MAX_POOLS: usize = 256;

/// See the module.
#[derive(Default)]
pub(crate) struct Webhooks {
    pools: Mutex<HashMap<Pool, Arc<HttpTransport>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Pool {
    server: String,
    name: Option<String>,
    authority: Option<String>,
}

/// Where a hook is.
struct Place {
    pool: Pool,
    path: String,
    /// For people: the address under which the user knows it.
    url: String,
}

/// A hook was not reached, or did not answer as it should. `Display` is what Kubernetes writes
/// behind `failed calling webhook "NAME": `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// The `clientConfig` leads nowhere.
    #[error("{0}")]
    Config(String),
    /// No answer in time.
    #[error("failed to call webhook: Post {0:?}: context deadline exceeded")]
    Timeout(String),
    /// No connection, or a broken one.
    #[error("failed to call webhook: Post {url:?}: {message}")]
    Connection {
        /// The hook.
        url: String,
        /// What happened.
        message: String,
    },
    /// An answer that is no success.
    #[error("failed to call webhook: {0}")]
    Code(String),
    /// An answer that cannot be read.
    #[error("received invalid webhook response: {0}")]
    Answer(String),
}

/// What client-go makes of a refusal (`apimachinery/pkg/api/errors.NewGenericServerResponse`).
fn refusal(code: u16, body: &[u8]) -> String {
    /// How much of a body is told.
    const TOLD: usize = 2048;
    let text = String::from_utf8_lossy(&body[..body.len().min(TOLD)]);
    let text = text.trim();
    let told = if text.is_empty() { "unknown" } else { text };
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 406 | 415 => told.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later"
            .to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be \
                processing the request"
            .to_owned(),
        500.. => {
            format!("an error on the server ({told:?}) has prevented the request from succeeding")
        }
        _ => format!(
            "the server responded with the status code {code} but did not return more information"
        ),
    }
}

impl Webhooks {
    /// Sends a document to a hook and gives its answer. `query` is put behind the path, such as
    /// `timeout=10s`; it may be empty.
    pub(crate) async fn call(
        &self,
        cache: &Cache,
        client_config: &Value,
        query: &str,
        body: &Value,
        timeout: Duration,
    ) -> Result<Value, WebhookError> {
        let place = place(cache, client_config, query)?;
        let transport = self.pool(&place.pool)?;
        let bytes = serde_json::to_vec(body).map_err(|e| WebhookError::Config(e.to_string()))?;
        let request = http::Request::post(&place.path)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|e| WebhookError::Config(format!("webhook path {:?}: {e}", place.path)))?;
        let broken = |message: String| WebhookError::Connection { url: place.url.clone(), message };
        let exchange = async {
            let response = transport.raw(request).await.map_err(|error| match error {
                onggi_client::Error::Connection { message, .. } => broken(message),
                other => broken(other.to_string()),
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER);
            let body = body.collect().await.map_err(|error| broken(error.to_string()))?;
            let body = body.to_bytes();
            if !status.is_success() {
                return Err(WebhookError::Code(refusal(status.as_u16(), &body)));
            }
            serde_json::from_slice(&body).map_err(|error| WebhookError::Answer(error.to_string()))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(WebhookError::Timeout(place.url.clone())))
    }

    fn pool(&self, pool: &Pool) -> Result<Arc<HttpTransport>, WebhookError> {
        let mut pools = self.pools.lock();
        if let Some(known) = pools.get(pool) {
            return Ok(Arc::clone(known));
        }
        let config = Config {
            server: pool.server.clone(),
            ca: pool.authority.clone(),
            server_name: pool.name.clone(),
            ..Config::default()
        };
        let new = HttpTransport::new(&config).map_err(|e| WebhookError::Config(e.to_string()))?;
        let new = Arc::new(new);
        // Configurations change seldom: what is no longer used goes with the rest.
        if pools.len() >= MAX_POOLS {
            pools.clear();
        }
        pools.insert(pool.clone(), Arc::clone(&new));
        Ok(new)
    }
}

fn place(cache: &Cache, config: &Value, query: &str) -> Result<Place, WebhookError> {
    let authority = match str_at(config, "caBundle") {
        "" => None,
        bundle => {
            let pem = STANDARD.decode(bundle).ok().and_then(|pem| String::from_utf8(pem).ok());
            let wrong = || WebhookError::Config("unable to load root certificates".into());
            Some(pem.ok_or_else(wrong)?)
        }
    };
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    if !is_set(config, "service") {
        let url = str_at(config, "url");
        let uri: http::Uri = url
            .parse()
            .map_err(|e| WebhookError::Config(format!("Unparsable webhook URL: {url}: {e}")))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.authority()) else {
            return Err(WebhookError::Config(format!("Unparsable webhook URL: {url}")));
        };
        let server = format!("{scheme}://{host}");
        let path = format!("{}{query}", uri.path());
        let pool = Pool { server, name: None, authority };
        return Ok(Place { pool, path, url: format!("{url}{query}") });
    }
    let (namespace, name) = (str_at(config, "service.namespace"), str_at(config, "service.name"));
    let port = i64_at(config, "service.port").unwrap_or(443);
    let path = match str_at(config, "service.path") {
        "" => "/".to_owned(),
        path => format!("/{}", path.trim_start_matches('/')),
    };
    let path = format!("{path}{query}");
    let host = format!("{name}.{namespace}.svc");
    let url = format!("https://{host}:{port}{path}");
    let address = endpoint(cache, namespace, name, port)
        .map_err(|message| WebhookError::Connection { url: url.clone(), message })?;
    let pool = Pool { server: format!("https://{address}"), name: Some(host), authority };
    Ok(Place { pool, path, url })
}

/// An address and port behind a port of a service.
fn endpoint(cache: &Cache, namespace: &str, name: &str, port: i64) -> Result<String, String> {
    let services = cache.of(&kinds::service::RESOURCE).map_err(|s| s.message)?;
    let key = crate::cache::key(&kinds::service::RESOURCE, namespace, name);
    let service = services.get(&key).and_then(|object| object.value().ok());
    let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
    if str_at(&service, "spec.type") == "ExternalName" {
        return Ok(format!("{}:{port}", str_at(&service, "spec.externalName")));
    }
    let ports = list_at(&service, "spec.ports");
    let service_port = ports
        .iter()
        .find(|known| i64_at(known, "port") == Some(port))
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = str_at(service_port, "name");
    let mut ready = Vec::new();
    let mut slices = 0;
    for slice in slices_of(cache, namespace, name)? {
        slices += 1;
        let Some(number) = list_at(&slice, "ports")
            .iter()
            .find(|port| str_at(port, "name") == port_name)
            .and_then(|port| i64_at(port, "port"))
        else {
            continue;
        };
        for endpoint in list_at(&slice, "endpoints") {
            if at(endpoint, "conditions.ready") == &Value::Bool(false) {
                continue;
            }
            let addresses = list_at(endpoint, "addresses").iter().filter_map(Value::as_str);
            ready.extend(addresses.map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    if let Some(chosen) = ready.choose(&mut rand::rng()) {
        return Ok(chosen.clone());
    }
    // A service that somebody else routes.
    let address = str_at(&service, "spec.clusterIP");
    if slices == 0 && !is_set(&service, "spec.selector") && !matches!(address, "" | "None") {
        return Ok(format!("{address}:{port}"));
    }
    Err(format!("no endpoints available for service {name:?}"))
}

fn slices_of(cache: &Cache, namespace: &str, name: &str) -> Result<Vec<Value>, String> {
    let row = &kinds::endpointslice::RESOURCE;
    let labels = format!("kubernetes.io/service-name={name}");
    let selection = Selection::parse(row, namespace, &labels, "").map_err(|s| s.message)?;
    let collection = cache.of(row).map_err(|s| s.message)?;
    let found = collection.list(&selection, cache.applied(), 0).items;
    Ok(found.iter().filter_map(|object| object.value().ok()).collect())
}
