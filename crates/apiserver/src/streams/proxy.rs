//! `pods/[SCHEME:]NAME[:PORT]/proxy/PATH` and the same of services and nodes: hands a request on to
//! a program in a pod, by the way over its node, or to the node itself
//! (`k8s.io/apimachinery/pkg/util/proxy`).

mod backend;
mod node;

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use onggi_api::Status;
use tokio_util::sync::CancellationToken;

use crate::ApiServer;
use crate::audit::Ending;
use crate::http::{Body, Incomings, ResourcePlace, full};
use backend::Target;
pub(crate) use backend::{Backend, endpoint};

/// Headers of one connection, not of what it carries (RFC 9110, 7.6.1).
pub(crate) const HOP_BY_HOP: &[HeaderName] = &[
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    mut request: Incomings,
) -> Result<Response<Body>, Status> {
    let (prefix, tail) = divide(request.uri().path(), place.namespace.is_empty());
    if tail.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        return redirect(request.uri());
    }
    let prefix = prefix.to_owned();
    let path = match (tail, request.uri().query()) {
        ("", None) => "/".to_owned(),
        (tail, None) => tail.to_owned(),
        (tail, Some(query)) => format!("{}?{query}", if tail.is_empty() { "/" } else { tail }),
    };
    let target = Target::parse(&place.name)?;
    if place.resource.resource == "nodes" {
        return node::answer(server, &target, request.method(), &path).await;
    }
    let Backend { connection, authority } = match place.resource.resource.as_str() {
        "pods" => backend::pod(server, &place.namespace, &target).await?,
        _ => backend::service(server, &place.namespace, &target).await?,
    };
    let client = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let ending = request.extensions_mut().remove::<Ending>();
    let upgrades = client.filter(|_| request.headers().contains_key(header::UPGRADE));
    let outgoing = outgoing(request, &path, &authority, upgrades.is_some())?;
    let (mut sender, driver) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake::<_, Incoming>(TokioIo::new(connection))
        .await
        .map_err(unreachable)?;
    let shutdown = server.shutdown().clone();
    tokio::spawn(async move {
        tokio::select! {
            ended = driver.with_upgrades() => if let Err(error) = ended {
                tracing::debug!(%error, "a proxied connection ended");
            },
            () = shutdown.cancelled() => {}
        }
    });
    let mut response = sender.send_request(outgoing).await.map_err(unreachable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = upgrades else {
            return Err(unreachable("it switched protocols unasked"));
        };
        let behind = hyper::upgrade::on(&mut response);
        let joined = join(client, behind, server.shutdown().clone());
        tokio::spawn(async move {
            joined.await;
            drop(ending);
        });
        return Ok(response.map(|_| full("")));
    }
    let headers = response.headers_mut();
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    rewrite_location(headers, &prefix, &authority);
    // The client may go before the end: the connection goes with its body.
    Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

/// Up to `/proxy`, and the path of the program behind it, as the client wrote it.
fn divide(path: &str, of_cluster: bool) -> (&str, &str) {
    // `/api/v1/nodes/NAME/proxy…`, `/api/v1/namespaces/NS/pods/NAME/proxy…`
    let before = if of_cluster { 5 } else { 7 };
    let end = path.match_indices('/').nth(before).map_or(path.len(), |(at, _)| at);
    path.split_at(end)
}

/// Links of a page are relative to a path that ends with `/`.
fn redirect(uri: &Uri) -> Result<Response<Body>, Status> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = HeaderValue::try_from(format!("{}/{query}", uri.path())).map_err(Status::internal)?;
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

fn outgoing(
    request: Incomings,
    path: &str,
    authority: &str,
    upgrades: bool,
) -> Result<http::Request<Incoming>, Status> {
    let (mut parts, body) = request.into_parts();
    let text = |value: Result<HeaderValue, _>| {
        value.map_err(|e: header::InvalidHeaderValue| Status::bad_request(e.to_string()))
    };
    let forwarded = HeaderValue::try_from(parts.uri.path());
    let host = parts.headers.remove(header::HOST);
    if !upgrades {
        HOP_BY_HOP.iter().for_each(|name| drop(parts.headers.remove(name)));
    }
    // Who asks has shown it to us; the program behind may not have it.
    parts.headers.remove(header::AUTHORIZATION);
    let impersonation: Vec<_> =
        parts.headers.keys().filter(|k| k.as_str().starts_with("impersonate-")).cloned().collect();
    impersonation.iter().for_each(|name| drop(parts.headers.remove(name)));
    parts.headers.insert(header::HOST, text(HeaderValue::try_from(authority))?);
    parts.headers.insert("x-forwarded-uri", text(forwarded)?);
    parts.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Some(host) = host {
        parts.headers.insert("x-forwarded-host", host);
    }
    let path: PathAndQuery =
        path.parse().map_err(|e| Status::bad_request(format!("the path to the proxy: {e}")))?;
    parts.uri = Uri::from(path);
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    Ok(http::Request::from_parts(parts, body))
}

/// Where the program sends the client to a path of its own, the client must come through here.
fn rewrite_location(headers: &mut HeaderMap, prefix: &str, authority: &str) {
    let Some(uri) = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<Uri>().ok())
    else {
        return;
    };
    if uri.authority().is_some_and(|other| other.as_str() != authority) {
        return;
    }
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if path.starts_with('/')
        && let Ok(value) = HeaderValue::try_from(format!("{prefix}{path}"))
    {
        headers.insert(header::LOCATION, value);
    }
}

/// Copies between two connections that have switched protocols until both have ended.
pub(crate) async fn join(
    client: hyper::upgrade::OnUpgrade,
    behind: hyper::upgrade::OnUpgrade,
    shutdown: CancellationToken,
) {
    let copy = async {
        let (client, behind) = tokio::try_join!(client, behind)?;
        let (mut client, mut behind) = (TokioIo::new(client), TokioIo::new(behind));
        // Either side closing is the ordinary end.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut behind).await;
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        ended = copy => if let Err(error) = ended {
            tracing::debug!(%error, "a proxied connection did not switch protocols");
        },
        () = shutdown.cancelled() => {}
    }
}

fn unreachable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("error trying to reach service: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_divided_behind_proxy() {
        for (path, tail) in [
            ("/api/v1/namespaces/d/pods/p/proxy", ""),
            ("/api/v1/namespaces/d/pods/p/proxy/", "/"),
            ("/api/v1/namespaces/d/services/http:p:80/proxy/a%20b/c", "/a%20b/c"),
            ("/api/v1/nodes/n/proxy/pods", "/pods"),
        ] {
            let (prefix, found) = divide(path, path.starts_with("/api/v1/nodes"));
            assert_eq!(found, tail, "{path}");
            assert!(prefix.ends_with("/proxy"), "{prefix}");
        }
    }

    #[test]
    fn locations_come_through_here() {
        for (location, expected) in [
            ("/login?x=1", "/PRE/login?x=1"),
            ("http://10.0.0.1:80/a", "/PRE/a"),
            ("http://elsewhere/a", "http://elsewhere/a"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            rewrite_location(&mut headers, "/PRE", "10.0.0.1:80");
            assert_eq!(headers[header::LOCATION], expected);
        }
    }
}
