//! Over SPDY: for every connection the client opens two streams with one `requestid`, `error` and
//! `data`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use onggi_client::node::{NodeServer, PodRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::PIPE;
use crate::streams::spdy::{self, Decoder, Encoder, Frame, Link, SpdyError};

/// Messages on the way to a connection; when they are full, the socket waits.
const QUEUE: usize = 64;

/// Bytes of a client that no pod has taken yet; when there are so many, the socket waits.
const MOST_BYTES: usize = 8 << 20;

/// Connections that a client may have open, or half open, at a time.
const MOST_STREAMS: usize = 1000;

/// How long the second stream of a connection may be away, when there is no room for others.
const PAIRING: Duration = Duration::from_secs(30);

/// Bytes of the client, which count until the pod has them.
type Piece = (Bytes, OwnedSemaphorePermit);

/// What of a connection is there yet.
struct Pair {
    since: Instant,
    port: u16,
    error: Option<u32>,
    data: Option<(u32, mpsc::Receiver<Piece>)>,
}

impl Pair {
    fn new() -> Self {
        Self { since: Instant::now(), port: 0, error: None, data: None }
    }
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
        let mut inputs: HashMap<u32, mpsc::Sender<Piece>> = HashMap::new();
        let room = Arc::new(Semaphore::new(MOST_BYTES));
        while let Some(bytes) = source.next().await {
            decoder.push(&bytes);
            while let Some(frame) = decoder.next()? {
                match frame {
                    Frame::Open { id, headers } => {
                        // A connection counts until the pod has ended it too, whatever the client
                        // says of its end.
                        let open = pairs.len() + connections.len();
                        if open.max(inputs.len()) >= MOST_STREAMS {
                            inputs.retain(|_, input| !input.is_closed());
                            pairs.retain(|_, pair| pair.since.elapsed() < PAIRING);
                            let open = pairs.len() + connections.len();
                            if open.max(inputs.len()) >= MOST_STREAMS {
                                return Err(SpdyError::too_many_streams(MOST_STREAMS));
                            }
                        }
                        // The socket being closed shows at the next read.
                        let _ = out.send(encoder.reply(id)?).await;
                        let request = headers.get("requestid").cloned().unwrap_or_default();
                        let pair = pairs.entry(request.clone()).or_insert_with(Pair::new);
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
                            let size = data.len().min(MOST_BYTES) as u32;
                            let Ok(permit) = Arc::clone(&room).acquire_many_owned(size).await
                            else {
                                continue;
                            };
                            // A connection that has ended takes nothing any more.
                            let _ = input.send((data, permit)).await;
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
    async fn run(self, mut inbound: mpsc::Receiver<Piece>) {
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
            while let Some((bytes, _counted)) = inbound.recv().await {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use futures::{SinkExt, StreamExt};
    use onggi_client::node::{
        Duplex, ExecRequest, ExitStatus, LogRequest, NodeAnswer, NodeError, Streams,
    };

    use super::*;
    use crate::streams::spdy::testing::Client;

    /// A pod that takes connections, reads nothing and never ends them.
    struct Deaf;

    #[async_trait]
    impl NodeServer for Deaf {
        async fn logs(
            &self,
            _: LogRequest,
        ) -> Result<BoxStream<'static, Result<Bytes, NodeError>>, NodeError> {
            unreachable!()
        }

        async fn exec(&self, _: ExecRequest, _: Streams) -> Result<ExitStatus, NodeError> {
            unreachable!()
        }

        async fn attach(&self, _: ExecRequest, _: Streams) -> Result<ExitStatus, NodeError> {
            unreachable!()
        }

        async fn port_forward(
            &self,
            _: PodRef,
            _: u16,
            stream: Box<dyn Duplex>,
        ) -> Result<(), NodeError> {
            let _held = stream;
            std::future::pending().await
        }

        async fn get(&self, _: &http::Uri) -> Result<NodeAnswer, NodeError> {
            unreachable!()
        }
    }

    /// Runs a session on these bytes of a client, which then waits; answers are taken. How it ended,
    /// where it did, and how many bytes it has read.
    async fn session(bytes: Vec<Vec<u8>>) -> (Option<Result<(), String>>, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&read);
        let (from_client, source) = futures::channel::mpsc::unbounded::<Bytes>();
        let (sink, answers) = futures::channel::mpsc::unbounded::<Bytes>();
        for bytes in bytes {
            from_client.unbounded_send(bytes.into()).unwrap();
        }
        let sink = sink.sink_map_err(std::io::Error::other);
        let source = source.inspect(move |bytes| {
            seen.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        let link = Link { sink: Box::pin(sink), source: source.boxed() };
        let pod = PodRef { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let taking = answers.for_each(|_| std::future::ready(()));
        let running = run(link, pod, Arc::new(Deaf));
        let both = async {
            tokio::select! { ended = running => ended, () = taking => Ok(()) }
        };
        // The clock stands still, and goes on only when everybody waits.
        let ended = tokio::time::timeout(Duration::from_secs(1), both).await.ok();
        drop(from_client);
        let ended = ended.map(|ended| ended.map_err(|error| error.to_string()));
        (ended, read.load(Ordering::Relaxed))
    }

    fn pair(client: &mut Client, number: u32) -> Vec<u8> {
        let request = number.to_string();
        let of = |kind| [("streamtype", kind), ("port", "80"), ("requestid", request.as_str())];
        let mut bytes = client.open(4 * number + 1, &of("error"));
        bytes.extend(client.open(4 * number + 3, &of("data")));
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_bounded() {
        let mut client = Client::new();
        let most = MOST_STREAMS as u32;
        let some: Vec<_> = (0..most - 1).map(|number| pair(&mut client, number)).collect();
        assert_eq!(session(some).await.0, None, "so many may be open");
        let too_many = Err(format!("malformed SPDY: more than {MOST_STREAMS} streams at a time"));
        let mut client = Client::new();
        let many = (0..=most).map(|number| pair(&mut client, number)).collect();
        assert_eq!(session(many).await.0, Some(too_many.clone()));
        // Closing one's own half does not make room: the pod's half is still there.
        let mut client = Client::new();
        let halves = (0..=most).map(|number| {
            let mut bytes = pair(&mut client, number);
            bytes.extend_from_slice(&spdy::data(4 * number + 3, b"", true));
            bytes
        });
        assert_eq!(session(halves.collect()).await.0, Some(too_many.clone()));
        // Nor are connections begun that never become whole.
        let mut client = Client::new();
        let open = |number: u32| {
            let request = number.to_string();
            client.open(2 * number + 1, &[("streamtype", "error"), ("requestid", request.as_str())])
        };
        assert_eq!(session((0..=most).map(open).collect()).await.0, Some(too_many));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_nobody_takes_are_bounded() {
        let mut client = Client::new();
        let mut bytes = Vec::new();
        for number in 0..100 {
            bytes.push(pair(&mut client, number));
            for _ in 0..20 {
                bytes.push(spdy::data(4 * number + 3, &vec![7; 64 << 10], false).to_vec());
            }
        }
        // Of 125 MiB, the session reads what it may keep and what its pipes take.
        let (ended, read) = session(bytes).await;
        assert_eq!(ended, None);
        assert!(read < MOST_BYTES + 100 * PIPE + (1 << 20), "{read}");
    }
}
