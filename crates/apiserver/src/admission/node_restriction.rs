//! NodeRestriction: a kubelet writes to its own node, lease and pods alone, and gives its node no
//! label or taint that would draw other work to it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::admission::node_labels::may_kubelet_set;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup, node_token};
use crate::registry::{Registry, text};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";

pub(super) struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        // Only who is in the group of nodes: nobody else pays for this.
        attributes.user().is_in("system:nodes") && attributes.operation != Operation::Connect
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<(), Status> {
        let Some(node) = attributes.user().node() else {
            let why = format!("could not determine node from user {:?}", attributes.user().name);
            return Err(attributes.forbidden(object, &why));
        };
        let result = match (attributes.row.group, attributes.row.plural, attributes.subresource) {
            ("", "pods", "eviction") => return evict(registry, attributes, node, object).await,
            ("", "serviceaccounts", "token") => {
                return node_token::may(registry, attributes, node, object).await;
            }
            ("", "pods", "") => {
                pod(attributes, node, object).map_err(|why| attributes.forbidden(object, &why))?;
                return same_node(registry, attributes, node, object).await;
            }
            ("", "pods", "status") => pod_status(attributes, node, object),
            ("", "pods", other) => Err(format!("unexpected pod subresource {other:?}")),
            ("", "nodes", _) => own_node(attributes, node, object),
            ("", "persistentvolumeclaims", "status") => claim_status(attributes, node, object),
            ("coordination.k8s.io", "leases", _) => lease(attributes, node, object),
            ("storage.k8s.io", "csinodes", _) => csi_node(attributes, node, object),
            ("resource.k8s.io", "resourceslices", _) => slice(attributes, node, object),
            _ => Ok(()),
        };
        result.map_err(|why| attributes.forbidden(object, &why))
    }
}

type Verdict = Result<(), String>;

fn pod(attributes: &Attributes<'_>, node: &str, pod: &Value) -> Verdict {
    match attributes.operation {
        Operation::Create => new_pod(node, pod),
        Operation::Delete => {
            let old = attributes.old.unwrap_or(&Value::Null);
            if text(old, "/spec/nodeName") == node {
                return Ok(());
            }
            Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        other => Err(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            other.as_str()
        )),
    }
}

/// A mirror pod, and nothing that would let a node read what it is not given.
fn new_pod(node: &str, pod: &Value) -> Verdict {
    if pod["metadata"]["annotations"][MIRROR].is_null() {
        return Err(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if text(pod, "/spec/nodeName") != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    match owners {
        [owner]
            if owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node =>
        {
            if owner["controller"] != true {
                return Err(format!(
                    "node {node:?} can only create pods with a controller owner reference set to itself"
                ));
            }
            if owner["blockOwnerDeletion"] == true {
                return Err(format!(
                    "node {node:?} must not set blockOwnerDeletion on an owner reference"
                ));
            }
        }
        _ => {
            return Err(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
    }
    let no = |what: &str| Err(format!("node {node:?} can not create pods that reference {what}"));
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return no("a service account");
    }
    let found = references(&pod["spec"]);
    for (field, what) in [
        ("secret", "secrets"),
        ("configMap", "configmaps"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
    ] {
        if found.contains(field) {
            return no(what);
        }
    }
    Ok(())
}

/// The owner of a mirror pod is the node as it is now, not an earlier one of the name.
async fn same_node(
    registry: &Registry,
    attributes: &Attributes<'_>,
    name: &str,
    pod: &Value,
) -> Result<(), Status> {
    if attributes.operation != Operation::Create {
        return Ok(());
    }
    let given = pod["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
    let Some(node) = lookup::find(registry, "", "nodes", "", name).await? else {
        return Err(Status::not_found("nodes", name));
    };
    let uid = &node.head().uid;
    if given == uid {
        return Ok(());
    }
    let why = format!("node {name} UID mismatch: expected {given} got {uid}");
    Err(attributes.forbidden(pod, &why))
}

/// Which of the kinds of the cluster a pod names anywhere.
fn references(spec: &Value) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    if spec["imagePullSecrets"].as_array().is_some_and(|all| !all.is_empty()) {
        found.insert("secret");
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            for source in container["envFrom"].as_array().into_iter().flatten() {
                found.extend(source["secretRef"].is_object().then_some("secret"));
                found.extend(source["configMapRef"].is_object().then_some("configMap"));
            }
            for variable in container["env"].as_array().into_iter().flatten() {
                let from = &variable["valueFrom"];
                found.extend(from["secretKeyRef"].is_object().then_some("secret"));
                found.extend(from["configMapKeyRef"].is_object().then_some("configMap"));
            }
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
        for source in sources.chain([volume]) {
            for field in ["secret", "configMap", "clusterTrustBundle", "persistentVolumeClaim"] {
                found.extend(source[field].is_object().then_some(field));
            }
        }
        let drivers = volume.as_object().into_iter().flatten();
        let secret = |(_, source): (&String, &Value)| {
            source["secretRef"].is_object() || source["nodePublishSecretRef"].is_object()
        };
        if drivers.into_iter().any(secret) {
            found.insert("secret");
        }
    }
    found
}

fn pod_status(attributes: &Attributes<'_>, node: &str, pod: &Value) -> Verdict {
    let Some(old) = attributes.old.filter(|_| attributes.operation == Operation::Update) else {
        return Err(format!("unexpected operation {:?}", attributes.operation.as_str()));
    };
    if text(old, "/spec/nodeName") != node {
        return Err(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if pod["metadata"]["labels"] != old["metadata"]["labels"] {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    if pod["status"]["resourceClaimStatuses"] != old["status"]["resourceClaimStatuses"] {
        return Err(format!("node {node:?} cannot update resource claim statues"));
    }
    Ok(())
}

async fn evict(
    registry: &Registry,
    attributes: &Attributes<'_>,
    node: &str,
    eviction: &Value,
) -> Result<(), Status> {
    let pod = bound_pod(registry, attributes, attributes.name).await?;
    if text(&pod, "/spec/nodeName") == node {
        return Ok(());
    }
    let why = format!("node {node} can only evict pods with spec.nodeName set to itself");
    Err(attributes.forbidden(eviction, &why))
}

pub(super) async fn bound_pod(
    registry: &Registry,
    attributes: &Attributes<'_>,
    name: &str,
) -> Result<Value, Status> {
    match lookup::find(registry, "", "pods", attributes.namespace, name).await? {
        Some(pod) => pod.value().map_err(Status::internal),
        None => Err(Status::not_found("pods", name)),
    }
}

fn own_node(attributes: &Attributes<'_>, node: &str, object: &Value) -> Verdict {
    let name = attributes.name;
    if name != node {
        return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    if !attributes.writes() {
        return Ok(());
    }
    let none = Value::Null;
    let old = attributes.old.unwrap_or(&none);
    if attributes.operation == Operation::Update
        && object["spec"]["taints"] != old["spec"]["taints"]
    {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    let (new, old) = (&object["metadata"]["labels"], &old["metadata"]["labels"]);
    let keys = |labels: &Value| -> Vec<String> {
        labels.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let changed = |key: &String| new.get(key) != old.get(key);
    let both: BTreeSet<String> = keys(new).into_iter().chain(keys(old)).collect();
    let forbidden: Vec<String> =
        both.into_iter().filter(|key| changed(key) && !may_kubelet_set(key)).collect();
    if forbidden.is_empty() {
        return Ok(());
    }
    let list = forbidden.join(", ");
    Err(match attributes.operation {
        Operation::Create => {
            format!("node {node:?} is not allowed to set the following labels: {list}")
        }
        _ => format!("is not allowed to modify labels: {list}"),
    })
}

fn claim_status(attributes: &Attributes<'_>, node: &str, claim: &Value) -> Verdict {
    let Some(old) = attributes.old.filter(|_| attributes.operation == Operation::Update) else {
        return Err(format!("unexpected operation {:?}", attributes.operation.as_str()));
    };
    let fixed = |claim: &Value| {
        let mut claim = claim.clone();
        if let Some(metadata) = claim["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
        }
        if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
            for own in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"]
            {
                status.remove(own);
            }
        }
        claim
    };
    if fixed(claim) == fixed(old) {
        return Ok(());
    }
    Err(format!(
        "node {node:?} is not allowed to update fields other than status.capacity and \
         status.conditions"
    ))
}

/// The name of what is created, changed or deleted.
fn name<'v>(attributes: &Attributes<'v>, object: &'v Value) -> &'v str {
    match attributes.operation {
        Operation::Create => text(object, "/metadata/name"),
        _ => attributes.name,
    }
}

fn lease(attributes: &Attributes<'_>, node: &str, object: &Value) -> Verdict {
    if attributes.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if name(attributes, object) == node {
        return Ok(());
    }
    Err("can only access node lease with the same name as the requesting node".to_owned())
}

fn csi_node(attributes: &Attributes<'_>, node: &str, object: &Value) -> Verdict {
    if name(attributes, object) == node {
        return Ok(());
    }
    Err("can only access CSINode with the same name as the requesting node".to_owned())
}

fn slice(attributes: &Attributes<'_>, node: &str, object: &Value) -> Verdict {
    let (object, verb) = match attributes.operation {
        Operation::Create => (object, "create"),
        Operation::Delete => (attributes.old.unwrap_or(object), "delete"),
        _ => return Ok(()),
    };
    if text(object, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
}
