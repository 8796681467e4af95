//! WebSocket connections (RFC 6455) with one of Kubernetes' subprotocols.

use std::future::Future;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use onggi_api::Status;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::audit::Ending;
use crate::http::{Body, Incomings, full};

/// A connection that speaks WebSocket.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Switches protocols; `session` gets the connection and the subprotocol of `known` that the client
/// likes best. Where none is known, none is spoken; the empty one is for who names none.
pub(crate) fn upgrade<F, Fut>(
    mut request: Incomings,
    known: &[&'static str],
    session: F,
) -> Result<Response<Body>, Status>
where
    F: FnOnce(Socket, &'static str) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), true) = (key, is_websocket(headers)) else {
        return Err(Status::bad_request("Upgrade request required"));
    };
    let accepted = derive_accept_key(key.as_bytes());
    let asked: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let protocol = asked
        .iter()
        .find_map(|asked| known.iter().find(|known| *known == asked))
        .copied()
        .or_else(|| {
            let none = known.is_empty() || asked.is_empty() && known.contains(&"");
            none.then_some("")
        })
        .ok_or_else(|| {
            Status::bad_request(format!(
                "unable to upgrade: unsupported subprotocols {asked:?}, supported are {known:?}"
            ))
        })?;
    let upgraded = hyper::upgrade::on(&mut request);
    let ending = request.extensions_mut().remove::<Ending>();
    tokio::spawn(async move {
        let _ending = ending;
        match upgraded.await {
            Ok(connection) => {
                let io = TokioIo::new(connection);
                session(Socket::from_raw_socket(io, Role::Server, None).await, protocol).await;
            }
            Err(error) => tracing::debug!(%error, "a client did not switch to WebSocket"),
        }
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if !protocol.is_empty() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    let accepted = HeaderValue::try_from(accepted).map_err(Status::internal)?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    Ok(response)
}

/// Whether the client wants to switch to WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}
