//! Endpoints: where the pods of a Service are, in one object, for clients that read no
//! EndpointSlices.

mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Change, Next, ObjectKey, Source, WriteOptions};
use serde_json::json;

use crate::Error;
use crate::addresses::{self, Selected, TriggerTimes, about, concerned, is_of_pods};
use crate::claim::namespace_ends;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Pod, Service};
use plan::{MANAGED_BY, MANAGER};

struct Endpoints {
    context: Context,
    resource: GroupVersionResource,
    services: Cache<Service>,
    present: Cache<Keep<addresses::Endpoints>>,
    selected: Selected,
    times: TriggerTimes,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| GroupVersionResource::new("", "v1", plural);
    let resource = core("endpoints");
    let services: Cache<Service> = context.cache(Source::all(core("services")));
    let pods: Cache<Pod> = context.cache(Source::all(core("pods")));
    let present: Cache<Keep<addresses::Endpoints>> = context.cache(Source::all(resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&services, |change| vec![change.key().clone()]);
    let (selecting, known) = (services.clone(), services.clone());
    harness.watch(&pods, move |change| concerned(&selecting, change, |_, _| false));
    // Other Endpoints than those of services are none of our business, whoever deletes them.
    harness.watch(&present, move |change| match change {
        Change::Added { new, .. } if !ours(new) => Vec::new(),
        change if known.get_key(change.key()).is_some() || ours(change.latest()) => {
            vec![change.key().clone()]
        }
        _ => Vec::new(),
    });
    let selected = Selected::new(&pods);
    let times = TriggerTimes::default();
    harness.run(Endpoints { context, resource, services, present, selected, times })
}

fn ours(endpoints: &addresses::Endpoints) -> bool {
    endpoints.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

#[async_trait]
impl Controller for Endpoints {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let client = &self.context.client;
        let Some(service) = self.services.get_key(key) else {
            self.times.forget(key);
            if self.present.get_key(key).is_some() {
                let options = WriteOptions::default();
                match client.delete(&self.resource, &key.namespace, &key.name, options).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
            return Ok(Next::Done);
        };
        if !is_of_pods(&service) {
            return Ok(Next::Done);
        }
        let pods = self.selected.by(&service);
        let wanted = plan::wanted(&service, &pods);
        let changed = self.times.of(&service, &pods);
        let present = self.present.get_key(key);
        if present.as_ref().is_some_and(|present| wanted.stands(present)) {
            return Ok(Next::Done);
        }
        let written = match &present {
            Some(present) => {
                let mut value = present.object.value()?;
                wanted.fill(&mut value, changed);
                client.update(&self.resource, value).await
            }
            None => {
                let mut value = json!({
                    "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": key.name},
                });
                wanted.fill(&mut value, changed);
                client.create(&self.resource, &key.namespace, value).await
            }
        };
        match written {
            Ok(written) => self.present.caught_up(written.head().resource_version).await?,
            Err(error) if namespace_ends(&error) => {}
            Err(error) => {
                let (reason, doing) = match present {
                    Some(_) => ("FailedToUpdateEndpoint", "update endpoint"),
                    None => ("FailedToCreateEndpoint", "create endpoint for service"),
                };
                let text = format!("Failed to {doing} {key}: {error}");
                self.context.events.warning(about(&service), reason, text);
                return Err(error.into());
            }
        }
        Ok(Next::Done)
    }
}
