//! NodeRestriction: which tokens of service accounts a kubelet may ask for.

use onggi_api::Status;
use serde_json::Value;

use super::node_restriction::bound_pod;
use super::{Attributes, Operation, access, lookup};
use crate::registry::{Registry, text};

/// A token is for a pod on this node, and for an audience that the pod asks for.
pub(super) async fn may(
    registry: &Registry,
    attributes: &Attributes<'_>,
    node: &str,
    request: &Value,
) -> Result<(), Status> {
    if attributes.operation != Operation::Create {
        return Ok(());
    }
    let refuse = |why: &str| Err(attributes.forbidden(request, why));
    let bound = &request["spec"]["boundObjectRef"];
    let name = text(bound, "/name");
    if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || name.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    let uid = text(bound, "/uid");
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let pod = bound_pod(registry, attributes, name).await?;
    if text(&pod, "/metadata/uid") != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        ));
    }
    if text(&pod, "/spec/nodeName") != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    audience(registry, attributes, &pod, request).await
}

/// `ServiceAccountNodeAudienceRestriction` (KEP-4412).
async fn audience(
    registry: &Registry,
    attributes: &Attributes<'_>,
    pod: &Value,
    request: &Value,
) -> Result<(), Status> {
    let refuse = |why: &str| Err(attributes.forbidden(request, why));
    let wanted = match request["spec"]["audiences"].as_array().map_or(&[][..], Vec::as_slice) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return refuse("node may only request 0 or 1 audiences"),
    };
    let volumes = pod["spec"]["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    for volume in volumes {
        let mut sources = volume["projected"]["sources"].as_array().into_iter().flatten();
        let is_wanted = |source: &Value| {
            let token = &source["serviceAccountToken"];
            token.is_object() && token["audience"].as_str().unwrap_or_default() == wanted
        };
        if sources.any(is_wanted) {
            return Ok(());
        }
        let driver = driver(registry, attributes.namespace, pod, volume).await?;
        if !driver.is_empty() && takes(registry, &driver, wanted).await? {
            return Ok(());
        }
    }
    let right = access::Object {
        resource: wanted,
        namespace: attributes.namespace,
        name: attributes.name,
        ..access::Object::default()
    };
    if access::may(registry, attributes, "request-serviceaccounts-token-audience", right) {
        return Ok(());
    }
    refuse(&format!(
        "audience {wanted:?} not found in pod spec volume, {} is not authorized to request tokens \
         for this audience",
        attributes.user().name
    ))
}

/// The CSI driver of a volume; empty where it has none.
async fn driver(
    registry: &Registry,
    namespace: &str,
    pod: &Value,
    volume: &Value,
) -> Result<String, Status> {
    if let Some(driver) = volume["csi"]["driver"].as_str() {
        return Ok(driver.to_owned());
    }
    let claim = match volume["persistentVolumeClaim"]["claimName"].as_str() {
        Some(claim) => claim.to_owned(),
        None if volume["ephemeral"].is_object() => {
            format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"))
        }
        None => return Ok(String::new()),
    };
    let claims = "persistentvolumeclaims";
    let Some(claim) = lookup::find(registry, "", claims, namespace, &claim).await? else {
        return Ok(String::new());
    };
    let claim = claim.value().map_err(Status::internal)?;
    let name = text(&claim, "/spec/volumeName");
    if name.is_empty() {
        return Ok(String::new());
    }
    let Some(volume) = lookup::find(registry, "", "persistentvolumes", "", name).await? else {
        return Ok(String::new());
    };
    let volume = volume.value().map_err(Status::internal)?;
    Ok(text(&volume, "/spec/csi/driver").to_owned())
}

/// Whether a CSI driver is given tokens for an audience.
async fn takes(registry: &Registry, driver: &str, audience: &str) -> Result<bool, Status> {
    let Some(driver) = lookup::find(registry, "storage.k8s.io", "csidrivers", "", driver).await?
    else {
        return Ok(false);
    };
    let driver = driver.value().map_err(Status::internal)?;
    let mut requests = driver["spec"]["tokenRequests"].as_array().into_iter().flatten();
    Ok(requests.any(|request| text(request, "/audience") == audience))
}
