//! ResourceQuota, the last link of the chain: what a request uses is checked and charged in one
//! step, so that requests at the same time cannot use together more than there is.
//!
//! One lock a namespace that has quotas, held while its quotas are read, compared and written; what
//! was charged for a write that failed is given back.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use onggi_api::{Status, object};
use onggi_machinery::admission::amounts::{self, Amounts};
use onggi_machinery::admission::quota::{self, Request};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, Expect, Txn};
use parking_lot::Mutex;
use serde_json::Value;

use super::lookup::Known;
use super::{Attributes, Operation};
use crate::ApiServer;
use crate::cache;
use crate::registry::{Registry, store_status, text};

/// How often a quota is read again that somebody else has written.
const ATTEMPTS: usize = 16;

/// Kinds that no quota counts: they come in numbers that nobody chooses, or are not stored.
const IGNORED: &[(&str, &str)] = &[
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "bindings"),
    ("", "componentstatuses"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
];

/// What the link keeps.
pub(super) struct Quotas {
    quotas: Known,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a request was charged; given back when it goes without [`Charged::keep`].
pub(super) struct Charged {
    server: Weak<ApiServer>,
    namespace: String,
    /// Name and uid of the quota, and what was added to it.
    charges: Vec<(String, String, Amounts)>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { quotas: Known::new("", "resourcequotas"), locks: Mutex::default() }
    }
}

impl Charged {
    /// The object is stored.
    pub(super) fn keep(mut self) {
        self.charges.clear();
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        let charges = std::mem::take(&mut self.charges);
        let (Some(server), Ok(runtime)) =
            (self.server.upgrade(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        if !charges.is_empty() {
            let namespace = std::mem::take(&mut self.namespace);
            runtime.spawn(async move { give_back(&server, &namespace, charges).await });
        }
    }
}

/// Whether the request may use more of something that quotas count.
fn concerns(attributes: &Attributes<'_>) -> bool {
    let Attributes { row, namespace, subresource, operation, .. } = *attributes;
    if namespace.is_empty() || IGNORED.contains(&(row.group, row.plural)) {
        return false;
    }
    match (operation, subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => {
            row.group.is_empty() && matches!(row.plural, "services" | "persistentvolumeclaims")
        }
        (Operation::Update, "resize") => attributes.part("", "pods"),
        _ => false,
    }
}

/// Checks and charges.
pub(super) async fn charge(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<Option<Charged>, Status> {
    let state = &registry.admission.quotas;
    if !concerns(attributes) {
        return Ok(None);
    }
    let namespace = attributes.namespace;
    if state.quotas.list(registry, namespace).is_empty() {
        return Ok(None);
    }
    let _lock = state.lock(namespace).await;
    let request = Request {
        group: attributes.row.group,
        plural: attributes.row.plural,
        object,
        old: attributes.old,
        now: registry.clock.seconds(),
    };
    let mut done = Charged {
        server: registry.admission.weak_server(),
        namespace: namespace.to_owned(),
        charges: Vec::new(),
    };
    for _ in 0..ATTEMPTS {
        let quotas = state.read(registry, namespace)?;
        // What is charged already is not charged again after somebody else's write.
        let left: Vec<Value> = quotas
            .iter()
            .filter(|quota| {
                let name = text(quota, "/metadata/name");
                !done.charges.iter().any(|(charged, ..)| charged == name)
            })
            .cloned()
            .collect();
        let charges =
            quota::charge(&left, request).map_err(|why| attributes.forbidden(object, &why))?;
        if attributes.dry_run() {
            return Ok(None);
        }
        let mut again = false;
        for charge in charges {
            let quota = &left[charge.quota];
            if !state.write(registry, namespace, quota, &charge.used).await? {
                again = true;
                break;
            }
            done.charges.push((
                text(quota, "/metadata/name").to_owned(),
                text(quota, "/metadata/uid").to_owned(),
                charge.added,
            ));
        }
        if !again {
            return Ok(Some(done));
        }
    }
    Err(Status::conflict("resourcequotas", namespace, crate::registry::MODIFIED))
}

/// Takes what was charged away again.
async fn give_back(server: &ApiServer, namespace: &str, charges: Vec<(String, String, Amounts)>) {
    let registry = &server.registry;
    let state = &registry.admission.quotas;
    let _lock = state.lock(namespace).await;
    for (name, uid, added) in charges {
        for _ in 0..ATTEMPTS {
            let Ok(quotas) = state.read(registry, namespace) else { return };
            let same = |quota: &&Value| {
                text(quota, "/metadata/name") == name && text(quota, "/metadata/uid") == uid
            };
            let Some(quota) = quotas.iter().find(same) else { break };
            let mut used = amounts::read(&quota["status"]["used"]);
            for (resource, amount) in &added {
                if let Some(before) = used.get_mut(resource) {
                    *before = before.minus(amount);
                }
            }
            match state.write(registry, namespace, quota, &used).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(status) => {
                    // The quota controller counts anew with the next object that goes.
                    tracing::warn!(namespace, name, %status, "a quota counts too much");
                    break;
                }
            }
        }
    }
}

impl Quotas {
    async fn lock(&self, namespace: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            // Those that nobody holds go with the next one that is new.
            if !locks.contains_key(namespace) {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(namespace.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    fn read(&self, registry: &Registry, namespace: &str) -> Result<Vec<Value>, Status> {
        let quotas = self.quotas.list(registry, namespace);
        quotas.iter().map(|quota| quota.value().map_err(Status::internal)).collect()
    }

    /// Whether nobody was faster.
    async fn write(
        &self,
        registry: &Registry,
        namespace: &str,
        quota: &Value,
        used: &Amounts,
    ) -> Result<bool, Status> {
        let row: &'static Resource = self.quotas.row().ok_or_else(Status::no_such_path)?;
        let mut new = quota.clone();
        new["status"]["used"] = amounts::write(used);
        let key = cache::key(row, namespace, text(quota, "/metadata/name"));
        let revision = text(quota, "/metadata/resourceVersion").parse().unwrap_or(0);
        let bytes = object::encode(&new).map_err(Status::internal)?;
        let put = Txn::put(key.clone(), Expect::Revision(revision), bytes.clone());
        match registry.store.txn(put).await {
            Ok(committed) => {
                // The next reader, who reads the cache, must see it.
                registry.written(row, &key, &bytes, committed.revision).await?;
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => {
                registry.cache.catch_up().await?;
                Ok(false)
            }
            Err(error) => Err(store_status(error)),
        }
    }
}
