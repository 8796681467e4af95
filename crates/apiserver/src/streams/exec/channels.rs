//! Channels of one WebSocket, the first byte of a message being the channel (KEP-4006 for v5).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use onggi_client::node::TerminalSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{CHUNK, Ends, Session, error_stream, terminal_size};
use crate::streams::websocket::Socket;

/// The newest first; who names none gets the last.
pub(super) const PROTOCOLS: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
    "channel.k8s.io",
    "",
];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: `[255, channel]` says that the sender has closed that channel.
const CLOSE: u8 = 255;

/// What a protocol makes of messages.
#[derive(Clone, Copy)]
struct Form {
    /// Texts: the channel as a digit, then base64.
    base64: bool,
    /// The end is told by a `Status`.
    structured: bool,
}

impl Form {
    fn of(protocol: &str) -> Self {
        let structured = protocol.starts_with("v4.") || protocol.starts_with("v5.");
        Self { base64: protocol.contains("base64"), structured }
    }

    fn message(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            return Message::Text(format!("{channel}{}", BASE64.encode(data)).into());
        }
        let mut bytes = BytesMut::with_capacity(data.len() + 1);
        bytes.put_u8(channel);
        bytes.put_slice(data);
        Message::Binary(bytes.freeze())
    }

    /// Channel and content; nothing of what cannot be read.
    fn read(self, message: &Bytes) -> Option<(u8, Cow<'_, [u8]>)> {
        let (channel, data) = message.split_first()?;
        if !self.base64 {
            return Some((*channel, Cow::Borrowed(data)));
        }
        let data = BASE64.decode(data).ok()?;
        Some((channel.checked_sub(b'0')?, Cow::Owned(data)))
    }
}

pub(super) async fn run(session: Session, socket: Socket, protocol: &str) {
    let form = Form::of(protocol);
    let (mut sink, incoming) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Message>(32);
    let (work, Ends { stdin, stdout, stderr, resize }) = session.begin();
    let work = async move {
        let (status, (), ()) =
            tokio::join!(work, pump(form, STDOUT, stdout, &out), pump(form, STDERR, stderr, &out));
        let text = error_stream(&status, form.structured);
        if !text.is_empty() {
            let _ = out.send(form.message(ERROR, &text)).await;
        }
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
        () = listen(form, incoming, stdin, resize) => {}
    }
}

/// From the node to the client until the node closes its end.
async fn pump(form: Form, channel: u8, from: Option<DuplexStream>, out: &mpsc::Sender<Message>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK];
    // A pipe in memory has no errors but its end.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if out.send(form.message(channel, &buffer[..count])).await.is_err() {
            return;
        }
    }
}

/// From the client to the node until the client is gone.
async fn listen(
    form: Form,
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
        match form.read(&data) {
            Some((STDIN, input)) => {
                if let Some(to) = &mut stdin
                    && to.write_all(&input).await.is_err()
                {
                    // The command does not read any more, and may still write.
                    stdin = None;
                }
            }
            Some((CLOSE, channel)) if *channel == [STDIN] => stdin = None,
            Some((RESIZE, size)) => {
                if let Some(size) = terminal_size(&size) {
                    // A later size follows when this one finds no room.
                    let _ = resize.try_send(size);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_the_protocols_have_them() {
        let table = [
            ("v5.channel.k8s.io", Message::Binary(Bytes::from_static(b"\x01hi")), true),
            ("v4.channel.k8s.io", Message::Binary(Bytes::from_static(b"\x01hi")), true),
            ("channel.k8s.io", Message::Binary(Bytes::from_static(b"\x01hi")), false),
            ("", Message::Binary(Bytes::from_static(b"\x01hi")), false),
            ("base64.channel.k8s.io", Message::Text("1aGk=".into()), false),
            ("v4.base64.channel.k8s.io", Message::Text("1aGk=".into()), true),
        ];
        for (protocol, message, structured) in table {
            let form = Form::of(protocol);
            assert_eq!(form.message(STDOUT, b"hi"), message, "{protocol}");
            assert_eq!(form.structured, structured, "{protocol}");
            let bytes = message.into_data();
            assert_eq!(form.read(&bytes), Some((STDOUT, Cow::Borrowed(&b"hi"[..]))), "{protocol}");
        }
        assert_eq!(Form::of("base64.channel.k8s.io").read(&Bytes::from_static(b"0*")), None);
    }
}
