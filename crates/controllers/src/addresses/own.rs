//! The EndpointSlices of one controller: those that there are, and how a plan for them is done.

use std::sync::Arc;

use onggi_api::{GroupVersionResource, OwnerReference};
use onggi_client::informer::Keep;
use onggi_client::{Cache, Client, Index, ObjectKey, Source, WriteOptions};
use serde_json::json;

use super::pack::{self, MANAGED_BY, Plan, SERVICE_NAME, Slice};
use crate::Error;
use crate::context::Context;

pub(crate) struct OwnSlices {
    pub(crate) cache: Cache<Keep<Slice>>,
    client: Client,
    resource: GroupVersionResource,
    by_service: Index<Keep<Slice>>,
}

impl OwnSlices {
    /// `manager` is the value of the label by which they are known.
    pub(crate) fn new(context: &Context, manager: &str) -> Self {
        let resource = GroupVersionResource::new("discovery.k8s.io", "v1", "endpointslices");
        let own = Source::all(resource.clone()).labels(format!("{MANAGED_BY}={manager}"));
        let cache: Cache<Keep<Slice>> = context.cache(own);
        let by_service = cache.index("service", |slice| {
            service_of(slice).map(|key| key.to_string()).into_iter().collect()
        });
        Self { cache, client: context.client.clone(), resource, by_service }
    }

    pub(crate) fn of(&self, service: &ObjectKey) -> Vec<Arc<Keep<Slice>>> {
        self.by_service.get(&service.to_string())
    }

    /// Makes of `present` what the plan says; slices that are made belong to `owner`, after which
    /// they are called. The next step sees them, or it would make them again.
    pub(crate) async fn carry_out(
        &self,
        namespace: &str,
        owner: &OwnerReference,
        present: &[Arc<Keep<Slice>>],
        plan: &Plan,
    ) -> Result<(), Error> {
        let mut revision = 0;
        for slice in &plan.create {
            let mut value = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", owner.name),
                    "ownerReferences": [owner],
                },
                "addressType": slice.address_type,
            });
            pack::fill(&mut value, slice);
            match self.client.create(&self.resource, namespace, value).await {
                Ok(made) => revision = revision.max(made.head().resource_version),
                Err(error) if crate::claim::namespace_ends(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &plan.update {
            let name = &slice.metadata.name;
            let Some(before) = present.iter().find(|p| p.metadata.name == *name) else { continue };
            let mut value = before.object.value()?;
            pack::fill(&mut value, slice);
            let written = self.client.update(&self.resource, value).await?;
            revision = revision.max(written.head().resource_version);
        }
        for name in &plan.delete {
            let options = WriteOptions::default();
            match self.client.delete(&self.resource, namespace, name, options).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(self.cache.caught_up(revision).await?)
    }
}

/// The service that a slice belongs to.
pub(crate) fn service_of(slice: &Slice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.get(SERVICE_NAME)?;
    Some(ObjectKey::new(&slice.metadata.namespace, name))
}
