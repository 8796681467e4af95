//! `GET pods/NAME/log`: plain text, or the messages of a WebSocket.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::Status;
use onggi_client::node::LogRequest;
use tokio_tungstenite::tungstenite::Message;

use super::target::{find, node_status};
use super::websocket::{is_websocket, upgrade};
use crate::ApiServer;
use crate::http::{Body, Incomings, Query, ResourcePlace};

const BASE64_MESSAGES: &str = "base64.binary.k8s.io";
const PROTOCOLS: &[&str] = &["binary.k8s.io", BASE64_MESSAGES, ""];

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    request: Incomings,
) -> Result<Response<Body>, Status> {
    let target = find(server, place, query.get("container")).await?;
    let wanted = LogRequest {
        pod: target.pod,
        container: target.container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        since_nanos: since(server, query)?,
    };
    let lines = target.node.logs(wanted).await.map_err(|error| node_status(&error))?;
    let shutdown = server.shutdown().clone();
    let lines = lines.take_until(async move { shutdown.cancelled().await });
    if is_websocket(request.headers()) {
        return upgrade(request, PROTOCOLS, move |socket, protocol| async move {
            let base64 = protocol == BASE64_MESSAGES;
            let (mut sink, mut incoming) = socket.split();
            let mut lines = std::pin::pin!(lines);
            let write = async {
                while let Some(Ok(chunk)) = lines.next().await {
                    let message = match base64 {
                        true => Message::Text(BASE64.encode(&chunk).into()),
                        false => Message::Binary(chunk),
                    };
                    if sink.send(message).await.is_err() {
                        return;
                    }
                }
                // A client that has gone needs no goodbye.
                let _ = sink.send(Message::Close(None)).await;
            };
            let left = async { while let Some(Ok(_)) = incoming.next().await {} };
            tokio::select! {
                () = write => {}
                () = left => {}
            }
        });
    }
    let frames = lines.map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    Ok(response)
}

fn since(server: &ApiServer, query: &Query) -> Result<Option<i128>, Status> {
    let seconds = query.number::<i64>("sinceSeconds")?;
    let time = query.get("sinceTime");
    match (seconds, time) {
        (Some(_), time) if !time.is_empty() => {
            Err(Status::bad_request("at most one of sinceTime or sinceSeconds may be specified"))
        }
        (Some(seconds), _) => {
            let now = server.registry.clock.now().as_nanosecond();
            Ok(Some(now - i128::from(seconds) * 1_000_000_000))
        }
        (None, "") => Ok(None),
        (None, time) => time
            .parse::<jiff::Timestamp>()
            .map(|time| Some(time.as_nanosecond()))
            .map_err(|error| Status::bad_request(format!("sinceTime: {error}"))),
    }
}
