//! `projected`: several sources in one directory, service account tokens among them.

use onggi_api::core::Volume;

use super::atomic::{File, Payload};
use super::{Content, Plugin, Sources, downward, files_of, fs_group, mode};
use crate::objects::Kind;

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
                // Only the group of the pod reads it, where there is one.
                let group = fs_group(&sources.pod).is_some();
                let mode = if group { 0o600 } else { mode(None, default_mode) };
                let file = File { content: content.clone().into_bytes(), mode };
                payload.insert(token.path.clone(), file);
            }
            if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
                return Err("clusterTrustBundle and podCertificate are not supported yet".into());
            }
        }
        Ok(Content::Files { memory: true, payload })
    }
}
