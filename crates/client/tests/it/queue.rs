//! The work queue, on a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onggi_base::Shutdown;
use onggi_client::{Next, WorkQueue};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_waiting_key_is_one_and_a_working_key_comes_again() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("a");
    queue.add("b");
    assert_eq!(queue.len(), 2);
    let a = queue.next().await.unwrap();
    assert_eq!(*a.key(), "a");
    queue.add("a");
    queue.add("a");
    let b = queue.next().await.unwrap();
    assert_eq!(*b.key(), "b");
    assert!(queue.is_empty(), "a is being worked on");
    drop(a);
    assert_eq!(*queue.next().await.unwrap().key(), "a");
    drop(b);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_earlier_delay_counts() {
    let queue = WorkQueue::new();
    let begin = Instant::now();
    queue.add_after("late", Duration::from_secs(20));
    queue.add_after("key", Duration::from_secs(10));
    queue.add_after("key", Duration::from_secs(3));
    queue.add_after("key", Duration::from_secs(5));
    for (key, seconds) in [("key", 3), ("late", 20)] {
        assert_eq!(*queue.next().await.unwrap().key(), key);
        assert_eq!(begin.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_delay_wakes_who_sleeps_already() {
    let queue = WorkQueue::new();
    queue.add_after("late", Duration::from_secs(60));
    let begin = Instant::now();
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { *queue.next().await.unwrap().key() }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.add_after("soon", Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap(), "soon");
    assert_eq!(begin.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_and_panics_come_again_later_and_later() {
    let queue = WorkQueue::new();
    let shutdown = Shutdown::new();
    let (tries, mut seen) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let count = Arc::new(AtomicUsize::new(0));
    let run = tokio::spawn({
        let (queue, shutdown) = (queue.clone(), shutdown.clone());
        async move {
            let handler = |_: &str| {
                let (tries, count) = (tries.clone(), Arc::clone(&count));
                async move {
                    tries.send(begin.elapsed().as_millis()).unwrap();
                    match count.fetch_add(1, Ordering::SeqCst) {
                        0 => panic!("a fault of the handler"),
                        1..5 => Err("not yet"),
                        5 => Ok(Next::After(Duration::from_secs(7))),
                        _ => Ok(Next::Done),
                    }
                }
            };
            queue.run(2, shutdown, handler).await;
        }
    });
    queue.add("key");
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(seen.recv().await.unwrap());
    }
    assert_eq!(times, [0, 5, 15, 35, 75, 155, 7155]);
    assert_eq!(queue.failures(&"key"), 0);
    shutdown.cancel();
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_what_is_begun_and_ready() {
    let queue = WorkQueue::new();
    let shutdown = Shutdown::new();
    let gate = Arc::new(Semaphore::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let (begun, mut beginning) = mpsc::unbounded_channel();
    let run = tokio::spawn({
        let (queue, shutdown) = (queue.clone(), shutdown.clone());
        let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
        async move {
            let handler = |key: u32| {
                let (gate, done, begun) = (Arc::clone(&gate), Arc::clone(&done), begun.clone());
                async move {
                    begun.send(key).unwrap();
                    gate.acquire().await.unwrap().forget();
                    done.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, String>(Next::Done)
                }
            };
            queue.run(1, shutdown, handler).await;
        }
    });
    queue.add(1);
    queue.add(2);
    queue.add_after(3, Duration::from_secs(1));
    assert_eq!(beginning.recv().await, Some(1));
    shutdown.cancel();
    tokio::task::yield_now().await;
    queue.add(4);
    gate.add_permits(10);
    run.await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 2);
    assert!(queue.next().await.is_none());
}

#[tokio::test]
async fn many_workers_never_share_a_key() {
    let queue = WorkQueue::new();
    let shutdown = Shutdown::new();
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
    let done = Arc::new(Semaphore::new(0));
    let run = tokio::spawn({
        let (queue, shutdown) = (queue.clone(), shutdown.clone());
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        async move {
            let handler = |key: usize| {
                let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
                async move {
                    assert_eq!(busy[key].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    busy[key].fetch_sub(1, Ordering::SeqCst);
                    done.add_permits(1);
                    Ok::<_, String>(Next::Done)
                }
            };
            queue.run(8, shutdown, handler).await;
        }
    });
    for round in 0..500 {
        queue.add(round % 4);
        tokio::task::yield_now().await;
    }
    done.acquire_many(4).await.unwrap().forget();
    shutdown.cancel();
    run.await.unwrap();
    assert_eq!(queue.failures(&0), 0);
}
