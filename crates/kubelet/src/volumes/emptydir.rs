//! `emptyDir`, on the node's disk or, with `medium: Memory`, on tmpfs.

use onggi_api::Quantity;
use onggi_api::core::Volume;

use super::{Content, Plugin, Sources};

pub(super) struct EmptyDirs;

impl Plugin for EmptyDirs {
    fn name(&self) -> &'static str {
        "empty-dir"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    fn content(&self, volume: &Volume, _sources: &Sources) -> Result<Content, String> {
        let source = volume.empty_dir.clone().unwrap_or_default();
        let limit = source.size_limit.and_then(|limit| limit.0.parse::<Quantity>().ok());
        let size = limit.and_then(|limit| u64::try_from(limit.units()).ok()).filter(|n| *n > 0);
        Ok(Content::Directory { memory: source.medium.as_deref() == Some("Memory"), size })
    }
}
