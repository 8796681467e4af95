//! The pod and container that a stream is for.

use std::sync::Arc;

use onggi_api::{Object, Status};
use onggi_client::node::{NodeError, NodeServer, PodRef};
use onggi_machinery::resource;
use serde_json::Value;

use crate::ApiServer;
use crate::http::ResourcePlace;
use crate::registry::text;

/// Found and checked.
pub(super) struct Target {
    pub(super) pod: PodRef,
    pub(super) container: String,
    pub(super) node: Arc<dyn NodeServer>,
}

/// The annotation by which a pod names the container that is meant when none is.
const DEFAULT_CONTAINER: &str = "/metadata/annotations/kubectl.kubernetes.io~1default-container";

/// The pod, its node, and the container that is meant.
pub(super) async fn find(
    server: &ApiServer,
    place: &ResourcePlace,
    container: &str,
) -> Result<Target, Status> {
    let (object, pod) = read(server, &place.namespace, &place.name).await?;
    let container = container_of(&pod, &place.name, container)?;
    let node = node_of(server, &pod).await?;
    Ok(Target { pod: reference(&object), container, node })
}

/// The pod and its node.
pub(super) async fn find_pod(
    server: &ApiServer,
    place: &ResourcePlace,
) -> Result<(PodRef, Arc<dyn NodeServer>), Status> {
    let (object, pod) = read(server, &place.namespace, &place.name).await?;
    Ok((reference(&object), node_of(server, &pod).await?))
}

/// A pod, as it is stored and parsed.
pub(super) async fn read(
    server: &ApiServer,
    namespace: &str,
    name: &str,
) -> Result<(Arc<Object>, Value), Status> {
    let row = resource::by_gvr("", "v1", "pods").ok_or_else(Status::no_such_path)?;
    let object = server.registry.current(row, namespace, name).await?;
    let pod = object.value().map_err(Status::internal)?;
    Ok((object, pod))
}

pub(super) fn reference(object: &Object) -> PodRef {
    let head = object.head();
    PodRef { namespace: head.namespace.clone(), name: head.name.clone(), uid: head.uid.clone() }
}

/// The way to the node of a pod.
pub(super) async fn node_of(
    server: &ApiServer,
    pod: &Value,
) -> Result<Arc<dyn NodeServer>, Status> {
    let node = text(pod, "/spec/nodeName");
    if node.is_empty() {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            text(pod, "/metadata/name")
        )));
    }
    connect(server, node).await
}

/// The way to a node by its name.
pub(super) async fn connect(server: &ApiServer, node: &str) -> Result<Arc<dyn NodeServer>, Status> {
    let connector =
        server.nodes().ok_or_else(|| Status::unavailable("no node can be reached yet"))?;
    connector.node(node).await.map_err(|error| node_status(&error))
}

fn container_of(pod: &Value, name: &str, asked: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<&str> {
        let all = pod["spec"][list].as_array().into_iter().flatten();
        all.filter_map(|container| container["name"].as_str()).collect()
    };
    let containers = names("containers");
    let init = names("initContainers");
    let ephemeral = names("ephemeralContainers");
    if !asked.is_empty() {
        let known = [&containers, &init, &ephemeral].into_iter().any(|all| all.contains(&asked));
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {name}")))
        };
    }
    let chosen = text(pod, DEFAULT_CONTAINER);
    match containers.as_slice() {
        [one] => Ok((*one).to_owned()),
        all if all.contains(&chosen) => Ok(chosen.to_owned()),
        all if init.is_empty() => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            all.join(" ")
        ))),
        all => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}] or one of the \
             init containers: [{}]",
            all.join(" "),
            init.join(" ")
        ))),
    }
}

/// What a node says, to the client.
pub(super) fn node_status(error: &NodeError) -> Status {
    use onggi_api::status::reason;
    match error {
        NodeError::Unreachable(_) => Status::unavailable(error.to_string()),
        NodeError::NotFound(text) => Status::failure(404, reason::NOT_FOUND, text.clone()),
        NodeError::BadState(text) => Status::bad_request(text.clone()),
        NodeError::Failed(_) => Status::internal(error),
    }
}
