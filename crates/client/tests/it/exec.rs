//! exec against a server that plays the command.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use onggi_api::Status;
use onggi_client::exec::{Exec, PROTOCOL, channel, exec, status_of};
use onggi_client::node::{ExitStatus, Streams, TerminalSize};
use onggi_client::{Error, HttpTransport};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::server::listen;

/// What was written to it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary(Bytes::from([&[channel], bytes].concat()))
}

/// Echoes its input, and says on stderr what it was asked and which sizes it saw. Output comes in
/// floods before input is read, as of a command that reads late.
async fn command() -> HttpTransport {
    let (listener, acceptor, config, _) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let mut asked = String::new();
        #[allow(clippy::result_large_err)] // The type is the library's.
        let check =
            |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                asked = request.uri().to_string();
                assert_eq!(request.headers()["sec-websocket-protocol"], PROTOCOL);
                if asked.contains("none") {
                    let status = Status::not_found("pods", "none");
                    let body = Some(serde_json::to_string(&status).unwrap());
                    return Err(::http::Response::builder().status(404).body(body).unwrap());
                }
                let headers = response.headers_mut();
                headers.insert("sec-websocket-protocol", PROTOCOL.parse().unwrap());
                Ok(response)
            };
        let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
        for _ in 0..100 {
            socket.send(message(channel::STDOUT, &[b'.'; 10_000])).await.unwrap();
        }
        while let Some(Ok(received)) = socket.next().await {
            let received = received.into_data();
            match received[0] {
                channel::STDIN => {
                    socket.send(message(channel::STDOUT, &received[1..])).await.unwrap();
                }
                channel::RESIZE => {
                    socket.send(message(channel::STDERR, &received[1..])).await.unwrap();
                }
                channel::CLOSE => break,
                other => panic!("channel {other}"),
            }
        }
        socket.send(message(channel::STDERR, asked.as_bytes())).await.unwrap();
        let status = serde_json::to_vec(&status_of(ExitStatus(7))).unwrap();
        socket.send(message(channel::STATUS, &status)).await.unwrap();
        socket.close(None).await.unwrap();
    });
    HttpTransport::new(&config).unwrap()
}

fn job(pod: &str) -> Exec {
    Exec {
        namespace: "d".into(),
        pod: pod.into(),
        container: "c".into(),
        command: ["sh", "-c", "a b&c"].map(String::from).to_vec(),
        tty: false,
    }
}

#[tokio::test]
async fn input_output_sizes_and_exit_code() {
    let transport = command().await;
    let (stdout, stderr) = (Written::default(), Written::default());
    let (sizes, resize) = mpsc::channel(1);
    sizes.send(TerminalSize { width: 80, height: 24 }).await.unwrap();
    drop(sizes);
    let input = vec![b'x'; 1_000_000];
    let io = Streams {
        stdin: Some(Box::new(std::io::Cursor::new(input))),
        stdout: Some(Box::new(stdout.clone())),
        stderr: Some(Box::new(stderr.clone())),
        resize: Some(resize),
    };
    let ended = exec(&transport, &job("p"), io).await.unwrap();
    assert_eq!(ended, ExitStatus(7));
    let out = stdout.text();
    assert_eq!(out.matches('.').count(), 1_000_000);
    assert_eq!(out.matches('x').count(), 1_000_000);
    let err = stderr.text();
    assert!(err.contains(r#"{"Height":24,"Width":80}"#), "{err}");
    let path = "/api/v1/namespaces/d/pods/p/exec?command=sh&command=-c&command=a%20b%26c\
                &container=c&stdin=true&stdout=true&stderr=true";
    assert!(err.ends_with(path), "{err}");
}

#[tokio::test]
async fn a_refusal_is_the_servers_status() {
    let transport = command().await;
    let io = Streams { stdin: None, stdout: None, stderr: None, resize: None };
    let error = exec(&transport, &job("none"), io).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(matches!(error, Error::Status(_)));
}
