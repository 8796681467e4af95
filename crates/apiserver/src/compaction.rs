//! History is kept for five to ten minutes, as kube-apiserver has etcd keep it
//! (`--etcd-compaction-interval`): pages of lists and exact reads reach back that far.

use std::sync::Weak;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ApiServer;

const PERIOD: Duration = Duration::from_secs(300);

pub(crate) async fn run(server: Weak<ApiServer>, shutdown: CancellationToken) {
    let mut before = None;
    loop {
        let Some(alive) = server.upgrade() else { return };
        let store = &alive.registry.store;
        let now = store.revision();
        // What was the newest a period ago; nothing is done where nothing was written.
        if let Some(revision) = before.filter(|revision| *revision > store.oldest())
            && let Err(error) = store.compact(revision).await
        {
            tracing::warn!(%error, "the history could not be compacted");
        }
        before = Some(now);
        drop(alive);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
