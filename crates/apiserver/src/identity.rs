//! The Lease by which others see which API servers there are and that they live:
//! `apiserver-HASH` in `kube-system`, the hash being that of the machine's name.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use onggi_api::{GroupVersionResource, Status};
use onggi_base::clock::rfc3339_micro;
use onggi_client::{Body, ListOptions, Request, Response};
use onggi_machinery::resource::Verb;
use onggi_machinery::validation::names;
use onggi_machinery::value::{i64_at, str_at, time_at};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ApiServer;
use crate::authn::User;
use crate::registry::Context;

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const NAME: &str = "kube-apiserver";
/// How long the server counts as living without another word, in seconds.
const DURATION: i64 = 3600;
/// Kubernetes renews every ten seconds; a quiet server leaves the disk alone.
const RENEWAL: Duration = Duration::from_secs(600);
/// Until it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What the Lease says of this server.
pub(crate) struct Identity {
    name: String,
    holder: String,
    host: String,
}

/// Takes the Lease, and keeps it until the shutdown; takes away those of servers that are no more.
pub(crate) async fn start(server: &Arc<ApiServer>) {
    let host = host().await;
    let name = lease_name(&host);
    let holder = format!("{name}_{}", uuid::Uuid::new_v4());
    // Twice in one process: the first stays.
    let _ = server.identity.set(Identity { name, holder, host });
    let mut wait = renew(server).await;
    let (server, shutdown) = (Arc::downgrade(server), server.shutdown().clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let Some(server) = server.upgrade() else { return };
            wait = renew(&server).await;
        }
    });
}

/// Answers when it is to be done again. Nothing before [`start`].
pub(crate) async fn renew(server: &Arc<ApiServer>) -> Duration {
    let Some(identity) = server.identity.get() else { return RENEWAL };
    match keep(server, identity).await {
        Ok(()) => RENEWAL,
        Err(status) => {
            tracing::warn!(error = %status.message, "the Lease of this API server");
            RETRY
        }
    }
}

async fn host() -> String {
    let name = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await;
    let name = name.map(|name| name.trim().to_owned()).unwrap_or_default();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// As kube-apiserver names it.
fn lease_name(host: &str) -> String {
    let hash = Sha256::digest(host);
    format!("apiserver-{}", BASE32_NOPAD.encode(&hash[..16]).to_lowercase())
}

async fn keep(server: &Arc<ApiServer>, identity: &Identity) -> Result<(), Status> {
    let Identity { name, holder, host } = identity;
    let context = Context::new(User::new("system:apiserver", &["system:masters"]));
    let resource = GroupVersionResource::new("coordination.k8s.io", "v1", "leases");
    let request = |verb, name: &str| Request::new(verb, resource.clone(), NAMESPACE, name);
    let clock = &server.registry.clock;
    let found = match server.handle(&context, request(Verb::Get, name)).await {
        Ok(Response::Object { object, .. }) => Some(object.value().map_err(Status::internal)?),
        Ok(_) => None,
        Err(status) if status.is_not_found() => None,
        Err(status) => return Err(status),
    };
    let (verb, named) =
        if found.is_some() { (Verb::Update, name.as_str()) } else { (Verb::Create, "") };
    let lease = lease(found, name, holder, host, &rfc3339_micro(clock.now()));
    server.handle(&context, request(verb, named).body(Body::Object(lease))).await?;

    let mut list = request(Verb::List, "");
    list.list = ListOptions { label_selector: format!("{LABEL}={NAME}"), ..ListOptions::default() };
    let Response::List { items, .. } = server.handle(&context, list).await? else { return Ok(()) };
    for lease in items {
        let lease = lease.value().map_err(Status::internal)?;
        if expired(&lease, clock.seconds()) {
            let delete = request(Verb::Delete, str_at(&lease, "metadata.name"));
            match server.handle(&context, delete).await {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The Lease, renewed. Another holder is this server before it was started anew.
fn lease(found: Option<Value>, name: &str, holder: &str, host: &str, now: &str) -> Value {
    let mut lease = found.unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE},
        })
    });
    lease["metadata"]["labels"][LABEL] = NAME.into();
    // A machine may be called what no label can be.
    if names::label_value(host).is_empty() {
        lease["metadata"]["labels"]["kubernetes.io/hostname"] = host.into();
    }
    if lease["spec"]["holderIdentity"] != holder {
        lease["spec"]["acquireTime"] = now.into();
    }
    lease["spec"]["holderIdentity"] = holder.into();
    lease["spec"]["leaseDurationSeconds"] = DURATION.into();
    lease["spec"]["renewTime"] = now.into();
    lease
}

fn expired(lease: &Value, now: i64) -> bool {
    let seconds = i64_at(lease, "spec.leaseDurationSeconds");
    let renewed = time_at(lease, "spec.renewTime");
    renewed.zip(seconds).is_none_or(|(renewed, seconds)| renewed + seconds < now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_name_and_what_it_says() {
        // `printf node-1 | sha256sum | cut -c1-32 | xxd -r -p | base32`
        assert_eq!(lease_name("node-1"), "apiserver-gwlrxzxjxmbevckvql7a4qxaja");
        let first = lease(None, "a", "one", "node-1", "2026-01-01T00:00:00.000000Z");
        let next = lease(Some(first.clone()), "a", "one", "node-1", "2026-01-01T00:10:00.000000Z");
        assert_eq!(next["spec"]["acquireTime"], first["spec"]["renewTime"]);
        let anew = lease(Some(next.clone()), "a", "two", "node-1", "2026-01-01T00:20:00.000000Z");
        assert_eq!(anew["spec"]["acquireTime"], anew["spec"]["renewTime"]);
        let renewed = time_at(&anew, "spec.renewTime").unwrap();
        assert!(!expired(&anew, renewed + DURATION) && expired(&anew, renewed + DURATION + 1));
    }
}
