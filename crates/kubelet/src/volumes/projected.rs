//! `projected`: several sources in one directory, service account tokens among them.

use onggi_api::core::Volume;

use super::atomic::{File, Payload};
use super::{Content, Plugin, Sources, downward, files_of, fs_group, mode};
use crate::objects::Kind;
use crate::pod::Pod;

pub(super) struct Projected;

impl Plugin for Projected {
    fn name(&self) -> &'static str {
        "projected"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn content(&self, volume: &Volume, sources: &Sources) -> Result<Content, String> {
        let source = volume.projected.clone().unwrap_or_default();
        let default_mode = source.default_mode;
        let mut payload = Payload::new();
        for source in source.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                payload.extend(files_of(
                    sources.object(Kind::ConfigMap, &map.name),
                    (Kind::ConfigMap, &map.name),
                    map.items.as_ref(),
                    default_mode,
                    map.optional.unwrap_or(false),
                )?);
            }
            if let Some(secret) = &source.secret {
                payload.extend(files_of(
                    sources.object(Kind::Secret, &secret.name),
                    (Kind::Secret, &secret.name),
                    secret.items.as_ref(),
                    default_mode,
                    secret.optional.unwrap_or(false),
                )?);
            }
            if let Some(fields) = &source.downward_api {
                payload.extend(downward::files(fields.items.as_ref(), default_mode, sources)?);
            }
            if let Some(token) = &source.service_account_token {
                let key = (volume.name.clone(), token.path.clone());
                let content = sources.tokens.get(&key).ok_or("the token was not fetched")?;
                // Only the pod's user and group read it, where there is one.
                let owner = common_user(&sources.pod);
                let closed = owner.is_some() || fs_group(&sources.pod).is_some();
                let mode = if closed { 0o600 } else { mode(None, default_mode) };
                let file = File { content: content.clone().into_bytes(), mode, owner };
                payload.insert(token.path.clone(), file);
            }
            if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
                return Err("clusterTrustBundle and podCertificate are not supported yet".into());
            }
        }
        Ok(Content::Files { memory: true, payload })
    }
}

/// The user that all containers run as, where each is told the same.
fn common_user(pod: &Pod) -> Option<u32> {
    let of_pod = pod.spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let mut users = pod.all_containers().map(|(_, container)| {
        let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
        own.or(of_pod)
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    #[test]
    fn a_user_is_common_where_every_container_has_it() {
        let user = |of_pod: serde_json::Value, own: [serde_json::Value; 3]| {
            let [init, a, b] =
                own.map(|user| json!({"name": "c", "securityContext": {"runAsUser": user}}));
            common_user(&pod(json!({"securityContext": {"runAsUser": of_pod},
                "initContainers": [init], "containers": [a, b]})))
        };
        let none = || json!(null);
        assert_eq!(user(json!(7), [none(), none(), json!(7)]), Some(7));
        assert_eq!(user(none(), [json!(7), json!(7), json!(7)]), Some(7));
        assert_eq!(user(none(), [json!(7), none(), json!(7)]), None);
        assert_eq!(user(json!(7), [json!(8), none(), none()]), None);
        assert_eq!(user(none(), [none(), none(), none()]), None);
    }
}
