//! HTTP: connections, and what is done to every request before and after it is handled.

mod accept;
mod answer;
mod aside;
mod audited;
mod batches;
pub(crate) mod compress;
mod connection;
mod decode;
mod documents;
mod duration;
mod exposition;
mod forms;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod health;
mod held;
mod idle;
mod info;
mod list_body;
mod missing;
mod pretty;
mod query;
mod status;
mod table;
mod watch;
mod zpages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use onggi_api::Status;
use onggi_machinery::resource::{Resource, Verb};

use crate::ApiServer;
use crate::admission;
use crate::aggregation;
use crate::audit::{Ending, Record};
use crate::authn::{self, Peer, User};
use crate::authz::{Attributes, Target};
use crate::flowcontrol::{self, Classified, Permit, seats_of_list};
use crate::metrics::Labels;
use crate::registry::Context;
use crate::streams;
use accept::{Accept, Offer};
use answer::Asked;
use info::{Info, Place};

pub(crate) use batches::Batches;
pub(crate) use forms::Forms;
pub(crate) use health::Checks;
pub(crate) use info::ResourcePlace;
pub(crate) use query::Query;

/// What is answered.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
/// A request as it comes in.
pub(crate) type Incomings = http::Request<Incoming>;

/// How long a request may take that is no stream.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What has been found out of a request, for who looks at its end.
#[derive(Default)]
struct Seen {
    labels: Labels,
    flow: Option<Classified>,
    /// It is a stream: its time says nothing.
    stream: bool,
    /// For webhooks.
    waited: Duration,
    /// `None`: the audit log keeps nothing of it.
    record: Option<Record>,
    /// What ends the record of a stream.
    ending: Ending,
}

/// Who sends a request, and under which name.
struct Caller<'a> {
    peer: Option<&'a Peer>,
    remote: Option<IpAddr>,
    audit_id: &'a HeaderValue,
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// One request of a connection; never fails and never panics.
async fn handle(
    server: Arc<ApiServer>,
    peer: Option<Arc<Peer>>,
    remote: Option<IpAddr>,
    request: Incomings,
) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = uri.path();
    let preferences = Preferences::of(request.headers());
    let began = std::time::Instant::now();
    let audit_id = audit_id(request.headers());
    let mut seen = Seen::default();
    let caller = Caller { peer: peer.as_deref(), remote, audit_id: &audit_id };
    let work = std::panic::AssertUnwindSafe(route(&server, &caller, request, &mut seen));
    let routed = work.catch_unwind().await;
    let panicked = routed.is_err();
    let failure = |status: Status, record: &mut Option<Record>| {
        if let Some(record) = record {
            record.fails(&status);
        }
        missing::plain(&status, path).unwrap_or_else(|| preferences.failure(&status, uri.query()))
    };
    let mut response = match routed {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => failure(status, &mut seen.record),
        Err(_) => {
            tracing::error!(%method, path, "a request panicked");
            failure(Status::internal("this request made the server fail"), &mut seen.record)
        }
    };
    let code = response.status().as_u16();
    let took = began.elapsed();
    if seen.stream {
        server.metrics.count(seen.labels, code);
    } else {
        let size = response.body().size_hint().exact();
        server.metrics.done(seen.labels, code, (took, seen.waited), size);
    }
    if let Some(mut record) = seen.record.take() {
        if seen.stream && !panicked {
            record.started(code).await;
            seen.ending.hold(record);
            response = response.map(|body| audited::ends(body, seen.ending));
        } else {
            record.complete(code, panicked).await;
        }
    }
    tracing::debug!(%method, path, code, ?took, "request");
    let headers = response.headers_mut();
    headers.insert("audit-id", audit_id);
    if let Some(flow) = &seen.flow {
        for (name, value) in flow.headers() {
            headers.insert(name, value);
        }
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

/// The client's name for this request, or one of ours.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    /// Longer ones are not taken over.
    const LONGEST: usize = 64;
    let given = headers.get("audit-id").filter(|id| !id.is_empty() && id.len() <= LONGEST);
    given.cloned().unwrap_or_else(|| {
        let made = uuid::Uuid::new_v4().to_string();
        HeaderValue::try_from(made).unwrap_or(HeaderValue::from_static(""))
    })
}

async fn enter<'s>(
    server: &'s ApiServer,
    flow: Option<&Classified>,
    seats: u32,
) -> Result<Option<Permit<'s>>, Status> {
    match flow {
        Some(flow) => server.flow_control.enter(flow, seats).await,
        None => Ok(None),
    }
}

/// How many seats a request takes: lists by what they go through, all else one.
fn seats(server: &ApiServer, info: &Info, place: &ResourcePlace) -> u32 {
    let lists = match info.verb {
        Verb::List => true,
        Verb::Watch => info.query.flag("sendInitialEvents"),
        _ => false,
    };
    if !lists || info.query.get("fieldSelector").contains("metadata.name=") {
        return 1;
    }
    let row = server.row(&place.resource).ok();
    let objects = row.and_then(|row| Some(server.registry.cache.of(row).ok()?.len()));
    seats_of_list(objects.unwrap_or(0) as u64)
}

/// How long the request may take: `timeout` of the query, up to [`TIMEOUT`].
fn timeout(query: &Query) -> Result<Duration, Status> {
    let text = query.get("timeout");
    if text.is_empty() {
        return Ok(TIMEOUT);
    }
    let wanted = duration::parse(text).ok_or_else(|| {
        Status::bad_request(format!(
            "invalid timeout specified in the request URL - time: invalid duration {text:?}"
        ))
    })?;
    Ok(if wanted.is_zero() { TIMEOUT } else { wanted.min(TIMEOUT) })
}

/// What a request is counted under; names of kinds that are not served are not kept.
fn labels(server: &ApiServer, info: &Info, place: &ResourcePlace) -> Labels {
    let verb = match info.verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    };
    let scope = match (place.name.as_str(), place.namespace.as_str()) {
        ("", "") => "cluster",
        ("", _) => "namespace",
        _ => "resource",
    };
    let dry_run = info.query.get("dryRun") == "All";
    let Ok(row) = server.row(&place.resource) else {
        return Labels { verb, scope, dry_run, ..Labels::default() };
    };
    Labels {
        verb,
        scope,
        dry_run,
        group: row.group,
        version: row.version,
        resource: row.plural,
        subresource: row.subresource(&place.subresource).map_or("", |part| part.name),
    }
}

/// The paths that are counted by name.
fn known_path(path: &str) -> &'static str {
    const KNOWN: &[&str] =
        &["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    KNOWN.iter().find(|known| **known == path).copied().unwrap_or_default()
}

/// Whether what is answered can be written as protobuf: built-in kinds in a version that Kubernetes
/// still has.
fn has_protobuf(row: &Resource, place: &ResourcePlace) -> bool {
    let own = (row.group, row.version, row.kind);
    let part = row.subresource(&place.subresource).map(|part| part.kind);
    let (group, version, kind) = match part.filter(|part| *part != own) {
        Some(part) => part,
        None => (place.resource.group.as_str(), place.resource.version.as_str(), row.kind),
    };
    onggi_api::schema::of(group, version, kind).is_some()
}

fn user_agent(request: &Incomings) -> String {
    let value = request.headers().get(header::USER_AGENT);
    value.map_or_else(String::new, |text| String::from_utf8_lossy(text.as_bytes()).into_owned())
}

/// Who asks, for another server to believe.
fn whom<'a>(user: &'a User, caller: &Caller<'a>) -> aggregation::Caller<'a> {
    aggregation::Caller { user, remote: caller.remote, audit_id: caller.audit_id }
}

async fn route(
    server: &Arc<ApiServer>,
    caller: &Caller<'_>,
    mut request: Incomings,
    seen: &mut Seen,
) -> Result<Response<Body>, Status> {
    let registry = &server.registry;
    let (headers, path) = (request.headers(), request.uri().path());
    let shown = registry.authenticators.request(registry, caller.peer, headers, path).await;
    let info = Info::parse(request.method(), request.uri());
    if let Some(audit) = &server.audit {
        seen.record = audited::begin(audit, server, &request, caller, &info, &shown).await;
    }
    let mut user = match shown {
        Ok(user) => user,
        Err(status) => {
            if let Some(record) = seen.record.take() {
                let how = audited::attempted(headers, caller.peer.is_some());
                record.refused(status.code, how).await;
            }
            return Err(status);
        }
    };
    if let Some(other) = authn::impersonated(&registry.authorizers, &user, headers).await? {
        if let Some(record) = &mut seen.record {
            record.acts_as(&other);
        }
        user = other;
    }
    let info = info?;
    let place = match &info.place {
        Place::Path => {
            timeout(&info.query)?;
            let verb = match *request.method() {
                Method::GET | Method::HEAD => "get",
                Method::POST => "post",
                Method::PUT => "put",
                Method::DELETE => "delete",
                _ => "patch",
            };
            let path = request.uri().path();
            seen.labels =
                Labels { verb: "GET", subresource: known_path(path), ..Labels::default() };
            let asked = Attributes { user: &user, verb, target: Target::Path(path) };
            seen.flow = server.flow_control.classify(&asked);
            let _seats = enter(server, seen.flow.as_ref(), 1).await?;
            server.authorize(&asked, seen.record.as_mut()).await?;
            let _in_flight = server.metrics.in_flight(false);
            if let Some(route) = server.aggregation.route_of_path(path) {
                let whom = whom(&user, caller);
                return Ok(aggregation::answer(server, &route, &whom, request).await);
            }
            return documents::answer(server, caller.remote, &request).await;
        }
        Place::Resource(place) => place,
    };
    let name = info.authorized_name(place);
    let selector = info.query.get("fieldSelector");
    let target = Target::Resource {
        group: &place.resource.group,
        resource: &place.resource.resource,
        subresource: &place.subresource,
        namespace: place.authorized_namespace(),
        name: &name,
        selector,
    };
    let asked = Attributes { user: &user, verb: info.verb.as_str(), target };
    seen.labels = labels(server, &info, place);
    seen.flow = server.flow_control.classify(&asked);
    seen.stream = streams::is_stream(place);
    // What lasts holds no seats.
    let wanted = seen.flow.as_ref().filter(|_| !seen.stream);
    let seats = enter(server, wanted, seats(server, &info, place)).await?;
    server.authorize(&asked, seen.record.as_mut()).await?;
    if let Some(route) = server.aggregation.route(&place.resource.group, &place.resource.version) {
        seen.stream = info.verb == Verb::Watch || request.headers().contains_key(header::UPGRADE);
        if seen.stream {
            drop(seats);
            request.extensions_mut().insert(seen.ending.clone());
        }
        let whom = whom(&user, caller);
        let answer = aggregation::answer(server, &route, &whom, request);
        return tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| Status::timeout("request did not complete within the allotted timeout"));
    }
    if seen.stream {
        streams::check_method(place, request.method())?;
        if info.verb != Verb::Create && streams::needs_create(place) {
            let asked = Attributes { verb: Verb::Create.as_str(), ..asked };
            server.authorize(&asked, seen.record.as_mut()).await?;
        }
    }
    let context = Context { user_agent: user_agent(&request), ..Context::new(user) };
    if !context.user.advice.is_empty() {
        context.notes.warn(context.user.advice);
    }
    if let Some(record) = &mut seen.record {
        record.reads(&context.notes);
        request.extensions_mut().insert(seen.ending.clone());
    }
    if seen.stream {
        admission::connect(&server.registry, &context, place, &info.query).await?;
        return streams::answer(server, place, &info.query, request).await;
    }
    let row = server.row(&place.resource)?;
    missing::check(row, info.verb, place)?;
    let offer = Offer {
        protobuf: &|| has_protobuf(row, place),
        // What cannot be read has no table: reviews, bindings.
        table: row.verbs.contains(&Verb::Get),
        stream: info.verb == Verb::Watch,
    };
    let accept = Accept::parse(request.headers(), request.uri().query().unwrap_or(""), offer)?;
    if info.verb == Verb::Watch {
        // Seats are for its beginning; an open watch costs only what it is told.
        let opened = watch::answer(server, place, &info.query, &accept, request, seen.labels).await;
        drop(seats);
        seen.stream = true;
        return opened;
    }
    let notes = context.notes.clone();
    let timeout = timeout(&info.query)?;
    let writes = !matches!(info.verb, Verb::Get | Verb::List);
    let _in_flight = server.metrics.in_flight(writes);
    let gzip = compress::wanted(request.headers());
    let (record, flow) = (&mut seen.record, seen.flow.as_ref());
    let work = async {
        let decoded = decode::request(server, &info, place, request).await?;
        if let Some(record) = record {
            record.asked(&decoded.request.body);
        }
        let context = Context { duplicates: decoded.duplicates, ..context };
        let response = server.perform(context, decoded.request).await?;
        if let Some(record) = record {
            record.answers(&response);
        }
        let lane = flowcontrol::lane(flow);
        let asked = Asked { place, query: &info.query, accept, gzip, lane };
        answer::encode(server, &asked, response).await
    };
    // Boxed: it is large, and would be moved several times on its way.
    let mut answered = tokio::time::timeout(timeout, Box::pin(work))
        .await
        .unwrap_or_else(|_| {
            Err(Status::timeout("request did not complete within the allotted timeout"))
        })
        .unwrap_or_else(|status| {
            if let Some(record) = &mut seen.record {
                record.fails(&status);
            }
            status::response(&status, &accept)
        });
    // Refused requests are warned about too.
    answer::warn(&mut answered, &notes.take_warnings());
    seen.waited = notes.has_waited();
    Ok(answered)
}
