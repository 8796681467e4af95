//! Pods and containers from the first call to the last.

use futures::FutureExt;
use onggi_node_api::{ContainerState, RuntimeError, RuntimeService};

use crate::Test;
use crate::fixture::Fixture;

pub(crate) const TESTS: &[Test] = &[
    ("lifecycle::first_container", || first_container().boxed()),
    ("lifecycle::exit_codes_and_messages", || exit_codes_and_messages().boxed()),
    ("lifecycle::programs_that_cannot_run", || programs_that_cannot_run().boxed()),
    ("lifecycle::stop", || stop().boxed()),
    ("lifecycle::logs", || logs().boxed()),
    ("lifecycle::idempotent", || idempotent().boxed()),
    ("lifecycle::hundred_pods", || hundred_pods().boxed()),
];

async fn first_container() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let pods = f.runtime.list_pod_sandboxes().await.unwrap();
    assert!(pods[0].ready && pods[0].id == pod && pods[0].ips.len() == 1, "{pods:?}");

    let config = f.container(&["print-sleep", "hello"]);
    let id = f.runtime.create_container(&pod, config).await.unwrap();
    let status = f.runtime.container_status(&id).await.unwrap();
    assert_eq!((status.state, status.pid), (ContainerState::Created, 0));
    f.runtime.start_container(&id).await.unwrap();
    let status = f.wait_state(&id, |status| status.state == ContainerState::Running).await;
    assert!(status.pid > 0 && status.started_at >= status.created_at);
    f.wait_log(&id, "hello").await;
    let stats = f.runtime.container_stats(&id).await.unwrap();
    assert!(stats.cpu_nanos > 0 && stats.working_set_bytes > 0, "{stats:?}");

    f.runtime.stop_container(&id, 0).await.unwrap();
    let status = f.runtime.container_status(&id).await.unwrap();
    assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 137));
    f.runtime.remove_container(&id).await.unwrap();
    assert!(status.log_path.exists(), "logs stay");
    f.runtime.stop_pod_sandbox(&pod).await.unwrap();
    assert!(!f.runtime.list_pod_sandboxes().await.unwrap()[0].ready);
    f.runtime.remove_pod_sandbox(&pod).await.unwrap();
    assert!(f.runtime.list_pod_sandboxes().await.unwrap().is_empty());
    f.finish().await;
}

async fn exit_codes_and_messages() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    for (code, reason) in [(0, "Completed"), (3, "Error")] {
        let (status, _) = f.run(&pod, f.container(&["exit", &code.to_string()])).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason));
        assert!(status.finished_at >= status.started_at && status.started_at > 0);
    }
    let config = f.container(&["write", "/dev/termination-log", "last words"]);
    let (status, _) = f.run(&pod, config).await;
    assert_eq!(status.message, "last words");

    let mut config = f.container(&["eat"]);
    config.resources.memory_limit_bytes = 32 << 20;
    let (status, _) = f.run(&pod, config).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "{status:?}");
    f.finish().await;
}

async fn programs_that_cannot_run() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    for (command, text) in [
        ("foo", "exec: \"foo\": executable file not found in $PATH"),
        ("/bin/none", "exec: \"/bin/none\": no such file or directory"),
        ("/bin/denied", "exec: \"/bin/denied\": permission denied"),
        ("/bin/text", "exec: \"/bin/text\": exec format error"),
    ] {
        let mut config = f.container(&[]);
        config.command = vec![command.into()];
        let id = f.runtime.create_container(&pod, config).await.unwrap();
        let error = f.runtime.start_container(&id).await.unwrap_err();
        assert!(matches!(&error, RuntimeError::CannotRun(message) if message == text), "{error:?}");
        let status = f.wait_exit(&id).await;
        assert_eq!(status.exit_code, 128);
        assert_eq!((status.reason.as_str(), status.message.as_str()), ("ContainerCannotRun", text));
    }
    let mut config = f.container(&[]);
    config.security.run_as_non_root = true;
    let error = f.runtime.create_container(&pod, config).await.unwrap_err();
    let text = "container has runAsNonRoot and image will run as root";
    assert!(matches!(&error, RuntimeError::Config(message) if message == text), "{error:?}");

    let mut config = f.container(&[]);
    config.mounts = vec![onggi_node_api::Mount {
        host_path: "/no/such/path".into(),
        container_path: "/data".into(),
        readonly: false,
        propagation: String::new(),
    }];
    let error = f.runtime.create_container(&pod, config).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Config(m) if m.contains("/no/such/path")), "{error:?}");

    let mut config = f.container(&[]);
    config.image = "none".into();
    let error = f.runtime.create_container(&pod, config).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotFound(_)));
    f.finish().await;
}

async fn stop() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let polite = f.start(&pod, f.container(&["on-term"])).await;
    f.wait_log(&polite, "ready").await;
    f.runtime.stop_container(&polite, 30).await.unwrap();
    let status = f.runtime.container_status(&polite).await.unwrap();
    assert_eq!(status.exit_code, 7, "{status:?}");

    let mut config = f.container(&["on-term"]);
    config.stop_signal = Some("SIGUSR1".into());
    let other = f.start(&pod, config).await;
    f.wait_log(&other, "ready").await;
    f.runtime.stop_container(&other, 30).await.unwrap();
    f.wait_log(&other, "got SIGUSR1").await;

    let stubborn = f.start(&pod, f.container(&["ignore-term"])).await;
    f.wait_log(&stubborn, "ready").await;
    f.runtime.stop_container(&stubborn, 1).await.unwrap();
    assert_eq!(f.runtime.container_status(&stubborn).await.unwrap().exit_code, 137);
    f.finish().await;
}

async fn logs() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let (status, _) = f.run(&pod, f.container(&["print", "out", "err"])).await;
    let text = std::fs::read_to_string(&status.log_path).unwrap();
    let line = |stream: &str| text.lines().find(|line| line.contains(stream)).unwrap().to_owned();
    assert!(line("stdout").ends_with("stdout F out"), "{text}");
    assert!(line("stderr").ends_with("stderr F err"), "{text}");
    assert!(line("stdout").starts_with("20") && line("stdout").contains('Z'));
    assert!(status.log_path.ends_with("0.log"));

    let (status, log) = f.run(&pod, f.container(&["long", "40000"])).await;
    assert_eq!(log.len(), 40001);
    let text = std::fs::read_to_string(&status.log_path).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(" P ")).count(), 2);
    f.finish().await;
}

async fn idempotent() {
    let f = Fixture::new();
    f.runtime.stop_container("none", 1).await.unwrap();
    f.runtime.remove_container("none").await.unwrap();
    f.runtime.stop_pod_sandbox("none").await.unwrap();
    f.runtime.remove_pod_sandbox("none").await.unwrap();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["sleep"])).await;
    assert!(f.runtime.start_container(&id).await.is_err());
    f.runtime.stop_pod_sandbox(&pod).await.unwrap();
    f.runtime.stop_pod_sandbox(&pod).await.unwrap();
    f.runtime.stop_container(&id, 1).await.unwrap();
    assert_eq!(f.wait_exit(&id).await.exit_code, 137);
    let error = f.runtime.create_container(&pod, f.container(&["sleep"])).await.unwrap_err();
    assert!(error.to_string().contains("not ready"), "{error}");
    f.runtime.remove_container(&id).await.unwrap();
    f.runtime.remove_container(&id).await.unwrap();
    f.finish().await;
}

async fn hundred_pods() {
    let f = Fixture::new();
    let start = std::time::Instant::now();
    let started = futures::future::join_all((0..100).map(|_| async {
        let pod = f.run_pod().await;
        f.start(&pod, f.container(&["sleep"])).await
    }))
    .await;
    let took = start.elapsed();
    for id in &started {
        f.wait_state(id, |status| status.state == ContainerState::Running).await;
    }
    println!("100 pods running after {} ms", took.as_millis());
    f.finish().await;
}
