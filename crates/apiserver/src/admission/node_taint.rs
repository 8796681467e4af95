//! TaintNodesByCondition: a new node takes no pods until it has said that it is ready; the node
//! life cycle takes the taint away by the node's conditions.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "nodes")
    }

    async fn mutate(
        &self,
        _: &Registry,
        _: &Attributes<'_>,
        node: &mut Value,
    ) -> Result<(), Status> {
        if !node["spec"]["taints"].is_array() {
            node["spec"]["taints"] = json!([]);
        }
        let Some(taints) = node["spec"]["taints"].as_array_mut() else { return Ok(()) };
        let is = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
        if !taints.iter().any(is) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
