//! Events live for an hour (`--event-ttl` of kube-apiserver); then they are taken away.

use std::sync::Weak;
use std::time::Duration;

use onggi_machinery::resource;
use onggi_machinery::value::time_at;
use onggi_store::{Expect, Txn};
use tokio_util::sync::CancellationToken;

use crate::ApiServer;
use crate::cache::{self, Selection};

/// What an event lives, in seconds.
const TTL: i64 = 3600;
/// How often is looked.
const PERIOD: Duration = Duration::from_secs(300);

pub(crate) async fn run(server: Weak<ApiServer>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let Some(server) = server.upgrade() else { return };
        sweep(&server).await;
    }
}

async fn sweep(server: &ApiServer) {
    let registry = &server.registry;
    let Some(row) = resource::by_gvr("", "v1", "events") else { return };
    let Ok(collection) = registry.cache.of(row) else { return };
    let before = registry.clock.seconds() - TTL;
    for object in collection.list(&Selection::everything(), registry.cache.applied(), 0).items {
        let Ok(event) = object.value() else { continue };
        let last =
            ["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"]
                .into_iter()
                .filter_map(|path| time_at(&event, path))
                .max();
        if last.is_some_and(|last| last < before) {
            let head = object.head();
            let key = cache::key(row, &head.namespace, &head.name);
            // One that has just been seen again stays.
            let txn = Txn::delete(key, Expect::Revision(head.resource_version));
            if let Err(error) = registry.store.txn(txn).await {
                tracing::debug!(%error, "an old event stays");
            }
        }
    }
}
