//! `pods/NAME/exec` and `attach`: the streams of a command, over WebSocket or over bare SPDY.

mod channels;
mod spdy;

use std::future::Future;
use std::sync::Arc;

use http::Response;
use onggi_api::Status;
use onggi_api::status::{Cause, Details};
use onggi_client::node::{ExecRequest, ExitStatus, NodeError, Streams, TerminalSize};
use serde::Deserialize;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::spdy::is_spdy;
use super::target::{Target, find, node_status};
use super::websocket::upgrade;
use crate::ApiServer;
use crate::http::{Body, Incomings, Query, ResourcePlace};

/// Bytes on the way between the node and the connection.
const PIPE: usize = 64 << 10;
/// How much of an output is sent at once.
const CHUNK: usize = 16 << 10;

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

/// The client's ends of what the node reads and writes.
struct Ends {
    stdin: Option<DuplexStream>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
    resize: mpsc::Sender<TerminalSize>,
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
    if !(session.stdin || session.stdout || session.stderr) {
        let text = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Status::bad_request(text));
    }
    let shutdown = server.shutdown().clone();
    if is_spdy(request.headers()) {
        return super::spdy::upgrade(request, spdy::PROTOCOLS, move |link, protocol| async move {
            tokio::select! {
                ended = spdy::run(session, link, protocol) => if let Err(error) = ended {
                    tracing::debug!(%error, "an exec ended");
                },
                () = shutdown.cancelled() => {}
            }
        });
    }
    upgrade(request, channels::PROTOCOLS, move |socket, protocol| async move {
        tokio::select! {
            () = channels::run(session, socket, protocol) => {}
            () = shutdown.cancelled() => {}
        }
    })
}

impl Session {
    /// The work, which ends with what the client is to be told, and the client's ends of it.
    fn begin(self) -> (impl Future<Output = Status> + Send, Ends) {
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
            if self.attach {
                // Whose program ended, and how, is in the pod's status; who was attached was let
                // go in good order.
                let result = node.attach(request, io).await.map(|_| ExitStatus(0));
                ended(result, "error attaching to container")
            } else {
                ended(node.exec(request, io).await, "error executing command in container")
            }
        };
        (work, Ends { stdin, stdout, stderr, resize })
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

/// The size of a terminal as it comes over the wire.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn terminal_size(text: &[u8]) -> Option<TerminalSize> {
    let Size { width, height } = serde_json::from_slice(text).ok()?;
    Some(TerminalSize { width, height })
}

/// How it ended; `failed`: in the words of the kubelet, where the program could not be run.
fn ended(result: Result<ExitStatus, NodeError>, failed: &str) -> Status {
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
        Err(error @ (NodeError::Unreachable(_) | NodeError::NotFound(_))) => node_status(&error),
        Err(error) => Status::internal(format!("{failed}: {error}")),
    }
}

/// What the error stream holds at the end: since version 4 of the protocols a `Status`, before it a
/// text, and nothing when all went well.
fn error_stream(status: &Status, structured: bool) -> Vec<u8> {
    match structured {
        true => serde_json::to_vec(status).unwrap_or_default(),
        false if status.status == "Success" => Vec::new(),
        false => status.message.clone().into_bytes(),
    }
}
