//! `GET pods/NAME/log`: plain text, or the messages of a WebSocket.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::{FieldError, FieldPath, Status};
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
    let errors = faults(query)?;
    if !errors.is_empty() {
        return Err(Status::invalid("PodLogOptions", &place.name, &errors));
    }
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

/// What is wrong with the options (`ValidatePodLogOptions`).
fn faults(query: &Query) -> Result<Vec<FieldError>, Status> {
    const POSITIVE: &str = "must be greater than 0";
    let mut errors = Vec::new();
    let mut at_least = |name: &str, least: i64, detail: &str| {
        let number = query.number::<i64>(name)?;
        if let Some(number) = number.filter(|number| *number < least) {
            errors.push(FieldError::invalid(&FieldPath::new(name), number, detail));
        }
        Ok::<_, Status>(number.is_some())
    };
    at_least("tailLines", 0, "must be greater than or equal to 0")?;
    at_least("limitBytes", 1, POSITIVE)?;
    if query.get("sinceTime").is_empty() {
        at_least("sinceSeconds", 1, POSITIVE)?;
    } else if query.number::<i64>("sinceSeconds")?.is_some() {
        // The path is empty, and so Kubernetes writes it.
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden(&FieldPath::new("[]"), detail));
    }
    // Lines of one stream are for a feature gate.
    if !query.get("stream").is_empty() {
        errors.push(FieldError::forbidden(&FieldPath::new("stream"), "may not be specified"));
    }
    Ok(errors)
}

fn since(server: &ApiServer, query: &Query) -> Result<Option<i128>, Status> {
    let time = query.get("sinceTime");
    if let Some(seconds) = query.number::<i64>("sinceSeconds")? {
        let now = server.registry.clock.now().as_nanosecond();
        return Ok(Some(now - i128::from(seconds) * 1_000_000_000));
    }
    if time.is_empty() {
        return Ok(None);
    }
    time.parse::<jiff::Timestamp>()
        .map(|time| Some(time.as_nanosecond()))
        .map_err(|error| Status::bad_request(format!("sinceTime: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense() {
        const NOT_BOTH: &str =
            "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
        for (query, expected) in [
            ("", &[][..]),
            ("tailLines=0&limitBytes=1&sinceSeconds=1&follow=true", &[]),
            ("sinceTime=2026-01-01T00:00:00Z", &[]),
            (
                "tailLines=-1&limitBytes=0",
                &[
                    "tailLines: Invalid value: -1: must be greater than or equal to 0",
                    "limitBytes: Invalid value: 0: must be greater than 0",
                ],
            ),
            ("sinceSeconds=0", &["sinceSeconds: Invalid value: 0: must be greater than 0"]),
            ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", &[NOT_BOTH]),
            ("stream=Bad", &["stream: Forbidden: may not be specified"]),
        ] {
            let errors = faults(&Query::parse(Some(query))).unwrap();
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected, "{query}");
        }
        assert_eq!(faults(&Query::parse(Some("tailLines=x"))).unwrap_err().code, 400);
    }
}
