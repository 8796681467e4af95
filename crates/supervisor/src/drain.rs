//! Ordered withdrawal, as far as the service proxy goes: a pod that ends gets its stop signal only
//! after no EndpointSlice offers it and the node's proxy has applied that.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use onggi_api::{DecodeError, Object};
use onggi_client::{Cache, Project, SharedInformers, Source};
use onggi_kubelet::Drain;
use serde::Deserialize;
use tokio::sync::watch;

/// Whether an EndpointSlice offers a pod, by the pod's uid.
#[derive(Debug)]
pub(crate) struct Offers {
    revision: u64,
    ready: BTreeMap<String, bool>,
}

#[derive(Deserialize)]
struct SliceView {
    #[serde(default)]
    endpoints: Option<Vec<EndpointView>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointView {
    #[serde(default)]
    target_ref: Option<TargetRef>,
    #[serde(default)]
    conditions: Option<Conditions>,
}

#[derive(Deserialize)]
struct TargetRef {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

impl Project for Offers {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let view: SliceView = object.decode()?;
        let ready = view.endpoints.into_iter().flatten().filter_map(|endpoint| {
            let ready = endpoint.conditions.and_then(|c| c.ready).unwrap_or(true);
            Some((endpoint.target_ref?.uid, ready))
        });
        Ok(Self { revision: object.head().resource_version, ready: ready.collect() })
    }
}

/// Waits for the EndpointSlices and the proxy.
pub(crate) struct ProxyDrain {
    slices: Cache<Offers>,
    applied: watch::Receiver<u64>,
}

impl ProxyDrain {
    pub(crate) fn new(informers: &SharedInformers, applied: watch::Receiver<u64>) -> Self {
        let slices = informers.informer(Source::of::<onggi_api::discovery::EndpointSlice>());
        Self { slices, applied }
    }

    /// The newest revision of the slices of the pod's namespace, once none offers the pod.
    fn withdrawn(&self, namespace: &str, uid: &str) -> Option<u64> {
        let slices = self.slices.list_in(namespace);
        let offered = slices.iter().any(|slice| slice.ready.get(uid) == Some(&true));
        (!offered).then(|| slices.iter().map(|slice| slice.revision).max().unwrap_or(0))
    }
}

#[async_trait]
impl Drain for ProxyDrain {
    async fn drained(&self, namespace: &str, _name: &str, uid: &str) {
        let mut changes = self.slices.subscribe();
        let revision = loop {
            if let Some(revision) = self.withdrawn(namespace, uid) {
                break revision;
            }
            if changes.recv().await.is_none() {
                return;
            }
        };
        let mut applied = self.applied.clone();
        // The proxy ends only with the process; then nobody waits any more.
        let _ = applied.wait_for(|now| *now >= revision).await;
    }
}
