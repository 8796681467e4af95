//! A registry, seen from here (OCI distribution specification v1.1), and our words for its errors.
//! One of these lives for one pull or push with one login: tokens are shared with nobody.

mod auth;
mod wire;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyDataStream, BodyExt, Limited};
use hyper::body::Incoming;
use onggi_node_api::RegistryAuth;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::body::{self, Body};
use crate::reference::DEFAULT_REGISTRY;
use crate::spec::{DOCKER_LIST, DOCKER_MANIFEST, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST};
use crate::{Digest, Error, Reference, Result};
use wire::Wire;
pub(crate) use wire::tls_config;

/// Where Docker Hub's registry really is.
const DOCKER_HUB: &str = "registry-1.docker.io";
const MAX_REDIRECTS: usize = 5;

/// Which registries are believed.
pub(crate) struct Trust {
    /// Hosts (`host` or `host:port`) that speak plain HTTP; those on loopback may.
    pub(crate) insecure: Vec<String>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// A repository of a registry, with one way to log in.
pub(crate) struct Remote {
    wire: Wire,
    reference: Reference,
    /// `https://host:port`.
    origin: String,
    login: Option<RegistryAuth>,
    push: bool,
    /// What `Authorization` says, once the registry asked.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Remote {
    /// Connects nothing yet, but to find out whether a registry on this machine speaks TLS.
    pub(crate) async fn new(
        reference: &Reference,
        login: Option<&RegistryAuth>,
        trust: &Trust,
        push: bool,
    ) -> Self {
        let registry = reference.registry();
        let wire = Wire::new(Arc::clone(&trust.tls));
        let named = |host: &String| host == registry || host == wire::host_of(registry);
        let plain = trust.insecure.iter().any(named)
            || (is_loopback(registry) && wire.is_plain(registry).await);
        let host = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { registry };
        Self {
            wire,
            reference: reference.clone(),
            origin: format!("{}://{host}", if plain { "http" } else { "https" }),
            login: login.cloned(),
            push,
            authorization: Mutex::new(None),
        }
    }

    /// Asks whether the login is good.
    pub(crate) async fn log_in(&self) -> Result<()> {
        let url = format!("{}/v2/", self.origin);
        let response = self.ask(Method::GET, &url, &HeaderMap::new()).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refusal(response).await),
        }
    }

    /// A manifest or index: the text and its digest, checked. `digest` in place of the reference's.
    pub(crate) async fn manifest(&self, digest: Option<&Digest>) -> Result<(Bytes, Digest)> {
        let expected = digest.or(self.reference.digest());
        let url = self.url(
            "manifests",
            &match expected {
                Some(digest) => digest.to_string(),
                None => self.reference.tag().unwrap_or("latest").to_owned(),
            },
        );
        let mut headers = HeaderMap::new();
        for kind in [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST] {
            headers.append(ACCEPT, HeaderValue::from_static(kind));
        }
        let response = self.ask(Method::GET, &url, &headers).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let bytes = self.whole(response).await?;
        let actual = Digest::of(&bytes);
        match expected {
            Some(expected) if expected != &actual => {
                Err(self.failed(format!("it sent a manifest with digest {actual} for {expected}")))
            }
            _ => Ok((bytes, actual)),
        }
    }

    /// A blob as it comes, not checked.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
    ) -> Result<impl futures::Stream<Item = io::Result<Bytes>> + Send + Unpin + use<>> {
        let url = self.url("blobs", digest.as_str());
        let response = self.ask(Method::GET, &url, &HeaderMap::new()).await?;
        match response.status() {
            StatusCode::OK => Ok(wire::patient(BodyDataStream::new(response.into_body()))),
            StatusCode::NOT_FOUND => Err(self.failed(format!("it has no blob {digest}"))),
            _ => Err(self.refusal(response).await),
        }
    }

    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let url = self.url("blobs", digest.as_str());
        let response = self.ask(Method::HEAD, &url, &HeaderMap::new()).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(response).await),
        }
    }

    /// Uploads in one piece.
    pub(crate) async fn push_blob(&self, digest: &Digest, size: u64, content: Body) -> Result<()> {
        let url = self.url("blobs", "uploads/");
        let response = self.ask(Method::POST, &url, &HeaderMap::new()).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(response).await);
        }
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let location = location.ok_or_else(|| self.failed("it does not say where to upload to"))?;
        let location = join(&self.origin, location);
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, size.into());
        self.put(&url, headers, content).await
    }

    pub(crate) async fn push_manifest(&self, media_type: &str, bytes: Vec<u8>) -> Result<()> {
        let kind = HeaderValue::from_str(media_type)
            .map_err(|_| Error::invalid(format!("media type {media_type:?} is not valid")))?;
        let name = match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CONTENT_LENGTH, bytes.len().into());
        self.put(&self.url("manifests", &name), headers, body::full(bytes)).await
    }

    fn url(&self, kind: &str, name: &str) -> String {
        format!("{}/v2/{}/{kind}/{name}", self.origin, self.reference.repository())
    }

    /// A body cannot be sent twice: the requests before it logged us in.
    async fn put(&self, url: &str, mut headers: HeaderMap, content: Body) -> Result<()> {
        let uri = self.parse(url)?;
        // Uploads may go to another host, which has its own signature in the URL.
        if url.starts_with(&format!("{}/", self.origin))
            && let Some(value) = self.authorization.lock().clone()
        {
            headers.insert(AUTHORIZATION, value);
        }
        let response = self.send(Method::PUT, &uri, &headers, content).await?;
        match response.status() {
            StatusCode::CREATED
            | StatusCode::OK
            | StatusCode::ACCEPTED
            | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.refusal(response).await),
        }
    }

    /// A request without a body: logs in when the registry asks, follows redirects.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>> {
        let mut response = self.follow(&method, url, headers).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(value) = self.answer_challenge(response.headers()).await?
        {
            *self.authorization.lock() = Some(value);
            response = self.follow(&method, url, headers).await?;
        }
        Ok(response)
    }

    async fn follow(
        &self,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = headers.clone();
            // Storage behind a registry must not see the registry's token.
            if url.starts_with(&format!("{}/", self.origin))
                && let Some(value) = self.authorization.lock().clone()
            {
                headers.insert(AUTHORIZATION, value);
            }
            let uri = self.parse(&url)?;
            let response = self.send(method.clone(), &uri, &headers, body::empty()).await?;
            let target = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            match (response.status().is_redirection(), target) {
                (true, Some(target)) => url = join(&wire::origin(&uri), target),
                _ => return Ok(response),
            }
            if self.origin.starts_with("https:") && !url.starts_with("https:") {
                return Err(self.failed(format!("it redirects to {url}, which is not encrypted")));
            }
        }
        Err(self.failed("it redirects in a circle"))
    }

    async fn send(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        content: Body,
    ) -> Result<Response<Incoming>> {
        self.wire.send(method, uri, headers, content).await.map_err(|e| self.failed(e))
    }

    fn parse(&self, url: &str) -> Result<Uri> {
        url.parse().map_err(|_| self.failed(format!("{url:?} is no valid address")))
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes> {
        let limited = Limited::new(response.into_body(), MAX_DOCUMENT as usize);
        match tokio::time::timeout(wire::PATIENCE, limited.collect()).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(e)) => Err(self.failed(e.to_string())),
            Err(_) => Err(self.failed("it stopped answering")),
        }
    }

    fn failed(&self, message: impl Into<String>) -> Error {
        Error::Registry(format!(
            "registry {}, image {}: {}",
            self.reference.registry(),
            self.reference.familiar(),
            message.into()
        ))
    }

    /// What a registry that says no means.
    async fn refusal(&self, response: Response<Incoming>) -> Error {
        #[derive(Deserialize)]
        struct Said {
            errors: Vec<Detail>,
        }
        #[derive(Deserialize)]
        struct Detail {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let status = response.status();
        let text = self.whole(response).await.unwrap_or_default();
        let said =
            serde_json::from_slice::<Said>(&text).ok().and_then(|s| s.errors.into_iter().next());
        let (code, message) = said.map(|d| (d.code, d.message)).unwrap_or_default();
        let shown = if message.is_empty() { status.to_string() } else { message };
        let registry = self.reference.registry();
        match (status, code.as_str()) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)
            | (_, "UNAUTHORIZED" | "DENIED") => self.unauthorized(&shown),
            (StatusCode::NOT_FOUND, _) => Error::NotFound(self.reference.to_string()),
            (StatusCode::TOO_MANY_REQUESTS, _) => Error::Registry(format!(
                "registry {registry} takes no more requests for now: wait, or log in for a higher limit"
            )),
            _ => self.failed(format!("it answered {shown}")),
        }
    }

    fn unauthorized(&self, shown: &str) -> Error {
        let advice = match self.login {
            None => format!(
                "the repository is private or does not exist; log in with `onggi login {}`, or give the pod an \
                 imagePullSecret",
                self.reference.registry()
            ),
            Some(_) => "the user or password is wrong, or may not do this".to_owned(),
        };
        Error::Unauthorized {
            reference: self.reference.to_string(),
            message: format!("{advice} ({shown})"),
        }
    }
}

/// An absolute URL from a `Location`.
fn join(origin: &str, location: &str) -> String {
    if location.starts_with('/') { format!("{origin}{location}") } else { location.to_owned() }
}

fn is_loopback(registry: &str) -> bool {
    let host = wire::host_of(registry);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback() {
        for (registry, expect) in [
            ("localhost:5000", true),
            ("127.0.0.2", true),
            ("[::1]:5000", true),
            ("docker.io", false),
            ("10.0.0.1:5000", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(registry), expect, "{registry}");
        }
    }
}
