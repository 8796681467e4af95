//! Streams of one SPDY connection, named by the header `streamtype`: `error`, `stdin`, `stdout`,
//! `stderr`, `resize`. The client opens them all before anything begins.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::{CHUNK, Ends, Session, error_stream, terminal_size};
use crate::streams::spdy::{Decoder, Encoder, Frame, Link, SpdyError, data};

/// The newest first; who names none speaks the first that there was.
pub(super) const PROTOCOLS: &[&str] =
    &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// How long the client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// Frames on the way to the client.
const QUEUE: usize = 32;
/// There are five kinds of streams.
const MOST_STREAMS: usize = 16;
/// A size of a terminal is a line of some 30 bytes.
const LONGEST_SIZE: usize = 1024;

/// The streams by their names.
type Ids = HashMap<String, u32>;

/// What the client's end of the connection says.
struct Reader {
    source: futures::stream::BoxStream<'static, Bytes>,
    decoder: Decoder,
    encoder: Encoder,
    out: mpsc::Sender<Bytes>,
}

impl Reader {
    /// The next frame that means something; `None` when the client is gone.
    async fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        loop {
            match self.decoder.next()? {
                Some(Frame::Ping(frame)) => {
                    // The connection being closed shows at the next read.
                    let _ = self.out.send(frame).await;
                }
                Some(Frame::Other) => {}
                Some(frame) => return Ok(Some(frame)),
                None => match self.source.next().await {
                    Some(bytes) => self.decoder.push(&bytes),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Waits until the streams that are wanted are open.
    async fn opened(&mut self, wanted: &[&str]) -> Result<Option<Ids>, SpdyError> {
        let mut ids = Ids::new();
        while !wanted.iter().all(|kind| ids.contains_key(*kind)) {
            match self.next().await? {
                None => return Ok(None),
                Some(Frame::Open { .. }) if ids.len() >= MOST_STREAMS => {
                    return Err(SpdyError::too_many_streams(MOST_STREAMS));
                }
                Some(Frame::Open { id, headers }) => {
                    let _ = self.out.send(self.encoder.reply(id)?).await;
                    ids.insert(headers.get("streamtype").cloned().unwrap_or_default(), id);
                }
                // A half that the client closes at once.
                Some(_) => {}
            }
        }
        Ok(Some(ids))
    }

    /// From the client to the node until the client is gone.
    async fn listen(
        &mut self,
        ids: &Ids,
        mut stdin: Option<DuplexStream>,
        resize: mpsc::Sender<onggi_client::node::TerminalSize>,
    ) -> Result<(), SpdyError> {
        let is = |kind: &str, id: u32| ids.get(kind) == Some(&id);
        let mut line = Vec::new();
        while let Some(frame) = self.next().await? {
            match frame {
                Frame::Data { id, data, last } if is("stdin", id) => {
                    if let Some(to) = &mut stdin
                        && (to.write_all(&data).await.is_err() || last)
                    {
                        // The command has all of its input, or reads no more.
                        stdin = None;
                    }
                }
                Frame::Data { id, data, .. } if is("resize", id) => {
                    line.extend_from_slice(&data);
                    while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                        let text: Vec<u8> = line.drain(..=end).collect();
                        if let Some(size) = terminal_size(&text) {
                            // A later size follows when this one finds no room.
                            let _ = resize.try_send(size);
                        }
                    }
                    line.truncate(LONGEST_SIZE);
                }
                Frame::Reset { id } if is("stdin", id) => stdin = None,
                _ => {}
            }
        }
        Ok(())
    }
}

pub(super) async fn run(session: Session, link: Link, protocol: &str) -> Result<(), SpdyError> {
    let Link { mut sink, source } = link;
    let (out, mut outgoing) = mpsc::channel::<Bytes>(QUEUE);
    let write = async move {
        while let Some(frame) = outgoing.recv().await {
            if sink.send(frame).await.is_err() {
                return;
            }
        }
        // The client takes the end of the connection for the end of its streams.
        let _ = sink.close().await;
    };
    let mut reader =
        Reader { source, decoder: Decoder::new(), encoder: Encoder::new()?, out: out.clone() };
    let mut wanted = vec!["error"];
    wanted.extend(session.stdin.then_some("stdin"));
    wanted.extend(session.stdout.then_some("stdout"));
    wanted.extend(session.stderr.then_some("stderr"));
    // Terminals have sizes since version 3.
    let sized = matches!(protocol, "v4.channel.k8s.io" | "v3.channel.k8s.io");
    wanted.extend((session.tty && sized).then_some("resize"));
    let structured = protocol == "v4.channel.k8s.io";
    let talk = async move {
        let opened = tokio::time::timeout(OPENING, reader.opened(&wanted)).await;
        let Ok(opened) = opened else { return Ok(()) };
        let Some(ids) = opened? else { return Ok(()) };
        let (work, Ends { stdin, stdout, stderr, resize }) = session.begin();
        let work = async {
            let (status, (), ()) = tokio::join!(
                work,
                pump(ids.get("stdout"), stdout, &out),
                pump(ids.get("stderr"), stderr, &out)
            );
            if let Some(id) = ids.get("error") {
                let text = error_stream(&status, structured);
                let _ = out.send(data(*id, &text, true)).await;
            }
        };
        tokio::select! {
            () = work => Ok(()),
            // The client is gone: what it started ends with its streams.
            left = reader.listen(&ids, stdin, resize) => left,
        }
    };
    // The queue ends with the talk, and the writing with the queue.
    let (talked, ()) = tokio::join!(talk, write);
    talked
}

/// From the node to the client until the node closes its end.
async fn pump(id: Option<&u32>, from: Option<DuplexStream>, out: &mpsc::Sender<Bytes>) {
    let (Some(id), Some(mut from)) = (id, from) else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if out.send(data(*id, &buffer[..count], false)).await.is_err() {
            return;
        }
    }
    let _ = out.send(data(*id, b"", true)).await;
}
