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

use http::Response;
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
