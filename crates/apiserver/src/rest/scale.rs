//! `scale` of every kind that has it: the replicas of an object as `autoscaling/v1 Scale`.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_client::{Body, PatchKind, Request, Response};
use onggi_machinery::kinds::scale;
use onggi_machinery::resource::{Resource, Verb};
use serde_json::Value;

use super::Hooks;
use crate::registry::{
    Context, Part, Registry, ScaleOwners, apply_plain_patch, check_place, configuration,
};

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
        let mut warnings = Vec::new();
        let seen = |object: &Value| scale::of_kind(row, object).map_err(Status::internal);
        let owners = |old: &Value| ScaleOwners::of(registry, context, row, request, old);
        let scaled = |old: &Value, sent: &Value| {
            let mut new = old.clone();
            scale::apply(row, &mut new, sent)
                .map_err(|error| Status::invalid("Scale.autoscaling", &request.name, &[error]))?;
            if let Some(version) = sent["metadata"].get("resourceVersion") {
                new["metadata"]["resourceVersion"] = version.clone();
            }
            Ok(new)
        };
        let change = |old: &Value, sent: &Value| {
            let new = scaled(old, sent)?;
            let ownership = owners(old).changed(&seen(old)?, &seen(&new)?);
            Ok((new, ownership))
        };
        let part = Part::Whole("scale");
        let value = match (request.verb, &request.body) {
            (Verb::Get, _) => {
                let object = registry.current(row, &request.namespace, &request.name).await?;
                object.value().map_err(Status::internal)?
            }
            (Verb::Update, Body::Object(sent)) => {
                check_place(row, request, sent)?;
                registry
                    .change_owned(context, row, part, request, &mut warnings, |old, _, _| {
                        change(old, sent)
                    })
                    .await?
                    .value()?
            }
            (Verb::Patch, Body::Patch(PatchKind::Apply, _)) => {
                let config = configuration(request, &mut Vec::new())?;
                registry
                    .change_owned(context, row, part, request, &mut warnings, |old, _, _| {
                        let force = request.write.force;
                        let (sent, ownership) = owners(old).apply(&seen(old)?, &config, force)?;
                        Ok((scaled(old, &sent)?, ownership))
                    })
                    .await?
                    .value()?
            }
            (Verb::Patch, Body::Patch(kind, patch)) => registry
                .change_owned(context, row, part, request, &mut warnings, |old, _, _| {
                    let sent = apply_plain_patch(*kind, patch, &seen(old)?)?;
                    check_place(row, request, &sent)?;
                    change(old, &sent)
                })
                .await?
                .value()?,
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(Response::Document { value: seen(&value)?, created: false, warnings })
    }
}
