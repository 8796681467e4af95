//! Daemon, shim or container killed at any moment: the next daemon finds the truth.

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::FutureExt;
use onggi_node_api::{ContainerState, RuntimeService};

use crate::Test;
use crate::fixture::Fixture;

pub(crate) const TESTS: &[Test] = &[
    ("faults::daemon_comes_back", || daemon_comes_back().boxed()),
    ("faults::daemon_is_killed_under_load", || daemon_is_killed_under_load().boxed()),
    ("faults::shim_is_killed", || shim_is_killed().boxed()),
    ("faults::shim_is_killed_while_nobody_looks", || shim_is_killed_while_nobody_looks().boxed()),
    ("faults::reboot", || reboot().boxed()),
    ("faults::network_fails", || network_is_down().boxed()),
];

fn kill(pid: i32) {
    onggi_sys::process::kill(pid).unwrap();
}

/// The shim is its containers' parent.
fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn daemon_comes_back() {
    let mut f = Fixture::new();
    let pod = f.run_pod().await;
    let stays = f.start(&pod, f.container(&["print-sleep", "here"])).await;
    let dies = f.start(&pod, f.container(&["sleep"])).await;
    let unstarted = f.runtime.create_container(&pod, f.container(&["exit", "0"])).await.unwrap();
    let before = f.runtime.container_status(&stays).await.unwrap();
    let pid = f.wait_state(&dies, |s| s.state == ContainerState::Running).await.pid;
    let shim = parent(pid);

    f.restart().await;
    let after = f.runtime.container_status(&stays).await.unwrap();
    assert_eq!((after.pid, after.started_at), (before.pid, before.started_at));
    kill(pid);
    assert_eq!(f.wait_exit(&dies).await.exit_code, 137);
    f.runtime.start_container(&unstarted).await.unwrap();
    assert_eq!(f.wait_exit(&unstarted).await.exit_code, 0);

    // An end that nobody saw is told to the next daemon.
    let again = f.start(&pod, f.container(&["on-term"])).await;
    f.wait_log(&again, "ready").await;
    let pid = f.runtime.container_status(&again).await.unwrap().pid;
    let end = {
        let f = &mut f;
        let old = std::mem::replace(
            &mut f.runtime,
            onggi_runtime::Runtime::new(f.options.clone()).unwrap(),
        );
        drop(old);
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        rustix::process::pidfd_send_signal(&fd, rustix::process::Signal::TERM).unwrap();
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        f.runtime.recover().await.unwrap();
        f.wait_exit(&again).await
    };
    assert_eq!(end.exit_code, 7);
    assert_eq!(parent(f.runtime.container_status(&stays).await.unwrap().pid), shim);
    let networks = f.network.0.lock().unwrap().get(&pod).copied();
    assert_eq!(networks, Some(3), "the network hears of a pod at every start");
    f.finish().await;
}

/// A daemon of its own starts pods as fast as it can, and is killed.
async fn daemon_is_killed_under_load() {
    let mut f = Fixture::new();
    for round in 0..6_u64 {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .arg("daemon")
            .arg(f.options.data_dir.parent().unwrap())
            .args([&f.options.instance, f.images.layers[0].to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(daemon.stdout.take().unwrap()).lines();
        // Somewhere in the middle of the next pods.
        let seen: Vec<_> = lines.take(3 + round as usize).map(Result::unwrap).collect();
        std::thread::sleep(Duration::from_millis(round * 3));
        daemon.kill().unwrap();
        daemon.wait().unwrap();

        f.restart().await;
        let containers = f.runtime.list_containers().await.unwrap();
        for id in &seen {
            let found = containers.iter().find(|container| container.id == *id);
            assert!(found.is_some_and(|c| c.state == ContainerState::Running), "{id}: {found:?}");
        }
        for pod in f.runtime.list_pod_sandboxes().await.unwrap() {
            assert!(pod.ready);
            f.runtime.remove_pod_sandbox(&pod.id).await.unwrap();
        }
    }
    f.finish().await;
}

async fn shim_is_killed() {
    let f = Fixture::new();
    for shared in [false, true] {
        let mut config = f.pod();
        config.share_process_namespace = shared;
        let pod = f.runtime.run_pod_sandbox(config).await.unwrap();
        let id = f.start(&pod, f.container(&["sleep"])).await;
        let running = f.wait_state(&id, |s| s.state == ContainerState::Running).await;
        kill(parent(running.pid));
        let status = f.wait_exit(&id).await;
        assert_eq!(status.exit_code, 137);
        // Dead, though init may not have buried it yet.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid));
        assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")));
        let pods = f.runtime.list_pod_sandboxes().await.unwrap();
        assert!(!pods.iter().find(|p| p.id == pod).unwrap().ready);
        assert!(f.runtime.create_container(&pod, f.container(&["sleep"])).await.is_err());
    }
    f.finish().await;
}

async fn shim_is_killed_while_nobody_looks() {
    let mut f = Fixture::new();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["sleep"])).await;
    let (done, _) = f.run(&pod, f.container(&["exit", "9"])).await;
    let running = f.wait_state(&id, |s| s.state == ContainerState::Running).await;
    f.runtime = onggi_runtime::Runtime::new(f.options.clone()).unwrap();
    kill(parent(running.pid));
    f.runtime.recover().await.unwrap();
    assert_eq!(f.wait_exit(&id).await.exit_code, 137);
    // What the shim had written down still holds.
    assert_eq!(f.wait_exit(&done.id).await.exit_code, 9);
    assert!(!f.runtime.list_pod_sandboxes().await.unwrap()[0].ready);
    f.finish().await;
}

/// Only the disk is left.
async fn reboot() {
    let mut f = Fixture::new();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["sleep"])).await;
    let running = f.wait_state(&id, |s| s.state == ContainerState::Running).await;
    f.runtime = onggi_runtime::Runtime::new(f.options.clone()).unwrap();
    kill(parent(running.pid));
    std::fs::remove_dir_all(&f.options.state_dir).unwrap();
    f.restart().await;
    assert!(f.runtime.list_containers().await.unwrap().is_empty());
    let containers = f.options.data_dir.join("containers");
    assert_eq!(std::fs::read_dir(containers).unwrap().count(), 0);
    f.network.0.lock().unwrap().clear();
    f.finish().await;
}

async fn network_is_down() {
    let mut f = Fixture::new();
    f.options.network = std::sync::Arc::new(Broken);
    f.runtime = onggi_runtime::Runtime::new(f.options.clone()).unwrap();
    let error = f.runtime.run_pod_sandbox(f.pod()).await.unwrap_err();
    assert!(error.to_string().contains("no free address in 10.244.0.0/24"), "{error}");
    assert!(f.runtime.list_pod_sandboxes().await.unwrap().is_empty());
    f.finish().await;
}

struct Broken;

#[async_trait::async_trait]
impl onggi_node_api::PodNetwork for Broken {
    async fn setup(
        &self,
        _: &str,
        _: std::os::fd::OwnedFd,
    ) -> Result<onggi_node_api::PodNetworkStatus, onggi_node_api::NetworkError> {
        let range = "10.244.0.0/24".into();
        Err(onggi_node_api::NetworkError::Exhausted { range, used: 253 })
    }

    async fn teardown(&self, _: &str) -> Result<(), onggi_node_api::NetworkError> {
        Ok(())
    }
}
