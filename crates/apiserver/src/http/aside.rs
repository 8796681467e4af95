//! Large answers are made beside the workers, and of each priority level only a few at once: who
//! asks for many waits for its own, while small requests, and large ones of other levels, go on.

use std::sync::Arc;

use onggi_api::Status;
use tokio::sync::Semaphore;

/// Answers of fewer bytes are made where they are asked for.
pub(super) const LARGE: usize = 256 << 10;

/// Does `work` once the lane of its level is free.
pub(super) async fn run<T: Send + 'static>(
    lane: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let turn = lane.acquire_owned().await.map_err(Status::internal)?;
    // The turn ends with the work, also where nobody waits for it any more.
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(Status::internal)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_in_a_lane() {
        let lane = Arc::new(Semaphore::new(1));
        let (go, gone) = mpsc::channel::<()>();
        let mut first = Box::pin(run(Arc::clone(&lane), move || gone.recv()));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(run(Arc::clone(&lane), || 2));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(run(Arc::new(Semaphore::new(1)), || 3).await.unwrap(), 3, "another lane");
        // Nobody waits for it, and it goes on.
        drop(first);
        assert!(futures::poll!(&mut second).is_pending());
        go.send(()).unwrap();
        assert_eq!(second.await.unwrap(), 2);
    }
}
