//! Watches over HTTP: one JSON document an event, as long as the client likes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::Status;
use onggi_client::transport::Error;
use onggi_client::{EventType, WatchEvent, WatchSpec};
use onggi_machinery::conversion::Legacy;
use onggi_machinery::resource::Resource;
use rand::RngExt;
use serde_json::json;

use super::Body;
use super::accept::{Accept, Shape};
use super::info::ResourcePlace;
use super::query::Query;
use super::table::{Include, partial, table};
use crate::registry::revision;
use crate::{ApiServer, legacy, server};

/// Watches that name no time end after half an hour to an hour, so that they spread.
const MIN_SECONDS: u64 = 1800;

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    accept: &Accept,
) -> Result<Response<Body>, Status> {
    let row = server::row(&place.resource)?;
    let initial_events = query.flag("sendInitialEvents");
    let resource_match = query.get("resourceVersionMatch");
    if !query.get("sendInitialEvents").is_empty() && resource_match != "NotOlderThan" {
        return Err(Status::bad_request(
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if query.get("sendInitialEvents").is_empty() && !resource_match.is_empty() {
        return Err(Status::bad_request(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    let spec = WatchSpec {
        resource: place.resource.clone(),
        namespace: place.namespace.clone(),
        label_selector: query.get("labelSelector").to_owned(),
        field_selector: field_selector(query.get("fieldSelector"), &place.name),
        resource_version: revision(query.get("resourceVersion"))?,
        initial_events,
        bookmarks: query.flag("allowWatchBookmarks"),
    };
    let seconds = match query.number::<u64>("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => seconds,
        _ => rand::rng().random_range(MIN_SECONDS..2 * MIN_SECONDS),
    };
    let events = server.open_watch(&spec).await?;
    let include = Include::parse(query)?;
    let legacy = legacy::find(&place.resource);
    let encoder = Encoder { row, legacy, shape: accept.shape, include, server: Arc::clone(server) };
    let frames = events
        .take_until(tokio::time::sleep(Duration::from_secs(seconds)))
        .map(move |event| Ok(Frame::data(encoder.line(event))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A watch of one object is a watch of its name.
fn field_selector(given: &str, name: &str) -> String {
    match (given, name) {
        (given, "") => given.to_owned(),
        ("", name) => format!("metadata.name={name}"),
        (given, name) => format!("{given},metadata.name={name}"),
    }
}

struct Encoder {
    row: &'static Resource,
    legacy: Option<&'static Legacy>,
    shape: Shape,
    include: Include,
    server: Arc<ApiServer>,
}

impl Encoder {
    fn line(&self, event: Result<WatchEvent, Error>) -> Bytes {
        let line = event
            .map_err(|error| match error {
                Error::Status(status) => *status,
                other => Status::internal(other),
            })
            .and_then(|event| self.event(&event));
        line.unwrap_or_else(|status| {
            let object = serde_json::to_vec(&status).unwrap_or_default();
            frame("ERROR", &object)
        })
    }

    fn event(&self, event: &WatchEvent) -> Result<Bytes, Status> {
        let kind = event.kind.as_str();
        if self.shape == Shape::Whole && self.legacy.is_none() {
            // The same bytes for every watcher.
            return Ok(frame(kind, event.object.bytes()));
        }
        let mut value = event.object.value().map_err(Status::internal)?;
        if let Some(legacy) = self.legacy {
            legacy::rename(legacy, &mut value);
        }
        let value = match self.shape {
            Shape::Whole => value,
            Shape::Table if event.kind == EventType::Bookmark => {
                table(self.row, Vec::new(), value["metadata"].clone(), self.include, 0)
            }
            Shape::Table => {
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                let now = self.server.registry.clock.seconds();
                table(self.row, vec![value], metadata, self.include, now)
            }
            Shape::Metadata => partial(&value),
        };
        Ok(frame(kind, &serde_json::to_vec(&value).map_err(Status::internal)?))
    }
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}
