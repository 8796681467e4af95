//! The loop: what changed in Services and EndpointSlices, planned anew and applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onggi_api::{core, discovery};
use onggi_base::Shutdown;
use onggi_base::backoff::Backoff;
use onggi_client::{Cache, Index, SharedInformers, Source, Stopped};

use super::host_port::{self, Pod};
use super::model::{EndpointSlice, Name, Service};
use super::plan::{Desired, Node, plan_service};
use super::{Applied, Proxy};

impl Proxy {
    /// Follows the API until the shutdown; leaves the kernel's maps as they are then, so that
    /// connections outlive us. [`Proxy::applied`] counts in revisions of the EndpointSlices: who
    /// withdrew an endpoint waits for the revision of that write. (A Service made just before may
    /// come a moment later: the two are watched apart.)
    ///
    /// `pods` are read as the node: a service proxy may not.
    pub fn run<'a>(
        &'a self,
        node: &'a str,
        informers: &'a SharedInformers,
        pods: &'a SharedInformers,
        shutdown: Shutdown,
    ) -> BoxFuture<'a, Result<(), Stopped>> {
        Box::pin(async move {
            let ended = tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                // The informers end with the same token, and may be first.
                ended = self.follow(node, informers, pods) => ended.or_else(|stopped| {
                    if shutdown.is_cancelled() { Ok(()) } else { Err(stopped) }
                }),
            };
            self.stop().await;
            ended
        })
    }

    async fn follow(
        &self,
        node: &str,
        informers: &SharedInformers,
        pods: &SharedInformers,
    ) -> Result<(), Stopped> {
        let services = informers.informer::<Service>(Source::of::<core::Service>());
        let slices = informers.informer::<EndpointSlice>(Source::of::<discovery::EndpointSlice>());
        let mine = Source::of::<core::Pod>().fields(format!("spec.nodeName={node}"));
        let pods = pods.informer::<Pod>(mine);
        let by_service = slices.index("service", |slice| vec![slice.service.to_string()]);
        let view = View { node: self.node(node), services: services.clone(), by_service };
        // Never from half of the state: an endpoint not read yet would be withdrawn.
        services.synced().await?;
        slices.synced().await?;
        pods.synced().await?;
        let (mut service_changes, mut slice_changes) = (services.subscribe(), slices.subscribe());
        let mut pod_changes = pods.subscribe();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let (mut desired, mut told) = (Desired::new(), BTreeSet::new());
        let mut first = true;
        loop {
            let mut dirty = BTreeSet::new();
            if !std::mem::take(&mut first) {
                tokio::select! {
                    change = service_changes.recv() => {
                        dirty.insert(change.ok_or(Stopped)?.key().clone());
                    }
                    change = slice_changes.recv() => {
                        let change = change.ok_or(Stopped)?;
                        dirty.extend(change.before().map(|slice| slice.service.clone()));
                        dirty.extend(change.after().map(|slice| slice.service.clone()));
                    }
                    change = pod_changes.recv() => {
                        lead(&pods, change.ok_or(Stopped)?.key(), &mut desired);
                    }
                }
            }
            // Read before the changes, so that it never promises one that is not among them.
            let revision = slices.revision();
            while let Some(change) = service_changes.try_recv() {
                dirty.insert(change.key().clone());
            }
            while let Some(change) = slice_changes.try_recv() {
                dirty.extend(change.before().map(|slice| slice.service.clone()));
                dirty.extend(change.after().map(|slice| slice.service.clone()));
            }
            while let Some(change) = pod_changes.try_recv() {
                lead(&pods, change.key(), &mut desired);
            }
            for name in dirty {
                view.replan(name, &mut desired);
            }
            loop {
                match self.apply(&desired, revision).await {
                    Ok(applied) => {
                        backoff.reset();
                        tell(applied, &mut told);
                        break;
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot bring the Services into the kernel");
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
        }
    }
}

/// Plans the host ports of a pod anew.
fn lead(pods: &Cache<Pod>, key: &Name, desired: &mut Desired) {
    let plan = pods.get_key(key).map(|pod| pod.plan()).unwrap_or_default();
    if plan.is_empty() {
        desired.remove(&host_port::name(key));
    } else {
        desired.insert(host_port::name(key), Arc::new(plan));
    }
}

/// Says each conflict once, as long as it lasts.
fn tell(applied: Applied, told: &mut BTreeSet<String>) {
    let now: BTreeSet<_> = applied.conflicts.into_iter().collect();
    for conflict in now.difference(told) {
        tracing::warn!("{conflict}");
    }
    *told = now;
}

struct View {
    node: Node,
    services: Cache<Service>,
    by_service: Index<EndpointSlice>,
}

impl View {
    fn replan(&self, name: Name, desired: &mut Desired) {
        let Some(service) = self.services.get_key(&name) else {
            desired.remove(&name);
            return;
        };
        let slices = self.by_service.get(&name.to_string());
        let slices: Vec<_> = slices.iter().map(AsRef::as_ref).collect();
        desired.insert(name, Arc::new(plan_service(&service, &slices, &self.node)));
    }
}
