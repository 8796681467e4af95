//! `configMap`.

use onggi_api::core::Volume;

use super::{Content, Plugin, Sources, files_of};
use crate::objects::Kind;

pub(super) struct ConfigMaps;

impl Plugin for ConfigMaps {
    fn name(&self) -> &'static str {
        "configmap"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn content(&self, volume: &Volume, sources: &Sources) -> Result<Content, String> {
        let source = volume.config_map.clone().unwrap_or_default();
        let payload = files_of(
            sources.object(Kind::ConfigMap, &source.name),
            (Kind::ConfigMap, &source.name),
            source.items.as_ref(),
            source.default_mode,
            source.optional.unwrap_or(false),
        )?;
        Ok(Content::Files { memory: false, payload })
    }
}
