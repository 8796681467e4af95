//! The fake API server behind TLS: as much HTTP as the client speaks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ::http::{Method, StatusCode};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_api::{GroupVersionResource, Object, Status};
use onggi_base::pki::{self, Authority, Pair};
use onggi_client::testing::FakeApi;
use onggi_client::{
    Body, Config, Error, ListOptions, PatchKind, Request, Response, Transport, WatchSpec,
    WriteOptions,
};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

type Answer = ::http::Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A server that ends when it is dropped.
pub(crate) struct Server {
    pub(crate) fake: FakeApi,
    pub(crate) config: Config,
    pub(crate) admin: Pair,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authority, an admin's certificate, and what accepts connections with them.
pub(crate) async fn listen() -> (TcpListener, TlsAcceptor, Config, Pair) {
    let now = time();
    let authority = Authority::generate("test", now).unwrap();
    let ip = Ipv4Addr::LOCALHOST.into();
    let server = authority.issue_server("api", &["localhost".into()], &[ip], now).unwrap();
    let admin = authority.issue_client("admin", Some("system:masters"), now).unwrap();
    let tls = pki::server_config(&server, authority.certificate()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let config = Config::new(address, authority.certificate()).client(admin.clone());
    (listener, TlsAcceptor::from(Arc::new(tls)), config, admin)
}

fn time() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (listener, acceptor, config, admin) = listen().await;
        let fake = FakeApi::new();
        let task = tokio::spawn(serve(listener, acceptor, fake.clone()));
        Self { fake, config, admin, task }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, fake: FakeApi) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, fake) = (acceptor.clone(), fake.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let known = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request| {
                let fake = fake.clone();
                async move { Ok::<_, Infallible>(answer(&fake, known, request).await) }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(fake: &FakeApi, known: bool, request: ::http::Request<Incoming>) -> Answer {
    let token = request.headers().get("authorization").is_some_and(|v| v == "Bearer secret");
    if !known && !token {
        return failed(Status::unauthorized().into());
    }
    if request.uri().path() == "/version" {
        let version = request.version();
        return whole(StatusCode::OK, json!({"http": format!("{version:?}")}).to_string().into());
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let query = query(parts.uri.query().unwrap_or(""));
    let text = |key: &str| query.get(key).cloned().unwrap_or_default();
    let Some((resource, namespace, name, subresource)) = place(parts.uri.path()) else {
        return failed(Status::no_such_path().into());
    };
    if !text("watch").is_empty() {
        let spec = WatchSpec {
            resource,
            namespace,
            label_selector: text("labelSelector"),
            field_selector: text("fieldSelector"),
            resource_version: text("resourceVersion").parse().ok(),
            initial_events: text("sendInitialEvents") == "true",
            bookmarks: true,
        };
        return watch(fake, spec).await;
    }
    let verb = match (&parts.method, name.is_empty()) {
        (&Method::GET, true) => Verb::List,
        (&Method::GET, false) => Verb::Get,
        (&Method::POST, _) => Verb::Create,
        (&Method::PUT, _) => Verb::Update,
        (&Method::PATCH, _) => Verb::Patch,
        (&Method::DELETE, true) => Verb::DeleteCollection,
        _ => Verb::Delete,
    };
    let mut request = Request::new(verb, resource, &namespace, &name).subresource(&subresource);
    request.list = ListOptions {
        label_selector: text("labelSelector"),
        field_selector: text("fieldSelector"),
        ..ListOptions::default()
    };
    request.write.dry_run = text("dryRun") == "All";
    request.write.field_manager = text("fieldManager");
    let media_type = parts.headers.get("content-type").map(|v| v.to_str().unwrap().to_owned());
    request.body = match (verb, media_type.as_deref()) {
        (Verb::Patch, Some("application/json-patch+json")) => Body::Patch(PatchKind::Json, body),
        (Verb::Patch, Some("application/merge-patch+json")) => Body::Patch(PatchKind::Merge, body),
        (Verb::Patch, _) => Body::Patch(PatchKind::Strategic, body),
        (Verb::Delete | Verb::DeleteCollection, _) => {
            let options: Value = serde_json::from_slice(&body).unwrap();
            let precondition =
                |field: &str| options["preconditions"][field].as_str().map(ToOwned::to_owned);
            request.write = WriteOptions {
                grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
                precondition_uid: precondition("uid"),
                precondition_resource_version: precondition("resourceVersion"),
                ..WriteOptions::default()
            };
            Body::None
        }
        (Verb::Create | Verb::Update, _) => Body::Object(serde_json::from_slice(&body).unwrap()),
        _ => Body::None,
    };
    match fake.call(request).await {
        Ok(response) => answered(response),
        Err(error) => failed(error),
    }
}

fn answered(response: Response) -> Answer {
    let code = |created| if created { StatusCode::CREATED } else { StatusCode::OK };
    match response {
        Response::Object { object, created, .. } => whole(code(created), object.json()),
        Response::Document { value, created, .. } => whole(code(created), value.to_string().into()),
        Response::Status(status) => {
            whole(StatusCode::OK, serde_json::to_vec(&status).unwrap().into())
        }
        Response::List { meta, items, .. } => {
            // As Kubernetes: the items do not say their type.
            let kind = items.first().map_or("", |object| object.head().kind.as_str());
            let version = items.first().map_or("", |object| object.head().api_version.as_str());
            let bare = |object: &Arc<Object>| {
                let mut value = object.value().unwrap();
                value
                    .as_object_mut()
                    .unwrap()
                    .retain(|key, _| key != "kind" && key != "apiVersion");
                value
            };
            let list = json!({
                "kind": format!("{kind}List"), "apiVersion": version,
                "metadata": {"resourceVersion": meta.resource_version.to_string()},
                "items": items.iter().map(bare).collect::<Vec<_>>(),
            });
            whole(StatusCode::OK, list.to_string().into())
        }
    }
}

async fn watch(fake: &FakeApi, spec: WatchSpec) -> Answer {
    let events = match fake.watch(spec).await {
        Ok(events) => events,
        Err(error) => return failed(error),
    };
    let lines = events.map(|event| {
        let line = match event {
            Ok(event) => json!({
                "type": event.kind.as_str(), "object": event.object.value().unwrap(),
            }),
            Err(error) => json!({"type": "ERROR", "object": error.status().unwrap()}),
        };
        format!("{line}\n")
    });
    // In pieces, so that lines and frames do not coincide.
    let pieces = lines.flat_map(|line| {
        let (head, tail) = line.split_at(line.len() / 2);
        let parts =
            [Bytes::copy_from_slice(head.as_bytes()), Bytes::copy_from_slice(tail.as_bytes())];
        stream::iter(parts.map(|part| Ok::<_, Infallible>(Frame::data(part))))
    });
    ::http::Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces)))
}

fn failed(error: Error) -> Answer {
    let status = error.status().unwrap();
    let code = StatusCode::from_u16(status.code).unwrap();
    whole(code, serde_json::to_vec(status).unwrap().into())
}

fn whole(code: StatusCode, body: Bytes) -> Answer {
    ::http::Response::builder().status(code).body(Full::new(body).boxed_unsync()).unwrap()
}

fn place(path: &str) -> Option<(GroupVersionResource, String, String, String)> {
    let mut parts = path.split('/').skip(1);
    let group = match parts.next()? {
        "api" => "",
        "apis" => parts.next()?,
        _ => return None,
    };
    let version = parts.next()?;
    let mut rest: Vec<_> = parts.collect();
    let mut namespace = "";
    if let ["namespaces", name, _, ..] = rest[..] {
        namespace = name;
        rest.drain(..2);
    }
    let part = |place: usize| rest.get(place).copied().unwrap_or("").to_owned();
    let resource = GroupVersionResource::new(group, version, part(0));
    Some((resource, namespace.to_owned(), part(1), part(2)))
}

fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| {
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            (key.to_owned(), value.into_owned())
        })
        .collect()
}
