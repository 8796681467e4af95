//! Paths that are no resources: health, version, metrics, discovery, OpenAPI, keys for tokens.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use onggi_api::Status;
use serde_json::{Value, json};

use super::accept::{Accept, Format, Offer};
use super::answer::write;
use super::compress::{self, Packed};
use super::query::Query;
use super::zpages::{self, Page};
use super::{Body, Incomings, exposition, full, health};
use crate::discovery::{Audience, Wanted};
use crate::document::Document;
use crate::{ApiServer, VERSION};

/// Paths that `GET /` lists beside the groups.
const PATHS: &[&str] = &[
    "/.well-known/openid-configuration",
    "/flagz",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/statusz",
    "/version",
];

/// What a browser may keep for a year, because its address changes with it.
const FOREVER: &str = "public, immutable";

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    remote: Option<IpAddr>,
    request: &Incomings,
) -> Result<Response<Body>, Status> {
    let path = request.uri().path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let known = matches!(
            segments.as_slice(),
            [] | ["version" | "metrics" | "api" | "apis" | "statusz" | "flagz"]
        ) || matches!(segments.as_slice(), ["openapi", ..] | ["api", _])
            || health::is_one(&segments);
        let status = if known { Status::method_not_allowed() } else { Status::no_such_path() };
        return Err(status);
    }
    if health::is_one(&segments) {
        return health::answer(server, &segments, &Query::parse(request.uri().query()));
    }
    match segments.as_slice() {
        [] => value_answer(request, &paths(server)),
        ["version"] => value_answer(request, &version()),
        ["metrics"] => {
            let gzip = compress::wanted(request.headers());
            Ok(Packed::of(exposition::text(server), gzip).response(exposition::CONTENT_TYPE))
        }
        ["metrics", "slis"] => {
            let text = server.checks.text();
            Ok(Packed::of(text, false).response(exposition::CONTENT_TYPE))
        }
        ["statusz"] => zpages::answer(server, request, Page::Statusz, &all_paths(server)),
        ["flagz"] => zpages::answer(server, request, Page::Flagz, &[]),
        [".well-known", "openid-configuration"] => {
            let issuer = &server.registry.authenticators.service_accounts;
            Ok(of_issuer(&issuer.openid_configuration(), "application/json"))
        }
        ["openid", "v1", "jwks"] => {
            let issuer = &server.registry.authenticators.service_accounts;
            Ok(of_issuer(&issuer.jwks(), "application/jwk-set+json"))
        }
        ["openapi", "v2"] => open_api_v2(server, request).await,
        ["openapi", "v3"] => {
            v3_is_made(server).await?;
            match server.documents() {
                Some(all) => value_answer(request, &all.index()),
                None => value_answer(request, server.catalog().openapi().index()),
            }
        }
        ["openapi", "v3", place @ ..] => {
            v3_is_made(server).await?;
            open_api(server, request, &place.join("/"))
        }
        ["apis"] if let Some(all) = server.documents() => {
            discovery(request, all.groups(wanted(request), audience(request)))
        }
        ["api"] if wanted(request) == Wanted::Legacy => {
            let catalog = server.catalog();
            let list = catalog.discovery().groups(true, Wanted::Legacy, audience(request));
            let mut list = serde_json::from_slice(&list.bytes()).map_err(Status::internal)?;
            addresses(server, remote, &mut list);
            accept(request, true)?;
            value_answer(request, &list)
        }
        ["api"] | ["apis"] => {
            let core = segments[0] == "api";
            let catalog = server.catalog();
            let all = catalog.discovery();
            discovery(request, all.groups(core, wanted(request), audience(request)))
        }
        ["api", version] => legacy(server, request, "", version),
        ["apis", group]
            if let Some(all) = server.documents()
                && let Some(group) = all.group(group, audience(request)) =>
        {
            value_answer(request, group)
        }
        ["apis", group] => {
            let catalog = server.catalog();
            let group = catalog.discovery().group(group, audience(request));
            value_answer(request, group.ok_or_else(Status::no_such_path)?)
        }
        ["apis", group, version] => legacy(server, request, group, version),
        _ => Err(Status::no_such_path()),
    }
}

/// What others read who check our tokens: they may keep it for an hour.
fn of_issuer(value: &Value, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(value.to_string())));
    let kind = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let keep = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    response
}

/// How the client wants a document that is no object of a kind.
fn accept(request: &Incomings, protobuf: bool) -> Result<Accept, Status> {
    let offer = Offer { protobuf: &|| protobuf, table: false, stream: false };
    Accept::parse(request.headers(), request.uri().query().unwrap_or(""), offer)
}

fn value_answer(request: &Incomings, value: &Value) -> Result<Response<Body>, Status> {
    let known = value["kind"].is_string();
    // Whoever names only other types is given JSON all the same: these are no objects.
    let accept = accept(request, known).unwrap_or(Accept::JSON);
    let mut response = Response::new(full(write(value, &accept)?));
    let kind = HeaderValue::from_static(accept.format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn open_api_v2(
    server: &Arc<ApiServer>,
    request: &Incomings,
) -> Result<Response<Body>, Status> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let protobuf = accept.is_some_and(|types| types.contains("com.github.proto-openapi.spec.v2"));
    if let Some(all) = server.documents() {
        if !all.has_v2(protobuf) {
            let making = Arc::clone(&all);
            made(server, move || {
                making.v2(protobuf);
            })
            .await?;
        }
        return Ok(kept(request, all.v2(protobuf), None));
    }
    let catalog = server.catalog();
    if !catalog.openapi().has_v2(protobuf) {
        let making = Arc::clone(&catalog);
        made(server, move || {
            making.openapi().v2(protobuf);
        })
        .await?;
    }
    Ok(kept(request, catalog.openapi().v2(protobuf), None))
}

/// Documents of v3 are there when this answers.
async fn v3_is_made(server: &Arc<ApiServer>) -> Result<(), Status> {
    let catalog = server.catalog();
    if catalog.openapi().has_v3() {
        return Ok(());
    }
    made(server, move || {
        catalog.openapi().index();
    })
    .await
}

/// Makes documents where that holds up no other request, and never two at once: each takes a core
/// for a while, and memory. Whoever comes meanwhile finds it made.
async fn made(server: &ApiServer, make: impl FnOnce() + Send + 'static) -> Result<(), Status> {
    let _one = server.making.lock().await;
    tokio::task::spawn_blocking(make).await.map_err(Status::internal)
}

/// Major and minor.
pub(super) fn version_numbers() -> (&'static str, &'static str) {
    let mut parts = VERSION.trim_start_matches('v').split('.');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn version() -> Value {
    let (major, minor) = version_numbers();
    // What older servers can be run beside this one.
    let before = minor.parse::<u32>().map_or(0, |minor| minor.saturating_sub(1)).to_string();
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": before,
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
    json!({"paths": all_paths(server)})
}

fn all_paths(server: &ApiServer) -> Vec<String> {
    let catalog = server.catalog();
    let groups = catalog.discovery().paths();
    let own = PATHS.iter().map(|path| (*path).to_owned());
    let mut all: Vec<String> = own.chain(health::paths()).chain(groups).collect();
    if let Some(documents) = server.documents() {
        all.extend(documents.paths());
    }
    all.sort();
    all.dedup();
    all
}

// === Discovery ===

/// Says where clients reach the server: all at the address that is told to everybody, those within
/// the network of services at its Service.
fn addresses(server: &ApiServer, remote: Option<IpAddr>, versions: &mut Value) {
    let everywhere = server.advertised.get().map(|at| ("0.0.0.0/0".to_owned(), at.to_string()));
    let services = &server.registry.services;
    let range = services.range();
    let is_inside = remote.is_some_and(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => range.contains(ip),
        IpAddr::V6(_) => false,
    });
    let inside =
        is_inside.then(|| (range.to_string(), format!("{}:443", services.kubernetes_address())));
    let all = everywhere.into_iter().chain(inside);
    versions["serverAddressByClientCIDRs"] =
        all.map(|(cidr, at)| json!({"clientCIDR": cidr, "serverAddress": at})).collect();
}

fn wanted(request: &Incomings) -> Wanted {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let aggregated = accept.unwrap_or_default().split(',').find(|clause| {
        clause.contains("g=apidiscovery.k8s.io")
            && clause.contains("as=APIGroupDiscoveryList")
            && clause.split(';').any(|part| part.trim() == "v=v2")
    });
    match aggregated {
        Some(_) => Wanted::Aggregated,
        None => Wanted::Legacy,
    }
}

fn audience(request: &Incomings) -> Audience {
    Audience::of(&super::user_agent(request))
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

fn discovery(request: &Incomings, document: &Document) -> Result<Response<Body>, Status> {
    if document.is_aggregated() {
        let mut response = kept(request, document, Some("public"));
        // What is listed depends on who asks; what one may keep is not for others.
        response.headers_mut().append(header::VARY, HeaderValue::from_static("User-Agent"));
        return Ok(response);
    }
    let accept = accept(request, true)?;
    if accept.format == Format::Json && !accept.pretty {
        let mut response = kept(request, document, None);
        response.headers_mut().remove(header::VARY);
        return Ok(response);
    }
    let value: Value = serde_json::from_slice(&document.bytes()).map_err(Status::internal)?;
    value_answer(request, &value)
}

/// A document that clients may keep as long as its hash is the same; whole or compressed.
fn kept(
    request: &Incomings,
    document: &Document,
    cache_control: Option<&'static str>,
) -> Response<Body> {
    let same =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|etag| *etag == document.etag);
    let packed =
        if same || !compress::wanted(request.headers()) { None } else { document.packed() };
    let mut response = match packed {
        Some(packed) => compress::encoded(packed),
        None if same => Response::new(full("")),
        None => Response::new(full(document.bytes())),
    };
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(document.content_type));
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::ETAG, document.etag.clone());
    if let Some(control) = cache_control {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    }
    response
}

// === OpenAPI ===

/// Whether the best of what a client takes is protobuf; `None` where it takes neither form.
fn wants_v3_protobuf(accept: &str) -> Option<bool> {
    let mut clauses: Vec<(&str, f32)> = accept
        .split(',')
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            (kind, quality.unwrap_or(1.0))
        })
        .collect();
    clauses.sort_by(|a, b| b.1.total_cmp(&a.1));
    clauses.iter().find_map(|(kind, _)| match *kind {
        "" | "*" | "*/*" | "application/*" | "application/json" => Some(false),
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
        | "application/com.github.proto-openapi.spec.v3@v1.0+protobuf" => Some(true),
        _ => None,
    })
}

fn open_api(
    server: &ApiServer,
    request: &Incomings,
    place: &str,
) -> Result<Response<Body>, Status> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_protobuf = wants_v3_protobuf(accept.unwrap_or_default())
        .ok_or_else(|| Status::not_acceptable(Format::Json.content_type()))?;
    let catalog = server.catalog();
    let openapi = catalog.openapi();
    let document =
        if wants_protobuf { openapi.document_protobuf(place) } else { openapi.document(place) };
    let document = document.ok_or_else(Status::no_such_path)?;
    let hash = Query::parse(request.uri().query()).get("hash").to_owned();
    if hash.is_empty() {
        return Ok(kept(request, document, None));
    }
    let current = document.etag.to_str().unwrap_or_default().trim_matches('"');
    if hash.trim_matches('"') == current {
        return Ok(kept(request, document, Some(FOREVER)));
    }
    // The address of the document as it is now.
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = format!("/openapi/v3/{place}?hash={current}");
    let to = HeaderValue::try_from(to).map_err(Status::internal)?;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_v3() {
        let old = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
        let new = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
        for (accept, expected) in [
            ("", Some(false)),
            ("*/*", Some(false)),
            (old, Some(true)),
            (new, Some(true)),
            (&format!("{old}, application/json"), Some(true)),
            (&format!("{old};q=0.5, application/json"), Some(false)),
            (&format!("text/html, {new};q=0.1"), Some(true)),
            ("text/html", None),
        ] {
            assert_eq!(wants_v3_protobuf(accept), expected, "{accept}");
        }
    }
}
