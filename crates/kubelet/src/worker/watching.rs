//! The ConfigMaps and Secrets of one pod, watched as long as its worker lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_client::Stopped;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Wake;
use crate::context::Context;
use crate::objects::{Data, Kind, Watched};
use crate::pod::Pod;

type Reference = (Kind, String);

/// Handles to what is watched. Dropping it ends the forwarding.
pub(super) struct Watching {
    handles: BTreeMap<Reference, (Arc<Watched>, Forwarding)>,
}

struct Forwarding(AbortHandle);

/// What an action reads the objects from.
#[derive(Clone)]
pub(super) struct Handles(BTreeMap<Reference, Arc<Watched>>);

impl Watching {
    pub(super) fn new(context: &Context, pod: &Pod, mailbox: &mpsc::UnboundedSender<Wake>) -> Self {
        let mut watching = Self { handles: BTreeMap::new() };
        watching.follow(context, pod, mailbox);
        watching
    }

    /// Watches what the pod refers to now, and no longer what it does not.
    pub(super) fn follow(
        &mut self,
        context: &Context,
        pod: &Pod,
        mailbox: &mpsc::UnboundedSender<Wake>,
    ) {
        let (maps, secrets) = pod.references();
        let maps = maps.into_iter().map(|name| (Kind::ConfigMap, name));
        let wanted: Vec<Reference> =
            maps.chain(secrets.into_iter().map(|name| (Kind::Secret, name))).collect();
        self.handles.retain(|reference, _| wanted.contains(reference));
        for reference in wanted {
            if self.handles.contains_key(&reference) {
                continue;
            }
            let watched = context.objects.watch(reference.0, pod.namespace(), &reference.1);
            let forwarding = forward(&watched, mailbox.clone());
            self.handles.insert(reference, (watched, forwarding));
        }
    }

    pub(super) fn handles(&self) -> Handles {
        let pairs = self.handles.iter();
        Handles(pairs.map(|(key, (watched, _))| (key.clone(), Arc::clone(watched))).collect())
    }
}

fn forward(watched: &Arc<Watched>, mailbox: mpsc::UnboundedSender<Wake>) -> Forwarding {
    let cache = watched.cache.clone();
    let task = tokio::spawn(async move {
        if cache.synced().await.is_err() {
            return;
        }
        let mut changes = cache.subscribe();
        // What is there already is read when it is needed.
        while changes.try_recv().is_some() {}
        while changes.recv().await.is_some() {
            if mailbox.send(Wake::Objects).is_err() {
                return;
            }
        }
    });
    Forwarding(task.abort_handle())
}

impl Handles {
    /// All that exists, as it is now.
    pub(super) async fn read(&self) -> Result<BTreeMap<Reference, Arc<Data>>, Stopped> {
        let mut found = BTreeMap::new();
        for (reference, watched) in &self.0 {
            if let Some(data) = watched.get().await? {
                found.insert(reference.clone(), data);
            }
        }
        Ok(found)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.abort();
    }
}
