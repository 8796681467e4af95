//! `pods/NAME/exec` and `attach`: channels of one WebSocket, the first byte of a message being the
//! channel (`v5.channel.k8s.io`, `v4.channel.k8s.io`).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use http::Response;
use onggi_api::Status;
use onggi_api::status::{Cause, Details};
use onggi_client::node::{ExecRequest, ExitStatus, NodeError, Streams, TerminalSize};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::target::{Target, find, node_status};
use super::websocket::{Socket, upgrade};
use crate::ApiServer;
use crate::http::{Body, Incomings, Query, ResourcePlace};

const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: `[255, channel]` says that the sender has closed that channel.
const CLOSE: u8 = 255;

/// Bytes on the way between the node and the socket.
const PIPE: usize = 64 << 10;

/// What the client asked for.
struct Session {
    target: Target,
    attach: bool,
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// The size of a terminal as it comes over the wire.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    request: Incomings,
) -> Result<Response<Body>, Status> {
    let attach = place.subresource == "attach";
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() && !attach {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    // Before the switch, so that what is wrong comes as an ordinary error.
    let target = find(server, place, query.get("container")).await?;
    let tty = query.flag("tty");
    let session = Session {
        target,
        attach,
        command,
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr") && !tty,
        tty,
    };
    let shutdown = server.shutdown().clone();
    upgrade(request, PROTOCOLS, move |socket, _| async move {
        tokio::select! {
            () = session.run(socket) => {}
            () = shutdown.cancelled() => {}
        }
    })
}

impl Session {
    async fn run(self, socket: Socket) {
        let (mut sink, incoming) = socket.split();
        let (out, mut outgoing) = mpsc::channel::<Message>(32);
        let (resize, sizes) = mpsc::channel(4);
        let (stdin, stdin_of_node) = pipe(self.stdin);
        let (stdout, stdout_of_node) = pipe(self.stdout);
        let (stderr, stderr_of_node) = pipe(self.stderr);
        let io = Streams {
            stdin: stdin_of_node.map(|end| Box::new(end) as _),
            stdout: stdout_of_node.map(|end| Box::new(end) as _),
            stderr: stderr_of_node.map(|end| Box::new(end) as _),
            resize: self.tty.then_some(sizes),
        };
        let request = ExecRequest {
            pod: self.target.pod,
            container: self.target.container,
            command: self.command,
            tty: self.tty,
        };
        let node = self.target.node;
        let work = async move {
            let run = async {
                if self.attach {
                    node.attach(request, io).await
                } else {
                    node.exec(request, io).await
                }
            };
            let (result, (), ()) =
                tokio::join!(run, pump(STDOUT, stdout, &out), pump(STDERR, stderr, &out));
            let status = serde_json::to_vec(&ended(result)).unwrap_or_default();
            let _ = out.send(message(ERROR, &status)).await;
            // Without a code kubectl takes it for a broken connection and loses the exit code.
            let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            let _ = out.send(Message::Close(Some(close))).await;
        };
        let write = async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = async { tokio::join!(work, write) } => {}
            // The client is gone: what it started ends with its streams.
            () = listen(incoming, stdin, resize) => {}
        }
    }
}

fn pipe(wanted: bool) -> (Option<DuplexStream>, Option<DuplexStream>) {
    match wanted {
        true => {
            let (ours, theirs) = duplex(PIPE);
            (Some(ours), Some(theirs))
        }
        false => (None, None),
    }
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.extend_from_slice(&[channel]);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.freeze())
}

/// From the node to the client until the node closes its end.
async fn pump(channel: u8, from: Option<DuplexStream>, out: &mpsc::Sender<Message>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 << 10];
    // A pipe in memory has no errors but its end.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if out.send(message(channel, &buffer[..count])).await.is_err() {
            return;
        }
    }
}

/// From the client to the node until the client is gone.
async fn listen(
    mut incoming: SplitStream<Socket>,
    mut stdin: Option<DuplexStream>,
    resize: mpsc::Sender<TerminalSize>,
) {
    while let Some(Ok(message)) = incoming.next().await {
        let data: Bytes = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            _ => continue,
        };
        match data.split_first() {
            Some((&STDIN, input)) => {
                if let Some(to) = &mut stdin
                    && to.write_all(input).await.is_err()
                {
                    // The command does not read any more, and may still write.
                    stdin = None;
                }
            }
            Some((&CLOSE, [STDIN])) => stdin = None,
            Some((&RESIZE, size)) => {
                if let Ok(Size { width, height }) = serde_json::from_slice(size) {
                    // A later size follows when this one finds no room.
                    let _ = resize.try_send(TerminalSize { width, height });
                }
            }
            _ => {}
        }
    }
}

/// How it ended, as channel 3 says it.
fn ended(result: Result<ExitStatus, NodeError>) -> Status {
    match result {
        Ok(ExitStatus(0)) => {
            let mut status = Status::success(Details::default());
            status.details = None;
            status
        }
        Ok(ExitStatus(code)) => {
            let text = format!("command terminated with non-zero exit code: exit status {code}");
            let mut status = Status::failure(0, "NonZeroExitCode", text);
            let cause =
                Cause { reason: "ExitCode".into(), message: code.to_string(), ..Cause::default() };
            status.details = Some(Details { causes: vec![cause], ..Details::default() });
            status
        }
        Err(error) => node_status(&error),
    }
}
