//! Objects from one version of a custom kind to another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use onggi_api::{Object, Status, object};
use onggi_machinery::crd::{Conversion, review};
use onggi_machinery::resource::Resource;
use serde_json::Value;

use super::{CustomKinds, version_of};
use crate::cache::Cache;
use crate::registry::{Registry, store_status};
use crate::webhook::Webhooks;

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a conversion needs; a cheap handle.
#[derive(Clone)]
pub(crate) struct Converter {
    kinds: Arc<CustomKinds>,
    webhooks: Arc<Webhooks>,
    cache: Arc<Cache>,
}

impl Registry {
    /// Converts objects of custom kinds.
    pub(crate) fn converter(&self) -> Converter {
        Converter {
            kinds: Arc::clone(&self.kinds),
            webhooks: Arc::clone(&self.webhooks),
            cache: Arc::clone(&self.cache),
        }
    }

    /// An object that was stored in any version, in that of the row. Built-in kinds have one.
    pub(crate) async fn shown(
        &self,
        row: &'static Resource,
        object: Arc<Object>,
    ) -> Result<Arc<Object>, Status> {
        if is_of(row, &object) { Ok(object) } else { self.converter().shown(row, object).await }
    }

    /// The bytes to be stored: in the storage version of the kind.
    pub(crate) async fn encoded(
        &self,
        row: &'static Resource,
        value: &Value,
    ) -> Result<Bytes, Status> {
        let storage = row.custom.and_then(|_| {
            let snapshot = self.kinds.snapshot();
            snapshot.storage(row).map(|version| version.row.version)
        });
        match storage {
            Some(storage) if storage != row.version => {
                let all = vec![value.clone()];
                let mut stored = self.converter().convert(row, all, storage).await?;
                let stored = stored.pop().unwrap_or_default();
                object::encode(&stored).map_err(Status::internal)
            }
            _ => object::encode(value).map_err(Status::internal),
        }
    }

    /// Whether an object that nobody changes should be written all the same, because another
    /// version is stored now.
    pub(crate) async fn is_stale(&self, row: &'static Resource, key: &str) -> Result<bool, Status> {
        let snapshot = self.kinds.snapshot();
        let Some(storage) = row.custom.and_then(|_| snapshot.storage(row)) else {
            return Ok(false);
        };
        let Some(kv) = self.store.get(key).await.map_err(store_status)? else { return Ok(false) };
        let stored = self.decode(row, &kv)?;
        Ok(version_of(&stored.head().api_version) != storage.spec().name)
    }
}

impl Converter {
    /// An object in the version of the row.
    pub(crate) async fn shown(
        &self,
        row: &'static Resource,
        object: Arc<Object>,
    ) -> Result<Arc<Object>, Status> {
        let mut shown = self.all_shown(row, vec![object]).await?;
        shown.pop().ok_or_else(|| Status::internal("a conversion lost its object"))
    }

    /// The same for many, in their order: a webhook is asked once.
    pub(crate) async fn all_shown(
        &self,
        row: &'static Resource,
        mut objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let others: Vec<usize> =
            (0..objects.len()).filter(|at| !is_of(row, &objects[*at])).collect();
        if others.is_empty() {
            return Ok(objects);
        }
        let values = others.iter().map(|at| objects[*at].value().map_err(Status::internal));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let converted = self.convert(row, values, row.version).await?;
        let snapshot = self.kinds.snapshot();
        for (at, mut value) in others.into_iter().zip(converted) {
            if let Some(version) = snapshot.version(row) {
                version.normalise(&mut value);
            }
            let object = Object::from_value(&value, row.fields).map_err(Status::internal)?;
            objects[at] = Arc::new(object);
        }
        Ok(objects)
    }

    /// Objects in a version of their kind, `e.com/v1`, with the fields that it knows.
    pub(crate) async fn in_version(
        &self,
        row: &'static Resource,
        objects: Vec<Value>,
        api_version: &str,
    ) -> Result<Vec<Value>, Status> {
        let name = version_of(api_version);
        let mut converted = self.convert(row, objects, name).await?;
        let snapshot = self.kinds.snapshot();
        if let Some(version) = snapshot.sibling(row, name) {
            converted.iter_mut().for_each(|object| {
                version.prune(object);
            });
        }
        Ok(converted)
    }

    /// Objects of one version (lists of a webhook: of any) in another.
    async fn convert(
        &self,
        row: &'static Resource,
        mut objects: Vec<Value>,
        version: &str,
    ) -> Result<Vec<Value>, Status> {
        let snapshot = self.kinds.snapshot();
        let known = snapshot.version(row).ok_or_else(Status::no_such_path)?;
        let wanted = format!("{}/{version}", row.group);
        match &known.definition.conversion {
            Conversion::None => {
                for object in &mut objects {
                    object["apiVersion"] = wanted.clone().into();
                }
                Ok(objects)
            }
            Conversion::Webhook { client_config, review_versions } => {
                let review = review::request(review_versions, &wanted, &objects)
                    .map_err(Status::internal)?;
                let answer = self
                    .webhooks
                    .call(&self.cache, client_config, "timeout=30s", &review, TIMEOUT)
                    .await
                    .map_err(|error| failed(row, version, &error.to_string()))?;
                review::answer(&review, answer, &objects)
                    .map_err(|error| failed(row, version, &error))
            }
        }
    }
}

/// 500, in Kubernetes' words.
fn failed(row: &Resource, version: &str, why: &str) -> Status {
    Status::internal(format!(
        "conversion webhook for {}/{version}, Kind={} failed: {why}",
        row.group, row.kind
    ))
}

fn is_of(row: &Resource, object: &Object) -> bool {
    row.custom.is_none() || version_of(&object.head().api_version) == row.version
}
