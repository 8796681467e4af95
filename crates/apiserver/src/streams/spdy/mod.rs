//! SPDY/3.1, as clients of Kubernetes speak it: bare after an upgrade of the connection (older
//! `kubectl` and Go clients), or inside the messages of a WebSocket (newer `kubectl` for
//! port-forward).

mod frames;

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use onggi_api::Status;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::codec::{BytesCodec, Framed};

use super::websocket::Socket;
use crate::audit::Ending;
use crate::http::{Body, Incomings, full};

#[cfg(test)]
pub(super) use frames::testing;
pub(super) use frames::{Decoder, Encoder, Frame, SpdyError, data};

const SPDY: HeaderValue = HeaderValue::from_static("SPDY/3.1");
/// What the streams of a connection mean; the client names what it knows.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// A connection that carries frames, in whatever pieces.
pub(super) struct Link {
    /// To the client.
    pub(super) sink: Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>,
    /// From the client, until it is gone.
    pub(super) source: BoxStream<'static, Bytes>,
}

impl Link {
    /// The messages of a WebSocket.
    pub(super) fn websocket(socket: Socket) -> Self {
        let (sink, source) = socket.split();
        let sink = sink
            .with(|bytes| async { Ok(Message::Binary(bytes)) })
            .sink_map_err(|error: tokio_tungstenite::tungstenite::Error| io::Error::other(error));
        let source = source
            .take_while(|message| {
                std::future::ready(!matches!(message, Err(_) | Ok(Message::Close(_))))
            })
            .filter_map(async |message| match message {
                Ok(Message::Binary(bytes)) => Some(bytes),
                _ => None,
            });
        Self { sink: Box::pin(sink), source: source.boxed() }
    }

    /// The connection itself.
    fn bare(connection: hyper::upgrade::Upgraded) -> Self {
        let (sink, source) = Framed::new(TokioIo::new(connection), BytesCodec::new()).split();
        let source = source
            .take_while(|piece| std::future::ready(piece.is_ok()))
            .filter_map(async |piece| piece.ok().map(bytes::BytesMut::freeze));
        Self { sink: Box::pin(sink), source: source.boxed() }
    }
}

/// Whether the client wants to switch to bare SPDY.
pub(super) fn is_spdy(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"spdy/3.1"))
}

/// Switches to bare SPDY; `session` gets the connection and the first protocol of the client's that
/// is among `known`. Who names none speaks the last of them.
pub(super) fn upgrade<F, Fut>(
    mut request: Incomings,
    known: &[&'static str],
    session: F,
) -> Result<Response<Body>, Status>
where
    F: FnOnce(Link, &'static str) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let asked: Vec<&str> = request
        .headers()
        .get_all(&STREAM_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let oldest = known.last().copied().filter(|_| asked.is_empty());
    let protocol = asked
        .iter()
        .find_map(|asked| known.iter().find(|known| *known == asked).copied())
        .or(oldest)
        .ok_or_else(|| {
            let text = format!(
                "unable to upgrade: unable to negotiate protocol: client supports {asked:?}, \
                 server accepts {known:?}"
            );
            Status::failure(403, onggi_api::status::reason::FORBIDDEN, text)
        })?;
    let upgraded = hyper::upgrade::on(&mut request);
    let ending = request.extensions_mut().remove::<Ending>();
    tokio::spawn(async move {
        let _ending = ending;
        match upgraded.await {
            Ok(connection) => session(Link::bare(connection), protocol).await,
            Err(error) => tracing::debug!(%error, "a client did not switch to SPDY"),
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, SPDY);
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}
