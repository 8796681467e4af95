//! Plugins that are off unless asked for: NamespaceExists, DenyServiceExternalIPs and
//! LimitPodHardAntiAffinityTopology.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::Registry;

/// Nothing is done in a namespace that is not there.
pub(super) struct NamespaceExists;

#[async_trait]
impl Plugin for NamespaceExists {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        !attributes.namespace.is_empty() && attributes.operation != Operation::Connect
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        _: &Value,
    ) -> Result<(), Status> {
        let name = attributes.namespace;
        match lookup::find(registry, "", "namespaces", "", name).await? {
            Some(_) => Ok(()),
            None => Err(Status::not_found("namespaces", name)),
        }
    }
}

/// No service gets an external address that it has not had.
pub(super) struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.writes() && attributes.about("", "services")
    }

    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        service: &Value,
    ) -> Result<(), Status> {
        let addresses = |service: &Value| {
            service["spec"]["externalIPs"].as_array().cloned().unwrap_or_default()
        };
        let old = attributes.old.map(addresses).unwrap_or_default();
        if addresses(service).iter().all(|address| old.contains(address)) {
            return Ok(());
        }
        let why = "Use of external IPs is denied by admission control.";
        Err(attributes.forbidden(service, why))
    }
}

/// A pod keeps others away from its node at most, never from a whole zone.
pub(super) struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.writes() && attributes.about("", "pods")
    }

    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        pod: &Value,
    ) -> Result<(), Status> {
        const HOST: &str = "kubernetes.io/hostname";
        let affinity = &pod["spec"]["affinity"]["podAntiAffinity"];
        let terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"].as_array();
        let mut keys = terms.into_iter().flatten().map(|term| &term["topologyKey"]);
        let Some(key) = keys.find(|key| **key != HOST) else { return Ok(()) };
        let key = key.as_str().unwrap_or_default();
        let why = format!(
            "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key \
             {HOST} is allowed"
        );
        Err(attributes.forbidden(pod, &why))
    }
}
