//! `GET pods/NAME/log`.

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::Status;
use onggi_client::node::LogRequest;

use super::target::{find, node_status};
use crate::ApiServer;
use crate::http::{Body, Query, ResourcePlace};

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
) -> Result<Response<Body>, Status> {
    let target = find(server, place, query.get("container")).await?;
    let request = LogRequest {
        pod: target.pod,
        container: target.container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        since_nanos: since(server, query)?,
    };
    let lines = target.node.logs(request).await.map_err(|error| node_status(&error))?;
    let shutdown = server.shutdown().clone();
    let frames = lines
        .take_until(async move { shutdown.cancelled().await })
        .map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
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
