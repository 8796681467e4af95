//! HTTP: connections, and what is done to every request before and after it is handled.

mod accept;
mod answer;
mod compress;
mod connection;
mod decode;
mod documents;
mod forms;
mod info;
mod pretty;
mod query;
mod status;
mod table;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use onggi_api::Status;
use onggi_machinery::resource::{Resource, Verb};

use crate::ApiServer;
use crate::admission;
use crate::authn::{self, User};
use crate::authz::{Attributes, Target};
use crate::registry::Context;
use crate::streams;
use accept::{Accept, Offer};
use answer::Asked;
use info::{Info, Place};

pub(crate) use forms::Forms;
pub(crate) use info::ResourcePlace;
pub(crate) use query::Query;

/// What is answered.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// A request as it comes in.
pub(crate) type Incomings = http::Request<Incoming>;

/// How long a request may take that is no stream.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many requests may be handled at once; streams that have begun do not count. As in
/// kube-apiserver, whoever is in `system:masters` is let through.
const MAX_IN_FLIGHT: u64 = 1000;

/// Counts for `/metrics`.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) in_flight: AtomicU64,
}

/// Counts a request, also one whose client goes away.
struct InFlight<'g>(&'g AtomicU64);

impl<'g> InFlight<'g> {
    fn new(gauge: &'g AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// One request of a connection; never fails and never panics.
async fn handle(
    server: Arc<ApiServer>,
    peer: Option<Arc<User>>,
    request: Incomings,
) -> Response<Body> {
    server.gauges.requests.fetch_add(1, Ordering::Relaxed);
    let _in_flight = InFlight::new(&server.gauges.in_flight);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = uri.path();
    let preferences = Preferences::of(request.headers());
    let began = std::time::Instant::now();
    let work = std::panic::AssertUnwindSafe(route(&server, peer.as_deref(), request));
    let mut response = match work.catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => preferences.failure(&status, uri.query()),
        Err(_) => {
            tracing::error!(%method, path, "a request panicked");
            let status = Status::internal("this request made the server fail");
            preferences.failure(&status, uri.query())
        }
    };
    let code = response.status().as_u16();
    if code >= 500 {
        server.gauges.failures.fetch_add(1, Ordering::Relaxed);
    }
    // The place of the audit log.
    tracing::debug!(%method, path, code, took = ?began.elapsed(), "request");
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("audit-id", id);
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

/// What an error is written by, when the request itself is gone already.
struct Preferences {
    accept: Option<HeaderValue>,
    agent: Option<HeaderValue>,
}

impl Preferences {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).cloned();
        Self { accept, agent: headers.get(header::USER_AGENT).cloned() }
    }

    fn failure(self, status: &Status, query: Option<&str>) -> Response<Body> {
        let mut headers = HeaderMap::new();
        headers.extend(self.accept.map(|value| (header::ACCEPT, value)));
        headers.extend(self.agent.map(|value| (header::USER_AGENT, value)));
        status::response(status, &Accept::of_status(&headers, query.unwrap_or("")))
    }
}

/// Whether what is answered can be written as protobuf: built-in kinds under their own version.
fn has_protobuf(row: &Resource, place: &ResourcePlace) -> bool {
    let (group, version, kind) = match row.subresource(&place.subresource) {
        Some(part) => part.kind,
        None => (row.group, row.version, row.kind),
    };
    let resource = &place.resource;
    (resource.group.as_str(), resource.version.as_str()) == (row.group, row.version)
        && onggi_api::schema::of(group, version, kind).is_some()
}

async fn route(
    server: &Arc<ApiServer>,
    peer: Option<&User>,
    request: Incomings,
) -> Result<Response<Body>, Status> {
    let user = authn::from_request(&server.registry, peer, request.headers())?;
    let busy = server.gauges.in_flight.load(Ordering::Relaxed) > MAX_IN_FLIGHT;
    if busy && !user.is_in("system:masters") {
        let text = "too many requests, please try again later.";
        return Err(Status::too_many_requests(text, 1));
    }
    let info = Info::parse(request.method(), request.uri())?;
    let place = match &info.place {
        Place::Path => {
            let verb = match *request.method() {
                Method::GET | Method::HEAD => "get",
                Method::POST => "post",
                Method::PUT => "put",
                Method::DELETE => "delete",
                _ => "patch",
            };
            let target = Target::Path(request.uri().path());
            server.authorize(&Attributes { user: &user, verb, target })?;
            return documents::answer(server, &request);
        }
        Place::Resource(place) => place,
    };
    let target = Target::Resource {
        group: &place.resource.group,
        resource: &place.resource.resource,
        subresource: &place.subresource,
        namespace: place.authorized_namespace(),
        name: &place.name,
    };
    server.authorize(&Attributes { user: &user, verb: info.verb.as_str(), target })?;
    let context = Context::new(user);
    if streams::is_stream(place) {
        admission::connect(&server.registry, &context, place, &info.query).await?;
        return streams::answer(server, place, &info.query, request).await;
    }
    let row = crate::server::row(&place.resource)?;
    let offer = Offer {
        protobuf: &|| has_protobuf(row, place),
        // What cannot be read has no table: reviews, bindings.
        table: row.verbs.contains(&Verb::Get),
        stream: info.verb == Verb::Watch,
    };
    let accept = Accept::parse(request.headers(), request.uri().query().unwrap_or(""), offer)?;
    if info.verb == Verb::Watch {
        return watch::answer(server, place, &info.query, &accept, request).await;
    }
    let notes = context.notes.clone();
    let gzip = compress::wanted(request.headers());
    let work = async {
        let decoded = decode::request(&info, place, request).await?;
        let context = Context { duplicates: decoded.duplicates, ..context };
        let response = server.perform(context, decoded.request).await?;
        let asked = Asked { place, query: &info.query, accept, gzip };
        answer::encode(server, &asked, response).await
    };
    let mut answered = tokio::time::timeout(TIMEOUT, work)
        .await
        .unwrap_or_else(|_| {
            Err(Status::timeout("request did not complete within the allotted timeout"))
        })
        .unwrap_or_else(|status| status::response(&status, &accept));
    // Refused requests are warned about too.
    answer::warn(&mut answered, &notes.take_warnings());
    Ok(answered)
}
