//! Namespaces end in two steps: marked, then gone when the namespace controller has emptied them
//! and taken its finalizer out of `spec.finalizers` through the subresource `finalize`.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_api::object::metadata_mut;
use onggi_client::{Body, Request, Response};
use onggi_machinery::resource::{Resource, Verb};
use serde_json::{Value, json};

use super::Hooks;
use crate::registry::{Context, Part, Registry};

pub(super) struct Namespaces;

#[async_trait]
impl Hooks for Namespaces {
    fn holds(&self, object: &Value) -> bool {
        object["spec"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
    }

    fn marked(&self, object: &mut Value) {
        object["status"]["phase"] = json!("Terminating");
        // Nobody waits for a time.
        metadata_mut(object).remove("deletionGracePeriodSeconds");
    }

    async fn subresource(
        &self,
        registry: &Registry,
        context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let (Verb::Update, Body::Object(sent)) = (request.verb, &request.body) else {
            return Err(Status::method_not_allowed());
        };
        let finalizers = sent["spec"]["finalizers"].clone();
        let version = sent["metadata"]["resourceVersion"].clone();
        let written = registry
            .change(context, row, Part::Whole("finalize"), request, &mut Vec::new(), |old, _| {
                let mut new = old.clone();
                new["spec"] = match finalizers.as_array() {
                    Some(some) if !some.is_empty() => json!({"finalizers": some}),
                    _ => json!({}),
                };
                if version.is_string() {
                    new["metadata"]["resourceVersion"] = version.clone();
                }
                Ok(new)
            })
            .await?;
        Ok(written.response(Vec::new()))
    }
}
