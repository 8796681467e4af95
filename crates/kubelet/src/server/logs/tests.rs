//! Reading and following logs in a directory of their own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::*;

fn container(path: PathBuf, state: ContainerState) -> ContainerStatus {
    serde_json::from_value(serde_json::json!({
        "id": "c1", "sandbox": "s", "name": "c", "attempt": 0, "state": "Running",
        "created_at": 0, "started_at": 0, "finished_at": 0, "exit_code": 0, "reason": "",
        "message": "", "image": "", "user_image": "", "log_path": path, "labels": {},
        "annotations": {}, "pid": 0,
    }))
    .map(|c: ContainerStatus| ContainerStatus { state, ..c })
    .unwrap()
}

fn request() -> LogRequest {
    let pod = onggi_client::node::PodRef {
        namespace: "default".into(),
        name: "p".into(),
        uid: String::new(),
    };
    LogRequest {
        pod,
        container: "c".into(),
        follow: false,
        previous: false,
        timestamps: false,
        tail_lines: None,
        limit_bytes: None,
        since_nanos: None,
    }
}

fn append(path: &PathBuf, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("2026-01-02T03:04:05Z stdout F {text}\n").as_bytes()).unwrap();
}

async fn all(request: LogRequest, container: ContainerStatus) -> String {
    let view = watch::Sender::new(Arc::new(View::default()));
    let stream = stream(request, container, view.subscribe(), Inotify::new().unwrap());
    let chunks: Vec<_> = stream.collect().await;
    chunks.into_iter().map(|c| String::from_utf8(c.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn tail_limit_and_since() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    for number in 0..5 {
        append(&path, &number.to_string());
    }
    let ended = container(path.clone(), ContainerState::Exited);
    for (request, expected) in [
        (request(), "0\n1\n2\n3\n4\n"),
        (LogRequest { tail_lines: Some(2), ..request() }, "3\n4\n"),
        (LogRequest { tail_lines: Some(0), ..request() }, ""),
        (LogRequest { tail_lines: Some(9), ..request() }, "0\n1\n2\n3\n4\n"),
        (LogRequest { limit_bytes: Some(3), ..request() }, "0\n1"),
        (LogRequest { since_nanos: Some(i128::MAX), ..request() }, ""),
        // One that ended is not waited for.
        (LogRequest { follow: true, tail_lines: Some(1), ..request() }, "4\n"),
        (
            LogRequest { timestamps: true, tail_lines: Some(1), ..request() },
            "2026-01-02T03:04:05Z 4\n",
        ),
    ] {
        assert_eq!(all(request, ended.clone()).await, expected);
    }
    assert_eq!(tail(&path, 2, 100).await.unwrap(), "3\n4\n");
}

#[tokio::test]
async fn what_is_written_meanwhile_is_not_part_of_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    // Far more than may wait for a client, so that the reader is still at it.
    let text = "x".repeat(1000);
    let lines = (2 * WAITING + 4) * CHUNK / text.len();
    let running = container(path.clone(), ContainerState::Running);
    let view = watch::Sender::new(Arc::new(View::default()));
    for tail_lines in [None, Some(lines as u64)] {
        fs::write(&path, "").unwrap();
        for _ in 0..lines {
            append(&path, &text);
        }
        let request = LogRequest { tail_lines, ..request() };
        let inotify = Inotify::new().unwrap();
        let mut log = stream(request, running.clone(), view.subscribe(), inotify);
        let mut length = log.next().await.unwrap().unwrap().len();
        append(&path, "later");
        while let Some(chunk) = log.next().await {
            length += chunk.unwrap().len();
        }
        assert_eq!(length, lines * (text.len() + 1), "{tail_lines:?}");
    }
}

#[tokio::test]
async fn follows_over_a_rotation_until_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    append(&path, "one");
    let running = container(path.clone(), ContainerState::Running);
    let containers = vec![running.clone()];
    let view = watch::Sender::new(Arc::new(View { containers, ..View::default() }));
    let request = LogRequest { follow: true, ..request() };
    let mut log = stream(request, running.clone(), view.subscribe(), Inotify::new().unwrap());
    let mut next = async || String::from_utf8(log.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(next().await, "one\n");
    append(&path, "two");
    assert_eq!(next().await, "two\n");
    fs::rename(&path, directory.path().join("0.log.old")).unwrap();
    append(&path, "three");
    assert_eq!(next().await, "three\n");
    append(&path, "four");
    let ended = ContainerStatus { state: ContainerState::Exited, ..running };
    view.send_replace(Arc::new(View { containers: vec![ended], ..View::default() }));
    assert_eq!(next().await, "four\n");
    assert!(log.next().await.is_none());
}
