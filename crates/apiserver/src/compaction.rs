//! History is kept for five to ten minutes, as kube-apiserver has etcd keep it
//! (`--etcd-compaction-interval`): pages of lists and exact reads reach back that far.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{ApiServer, identity};

/// A little less than the five minutes of Kubernetes: clients wait ten minutes for the token of a
/// page to expire, and it takes up to two periods.
const PERIOD: Duration = Duration::from_secs(285);

pub(crate) async fn run(server: Weak<ApiServer>, shutdown: CancellationToken) {
    let mut before = None;
    loop {
        let Some(alive) = server.upgrade() else { return };
        let store = &alive.registry.store;
        // What was the newest a period ago; nothing is done where nothing was written.
        if let Some(revision) = before.filter(|revision| *revision > store.oldest())
            && let Err(error) = store.compact(revision).await
        {
            tracing::warn!(%error, "the history could not be compacted");
        }
        // The token of a page grows old also where nobody writes: its state must not stay the newest.
        if alive.registry.paged.load(Ordering::Relaxed) >= store.revision() {
            identity::renew(&alive).await;
        }
        before = Some(store.revision());
        drop(alive);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
