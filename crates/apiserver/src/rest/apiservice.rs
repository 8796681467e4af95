//! An `APIService` without a backend is the server's own group: it is available from the start.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::kinds::apiservice::local_condition;
use serde_json::{Value, json};

use super::{Claim, Hooks};
use crate::registry::Registry;

pub(super) struct ApiServices;

#[async_trait]
impl Hooks for ApiServices {
    async fn before_create(
        &self,
        registry: &Registry,
        object: &mut Value,
    ) -> Result<Claim, Status> {
        if object["spec"]["service"].is_null() {
            let condition = local_condition(&registry.clock.rfc3339());
            object["status"] = json!({ "conditions": [condition] });
        }
        Ok(None)
    }
}
