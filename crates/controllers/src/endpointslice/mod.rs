//! EndpointSlices: where the pods of a Service are.

mod hint;
mod plan;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, OwnerReference};
use onggi_client::informer::Keep;
use onggi_client::{Cache, Next, ObjectKey, Source};

use crate::Error;
use crate::addresses::pack::Slice;
use crate::addresses::{
    OwnSlices, Selected, TRIGGER_TIME, TriggerTimes, about, concerned, is_of_pods, service_of,
};
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Node, Pod, Service};
use plan::MANAGER;

const ZONE: &str = "topology.kubernetes.io/zone";

struct EndpointSlices {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Keep<Node>>,
    slices: OwnSlices,
    selected: Selected,
    times: TriggerTimes,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| Source::all(GroupVersionResource::new("", "v1", plural));
    let services: Cache<Service> = context.cache(core("services"));
    let pods: Cache<Pod> = context.cache(core("pods"));
    let nodes: Cache<Keep<Node>> = context.cache(core("nodes"));
    let slices = OwnSlices::new(&context, MANAGER);
    let mut harness = Harness::new(&context);
    harness.watch(&services, |change| vec![change.key().clone()]);
    harness.watch(&slices.cache, |change| service_of(change.latest()).into_iter().collect());
    harness.needs(&nodes);
    let selecting = services.clone();
    harness.watch(&pods, move |change| concerned(&selecting, change, nearly));
    let selected = Selected::new(&pods);
    let times = TriggerTimes::default();
    harness.run(EndpointSlices { context, services, pods, nodes, slices, selected, times })
}

fn nearly(service: &Service, pod: &Pod) -> bool {
    hint::nearly(&service.spec.selector, &pod.metadata.labels)
}

#[async_trait]
impl Controller for EndpointSlices {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // Those of a service that is gone go with it, by their owner reference.
        let Some(service) = self.services.get_key(key) else {
            self.times.forget(key);
            return Ok(Next::Done);
        };
        if !is_of_pods(&service) {
            return Ok(Next::Done);
        }
        let pods = self.selected.by(&service);
        if pods.is_empty() {
            self.tell_nearest(&service);
        }
        let present = self.slices.of(key);
        let slices: Vec<Slice> = present.iter().map(|slice| slice.value.clone()).collect();
        let zone = |node: &str| {
            self.nodes.get("", node).and_then(|node| node.metadata.labels.get(ZONE).cloned())
        };
        let mut plan = plan::plan(&service, &pods, &slices, zone);
        let changed = self.times.of(&service, &pods).map(|at| at.to_string());
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            let annotations = &mut slice.metadata.annotations;
            match &changed {
                Some(at) => drop(annotations.insert(TRIGGER_TIME.into(), at.clone())),
                None => drop(annotations.remove(TRIGGER_TIME)),
            }
        }
        let owner = owner(&service);
        self.slices.carry_out(&key.namespace, &owner, &present, &plan).await?;
        Ok(Next::Done)
    }
}

impl EndpointSlices {
    fn tell_nearest(&self, service: &Service) {
        let pods = self.pods.list_in(&service.metadata.namespace);
        let labels = pods.iter().map(|pod| &pod.metadata.labels);
        let name = &service.metadata.name;
        if let Some(text) = hint::text(name, &service.spec.selector, labels) {
            self.context.events.warning(about(service), "SelectsNoPod", text);
        }
    }
}

fn owner(service: &Service) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: service.metadata.name.clone(),
        uid: service.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
