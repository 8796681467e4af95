//! `nodes/[SCHEME:]NAME[:PORT]/proxy/PATH`: what the kubelet answers to a GET.

use futures::StreamExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, Uri, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use onggi_api::Status;
use onggi_machinery::resource;
use serde_json::Value;

use super::backend::Target;
use crate::ApiServer;
use crate::http::{Body, full};
use crate::streams::target::{connect, node_status};

/// The kubelet's port, where the node does not say.
const KUBELET_PORT: u64 = 10250;

pub(super) async fn answer(
    server: &ApiServer,
    target: &Target<'_>,
    method: &Method,
    path: &str,
) -> Result<Response<Body>, Status> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let row = resource::by_gvr("", "v1", "nodes").ok_or_else(Status::no_such_path)?;
    let object = server.registry.current(row, "", target.name).await?;
    let node = object.value().map_err(Status::internal)?;
    if !is_kubelet(&node, target.port) {
        return Err(Status::bad_request("address not allowed"));
    }
    let path: PathAndQuery =
        path.parse().map_err(|e| Status::bad_request(format!("the path to the proxy: {e}")))?;
    let node = connect(server, target.name).await?;
    let answer = node.get(&Uri::from(path)).await.map_err(|error| node_status(&error))?;
    let shutdown = server.shutdown().clone();
    let body = answer.body.take_until(async move { shutdown.cancelled().await });
    let frames = body.map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
    let body = match *method {
        Method::HEAD => full(""),
        _ => StreamBody::new(frames).boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let kind = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Whether a port is the kubelet's: nothing else of a node is reached through here.
fn is_kubelet(node: &Value, port: &str) -> bool {
    let own = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    port.is_empty() || port.parse() == Ok(own.filter(|own| *own > 0).unwrap_or(KUBELET_PORT))
}
