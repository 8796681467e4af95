//! EndpointSlices made of the Endpoints that people and their programs write for Services without
//! selector: the proxies and DNS read slices alone.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, OwnerReference};
use onggi_client::informer::Keep;
use onggi_client::{Cache, Next, ObjectKey, Source};

use crate::Error;
use crate::addresses::pack::Slice;
use crate::addresses::{Endpoints, OwnSlices, service_of};
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::Service;
use plan::MANAGER;

struct Mirror {
    services: Cache<Service>,
    endpoints: Cache<Keep<Endpoints>>,
    slices: OwnSlices,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| Source::all(GroupVersionResource::new("", "v1", plural));
    let services: Cache<Service> = context.cache(core("services"));
    let endpoints: Cache<Keep<Endpoints>> = context.cache(core("endpoints"));
    let slices = OwnSlices::new(&context, MANAGER);
    let mut harness = Harness::new(&context);
    harness.watch(&services, |change| vec![change.key().clone()]);
    harness.watch(&endpoints, |change| vec![change.key().clone()]);
    harness.watch(&slices.cache, |change| service_of(change.latest()).into_iter().collect());
    harness.run(Mirror { services, endpoints, slices })
}

#[async_trait]
impl Controller for Mirror {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let service = self.services.get_key(key);
        let endpoints = self.endpoints.get_key(key);
        let endpoints = endpoints.filter(|found| plan::mirrored(service.as_deref(), found));
        let present = self.slices.of(key);
        let slices: Vec<Slice> = present.iter().map(|slice| slice.value.clone()).collect();
        let plan = plan::plan(endpoints.as_deref().map(|found| &found.value), &slices);
        let owner = endpoints.map(|found| owner(&found)).unwrap_or_default();
        self.slices.carry_out(&key.namespace, &owner, &present, &plan).await?;
        Ok(Next::Done)
    }
}

fn owner(endpoints: &Endpoints) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Endpoints".into(),
        name: endpoints.metadata.name.clone(),
        uid: endpoints.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
