//! Over the channels of a WebSocket: two for each port of the query, data and errors, in its order.
//! One connection a port; each channel begins with the port's number in two bytes, low one first.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use onggi_api::Status;
use onggi_client::node::{NodeServer, PodRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::PIPE;
use crate::http::Query;
use crate::streams::websocket::Socket;

/// A channel is one byte.
const MOST: usize = 127;
const QUEUE: usize = 64;

/// The ports of the query.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let texts: Vec<&str> = query.all("ports").flat_map(|text| text.split(',')).collect();
    if texts.len() > MOST {
        return Err(Status::bad_request(format!("at most {MOST} ports can be forwarded at once")));
    }
    let parse = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(Status::bad_request(format!("unable to parse {text:?} as a port"))),
    };
    texts.into_iter().filter(|text| !text.is_empty()).map(parse).collect()
}

pub(super) async fn run(socket: Socket, ports: Vec<u16>, pod: PodRef, node: Arc<dyn NodeServer>) {
    let (mut sink, mut incoming) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Bytes>(QUEUE);
    let mut inputs = Vec::new();
    let mut connections = tokio::task::JoinSet::new();
    for (index, port) in ports.into_iter().enumerate() {
        let (ours, theirs) = duplex(PIPE);
        let (mut from_node, to_node) = split(ours);
        inputs.push(Some(to_node));
        let (data, error) = ((index * 2) as u8, (index * 2 + 1) as u8);
        let (out, pod, node) = (out.clone(), pod.clone(), Arc::clone(&node));
        connections.spawn(async move {
            for channel in [data, error] {
                let _ = out.send(message(channel, &port.to_le_bytes())).await;
            }
            let name = pod.name.clone();
            let pump = async {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(count @ 1..) = from_node.read(&mut buffer).await {
                    if out.send(message(data, &buffer[..count])).await.is_err() {
                        return;
                    }
                }
            };
            let mut forward = node.port_forward(pod, port, Box::new(theirs));
            tokio::pin!(pump);
            // When the pod has said all, it is over: a channel cannot say that the client has.
            let ended = tokio::select! {
                biased;
                ended = &mut forward => {
                    pump.await;
                    ended
                }
                () = &mut pump => Ok(()),
            };
            if let Err(failed) = ended {
                let text = format!("error forwarding port {port} to pod {name}: {failed}");
                let _ = out.send(message(error, text.as_bytes())).await;
            }
        });
    }
    drop(out);
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if sink.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        // Every connection has ended.
        let _ = sink.send(Message::Close(None)).await;
    };
    let read = async {
        while let Some(Ok(message)) = incoming.next().await {
            match message {
                Message::Binary(bytes) => feed(&mut inputs, &bytes).await,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    // Connections end with their client.
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// To the connection of a data channel; one that has ended takes nothing any more.
async fn feed<T: tokio::io::AsyncWrite>(inputs: &mut [Option<WriteHalf<T>>], message: &[u8]) {
    let Some((channel, data)) = message.split_first() else { return };
    let index = usize::from(channel / 2);
    let Some(input) = inputs.get_mut(index).filter(|_| channel % 2 == 0) else { return };
    if let Some(to) = input
        && to.write_all(data).await.is_err()
    {
        *input = None;
    }
}

fn message(channel: u8, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    bytes.freeze()
}
