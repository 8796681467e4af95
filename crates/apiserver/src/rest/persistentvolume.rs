//! Volumes say since when they are in their phase.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::Value;

use super::{Claim, Hooks};
use crate::registry::{Registry, text};

pub(super) struct PersistentVolumes;

#[async_trait]
impl Hooks for PersistentVolumes {
    async fn before_create(
        &self,
        registry: &Registry,
        volume: &mut Value,
    ) -> Result<Claim, Status> {
        volume["status"]["lastPhaseTransitionTime"] = registry.clock.rfc3339().into();
        Ok(None)
    }

    fn prepare_part(&self, part: &str, new: &mut Value, old: &Value, now: &str) {
        let phase = |volume: &Value| text(volume, "/status/phase").to_owned();
        let said = |volume: &Value| volume["status"]["lastPhaseTransitionTime"].clone();
        // Who writes the phase may say since when it is.
        if part == "status" && phase(new) != phase(old) && said(new) == said(old) {
            new["status"]["lastPhaseTransitionTime"] = now.into();
        }
    }
}
