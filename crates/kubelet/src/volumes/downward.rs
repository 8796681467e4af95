//! `downwardAPI`: fields of the pod itself as files.

use onggi_api::core::{DownwardAPIVolumeFile, Volume};

use super::atomic::{File, Payload};
use super::{Content, Plugin, Sources, mode};
use crate::fields;

pub(super) struct DownwardApi;

impl Plugin for DownwardApi {
    fn name(&self) -> &'static str {
        "downward-api"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    fn content(&self, volume: &Volume, sources: &Sources) -> Result<Content, String> {
        let source = volume.downward_api.clone().unwrap_or_default();
        let payload = files(source.items.as_ref(), source.default_mode, sources)?;
        Ok(Content::Files { memory: false, payload })
    }
}

pub(super) fn files(
    items: Option<&Vec<DownwardAPIVolumeFile>>,
    default_mode: Option<i32>,
    sources: &Sources,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for item in items.into_iter().flatten() {
        let value = if let Some(selector) = &item.field_ref {
            fields::field(&sources.pod, &sources.facts, selector)?
        } else if let Some(selector) = &item.resource_field_ref {
            fields::resource(&sources.pod, &sources.facts, selector, "")?
        } else {
            String::new()
        };
        let file = File::new(value.into_bytes(), mode(item.mode, default_mode));
        payload.insert(item.path.clone(), file);
    }
    Ok(payload)
}
