//! Watches over HTTP and WebSocket: one document an event, as long as the client likes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{FutureExt, SinkExt, StreamExt, stream};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::{FieldError, FieldPath, Status};
use onggi_client::transport::Error;
use onggi_client::{EventStream, EventType, WatchEvent, WatchSpec};
use onggi_machinery::protobuf;
use onggi_machinery::resource::Resource;
use rand::RngExt;
use serde_json::json;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Message;

use super::accept::{Accept, Format, Shape};
use super::info::ResourcePlace;
use super::query::Query;
use super::table::{Include, partial, table};
use super::{Body, Incomings, answer};
use crate::ApiServer;
use crate::metrics::{Gauge, Labels};
use crate::registry::{invalid_list_options, revision};
use crate::streams::websocket;

/// Watches that name no time end after half an hour to an hour, so that they spread.
const MIN_SECONDS: u64 = 1800;
/// Events that are there already are sent together up to this size.
const TOGETHER: usize = 32 << 10;
/// What is written around an object, at most.
const FRAME: usize = 40;

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    accept: &Accept,
    request: Incomings,
    labels: Labels,
) -> Result<Response<Body>, Status> {
    let row = server.row(&place.resource)?;
    let spec = spec(server, place, query).await?;
    let seconds = match query.number::<u64>("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => seconds,
        _ => rand::rng().random_range(MIN_SECONDS..2 * MIN_SECONDS),
    };
    let include = Include::parse(query)?;
    let ends = Instant::now() + Duration::from_secs(seconds);
    let events = server.open_watch(&spec, Some(ends)).await?;
    let events =
        Events { stream: events, ends: Box::pin(tokio::time::sleep_until(ends)), over: false };
    let encoder = Encoder {
        row,
        accept: *accept,
        include,
        server: Arc::clone(server),
        headed: false,
        sent: server.metrics.watch_events(&labels),
        _open: server.metrics.long_running(labels),
    };
    let content_type = match accept.format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Format::Json | Format::Yaml => "application/json",
    };
    let mut response = if websocket::is_websocket(request.headers()) {
        websocket::upgrade(request, &[], move |socket, _| over_websocket(socket, events, encoder))?
    } else {
        Response::new(StreamBody::new(frames(events, encoder)).boxed_unsync())
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// What the query asks for; 422 of combinations that make no sense
/// (`apis/meta/internalversion/validation`).
async fn spec(
    server: &ApiServer,
    place: &ResourcePlace,
    query: &Query,
) -> Result<WatchSpec, Status> {
    let initial = query.get("sendInitialEvents");
    let matching = query.get("resourceVersionMatch");
    let path = FieldPath::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if !initial.is_empty() && matching != "NotOlderThan" {
        errors.push(FieldError::forbidden(
            &path,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !matching.is_empty() {
        if initial.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if matching != "NotOlderThan" {
            errors.push(FieldError::not_supported(&path, matching, &["NotOlderThan"]));
        }
    }
    // A watch that begins with what is there asks for it this way without saying so.
    let given = query.get("resourceVersion");
    let implied = initial.is_empty() && matches!(given, "" | "0");
    if !query.get("continue").is_empty() && (implied || !matching.is_empty()) {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    if !errors.is_empty() {
        return Err(invalid_list_options(&errors));
    }
    query.number::<i64>("timeoutSeconds")?;
    let initial_events = query.flag("sendInitialEvents") || (implied && matching.is_empty());
    let mut resource_version = revision(query.get("resourceVersion"))?;
    // Changes from now on, and nothing of what is there.
    if !initial.is_empty() && !initial_events && matches!(resource_version, None | Some(0)) {
        server.registry.cache.catch_up().await?;
        resource_version = Some(server.registry.cache.applied());
    }
    Ok(WatchSpec {
        resource: place.resource.clone(),
        namespace: place.namespace.clone(),
        label_selector: query.get("labelSelector").to_owned(),
        field_selector: field_selector(query.get("fieldSelector"), &place.name),
        resource_version,
        initial_events,
        bookmarks: query.flag("allowWatchBookmarks"),
    })
}

/// A watch of one object is a watch of its name.
fn field_selector(given: &str, name: &str) -> String {
    match (given, name) {
        (given, "") => given.to_owned(),
        ("", name) => format!("metadata.name={name}"),
        (given, name) => format!("{given},metadata.name={name}"),
    }
}

/// What a watcher is told until its time is over.
struct Events {
    stream: EventStream,
    ends: Pin<Box<Sleep>>,
    over: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        if self.over {
            return None;
        }
        let next = tokio::select! {
            biased;
            () = &mut self.ends => None,
            next = self.stream.next() => next,
        };
        self.over = next.is_none();
        next
    }

    /// One that is there already.
    fn ready(&mut self) -> Option<Result<WatchEvent, Error>> {
        if self.over {
            return None;
        }
        let next = self.stream.next().now_or_never()?;
        self.over = next.is_none();
        next
    }

    /// The next ones, as many as are sent together, and the error that comes after them.
    async fn together(&mut self) -> Option<(Vec<WatchEvent>, Option<Error>)> {
        let mut next = Some(self.next().await?);
        let (mut batch, mut size) = (Vec::new(), 0);
        loop {
            match next {
                Some(Ok(event)) => {
                    size += event.object.size();
                    batch.push(event);
                }
                Some(Err(error)) => return Some((batch, Some(error))),
                None => return Some((batch, None)),
            }
            next = if size < TOGETHER { self.ready() } else { None };
        }
    }
}

/// The body of the answer. Nothing is read from the watch before the client has taken what was
/// sent, so a slow one costs no memory; it falls behind until its place is gone, and is told so.
fn frames(
    events: Events,
    encoder: Encoder,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send {
    // In a box: it moves with every step.
    stream::unfold(Box::new((events, encoder)), |mut state| async move {
        let (events, encoder) = &mut *state;
        let (batch, error) = events.together().await?;
        let text = encoder.text(batch, error);
        // A client that takes whatever it gets would keep this thread until it is told everything.
        if text.len() >= TOGETHER {
            tokio::task::yield_now().await;
        }
        Some((Ok(Frame::data(text)), state))
    })
}

/// A message an event; what the client sends is read, so that its end is seen, and ignored.
async fn over_websocket(socket: websocket::Socket, mut events: Events, mut encoder: Encoder) {
    let (mut send, mut receive) = socket.split();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            message = receive.next() => match message {
                Some(Ok(message)) if !message.is_close() => continue,
                _ => return,
            },
        };
        let line = match event {
            Some(Ok(event)) => encoder.text(vec![event], None),
            Some(Err(error)) => encoder.text(Vec::new(), Some(error)),
            None => break,
        };
        let message = match encoder.accept.format {
            // Messages have their own lengths.
            Format::Protobuf => Message::Binary(line.slice(4..)),
            Format::Json | Format::Yaml => {
                Message::Text(String::from_utf8_lossy(&line).into_owned().into())
            }
        };
        if send.send(message).await.is_err() {
            return;
        }
    }
    // The client may be gone, which is what is asked of it.
    let _ = send.close().await;
}

struct Encoder {
    row: &'static Resource,
    accept: Accept,
    include: Include,
    server: Arc<ApiServer>,
    /// Whether a table with its columns has been sent.
    headed: bool,
    sent: Arc<AtomicU64>,
    _open: Gauge,
}

impl Encoder {
    /// Events as they are sent, and an error as one.
    fn text(&mut self, events: Vec<WatchEvent>, error: Option<Error>) -> Bytes {
        let count = events.len() + usize::from(error.is_some());
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        let Accept { format, shape, version, .. } = self.accept;
        // Tables depend on the time, and on what was sent before.
        if error.is_none() && shape != Shape::Table {
            let server = Arc::clone(&self.server);
            return server.batches.get(&events, (format, shape, version), || self.lines(&events));
        }
        let mut out = BytesMut::from(self.lines(&events));
        if let Some(error) = error {
            let status = match error {
                Error::Status(status) => *status,
                other => Status::internal(other),
            };
            self.error(&status, &mut out);
        }
        out.freeze()
    }

    fn lines(&mut self, events: &[WatchEvent]) -> Bytes {
        let size = events.iter().map(|event| event.object.json_len() + FRAME).sum();
        let mut out = BytesMut::with_capacity(size);
        for event in events {
            if let Err(status) = self.event(event, &mut out) {
                self.error(&status, &mut out);
            }
        }
        out.freeze()
    }

    fn error(&self, status: &Status, out: &mut BytesMut) {
        let accept = Accept { shape: Shape::Whole, pretty: false, ..self.accept };
        let object = serde_json::to_value(status)
            .map_err(Status::internal)
            .and_then(|value| answer::write(&value, &accept))
            .unwrap_or_default();
        self.frame("ERROR", &object, out);
    }

    /// Writes nothing where it fails.
    fn event(&mut self, event: &WatchEvent, out: &mut BytesMut) -> Result<(), Status> {
        let kind = event.kind.as_str();
        let Accept { format, shape, version, .. } = self.accept;
        match (shape, format) {
            // The same bytes for every watcher.
            (Shape::Whole, Format::Json) => {
                let object = &event.object;
                framed(kind, object.json_len(), |out| object.write_json(out), out);
                return Ok(());
            }
            (Shape::Table, _) => {}
            form => {
                let form = (form.1, form.0, version);
                let body = self.server.forms.get(&event.object, form, || self.body(event))?;
                self.frame(kind, &body, out);
                return Ok(());
            }
        }
        let value = event.object.value().map_err(Status::internal)?;
        let value = match shape {
            Shape::Whole => value,
            Shape::Table => {
                let with_columns = !std::mem::replace(&mut self.headed, true);
                let head = (version, with_columns);
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                if event.kind == EventType::Bookmark {
                    let metadata = value["metadata"].clone();
                    table(self.row, vec![value], metadata, self.include, 0, head)
                } else {
                    let now = self.server.registry.clock.seconds();
                    table(self.row, vec![value], metadata, self.include, now, head)
                }
            }
            Shape::Metadata | Shape::MetadataList => partial(&value, version),
        };
        let shape = if shape == Shape::MetadataList { Shape::Metadata } else { shape };
        let accept = Accept { shape, pretty: false, ..self.accept };
        self.frame(kind, &answer::write(&value, &accept)?, out);
        Ok(())
    }

    /// What is the same for all watchers of a form.
    fn body(&self, event: &WatchEvent) -> Result<Bytes, Status> {
        if self.accept.format == Format::Protobuf {
            return answer::protobuf_object(&event.object, &self.accept);
        }
        let value = event.object.value().map_err(Status::internal)?;
        let partial = partial(&value, self.accept.version);
        Ok(serde_json::to_vec(&partial).map_err(Status::internal)?.into())
    }

    fn frame(&self, kind: &str, object: &[u8], out: &mut BytesMut) {
        if self.accept.format == Format::Protobuf {
            out.put_slice(&protobuf::frame_event(kind, object));
        } else {
            framed(kind, object.len(), |out| out.put_slice(object), out);
        }
    }
}

/// A line of a watch in JSON; `object` writes so many bytes.
fn framed(kind: &str, size: usize, object: impl FnOnce(&mut BytesMut), out: &mut BytesMut) {
    out.reserve(size + FRAME);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    object(out);
    out.put_slice(b"}\n");
}
