//! ServiceAccount: every pod has an account, and its token where it may have it.

use std::time::Duration;

use async_trait::async_trait;
use onggi_api::{Object, Status};
use onggi_machinery::resource;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

use super::{Attributes, Operation, Plugin};
use crate::cache;
use crate::registry::{Registry, suffix, text};

/// Where Kubernetes' clients look.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An hour, and the seconds by which a rewritten one is known.
pub(crate) const TOKEN_SECONDS: i64 = 3607;
/// How long a pod waits for the account of a namespace that has just been made.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ServiceAccount;

/// What counts of an account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    automount_service_account_token: Option<bool>,
    image_pull_secrets: Option<Value>,
}

#[async_trait]
impl Plugin for ServiceAccount {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "pods")
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        if !pod["spec"].is_object() {
            return Ok(());
        }
        if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
            return mirror(attributes, pod);
        }
        if text(pod, "/spec/serviceAccountName").is_empty() {
            pod["spec"]["serviceAccountName"] = "default".into();
        }
        let name = text(pod, "/spec/serviceAccountName").to_owned();
        pod["spec"]["serviceAccount"] = name.clone().into();
        let Some(account) = find(registry, attributes.namespace, &name).await? else {
            let why = format!(
                "error looking up service account {}/{name}: serviceaccount {name:?} not found",
                attributes.namespace
            );
            return Err(attributes.forbidden(pod, &why));
        };
        let account = account.typed::<Account>().map_err(Status::internal)?;
        let wanted = pod["spec"]["automountServiceAccountToken"].as_bool();
        if wanted.or(account.automount_service_account_token).unwrap_or(true) {
            mount_token(pod);
        }
        if pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
            && let Some(secrets) = &account.image_pull_secrets
        {
            pod["spec"]["imagePullSecrets"] = secrets.clone();
        }
        Ok(())
    }
}

/// A mirror pod shows what a node runs by itself: it may not use anything of the cluster.
fn mirror(attributes: &Attributes<'_>, pod: &Value) -> Result<(), Status> {
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return Err(attributes.forbidden(pod, "a mirror pod may not reference service accounts"));
    }
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    for source in volumes.flat_map(|volume| volume["projected"]["sources"].as_array()).flatten() {
        if source["serviceAccountToken"].is_object() {
            let why = "a mirror pod may not use ServiceAccountToken volume projections";
            return Err(attributes.forbidden(pod, why));
        }
    }
    Ok(())
}

/// The account; waits a moment for it, because pods often come right behind their namespace.
async fn find(
    registry: &Registry,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Object>>, Status> {
    let row = resource::by_gvr("", "v1", "serviceaccounts").ok_or_else(Status::no_such_path)?;
    let key = cache::key(row, namespace, name);
    let collection = registry.cache.of(row)?;
    if let Some(account) = collection.get(&key) {
        return Ok(Some(account));
    }
    let patience = if name == "default" { PATIENCE } else { Duration::ZERO };
    let mut applied = registry.cache.subscribe();
    let found = applied.wait_for(|_| collection.get(&key).is_some());
    if tokio::time::timeout(patience, found).await.is_ok_and(|found| found.is_ok()) {
        return Ok(collection.get(&key));
    }
    match registry.current(row, namespace, name).await {
        Ok(account) => Ok(Some(account)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

fn mount_token(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    // A client that sends back what it has read brings the volume with it.
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let present = volumes
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let given = present.is_some();
    let volume = present.unwrap_or_else(|| format!("kube-api-access-{}", suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if !mounts.iter().any(|mount| mount["mountPath"] == MOUNT) {
                mounts.push(json!({"name": volume, "mountPath": MOUNT, "readOnly": true}));
                mounted = true;
            }
        }
    }
    if !mounted || given {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    let Some(volumes) = volumes.as_array_mut() else { return };
    volumes.push(json!({
        "name": volume,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    }));
}
