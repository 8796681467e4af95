//! Images of containers: pull policy, pull secrets, what is told about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::core::Container;
use onggi_node_api::{Image, ImageError, RegistryAuth};
use serde::Deserialize;

use crate::context::Context;
use crate::objects::{Data, Kind};
use crate::pod::Pod;

/// Where images without a host come from, and the names by which settings speak of it.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_REGISTRY_NAMES: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Why a container has no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoImage {
    /// `state.waiting.reason`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Whether it is worth trying again: then `ImagePullBackOff` follows.
    pub(crate) again: bool,
}

/// Sees that a container's image is on the node, as its pull policy says; tells the pod's events.
/// Answers the image's id.
pub(crate) async fn ensure(
    context: &Context,
    pod: &Pod,
    container: &Container,
    objects: &BTreeMap<(Kind, String), Arc<Data>>,
) -> Result<String, NoImage> {
    let wanted = container.image.as_deref().unwrap_or_default();
    let part = Some(container.name.as_str());
    let events = &context.events;
    let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    if policy != "Always" {
        match context.images.image_status(wanted).await {
            Ok(Some(image)) => {
                let text = format!(
                    "Container image {wanted:?} already present on machine and can be accessed by the pod"
                );
                events.normal(pod, part, "Pulled", text);
                return Ok(image.id);
            }
            Ok(None) if policy == "Never" => {
                let message =
                    format!("Container image {wanted:?} is not present with pull policy of Never");
                events.warning(pod, part, "ErrImageNeverPull", message.clone());
                events.warning(pod, part, "Failed", "Error: ErrImageNeverPull".to_owned());
                return Err(NoImage { reason: "ErrImageNeverPull", message, again: false });
            }
            Ok(None) => {}
            Err(error) => return Err(failed(context, pod, container, wanted, &error)),
        }
    }
    events.normal(pod, part, "Pulling", format!("Pulling image {wanted:?}"));
    let auth = credentials(context, pod, objects, wanted);
    let begun = tokio::time::Instant::now();
    match context.images.pull_image(wanted, auth, None).await {
        Ok(image) => {
            events.normal(pod, part, "Pulled", pulled(wanted, &image, begun.elapsed()));
            Ok(image.id)
        }
        Err(error) => Err(failed(context, pod, container, wanted, &error)),
    }
}

fn pulled(wanted: &str, image: &Image, took: Duration) -> String {
    let took = go_seconds(took);
    format!(
        "Successfully pulled image {wanted:?} in {took} ({took} including waiting). Image size: {} bytes.",
        image.size
    )
}

/// As Go prints it after rounding to milliseconds: `1.204s`, `87ms`.
fn go_seconds(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn failed(
    context: &Context,
    pod: &Pod,
    container: &Container,
    wanted: &str,
    error: &ImageError,
) -> NoImage {
    let part = Some(container.name.as_str());
    if let ImageError::InvalidReference { .. } = error {
        let message = format!("Failed to apply default image tag {wanted:?}: {error}");
        context.events.warning(pod, part, "InspectFailed", message.clone());
        context.events.warning(pod, part, "Failed", "Error: InvalidImageName".to_owned());
        return NoImage { reason: "InvalidImageName", message, again: false };
    }
    let text = format!("Failed to pull image {wanted:?}: {error}");
    context.events.warning(pod, part, "Failed", text.clone());
    context.events.warning(pod, part, "Failed", "Error: ErrImagePull".to_owned());
    NoImage { reason: "ErrImagePull", message: error.to_string(), again: true }
}

// === Pull secrets ===

#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    /// `user:password` in base64.
    auth: String,
    registrytoken: String,
}

/// What the pod's `imagePullSecrets` say for the registry of an image.
fn credentials(
    context: &Context,
    pod: &Pod,
    objects: &BTreeMap<(Kind, String), Arc<Data>>,
    image: &str,
) -> Vec<RegistryAuth> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in pod.spec.image_pull_secrets.iter().flatten() {
        match objects.get(&(Kind::Secret, reference.name.clone())) {
            Some(secret) => found.extend(of_secret(secret, image)),
            None => missing.push(reference.name.as_str()),
        }
    }
    if !missing.is_empty() {
        let text = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        context.events.warning(pod, None, "FailedToRetrieveImagePullSecret", text);
    }
    found
}

fn of_secret(secret: &Data, image: &str) -> Vec<RegistryAuth> {
    let config = if let Some(bytes) = secret.entries.get(".dockerconfigjson") {
        serde_json::from_slice(bytes).unwrap_or_default()
    } else if let Some(bytes) = secret.entries.get(".dockercfg") {
        DockerConfig { auths: serde_json::from_slice(bytes).unwrap_or_default() }
    } else {
        DockerConfig::default()
    };
    // The longest address that fits goes first.
    let mut fitting: Vec<_> =
        config.auths.into_iter().filter(|(address, _)| fits(address, image)).collect();
    fitting.sort_by_key(|(address, _)| std::cmp::Reverse(address.len()));
    fitting.into_iter().filter_map(|(_, auth)| registry_auth(auth)).collect()
}

fn registry_auth(auth: Auth) -> Option<RegistryAuth> {
    if !auth.registrytoken.is_empty() {
        return Some(RegistryAuth::Bearer(auth.registrytoken));
    }
    if !auth.username.is_empty() {
        return Some(RegistryAuth::Basic(auth.username, auth.password));
    }
    let text = String::from_utf8(STANDARD.decode(auth.auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

/// Whether the settings of an address are for an image: the same host, and the path a prefix.
fn fits(address: &str, image: &str) -> bool {
    let address = address.trim_start_matches("https://").trim_start_matches("http://");
    let address = address.trim_end_matches('/');
    // Docker's own address has a version in its path.
    let address = address.strip_suffix("/v1").or(address.strip_suffix("/v2")).unwrap_or(address);
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let (image_host, image_path) = split_host(image);
    let same_host = host == image_host
        || (DEFAULT_REGISTRY_NAMES.contains(&host) && image_host == DEFAULT_REGISTRY)
        || host.strip_prefix("*.").is_some_and(|domain| {
            image_host.split_once('.').is_some_and(|(_, rest)| rest == domain)
        });
    same_host && (path.is_empty() || image_path.starts_with(&format!("{path}/")))
}

fn split_host(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DEFAULT_REGISTRY, image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_images() {
        for (address, image, expected) in [
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "library/nginx:1", true),
            ("ghcr.io", "ghcr.io/a/b", true),
            ("ghcr.io/a", "ghcr.io/a/b", true),
            ("ghcr.io/c", "ghcr.io/a/b", false),
            ("*.example.com", "r.example.com/x", true),
            ("localhost:5000", "localhost:5000/x", true),
            ("ghcr.io", "nginx", false),
        ] {
            assert_eq!(fits(address, image), expected, "{address} {image}");
        }
    }

    #[test]
    fn secrets_of_both_types() {
        let with = |key: &str, text: &str| Data {
            entries: [(key.to_owned(), text.as_bytes().to_vec())].into(),
            ..Data::default()
        };
        let basic = vec![RegistryAuth::Basic("u".into(), "p".into())];
        let new = with(".dockerconfigjson", r#"{"auths":{"r.io":{"auth":"dTpw"}}}"#);
        assert_eq!(of_secret(&new, "r.io/x"), basic);
        let old = with(".dockercfg", r#"{"r.io":{"username":"u","password":"p"}}"#);
        assert_eq!(of_secret(&old, "r.io/x"), basic);
        assert_eq!(of_secret(&with(".dockerconfigjson", "{"), "r.io/x"), []);
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (millis, text) in [(87, "87ms"), (1204, "1.204s"), (2000, "2s"), (1500, "1.5s")] {
            assert_eq!(go_seconds(Duration::from_millis(millis)), text);
        }
    }
}
