//! AlwaysAdmit and AlwaysDeny, which test rigs switch on; AlwaysPullImages, which keeps private
//! images private on nodes that many share.

use async_trait::async_trait;
use onggi_api::{FieldError, FieldPath, Status};
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub(super) struct AlwaysAdmit;

impl Plugin for AlwaysAdmit {}

pub(super) struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn mutates(&self, _: &Attributes<'_>) -> bool {
        true
    }

    async fn mutate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        Err(attributes.forbidden(object, "admission control is denying all modifications"))
    }
}

pub(super) struct AlwaysPullImages;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn concerns(attributes: &Attributes<'_>) -> bool {
    attributes.part("", "pods")
        && matches!(attributes.subresource, "" | "ephemeralcontainers")
        && matches!(attributes.operation, Operation::Create | Operation::Update)
}

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        concerns(attributes)
    }

    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        concerns(attributes)
    }

    async fn mutate(
        &self,
        _: &Registry,
        _: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        for list in LISTS {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.insert("imagePullPolicy".into(), "Always".into());
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        pod: &Value,
    ) -> Result<(), Status> {
        for list in LISTS {
            let containers = pod["spec"][list].as_array().into_iter().flatten();
            for (index, container) in containers.enumerate() {
                if container["imagePullPolicy"] != "Always" {
                    let path = FieldPath::new("spec").child(list).index(index);
                    let error = FieldError::not_supported(
                        &path.child("imagePullPolicy"),
                        container["imagePullPolicy"].clone(),
                        &["Always"],
                    );
                    return Err(attributes.forbidden(pod, &error.to_string()));
                }
            }
        }
        Ok(())
    }
}
