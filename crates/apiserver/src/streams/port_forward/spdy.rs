//! Over SPDY: for every connection the client opens two streams with one `requestid`, `error` and
//! `data`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use onggi_client::node::{NodeServer, PodRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::PIPE;
use crate::streams::spdy::{self, Decoder, Encoder, Frame, Link, SpdyError};

/// Messages on the way to a connection; when they are full, the socket waits.
const QUEUE: usize = 64;

/// Connections that a client may have open, or half open, at a time.
const MOST_STREAMS: usize = 1000;

/// What of a connection is there yet.
#[derive(Default)]
struct Pair {
    port: u16,
    error: Option<u32>,
    data: Option<(u32, mpsc::Receiver<Bytes>)>,
}

pub(super) async fn run(
    link: Link,
    pod: PodRef,
    node: Arc<dyn NodeServer>,
) -> Result<(), SpdyError> {
    let Link { mut sink, mut source } = link;
    let (out, mut outgoing) = mpsc::channel::<Bytes>(QUEUE);
    let write = async move {
        while let Some(frame) = outgoing.recv().await {
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    };
    let connections = TaskTracker::new();
    let read = async {
        let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new()?);
        let mut pairs: HashMap<String, Pair> = HashMap::new();
        let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
        while let Some(bytes) = source.next().await {
            decoder.push(&bytes);
            while let Some(frame) = decoder.next()? {
                match frame {
                    Frame::Open { id, headers } => {
                        if pairs.len() + inputs.len() >= MOST_STREAMS {
                            // Those that have ended on the other side do not count.
                            inputs.retain(|_, input| !input.is_closed());
                        }
                        if pairs.len() + inputs.len() >= MOST_STREAMS {
                            return Err(SpdyError::too_many_streams(MOST_STREAMS));
                        }
                        // The socket being closed shows at the next read.
                        let _ = out.send(encoder.reply(id)?).await;
                        let request = headers.get("requestid").cloned().unwrap_or_default();
                        let pair = pairs.entry(request.clone()).or_default();
                        pair.port =
                            headers.get("port").and_then(|p| p.parse().ok()).unwrap_or(pair.port);
                        if headers.get("streamtype").is_some_and(|kind| kind == "error") {
                            pair.error = Some(id);
                        } else {
                            let (input, inbound) = mpsc::channel(QUEUE);
                            inputs.insert(id, input);
                            pair.data = Some((id, inbound));
                        }
                        let (Some(error), Some(_)) = (pair.error, &pair.data) else { continue };
                        let Some(Pair { port, data: Some((data, inbound)), .. }) =
                            pairs.remove(&request)
                        else {
                            continue;
                        };
                        let connection = Connection {
                            pod: pod.clone(),
                            node: Arc::clone(&node),
                            port,
                            error,
                            data,
                            out: out.clone(),
                        };
                        connections.spawn(connection.run(inbound));
                    }
                    Frame::Data { id, data, last } => {
                        if let Some(input) = inputs.get(&id)
                            && !data.is_empty()
                        {
                            // A connection that has ended takes nothing any more.
                            let _ = input.send(data).await;
                        }
                        if last {
                            inputs.remove(&id);
                        }
                    }
                    Frame::Reset { id } => {
                        inputs.remove(&id);
                    }
                    Frame::Ping(frame) => {
                        let _ = out.send(frame).await;
                    }
                    Frame::Other => {}
                }
            }
        }
        Ok(())
    };
    // When the client is gone, connections end with their queues.
    tokio::select! {
        ended = read => ended,
        () = write => Ok(()),
    }
}

struct Connection {
    pod: PodRef,
    node: Arc<dyn NodeServer>,
    port: u16,
    error: u32,
    data: u32,
    out: mpsc::Sender<Bytes>,
}

impl Connection {
    async fn run(self, mut inbound: mpsc::Receiver<Bytes>) {
        let (ours, theirs) = duplex(PIPE);
        let (mut from_node, mut to_node) = tokio::io::split(ours);
        let name = self.pod.name.clone();
        let node = self.node.port_forward(self.pod, self.port, Box::new(theirs));
        let to_client = async {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = from_node.read(&mut buffer).await {
                if self.out.send(spdy::data(self.data, &buffer[..count], false)).await.is_err() {
                    return;
                }
            }
            let _ = self.out.send(spdy::data(self.data, b"", true)).await;
        };
        let feed = async {
            while let Some(bytes) = inbound.recv().await {
                if to_node.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            // The client sends no more; the answer may still come.
            let _ = to_node.shutdown().await;
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            (result, ()) = async { tokio::join!(node, to_client) } => result,
            () = feed => return,
            () = self.out.closed() => return,
        };
        let text = match result {
            Ok(()) => String::new(),
            Err(error) => format!("error forwarding port {} to pod {name}: {error}", self.port),
        };
        let _ = self.out.send(spdy::data(self.error, text.as_bytes(), true)).await;
    }
}
