//! LimitRanger: defaults and bounds of what pods and claims ask for, by the LimitRanges of their
//! namespace.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::admission::limit_range;
use onggi_machinery::kinds::pod::qos_class;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::Registry;

pub(super) struct LimitRanger;

/// The containers of a pod change by a resize alone.
fn pods(attributes: &Attributes<'_>) -> bool {
    attributes.is(Operation::Create, "", "pods")
        || attributes.part("", "pods")
            && (attributes.subresource, attributes.operation) == ("resize", Operation::Update)
}

fn claims(attributes: &Attributes<'_>) -> bool {
    attributes.writes() && attributes.about("", "persistentvolumeclaims")
}

#[async_trait]
impl Plugin for LimitRanger {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        pods(attributes)
    }

    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        pods(attributes) || claims(attributes)
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        for range in lookup::list(registry, "", "limitranges", attributes.namespace) {
            limit_range::default(&range.value().map_err(Status::internal)?, pod);
            // It was told by what the pod asked for before.
            if attributes.operation == Operation::Create {
                pod["status"]["qosClass"] = qos_class(pod).as_str().into();
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        if object["metadata"]["deletionTimestamp"].is_string() {
            return Ok(());
        }
        for range in lookup::list(registry, "", "limitranges", attributes.namespace) {
            let range = range.value().map_err(Status::internal)?;
            let problems = match attributes.row.plural {
                "pods" => limit_range::check_pod(&range, object),
                _ => limit_range::check_claim(&range, object),
            };
            if let Some(why) = limit_range::together(problems) {
                return Err(attributes.forbidden(object, &why));
            }
        }
        Ok(())
    }
}
