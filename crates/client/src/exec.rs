//! The client's end of `exec` and `attach`: five channels inside a WebSocket
//! (`v5.channel.k8s.io`; KEP-4006).
//!
//! Every message begins with the number of its channel. Input and output move independently of one
//! another: a command that reads nothing until its output is read must not stop both.

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use onggi_api::{GroupVersionResource, Status};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::encode::{Query, path};
use crate::http::{HttpTransport, failure};
use crate::node::{Duplex, ExitStatus, Streams, TerminalSize};
use crate::transport::Error;

/// The subprotocol that can close the input.
pub const PROTOCOL: &str = "v5.channel.k8s.io";

/// The channels of [`PROTOCOL`].
pub mod channel {
    /// Input of the command.
    pub const STDIN: u8 = 0;
    /// Its output.
    pub const STDOUT: u8 = 1;
    /// Its errors.
    pub const STDERR: u8 = 2;
    /// How it ended: a `Status` as JSON, once.
    pub const STATUS: u8 = 3;
    /// Sizes of the terminal: `{"Width":80,"Height":24}`.
    pub const RESIZE: u8 = 4;
    /// Followed by the number of a channel that ends.
    pub const CLOSE: u8 = 255;
}

/// How much is read at once from the input.
const CHUNK: usize = 32 << 10;

pub(crate) type Socket = WebSocketStream<Box<dyn Duplex>>;

/// What to run, and where. Which streams there are says [`Streams`].
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Empty: the pod's default container.
    pub container: String,
    /// The command; empty to attach to what runs already.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// Runs a command in a container, or attaches to it, until it ends. The status is that of the
/// command; an error is everything that kept it from running.
pub async fn exec(
    transport: &HttpTransport,
    exec: &Exec,
    io: Streams,
) -> Result<ExitStatus, Error> {
    let socket = open(transport, &uri(exec, &io)?, PROTOCOL).await?;
    let (sink, source) = socket.split();
    let Streams { stdin, stdout, stderr, resize } = io;
    let input = async {
        match send(sink, stdin, resize).await {
            // The other side says why it no longer listens.
            Ok(()) | Err(SocketError::ConnectionClosed | SocketError::AlreadyClosed) => {}
            Err(error) => tracing::debug!(%error, "input of exec ended"),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = receive(transport, source, stdout, stderr) => ended,
        () = input => Err(transport.broken(&SocketError::ConnectionClosed)),
    }
}

/// The path and the query of a request; apart from the connecting, for streams are not `Sync`.
fn uri(exec: &Exec, io: &Streams) -> Result<http::Uri, Error> {
    let pods = GroupVersionResource::new("", "v1", "pods");
    let action = if exec.command.is_empty() { "attach" } else { "exec" };
    let mut query = Query::default();
    for part in &exec.command {
        query.add("command", part);
    }
    query
        .add("container", &exec.container)
        .flag("stdin", io.stdin.is_some())
        .flag("stdout", io.stdout.is_some())
        .flag("stderr", io.stderr.is_some() && !exec.tty)
        .flag("tty", exec.tty);
    query.uri(path(&pods, &exec.namespace, &exec.pod, action))
}

/// Opens a WebSocket with a subprotocol.
pub(crate) async fn open(
    transport: &HttpTransport,
    uri: &http::Uri,
    protocol: &'static str,
) -> Result<Socket, Error> {
    let mut request = http::Request::get(transport.absolute(uri)?)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, generate_key())
        .header(SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(())
        .map_err(|e| Error::Decode(e.to_string()))?;
    transport.headers(request.headers_mut()).await?;
    request.headers_mut().extend(transport.host_header());
    let connected = transport.connector.connect(true).await.map_err(|e| transport.broken(&e))?;
    match client_async(websocket(request)?, connected.stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(SocketError::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(failure(response.status(), body).into())
        }
        Err(error) => Err(transport.broken(&error)),
    }
}

/// The same request with a WebSocket's scheme, which the handshake insists on.
fn websocket(mut request: http::Request<()>) -> Result<http::Request<()>, Error> {
    let mut parts = request.uri().clone().into_parts();
    let secure = parts.scheme == Some(http::uri::Scheme::HTTPS);
    parts.scheme = (if secure { "wss" } else { "ws" }).parse().ok();
    *request.uri_mut() = http::Uri::from_parts(parts).map_err(|e| Error::Decode(e.to_string()))?;
    Ok(request)
}

/// Sends input and terminal sizes until both have ended.
async fn send(
    mut sink: SplitSink<Socket, Message>,
    mut stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    mut resize: Option<mpsc::Receiver<TerminalSize>>,
) -> Result<(), SocketError> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let message = tokio::select! {
            read = read(&mut stdin, &mut buffer), if stdin.is_some() => {
                // An input that cannot be read has ended.
                let count = read.unwrap_or(0);
                if count == 0 {
                    stdin = None;
                    Bytes::from_static(&[channel::CLOSE, channel::STDIN])
                } else {
                    buffer.split().freeze()
                }
            }
            size = next_size(&mut resize), if resize.is_some() => match size {
                Some(TerminalSize { width, height }) => {
                    let size = json!({"Width": width, "Height": height}).to_string();
                    framed(channel::RESIZE, size.as_bytes())
                }
                None => {
                    resize = None;
                    continue;
                }
            },
            else => return Ok(()),
        };
        sink.send(Message::Binary(message)).await?;
    }
}

/// Reads a piece of input behind the number of its channel.
async fn read(
    stdin: &mut Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    let Some(stdin) = stdin else { return Ok(0) };
    if buffer.is_empty() {
        buffer.put_u8(channel::STDIN);
    }
    stdin.read_buf(&mut buffer.limit(CHUNK)).await
}

async fn next_size(resize: &mut Option<mpsc::Receiver<TerminalSize>>) -> Option<TerminalSize> {
    resize.as_mut()?.recv().await
}

fn framed(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.extend_from_slice(bytes);
    message.freeze()
}

/// Writes output until the command has ended.
async fn receive(
    transport: &HttpTransport,
    mut source: SplitStream<Socket>,
    mut stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    mut stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
) -> Result<ExitStatus, Error> {
    let mut ended = None;
    while let Some(message) = source.next().await {
        let message = match message {
            Ok(Message::Binary(message)) => message,
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Close(_)) => break,
            Ok(_) => continue,
            // Some servers end without a closing handshake.
            Err(_) if ended.is_some() => break,
            Err(error) => return Err(transport.broken(&error)),
        };
        let Some((&number, bytes)) = message.split_first() else { continue };
        let output = match number {
            channel::STDOUT => &mut stdout,
            channel::STDERR => &mut stderr,
            channel::STATUS => {
                ended = Some(exit_status(bytes));
                continue;
            }
            _ => continue,
        };
        if let Some(writer) = output {
            let written = async {
                writer.write_all(bytes).await?;
                writer.flush().await
            };
            written.await.map_err(|e| Error::Decode(format!("cannot write the output: {e}")))?;
        }
    }
    ended.unwrap_or_else(|| {
        let text = "the connection ended before the command did";
        Err(transport.broken(&std::io::Error::other(text)))
    })
}

/// The `Status` of the status channel. A command that ends with another code than 0 is a failure
/// with the reason `NonZeroExitCode` and the code among its causes.
fn exit_status(bytes: &[u8]) -> Result<ExitStatus, Error> {
    let status: Status = serde_json::from_slice(bytes)
        .map_err(|e| Error::Decode(format!("status of the command: {e}")))?;
    if status.status == "Success" {
        return Ok(ExitStatus(0));
    }
    if status.reason == "NonZeroExitCode" {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let code = causes.filter(|cause| cause.reason == "ExitCode").map(|cause| &cause.message);
        if let Some(code) = code.filter_map(|text| text.parse().ok()).next() {
            return Ok(ExitStatus(code));
        }
    }
    Err(status.into())
}

/// What a server sends on the status channel for a command that ended.
pub fn status_of(ended: ExitStatus) -> Status {
    if ended.0 == 0 {
        return Status { details: None, ..Status::success(onggi_api::status::Details::default()) };
    }
    let text = format!("command terminated with non-zero exit code: exit code {}", ended.0);
    let mut status = Status::failure(500, "NonZeroExitCode", text);
    let cause = onggi_api::status::Cause {
        reason: "ExitCode".into(),
        message: ended.0.to_string(),
        field: String::new(),
    };
    status.details.get_or_insert_default().causes.push(cause);
    // Kubernetes sends no code here.
    Status { code: 0, ..status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_go_there_and_back() {
        for code in [0, 1, 137] {
            let sent = serde_json::to_vec(&status_of(ExitStatus(code))).unwrap();
            assert_eq!(exit_status(&sent).unwrap(), ExitStatus(code));
        }
        let failed = serde_json::to_vec(&Status::internal("no such file")).unwrap();
        assert!(exit_status(&failed).unwrap_err().to_string().contains("no such file"));
    }
}
