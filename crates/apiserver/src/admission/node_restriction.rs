//! NodeRestriction: a kubelet writes to its own node, lease and pods alone.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::Value;

use super::{Attributes, Operation, Step};
use crate::registry::{Registry, text};

const MIRROR: &str = "kubernetes.io~1config.mirror";

pub(super) struct NodeRestriction;

#[async_trait]
impl Step for NodeRestriction {
    async fn validate(
        &self,
        _: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<(), Status> {
        let Some(node) = attributes.user.node() else { return Ok(()) };
        let name = text(object, "/metadata/name");
        let refuse = |why: String| Err(attributes.forbidden(object, &why));
        match (attributes.row.group, attributes.row.plural) {
            ("", "nodes") if name != node => {
                refuse(format!("node {node:?} is not allowed to modify node {name:?}"))
            }
            ("coordination.k8s.io", "leases") if name != node => refuse(
                "can only access node lease with the same name as the requesting node".into(),
            ),
            ("", "pods") => {
                let bound = text(attributes.old.unwrap_or(object), "/spec/nodeName");
                let mirror = text(object, &format!("/metadata/annotations/{MIRROR}"));
                match attributes.operation {
                    Operation::Create if mirror.is_empty() => refuse(
                        format!(
                            "pod does not have {MIRROR:?} annotation, node {node:?} can \
                                        only create mirror pods"
                        )
                        .replace("~1", "/"),
                    ),
                    _ if bound != node => refuse(format!(
                        "node {node:?} can only write pods with spec.nodeName set to itself"
                    )),
                    Operation::Update if attributes.subresource != "status" => {
                        refuse(format!("node {node:?} can only update the status of pods"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
