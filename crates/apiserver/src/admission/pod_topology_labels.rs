//! PodTopologyLabels: a pod that is bound gets the labels of its node that say where the node
//! stands, so that the pod can read them without reading nodes.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_api::object::metadata_mut;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub(super) struct PodTopologyLabels;

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.operation == Operation::Create
            && attributes.part("", "pods")
            && attributes.subresource == "binding"
    }

    async fn mutate(
        &self,
        registry: &Registry,
        _: &Attributes<'_>,
        binding: &mut Value,
    ) -> Result<(), Status> {
        if !matches!(text(binding, "/target/kind"), "" | "Node") {
            return Ok(());
        }
        let name = text(binding, "/target/name").to_owned();
        let Some(node) = lookup::find(registry, "", "nodes", "", &name).await? else {
            return Ok(());
        };
        let found =
            LABELS.iter().filter_map(|label| Some((label, node.head().labels.get(*label)?)));
        for (label, value) in found {
            let labels = metadata_mut(binding).entry("labels").or_insert_with(|| json!({}));
            labels[*label] = value.as_str().into();
        }
        Ok(())
    }
}
