//! `pods/[SCHEME:]NAME[:PORT]/proxy/PATH` and the same of services and nodes: hands a request on to
//! a program in a pod, by the way over its node, or to the node itself
//! (`k8s.io/apimachinery/pkg/util/proxy`).

mod backend;
mod node;
mod page;
mod rewrite;

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
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
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.map(str::to_owned);
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
    let hosts = std::iter::once(authority).chain(host).collect();
    // The client may go before the end: the connection goes with its body.
    Ok(rewrite::response(response, page::Links { prefix, hosts }))
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
}
