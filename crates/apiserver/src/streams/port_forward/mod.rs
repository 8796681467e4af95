//! `pods/NAME/portforward`: connections to ports of a pod, over SPDY (bare, or inside a WebSocket) or
//! over the channels of a WebSocket.

mod channels;
mod spdy;

use std::sync::Arc;

use http::Response;
use onggi_api::Status;
use onggi_client::node::{NodeServer, PodRef};

use super::spdy::{Link, is_spdy};
use super::target::find_pod;
use super::websocket::upgrade;
use crate::ApiServer;
use crate::http::{Body, Incomings, Query, ResourcePlace};

/// Bare SPDY.
const SPDY: &[&str] = &["portforward.k8s.io"];
/// SPDY inside a WebSocket, as newer `kubectl` speaks it (KEP-4006).
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// And what other clients speak in one.
const PROTOCOLS: &[&str] = &[TUNNEL, "v4.channel.k8s.io", ""];

/// Bytes on the way between the node and the client, for each connection.
const PIPE: usize = 64 << 10;

pub(super) async fn answer(
    server: &Arc<ApiServer>,
    place: &ResourcePlace,
    query: &Query,
    request: Incomings,
) -> Result<Response<Body>, Status> {
    let (pod, node) = find_pod(server, place).await?;
    let ports = channels::ports(query)?;
    let shutdown = server.shutdown().clone();
    if is_spdy(request.headers()) {
        return super::spdy::upgrade(request, SPDY, move |link, _| async move {
            tokio::select! {
                () = tunnel(link, pod, node) => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
    upgrade(request, PROTOCOLS, move |socket, protocol| async move {
        tokio::select! {
            () = async {
                match protocol {
                    TUNNEL => tunnel(Link::websocket(socket), pod, node).await,
                    _ => channels::run(socket, ports, pod, node).await,
                }
            } => {}
            () = shutdown.cancelled() => {}
        }
    })
}

async fn tunnel(link: Link, pod: PodRef, node: Arc<dyn NodeServer>) {
    if let Err(error) = spdy::run(link, pod, node).await {
        tracing::debug!(%error, "a port-forward ended");
    }
}
