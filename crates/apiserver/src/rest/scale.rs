//! `scale` of every kind that has it: the replicas of an object as `autoscaling/v1 Scale`.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_client::{Body, Request, Response};
use onggi_machinery::kinds::scale;
use onggi_machinery::resource::{Resource, Verb};
use serde_json::Value;

use super::Hooks;
use crate::registry::{Context, Part, Registry, apply_plain_patch};

pub(super) struct Scalable;

#[async_trait]
impl Hooks for Scalable {
    async fn subresource(
        &self,
        registry: &Registry,
        context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        if request.subresource != "scale" {
            return Err(Status::no_such_path());
        }
        let change = |old: &Value, sent: &Value| {
            let mut new = old.clone();
            scale::apply(row, &mut new, sent)
                .map_err(|error| Status::invalid("Scale.autoscaling", &request.name, &[error]))?;
            if let Some(version) = sent["metadata"].get("resourceVersion") {
                new["metadata"]["resourceVersion"] = version.clone();
            }
            Ok(new)
        };
        let value = match (request.verb, &request.body) {
            (Verb::Get, _) => {
                let object = registry.current(row, &request.namespace, &request.name).await?;
                object.value().map_err(Status::internal)?
            }
            (Verb::Update, Body::Object(sent)) => registry
                .change(context, row, Part::Whole("scale"), request, &mut Vec::new(), |old, _| {
                    change(old, sent)
                })
                .await?
                .value()?,
            (Verb::Patch, Body::Patch(kind, patch)) => registry
                .change(context, row, Part::Whole("scale"), request, &mut Vec::new(), |old, _| {
                    let now = scale::of_kind(row, old).map_err(Status::internal)?;
                    let sent = apply_plain_patch(*kind, patch, &now)?;
                    change(old, &sent)
                })
                .await?
                .value()?,
            _ => return Err(Status::method_not_allowed()),
        };
        let value = scale::of_kind(row, &value).map_err(Status::internal)?;
        Ok(Response::Document { value, created: false, warnings: Vec::new() })
    }
}
