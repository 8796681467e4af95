//! Priority: the number behind a pod's priority class. Classes of one's own come with that kind.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::Value;

use super::{Attributes, Operation, Step};
use crate::registry::{Registry, text};

pub(super) struct Priority;

#[async_trait]
impl Step for Priority {
    async fn mutate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        if !attributes.is(Operation::Create, "", "pods") {
            return Ok(());
        }
        let priority = match text(pod, "/spec/priorityClassName") {
            "" => 0,
            "system-cluster-critical" => 2_000_000_000_i64,
            "system-node-critical" => 2_000_001_000,
            other => {
                let why = format!("no PriorityClass with name {other} was found");
                return Err(attributes.forbidden(pod, &why));
            }
        };
        let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        spec.insert("priority".into(), priority.into());
        spec.entry("preemptionPolicy").or_insert_with(|| "PreemptLowerPriority".into());
        Ok(())
    }
}
