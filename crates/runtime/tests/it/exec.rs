//! exec, attach, terminals, port-forward.

use futures::FutureExt;
use onggi_node_api::{ExecIo, RuntimeError, RuntimeService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Test;
use crate::fixture::{Fixture, PATIENCE};

pub(crate) const TESTS: &[Test] = &[
    ("exec::sync", || sync().boxed()),
    ("exec::streams", || streams().boxed()),
    ("exec::terminal", || terminal().boxed()),
    ("exec::attach", || attach().boxed()),
    ("exec::attach_late", || attach_late().boxed()),
    ("exec::port_forward", || port_forward().boxed()),
];

fn prog(args: &[&str]) -> Vec<String> {
    std::iter::once("/bin/prog").chain(args.iter().copied()).map(String::from).collect()
}

async fn sync() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let mut config = f.container(&["sleep"]);
    config.env = vec![("COLOUR".into(), b"green".to_vec())];
    let id = f.start(&pod, config).await;
    let output = f.runtime.exec_sync(&id, prog(&["print", "a", "b"]), 0).await.unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\n"[..], &b"b\n"[..]));
    let output = f.runtime.exec_sync(&id, prog(&["env"]), 0).await.unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("COLOUR=green\n"));
    let output = f.runtime.exec_sync(&id, prog(&["exit", "5"]), 0).await.unwrap();
    assert_eq!(output.exit_code, 5);
    let error = f.runtime.exec_sync(&id, vec!["nope".into()], 0).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::CannotRun(m) if m.contains("not found in $PATH")));
    let error = f.runtime.exec_sync(&id, prog(&["sleep"]), 50).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Timeout(_)));
    // A child that keeps the output open holds nobody up.
    let output = f.runtime.exec_sync(&id, prog(&["leave-child"]), 0).await.unwrap();
    assert!(output.stdout.starts_with(b"left"));
    let many = (0..30).map(|number| {
        let number = number.to_string();
        f.runtime.exec_sync(&id, prog(&["exit", &number]), 0)
    });
    for (number, output) in futures::future::join_all(many).await.into_iter().enumerate() {
        assert_eq!(output.unwrap().exit_code as usize, number);
    }
    f.runtime.stop_container(&id, 0).await.unwrap();
    assert!(f.runtime.exec_sync(&id, prog(&["exit", "0"]), 0).await.is_err());
    f.finish().await;
}

async fn streams() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["sleep"])).await;
    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (mut output, stdout) = tokio::io::duplex(1 << 16);
    let io = ExecIo {
        stdin: Some(Box::new(stdin)),
        stdout: Some(Box::new(stdout)),
        stderr: None,
        resize: None,
    };
    let data = vec![b'd'; 1 << 20];
    let feed = async {
        input.write_all(&data).await.unwrap();
        drop(input);
    };
    let read = async {
        let mut all = Vec::new();
        output.read_to_end(&mut all).await.unwrap();
        all
    };
    let exec = f.runtime.exec(&id, prog(&["cat"]), false, io);
    let ((), all, code) = tokio::join!(feed, read, exec);
    assert_eq!((all.len(), code.unwrap()), (data.len(), 0));
    f.finish().await;
}

async fn terminal() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["sleep"])).await;
    let (mut output, stdout) = tokio::io::duplex(1 << 16);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    sizes.send((120, 40)).await.unwrap();
    let io = ExecIo {
        stdin: Some(Box::new(tokio::io::empty())),
        stdout: Some(Box::new(stdout)),
        stderr: None,
        resize: Some(resize),
    };
    let exec = f.runtime.exec(&id, prog(&["tty", "wait-size"]), true, io);
    let mut text = String::new();
    let (code, read) =
        tokio::join!(tokio::time::timeout(PATIENCE, exec), output.read_to_string(&mut text));
    read.unwrap();
    assert_eq!(code.unwrap().unwrap(), 0);
    assert_eq!(text, "tty true true\r\nsize 120 40\r\n");

    let mut config = f.container(&["tty"]);
    config.tty = true;
    let (_, log) = f.run(&pod, config).await;
    assert!(log.contains("tty true true"), "{log}");
    f.finish().await;
}

async fn attach() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let mut config = f.container(&["cat"]);
    (config.stdin, config.stdin_once) = (true, true);
    let id = f.start(&pod, config).await;
    let (mut output, stdout) = tokio::io::duplex(1 << 16);
    let io = ExecIo {
        stdin: Some(Box::new(std::io::Cursor::new(b"to and fro\n".to_vec()))),
        stdout: Some(Box::new(stdout)),
        stderr: None,
        resize: None,
    };
    let mut text = String::new();
    let attach = tokio::time::timeout(PATIENCE, f.runtime.attach(&id, io));
    let (code, read) = tokio::join!(attach, output.read_to_string(&mut text));
    read.unwrap();
    // The end of the input ended the container.
    assert_eq!((code.unwrap().unwrap(), text.as_str()), (0, "to and fro\n"));
    f.wait_log(&id, "to and fro").await;
    f.finish().await;
}

/// Who attaches first sees all, who attaches later what comes from then on.
async fn attach_late() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let mut config = f.container(&["say-cat", "before"]);
    (config.stdin, config.stdin_once) = (true, true);
    let id = f.start(&pod, config).await;
    f.wait_log(&id, "before").await;
    let (mut first, stdout) = tokio::io::duplex(1 << 16);
    let (input, stdin) = tokio::io::duplex(1 << 16);
    let io = |stdin: Option<_>, stdout| ExecIo {
        stdin,
        stdout: Some(Box::new(stdout)),
        stderr: None,
        resize: None,
    };
    let session = f.runtime.attach(&id, io(Some(Box::new(stdin)), stdout));
    let talk = async {
        let mut early = [0; 7];
        first.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"before\n");
        let (mut second, stdout) = tokio::io::duplex(1 << 16);
        let other = f.runtime.attach(&id, io(None, stdout));
        let end = async {
            // The end of the input ends the program.
            drop(input);
            let mut text = String::new();
            second.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "");
        };
        let (code, ()) = tokio::join!(other, end);
        assert!(code.is_ok());
    };
    let all = async { tokio::join!(session, talk) };
    let (code, ()) = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(code.unwrap(), 0);
    // Who comes when it is over is refused, and reads the log.
    let (_gone, stdout) = tokio::io::duplex(1 << 16);
    assert!(f.runtime.attach(&id, io(None, stdout)).await.is_err());
    f.finish().await;
}

async fn port_forward() {
    let f = Fixture::new();
    let pod = f.run_pod().await;
    let id = f.start(&pod, f.container(&["listen"])).await;
    f.wait_log(&id, "listening").await;
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let talk = async {
        ours.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        ours.read_exact(&mut answer).await.unwrap();
        drop(ours);
        answer
    };
    let forward = f.runtime.port_forward(&pod, 8080, Box::new(theirs));
    let (answer, result) = tokio::join!(talk, forward);
    result.unwrap();
    assert_eq!(&answer, b"ping");
    let (_ours, theirs) = tokio::io::duplex(1);
    let error = f.runtime.port_forward(&pod, 81, Box::new(theirs)).await.unwrap_err();
    assert!(error.to_string().contains("port 81"), "{error}");
    f.finish().await;
}
