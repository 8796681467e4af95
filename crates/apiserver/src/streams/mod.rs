//! Streams between a client and a container: logs, exec, attach, port-forward, proxies. The node does
//! the work; this is the way to it.

mod exec;
#[cfg(fuzzing)]
pub mod fuzzing;
mod logs;
mod port_forward;
pub(crate) mod proxy;
mod spdy;
mod target;
pub(crate) mod websocket;

use std::sync::Arc;

use http::{Method, Response};
use onggi_api::Status;

use crate::ApiServer;
use crate::http::{Body, Incomings, Query, ResourcePlace};

/// Whether the request is for a stream.
pub(crate) fn is_stream(place: &ResourcePlace) -> bool {
    match (place.resource.group.as_str(), place.resource.resource.as_str()) {
        ("", "pods") => {
            matches!(
                place.subresource.as_str(),
                "log" | "exec" | "attach" | "portforward" | "proxy"
            )
        }
        ("", "services" | "nodes") => place.subresource == "proxy",
        _ => false,
    }
}

/// The methods that a stream may be opened by; others are refused before anything is asked of the
/// node (`pkg/registry/core/pod/rest`).
pub(crate) fn check_method(place: &ResourcePlace, method: &Method) -> Result<(), Status> {
    let fits = match place.subresource.as_str() {
        "proxy" => true,
        "log" => method == Method::GET,
        _ => method == Method::GET || method == Method::POST,
    };
    if fits { Ok(()) } else { Err(Status::method_not_allowed()) }
}

/// Whether it takes the right to `create` whatever its method is: a WebSocket begins with GET, and
/// who may only read may not run anything (KEP-4006).
pub(crate) fn needs_create(place: &ResourcePlace) -> bool {
    matches!(place.subresource.as_str(), "exec" | "attach" | "portforward")
}

pub(crate) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    request: Incomings,
) -> Result<Response<Body>, Status> {
    match place.subresource.as_str() {
        "log" => logs::answer(server, place, query, request).await,
        "exec" | "attach" => exec::answer(server, place, query, request).await,
        "proxy" => proxy::answer(server, place, request).await,
        _ => port_forward::answer(server, place, query, request).await,
    }
}
