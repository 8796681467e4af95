//! Connections on which nothing is asked: they are ended, so that nobody can hold them for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a client may take to ask for something, after the handshake.
const FIRST: Duration = Duration::from_secs(32);
/// How long a connection may stay without a request after that; as kube-apiserver.
const IDLE: Duration = Duration::from_secs(90);

/// What goes on on a connection.
pub(super) struct Activity {
    began: Instant,
    /// Requests that are not answered to the end.
    open: AtomicUsize,
    /// When the last one ended, in milliseconds since the beginning, and one more; 0: there was none.
    last: AtomicU64,
}

/// One request; it lasts until its answer is sent.
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self { began, open: AtomicUsize::new(0), last: AtomicU64::new(0) })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until the connection was without a request for too long. The time is looked at when the
    /// limit is reached, so that requests pay nothing for it.
    pub(super) async fn idle(&self) {
        loop {
            let last = self.last.load(Ordering::Relaxed);
            let ends = match last.checked_sub(1) {
                _ if self.open.load(Ordering::Relaxed) > 0 => Instant::now() + IDLE,
                None => self.began + FIRST,
                Some(last) => self.began + Duration::from_millis(last) + IDLE,
            };
            if Instant::now() >= ends {
                return;
            }
            tokio::time::sleep_until(ends).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Busy(activity) = self;
        let now = u64::try_from(activity.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        activity.last.store(now + 1, Ordering::Relaxed);
        activity.open.fetch_sub(1, Ordering::Relaxed);
    }
}
