//! A registry, seen from here: oci-client with our roots of trust, our name look-up and our words
//! for its errors. A client lives for one pull or push: its token cache does not tell users apart.

use bytes::Bytes;
use http::StatusCode;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth as ClientAuth;
use oci_client::{Client, RegistryOperation};
use onggi_node_api::RegistryAuth;
use std::time::Duration;

use crate::spec::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::{Digest, Error, Reference, Result};

/// A registry with one way to log in.
pub(crate) struct Remote {
    client: Client,
    reference: Reference,
    auth: ClientAuth,
}

impl Remote {
    /// Connects nothing yet. `insecure`: hosts (`host` or `host:port`) that speak plain HTTP;
    /// loopback always does.
    pub(crate) fn new(
        reference: &Reference,
        auth: Option<&RegistryAuth>,
        insecure: &[String],
    ) -> Result<Self> {
        // Fails when somebody chose a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = reference.registry();
        let plain = is_loopback(registry)
            || insecure
                .iter()
                .any(|host| host == registry || Some(host.as_str()) == host_of(registry));
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            use_monolithic_push: true,
            tls_certs_only: if plain { Vec::new() } else { roots() },
            // A plain registry needs no roots, but the client insists on having some.
            extra_root_certificates: if plain { roots() } else { Vec::new() },
            connect_timeout: Some(Duration::from_secs(15)),
            read_timeout: Some(Duration::from_secs(60)),
            user_agent: concat!("onggi/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config)
            .map_err(|e| Error::Registry(format!("registry client: {}", causes(&e))))?;
        let auth = match auth {
            None => ClientAuth::Anonymous,
            Some(RegistryAuth::Basic(user, password)) => {
                ClientAuth::Basic(user.clone(), password.clone())
            }
            Some(RegistryAuth::Bearer(token)) => ClientAuth::Bearer(token.clone()),
        };
        Ok(Self { client, reference: reference.clone(), auth })
    }

    /// Logs in for pulling or pushing.
    pub(crate) async fn log_in(&self, push: bool) -> Result<()> {
        let operation = if push { RegistryOperation::Push } else { RegistryOperation::Pull };
        let done = self.client.auth(&self.name(), &self.auth, operation).await;
        done.map(drop).map_err(|e| self.error(e))
    }

    /// A manifest or index: the text and its digest, checked. `digest` in place of the reference's.
    pub(crate) async fn manifest(&self, digest: Option<&Digest>) -> Result<(Bytes, Digest)> {
        let name = match digest {
            Some(digest) => client_reference(&self.reference.with_digest(digest)),
            None => self.name(),
        };
        let kinds = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];
        let (bytes, _) = self
            .client
            .pull_manifest_raw(&name, &self.auth, &kinds)
            .await
            .map_err(|e| self.error(e))?;
        let actual = Digest::of(&bytes);
        match digest.or(self.reference.digest()) {
            Some(expected) if expected != &actual => Err(Error::Registry(format!(
                "registry {} sent a manifest with digest {actual} for {expected}",
                self.reference.registry()
            ))),
            _ => Ok((bytes, actual)),
        }
    }

    /// A blob as it comes; the stream fails at its end when the digest is wrong.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
    ) -> Result<impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static + use<>> {
        self.client
            .pull_blob_stream(&self.name(), digest.as_str())
            .await
            .map(|sized| sized.stream)
            .map_err(|e| self.error(e))
    }

    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        self.client.blob_exists(&self.name(), digest.as_str()).await.map_err(|e| self.error(e))
    }

    pub(crate) async fn push_blob(
        &self,
        digest: &Digest,
        size: u64,
        content: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        use futures::TryStreamExt;
        self.client
            .push_blob_stream(
                &self.name(),
                content.map_err(Into::into),
                digest.as_str(),
                Some(size),
            )
            .await
            .map(drop)
            .map_err(|e| self.error(e))
    }

    pub(crate) async fn push_manifest(&self, media_type: &str, bytes: Vec<u8>) -> Result<()> {
        let kind = http::HeaderValue::from_str(media_type)
            .map_err(|_| Error::invalid(format!("media type {media_type:?} is not valid")))?;
        self.client
            .push_manifest_raw(&self.name(), bytes, kind)
            .await
            .map(drop)
            .map_err(|e| self.error(e))
    }

    fn name(&self) -> oci_client::Reference {
        client_reference(&self.reference)
    }

    fn error(&self, e: OciDistributionError) -> Error {
        let registry = self.reference.registry();
        match outcome(&e) {
            Outcome::Refused => self.refused(&e),
            Outcome::Missing => Error::NotFound(self.reference.to_string()),
            Outcome::TooMany => Error::Registry(format!(
                "registry {registry} refuses more requests for now: wait, or log in for a higher limit"
            )),
            Outcome::Other => Error::Registry(format!(
                "registry {registry}, image {}: {}",
                self.reference.familiar(),
                causes(&e)
            )),
        }
    }

    fn refused(&self, e: &OciDistributionError) -> Error {
        let registry = self.reference.registry();
        let advice = match self.auth {
            ClientAuth::Anonymous => format!(
                "the repository is private or does not exist; log in with `onggi login {registry}`, or give the pod \
                 an imagePullSecret"
            ),
            _ => "the user or password is wrong, or may not do this".to_owned(),
        };
        Error::Unauthorized {
            reference: self.reference.to_string(),
            message: format!("{advice} ({})", causes(e)),
        }
    }
}

enum Outcome {
    Refused,
    Missing,
    TooMany,
    Other,
}

fn outcome(e: &OciDistributionError) -> Outcome {
    let by_status = |status: u16| match StatusCode::from_u16(status) {
        Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Outcome::Refused,
        Ok(StatusCode::NOT_FOUND) => Outcome::Missing,
        Ok(StatusCode::TOO_MANY_REQUESTS) => Outcome::TooMany,
        _ => Outcome::Other,
    };
    match e {
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. } => Outcome::Refused,
        OciDistributionError::ImageManifestNotFoundError(_) => Outcome::Missing,
        OciDistributionError::ServerError { code, .. } => by_status(*code),
        OciDistributionError::RequestError(e) => {
            e.status().map_or(Outcome::Other, |status| by_status(status.as_u16()))
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|e| &e.code) {
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => Outcome::Refused,
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound,
                ) => Outcome::Missing,
                Some(OciErrorCode::Toomanyrequests) => Outcome::TooMany,
                _ => Outcome::Other,
            }
        }
        _ => Outcome::Other,
    }
}

/// An error with what caused it; the cause of a failed connection is the last.
pub(crate) fn causes(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn client_reference(reference: &Reference) -> oci_client::Reference {
    let (registry, repository) =
        (reference.registry().to_owned(), reference.repository().to_owned());
    match reference.digest() {
        Some(digest) => {
            oci_client::Reference::with_digest(registry, repository, digest.to_string())
        }
        None => {
            let tag = reference.tag().unwrap_or("latest").to_owned();
            oci_client::Reference::with_tag(registry, repository, tag)
        }
    }
}

fn host_of(registry: &str) -> Option<&str> {
    match registry.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, _)| host),
        None => registry.split(':').next(),
    }
}

fn is_loopback(registry: &str) -> bool {
    host_of(registry).is_some_and(|host| {
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The machine's roots of trust; on a machine without any (an empty root file system), Mozilla's.
fn roots() -> Vec<Certificate> {
    let native = rustls_native_certs::load_native_certs();
    for e in native.errors {
        tracing::debug!(error = %e, "root certificate left out");
    }
    let certificate =
        |der: &[u8]| Certificate { encoding: CertificateEncoding::Der, data: der.to_vec() };
    if native.certs.is_empty() {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| certificate(der)).collect()
    } else {
        native.certs.iter().map(|der| certificate(der)).collect()
    }
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
