//! EndpointSlices: where the pods of a Service are.

mod hint;
mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_api::core::ObjectReference;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Index, Next, ObjectKey, Source, WriteOptions};
use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::set;
use serde_json::{Value, json};

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Node, Pod, Service};
use plan::{MANAGED_BY, MANAGER, SERVICE_NAME, Slice};

const ZONE: &str = "topology.kubernetes.io/zone";

struct EndpointSlices {
    context: Context,
    resource: GroupVersionResource,
    services: Cache<Service>,
    pods: Cache<Pod>,
    nodes: Cache<Keep<Node>>,
    slices: Cache<Keep<Slice>>,
    by_service: Index<Keep<Slice>>,
    by_label: Index<Pod>,
}

pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| Source::all(GroupVersionResource::new("", "v1", plural));
    let resource = GroupVersionResource::new("discovery.k8s.io", "v1", "endpointslices");
    let services: Cache<Service> = context.cache(core("services"));
    let pods: Cache<Pod> = context.cache(core("pods"));
    let nodes: Cache<Keep<Node>> = context.cache(core("nodes"));
    let own = Source::all(resource.clone()).labels(format!("{MANAGED_BY}={MANAGER}"));
    let slices: Cache<Keep<Slice>> = context.cache(own);
    let mut harness = Harness::new(&context);
    harness.watch(&services, |change| vec![change.key().clone()]);
    harness.watch(&slices, |change| service_of(change.latest()).into_iter().collect());
    harness.needs(&nodes);
    let selecting = services.clone();
    harness.watch(&pods, move |change| match (change.before(), change.after()) {
        (Some(old), Some(new)) if same_endpoint(old, new) => Vec::new(),
        (old, new) => {
            let namespace = &change.key().namespace;
            let services = selecting.list_in(namespace);
            let concerned = services.iter().filter(|service| {
                old.into_iter().chain(new).any(|pod| selects(service, pod))
                    || new.is_some_and(|pod| nearly(service, pod))
            });
            concerned.map(|service| service.metadata.key()).collect()
        }
    });
    let by_service = slices.index("service", |slice| {
        service_of(slice).map(|key| key.to_string()).into_iter().collect()
    });
    let by_label = pods.index("label", |pod| {
        let place = &pod.metadata.namespace;
        pod.metadata.labels.iter().map(|label| label_key(place, label)).collect()
    });
    harness.run(EndpointSlices {
        context,
        resource,
        services,
        pods,
        nodes,
        slices,
        by_service,
        by_label,
    })
}

/// What pods are filed under, once for each label.
fn label_key(namespace: &str, (key, value): (&String, &String)) -> String {
    format!("{namespace}/{key}={value}")
}

fn service_of(slice: &Slice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.get(SERVICE_NAME)?;
    Some(ObjectKey::new(&slice.metadata.namespace, name))
}

/// A service without selector has its slices from somebody else.
fn selects(service: &Service, pod: &Pod) -> bool {
    let wanted = &service.spec.selector;
    !wanted.is_empty() && wanted.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
}

fn about(service: &Service) -> ObjectReference {
    let metadata = &service.metadata;
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(metadata.namespace.clone()),
        name: Some(metadata.name.clone()),
        uid: Some(metadata.uid.clone()),
        ..ObjectReference::default()
    }
}

fn nearly(service: &Service, pod: &Pod) -> bool {
    hint::nearly(&service.spec.selector, &pod.metadata.labels)
}

/// Whether nothing changed that an endpoint says.
fn same_endpoint(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels == new.metadata.labels
        && old.metadata.deleting() == new.metadata.deleting()
        && old.ready().is_some() == new.ready().is_some()
        && old.finished() == new.finished()
        && old.spec.node_name == new.spec.node_name
        && old.status.pod_ip == new.status.pod_ip
        && old.status.pod_ips == new.status.pod_ips
}

#[async_trait]
impl Controller for EndpointSlices {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // Those of a service that is gone go with it, by their owner reference.
        let Some(service) = self.services.get_key(key) else { return Ok(Next::Done) };
        if service.spec.selector.is_empty()
            || service.spec.kind == "ExternalName"
            || service.metadata.deleting()
        {
            return Ok(Next::Done);
        }
        let selector = LabelSelector::from_map(&service.spec.selector);
        let mut pods = self.candidates(&service);
        pods.retain(|pod| selector.matches(&pod.metadata.labels));
        if pods.is_empty() {
            self.tell_nearest(&service);
        }
        let present = self.by_service.get(&key.to_string());
        let slices: Vec<Slice> = present.iter().map(|slice| slice.value.clone()).collect();
        let zone = |node: &str| {
            self.nodes.get("", node).and_then(|node| node.metadata.labels.get(ZONE).cloned())
        };
        let plan = plan::plan(&service, &pods, &slices, zone);
        let revision = self.carry_out(&service, &present, plan).await?;
        // The next step must see these slices, or it would make them again.
        self.slices.caught_up(revision).await?;
        Ok(Next::Done)
    }
}

impl EndpointSlices {
    /// The pods with the rarest of the labels that the service asks for.
    fn candidates(&self, service: &Service) -> Vec<Arc<Pod>> {
        let place = &service.metadata.namespace;
        let keys = service.spec.selector.iter().map(|label| label_key(place, label));
        let rarest = keys.min_by_key(|key| self.by_label.count(key));
        rarest.map(|key| self.by_label.get(&key)).unwrap_or_default()
    }

    fn tell_nearest(&self, service: &Service) {
        let pods = self.pods.list_in(&service.metadata.namespace);
        let labels = pods.iter().map(|pod| &pod.metadata.labels);
        let name = &service.metadata.name;
        if let Some(text) = hint::text(name, &service.spec.selector, labels) {
            self.context.events.warning(about(service), "SelectsNoPod", text);
        }
    }

    async fn carry_out(
        &self,
        service: &Service,
        present: &[Arc<Keep<Slice>>],
        plan: plan::Plan,
    ) -> Result<u64, Error> {
        let client = &self.context.client;
        let namespace = &service.metadata.namespace;
        let mut revision = 0;
        for slice in &plan.create {
            let made = client.create(&self.resource, namespace, new_slice(service, slice)).await;
            match made {
                Ok(made) => revision = revision.max(made.head().resource_version),
                Err(error) if crate::claim::namespace_ends(&error) => return Ok(revision),
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &plan.update {
            let name = &slice.metadata.name;
            let Some(before) = present.iter().find(|p| p.metadata.name == *name) else { continue };
            let mut value = before.object.value()?;
            fill(&mut value, slice);
            let written = client.update(&self.resource, value).await?;
            revision = revision.max(written.head().resource_version);
        }
        for name in &plan.delete {
            match client.delete(&self.resource, namespace, name, WriteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(revision)
    }
}

fn fill(value: &mut Value, slice: &Slice) {
    set(value, "metadata.labels", json!(slice.metadata.labels));
    set(value, "endpoints", json!(slice.endpoints));
    set(value, "ports", json!(slice.ports));
}

fn new_slice(service: &Service, slice: &Slice) -> Value {
    let meta = &service.metadata;
    let mut value = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", meta.name),
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": meta.name, "uid": meta.uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": slice.address_type,
    });
    fill(&mut value, slice);
    value
}
