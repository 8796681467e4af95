//! `secret`: on tmpfs, so that it never reaches the disk of the node.

use onggi_api::core::Volume;

use super::{Content, Plugin, Sources, files_of};
use crate::objects::Kind;

pub(super) struct Secrets;

impl Plugin for Secrets {
    fn name(&self) -> &'static str {
        "secret"
    }

    fn handles(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn content(&self, volume: &Volume, sources: &Sources) -> Result<Content, String> {
        let source = volume.secret.clone().unwrap_or_default();
        let name = source.secret_name.unwrap_or_default();
        let payload = files_of(
            sources.object(Kind::Secret, &name),
            (Kind::Secret, &name),
            source.items.as_ref(),
            source.default_mode,
            source.optional.unwrap_or(false),
        )?;
        Ok(Content::Files { memory: true, payload })
    }
}
