//! Paths that are no resources: health, version, metrics, discovery, OpenAPI, keys for tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, Response, StatusCode, header};
use onggi_api::Status;
use serde_json::{Value, json};

use super::query::Query;
use super::{Body, Incomings, full};
use crate::discovery::Wanted;
use crate::{ApiServer, VERSION};

/// Paths that `GET /` lists beside the groups.
const PATHS: &[&str] = &[
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

pub(super) fn answer(
    server: &Arc<ApiServer>,
    request: &Incomings,
) -> Result<Response<Body>, Status> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let path = request.uri().path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] => json_answer(&paths(server)),
        ["livez" | "healthz", ..] => Ok(text("ok")),
        ["readyz", ..] => match server.registry.store.health() {
            Ok(()) => Ok(text("ok")),
            Err(error) => Err(Status::internal(format!("store: {error}"))),
        },
        ["version"] => json_answer(&version()),
        ["metrics"] => Ok(metrics(server)),
        [".well-known", "openid-configuration"] => {
            json_answer(&server.registry.tokens.openid_configuration())
        }
        ["openid", "v1", "jwks"] => json_answer(&server.registry.tokens.jwks()),
        ["openapi", "v2"] => open_api_v2(request),
        ["openapi", "v3"] => json_answer(server.catalog().openapi().index()),
        ["openapi", "v3", place @ ..] => open_api(server, request, &place.join("/")),
        ["api"] | ["apis"] => {
            let core = segments[0] == "api";
            discovery(request, server.catalog().discovery().groups(core, wanted(request)))
        }
        ["api", version] => legacy(server, request, "", version),
        ["apis", group] => {
            let catalog = server.catalog();
            json_answer(catalog.discovery().group(group).ok_or_else(Status::no_such_path)?)
        }
        ["apis", group, version] => legacy(server, request, group, version),
        _ => Err(Status::no_such_path()),
    }
}

fn text(body: &'static str) -> Response<Body> {
    let mut response = Response::new(full(body));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn json_answer(value: &Value) -> Result<Response<Body>, Status> {
    let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
    let mut response = Response::new(full(bytes));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// kubectl still asks for version 2 where it applies a `List`. It holds no definitions, so that
/// clients leave the checking to us, who do it anyway; version 3 has them all.
fn open_api_v2(request: &Incomings) -> Result<Response<Body>, Status> {
    const TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    const TITLE: &str = "Kubernetes";
    let wants_protobuf = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("com.github.proto-openapi.spec.v2"));
    if !wants_protobuf {
        let info = json!({"title": TITLE, "version": VERSION});
        return json_answer(&json!({"swagger": "2.0", "info": info, "paths": {}}));
    }
    // openapi.v2.Document: 1 swagger, 2 info { 1 title, 2 version }.
    let info = [field(1, TITLE.as_bytes()), field(2, VERSION.as_bytes())].concat();
    let document = [field(1, b"2.0"), field(2, &info)].concat();
    let mut response = Response::new(full(document));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TYPE));
    Ok(response)
}

/// A length-delimited field of protobuf; for contents below 128 bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(0);
    [&[number << 3 | 2, length], content].concat()
}

fn version() -> Value {
    let mut parts = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": minor,
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn paths(server: &ApiServer) -> Value {
    let catalog = server.catalog();
    let groups = catalog.discovery().paths();
    let mut all: Vec<String> = PATHS.iter().map(|path| (*path).to_owned()).chain(groups).collect();
    all.sort();
    json!({"paths": all})
}

/// In the text format of Prometheus, under Kubernetes' names.
fn metrics(server: &ApiServer) -> Response<Body> {
    let gauges = &server.gauges;
    let lines = format!(
        "# TYPE apiserver_request_total counter\n\
         apiserver_request_total {}\n\
         # TYPE apiserver_request_failures_total counter\n\
         apiserver_request_failures_total {}\n\
         # TYPE apiserver_current_inflight_requests gauge\n\
         apiserver_current_inflight_requests {}\n\
         # TYPE apiserver_storage_revision gauge\n\
         apiserver_storage_revision {}\n",
        gauges.requests.load(Ordering::Relaxed),
        gauges.failures.load(Ordering::Relaxed),
        gauges.in_flight.load(Ordering::Relaxed),
        server.registry.store.revision(),
    );
    let mut response = Response::new(full(lines));
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

// === Discovery ===

fn wanted(request: &Incomings) -> Wanted {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let aggregated = accept.unwrap_or_default().split(',').find(|clause| {
        clause.contains("g=apidiscovery.k8s.io") && clause.contains("as=APIGroupDiscoveryList")
    });
    match aggregated {
        Some(clause) if clause.contains("v=v2beta1") => Wanted::AggregatedBeta,
        Some(_) => Wanted::Aggregated,
        None => Wanted::Legacy,
    }
}

fn legacy(
    server: &ApiServer,
    request: &Incomings,
    group: &str,
    version: &str,
) -> Result<Response<Body>, Status> {
    let catalog = server.catalog();
    let resources = catalog.discovery().resources(group, version);
    discovery(request, resources.ok_or_else(Status::no_such_path)?)
}

fn discovery(
    request: &Incomings,
    document: &crate::discovery::Document,
) -> Result<Response<Body>, Status> {
    let mut response = Response::new(full(document.bytes.clone()));
    let same =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|etag| *etag == document.etag);
    if same {
        response = Response::new(full(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(header::ETAG, document.etag.clone());
    Ok(response)
}

// === OpenAPI ===

fn open_api(
    server: &ApiServer,
    request: &Incomings,
    place: &str,
) -> Result<Response<Body>, Status> {
    let catalog = server.catalog();
    let document = catalog.openapi().document(place).ok_or_else(Status::no_such_path)?;
    let hash = Query::parse(request.uri().query()).get("hash").to_owned();
    let mut response = Response::new(full(document.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    headers.insert(header::ETAG, document.etag.clone());
    if !hash.is_empty() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(response)
}
