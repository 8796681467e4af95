//! ExtendedResourceToleration: a pod that asks for an extended resource tolerates the taint of that
//! name, so that nodes with it can be kept for those who need it.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::admission::quota::is_extended_resource;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};
use crate::registry::Registry;

pub(super) struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "pods")
    }

    async fn mutate(
        &self,
        _: &Registry,
        _: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        let mut names = std::collections::BTreeSet::new();
        for list in ["initContainers", "containers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let requests = container["resources"]["requests"].as_object();
                let asked = requests.into_iter().flatten().map(|(name, _)| name);
                names.extend(asked.filter(|name| is_extended_resource(name)).cloned());
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        if !pod["spec"]["tolerations"].is_array() {
            pod["spec"]["tolerations"] = json!([]);
        }
        let Some(all) = pod["spec"]["tolerations"].as_array_mut() else { return Ok(()) };
        for name in names {
            let toleration = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
            if !all.contains(&toleration) {
                all.push(toleration);
            }
        }
        Ok(())
    }
}
