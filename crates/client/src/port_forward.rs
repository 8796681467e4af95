//! The client's end of `portforward`: SPDY/3.1 frames inside a WebSocket
//! (`SPDY/3.1+portforward.k8s.io`), one of them for each connection. A connection is two streams:
//! what goes wrong on the node, and the bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use futures::{SinkExt, StreamExt};
use onggi_api::GroupVersionResource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::exec::open;
use crate::http::HttpTransport;
use crate::http::encode::{Query, path};
use crate::node::Duplex;
use crate::transport::Error;

/// The subprotocol.
const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const VERSION: u16 = 0x8003;
const FIN: u32 = 1 << 24;
const LENGTH: u32 = 0x00ff_ffff;
/// A larger frame is no frame of a server of ours.
const MAX_FRAME: usize = 16 << 20;
/// Bytes that are read at once from the local side.
const CHUNK: usize = 16 << 10;
/// Ids of streams that a client opens are odd.
const ERRORS: u32 = 1;
const DATA: u32 = 3;

/// Connects a byte stream with a port in a pod until one side ends. The error is the node's word
/// where it has one.
pub async fn port_forward(
    transport: &HttpTransport,
    namespace: &str,
    pod: &str,
    port: u16,
    local: impl Duplex,
) -> Result<(), Error> {
    let pods = GroupVersionResource::new("", "v1", "pods");
    let uri = Query::default().uri(path(&pods, namespace, pod, "portforward"))?;
    let socket = open(transport, &uri, PROTOCOL).await?;
    let (mut sink, mut source) = socket.split();
    let failed = |error: tokio_tungstenite::tungstenite::Error| transport.broken(&error);
    let mut headers = Compress::new(Compression::default(), true);
    for (id, kind) in [(ERRORS, "error"), (DATA, "data")] {
        let frame = opened(&mut headers, id, kind, port)?;
        sink.send(Message::Binary(frame)).await.map_err(failed)?;
    }
    // Nothing is sent on the stream of errors.
    sink.send(Message::Binary(data(ERRORS, b"", true))).await.map_err(failed)?;
    let (mut read, mut write) = tokio::io::split(local);
    let (answers, mut echoed) = tokio::sync::mpsc::channel::<Bytes>(4);
    let send = async {
        let mut buffer = vec![0; CHUNK];
        let mut ended = false;
        loop {
            let frame = tokio::select! {
                count = read.read(&mut buffer), if !ended => {
                    // A local side that cannot be read has ended.
                    let count = count.unwrap_or(0);
                    ended = count == 0;
                    data(DATA, &buffer[..count], ended)
                }
                frame = echoed.recv() => match frame {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            sink.send(Message::Binary(frame)).await.map_err(failed)?;
        }
    };
    let receive = async {
        let mut buffer = BytesMut::new();
        let mut said = BytesMut::new();
        let mut open_streams = [true, true];
        while open_streams.contains(&true) {
            let Some(message) = source.next().await else { break };
            match message.map_err(failed)? {
                Message::Binary(bytes) => buffer.extend_from_slice(&bytes),
                Message::Close(_) => break,
                _ => continue,
            }
            while let Some(frame) = next(&mut buffer)? {
                match frame {
                    Frame::Data { id: ERRORS, bytes, last } => {
                        said.extend_from_slice(&bytes);
                        open_streams[0] &= !last;
                    }
                    Frame::Data { bytes, last, .. } => {
                        // A local side that is gone takes nothing any more.
                        let written = write.write_all(&bytes).await;
                        let flushed = write.flush().await;
                        open_streams[1] &= !last && written.is_ok() && flushed.is_ok();
                        if last {
                            // What it still sends is read on.
                            let _gone = write.shutdown().await;
                        }
                    }
                    Frame::Reset => open_streams = [false, false],
                    Frame::Ping(frame) => {
                        // The sender has ended where it is not taken.
                        let _ended = answers.send(frame).await;
                    }
                    Frame::Other => {}
                }
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        Err(transport.broken(&std::io::Error::other(text)))
    };
    tokio::select! {
        ended = receive => ended,
        ended = send => ended,
    }
}

enum Frame {
    Data { id: u32, bytes: Bytes, last: bool },
    Reset,
    Ping(Bytes),
    Other,
}

/// The next whole frame.
fn next(buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
    let Some(mut header) = buffer.get(..8) else { return Ok(None) };
    let (first, second) = (header.get_u32(), header.get_u32());
    let length = (second & LENGTH) as usize;
    if length > MAX_FRAME {
        return Err(Error::Decode(format!("a SPDY frame of {length} bytes")));
    }
    if buffer.len() < 8 + length {
        return Ok(None);
    }
    let whole = buffer.split_to(8 + length).freeze();
    if first & 0x8000_0000 == 0 {
        let last = second & FIN != 0;
        return Ok(Some(Frame::Data { id: first, bytes: whole.slice(8..), last }));
    }
    Ok(Some(match (first & 0xffff) as u16 {
        RST_STREAM | GOAWAY => Frame::Reset,
        PING => Frame::Ping(whole),
        _ => Frame::Other,
    }))
}

/// A frame that opens a stream. Its headers are compressed with a dictionary of names only where
/// the stream says so; without one any zlib reads them.
fn opened(headers: &mut Compress, id: u32, kind: &str, port: u16) -> Result<Bytes, Error> {
    let port = port.to_string();
    let pairs = [("streamtype", kind), ("port", port.as_str()), ("requestid", "0")];
    let mut plain = BytesMut::new();
    plain.put_u32(pairs.len() as u32);
    for text in pairs.into_iter().flat_map(|(name, value)| [name, value]) {
        plain.put_u32(text.len() as u32);
        plain.put_slice(text.as_bytes());
    }
    let mut block = Vec::with_capacity(256);
    headers
        .compress_vec(&plain, &mut block, FlushCompress::Sync)
        .map_err(|e| Error::Decode(format!("headers of a SPDY stream: {e}")))?;
    let mut frame = BytesMut::with_capacity(block.len() + 18);
    frame.put_u16(VERSION);
    frame.put_u16(SYN_STREAM);
    frame.put_u32((block.len() + 10) as u32);
    frame.put_u32(id);
    frame.put_u32(0);
    frame.put_u16(0);
    frame.put_slice(&block);
    Ok(frame.freeze())
}

fn data(id: u32, bytes: &[u8], last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(bytes.len() + 8);
    frame.put_u32(id);
    frame.put_u32((bytes.len() as u32 & LENGTH) | if last { FIN } else { 0 });
    frame.put_slice(bytes);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let mut buffer = BytesMut::from(&data(DATA, b"hello", true)[..]);
        let rest = buffer.split_off(9);
        assert!(next(&mut buffer).unwrap().is_none());
        buffer.unsplit(rest);
        let Some(Frame::Data { id: DATA, bytes, last: true }) = next(&mut buffer).unwrap() else {
            panic!("no data")
        };
        assert_eq!(&bytes[..], b"hello");
        let mut headers = Compress::new(Compression::default(), true);
        let mut frame = BytesMut::from(&opened(&mut headers, 1, "error", 80).unwrap()[..]);
        assert!(matches!(next(&mut frame).unwrap(), Some(Frame::Other)));
        assert!(frame.is_empty());
    }
}
