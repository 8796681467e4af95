//! A request for another server, handed on under the name of who sends it
//! (`kube-aggregator/pkg/apiserver/handler_proxy.go`).

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Aggregation, Route};
use crate::ApiServer;
use crate::audit::Ending;
use crate::authn::User;
use crate::http::{Body, Incomings, full};
use crate::streams::proxy::{HOP_BY_HOP, join};

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA: &str = "x-remote-extra-";

/// What a key may hold in the name of a header (RFC 9110, `token`), less the percent sign.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Who asks.
pub(crate) struct Caller<'a> {
    pub(crate) user: &'a User,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) audit_id: &'a HeaderValue,
}

/// Whatever the other server answers, or why it does not.
pub(crate) async fn answer(
    server: &ApiServer,
    route: &Route,
    caller: &Caller<'_>,
    mut request: Incomings,
) -> Response<Body> {
    if !route.available {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "service unavailable");
    }
    let client = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let ending = request.extensions_mut().remove::<Ending>();
    let upgrades = client.filter(|_| request.headers().contains_key(header::UPGRADE));
    let outgoing = match outgoing(route, caller, request, upgrades.is_some()) {
        Ok(outgoing) => outgoing,
        Err(problem) => return failure(StatusCode::BAD_REQUEST, &problem),
    };
    let aggregation = &server.aggregation;
    let sent = match &upgrades {
        None => route.remote.send(aggregation, outgoing).await,
        Some(_) => alone(server, aggregation, route, outgoing).await,
    };
    let mut response = match sent {
        Ok(response) => response,
        Err(problem) => {
            tracing::debug!(service = %route.name, problem, "an aggregated server was not reached");
            let text = format!("error trying to reach service: {problem}");
            return failure(StatusCode::SERVICE_UNAVAILABLE, &text);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = upgrades else {
            let text = "error trying to reach service: it switched protocols unasked";
            return failure(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let behind = hyper::upgrade::on(&mut response);
        let joined = join(client, behind, server.shutdown().clone());
        tokio::spawn(async move {
            joined.await;
            drop(ending);
        });
        return response.map(|_| full(""));
    }
    if response.status().is_redirection() && response.headers().contains_key(header::LOCATION) {
        let text = "the backend attempted to redirect this request, which is not permitted";
        return failure(StatusCode::BAD_GATEWAY, text);
    }
    HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    response.map(|body| body.map_err(std::io::Error::other).boxed_unsync())
}

/// As `net/http` writes an error.
fn failure(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Over a connection of its own.
async fn alone(
    server: &ApiServer,
    aggregation: &Aggregation,
    route: &Route,
    request: Request<Body>,
) -> Result<Response<Incoming>, String> {
    let connection = route.remote.connect(aggregation).await?;
    let (mut sender, driver) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .handshake::<_, Body>(TokioIo::new(connection))
        .await
        .map_err(|error| error.to_string())?;
    let shutdown = server.shutdown().clone();
    tokio::spawn(async move {
        tokio::select! {
            ended = driver.with_upgrades() => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an aggregated server ended");
            },
            () = shutdown.cancelled() => {}
        }
    });
    sender.send_request(request).await.map_err(|error| error.to_string())
}

fn outgoing(
    route: &Route,
    caller: &Caller<'_>,
    request: Incomings,
    upgrades: bool,
) -> Result<Request<Body>, String> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let absolute = route.remote.uri(path)?;
    let headers = &mut parts.headers;
    headers.remove(header::HOST);
    if upgrades {
        let host = HeaderValue::try_from(route.remote.place().host()).map_err(|e| e.to_string())?;
        headers.insert(header::HOST, host);
        parts.version = http::Version::HTTP_11;
        // A connection of its own takes a path alone.
        parts.uri = path.parse().map_err(|e: http::uri::InvalidUri| e.to_string())?;
    } else {
        HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
        parts.version = http::Version::default();
        parts.uri = absolute;
    }
    identify(headers, caller.user)?;
    headers.insert("audit-id", caller.audit_id.clone());
    if let Some(remote) = caller.remote {
        let before = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let all = before.map_or_else(|| remote.to_string(), |list| format!("{list}, {remote}"));
        headers.insert("x-forwarded-for", HeaderValue::try_from(all).map_err(|e| e.to_string())?);
    }
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync()))
}

/// Says who asks, and takes away whatever else said so.
pub(super) fn identify(headers: &mut HeaderMap, user: &User) -> Result<(), String> {
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        name == "authorization" || name.starts_with("impersonate-") || name.starts_with("x-remote-")
    };
    let old: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    old.iter().for_each(|name| drop(headers.remove(name)));
    let value = |text: &str| HeaderValue::try_from(text).map_err(|e| format!("{text:?}: {e}"));
    headers.insert(USER, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", utf8_percent_encode(&key.to_ascii_lowercase(), KEY));
        let name = HeaderName::try_from(name).map_err(|e| format!("{key:?}: {e}"))?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_says_who_asks() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "admin"),
            ("x-remote-user", "admin"),
            ("x-remote-extra-scopes", "all"),
            ("accept", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut user = User { uid: "7".into(), ..User::new("jo", &["dev"]) };
        user.extra.insert("example.com/Scopes".into(), vec!["a".into(), "b".into()]);
        identify(&mut headers, &user).unwrap();
        let mut found: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "accept: application/json",
                "x-remote-extra-example.com%2fscopes: a",
                "x-remote-extra-example.com%2fscopes: b",
                "x-remote-group: dev",
                "x-remote-group: system:authenticated",
                "x-remote-uid: 7",
                "x-remote-user: jo",
            ]
        );
    }
}
