//! Typed views of a kind: what [`Client`] does, with the structs of `onggi_api`.

use std::marker::PhantomData;

use onggi_api::k8s_openapi::{Metadata, Resource};
use onggi_api::meta::ObjectMeta;
use onggi_api::{GroupVersionResource, Object};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Client, Deleted, Patch};
use crate::transport::{Error, ListOptions, WriteOptions};

/// The kinds that have a typed view.
pub trait Kind: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send {}

impl<K: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Send> Kind for K {}

/// A kind in a namespace.
///
/// A typed view knows the fields of its version only. What may hold others, such as an object that
/// a person wrote, is changed with a patch or with [`Client::modify`].
pub struct Api<K> {
    client: Client,
    namespace: String,
    kind: PhantomData<fn() -> K>,
}

/// The collection of a typed kind.
pub fn resource_of<K: Resource>() -> GroupVersionResource {
    GroupVersionResource::new(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), namespace: self.namespace.clone(), kind: PhantomData }
    }
}

impl<K> Api<K> {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), kind: PhantomData }
    }
}

impl<K: Kind> Api<K> {
    /// `GET`.
    pub async fn get(&self, name: &str) -> Result<K, Error> {
        decode(&*self.client.get(&resource_of::<K>(), &self.namespace, name).await?)
    }

    /// `GET`; `None` when it is not there.
    pub async fn find(&self, name: &str) -> Result<Option<K>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET` of the collection; in all namespaces where the API has none.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<K>, Error> {
        let (_, items) = self.client.list(&resource_of::<K>(), &self.namespace, options).await?;
        items.iter().map(|object| decode(object)).collect()
    }

    /// `POST`.
    pub async fn create(&self, object: &K) -> Result<K, Error> {
        let value = encode(object)?;
        decode(&*self.client.create(&resource_of::<K>(), &self.namespace, value).await?)
    }

    /// `POST`; where the name is taken, the object that has it. Says whether it was created.
    pub async fn create_or_get(&self, object: &K) -> Result<(K, bool), Error> {
        let resource = resource_of::<K>();
        let value = encode(object)?;
        let (object, created) =
            self.client.create_or_get(&resource, &self.namespace, value).await?;
        Ok((decode(&object)?, created))
    }

    /// `PUT`.
    pub async fn update(&self, object: &K) -> Result<K, Error> {
        let value = self.placed(object)?;
        decode(&*self.client.update(&resource_of::<K>(), value).await?)
    }

    /// `PUT` of the status.
    pub async fn update_status(&self, object: &K) -> Result<K, Error> {
        let value = self.placed(object)?;
        decode(&*self.client.update_status(&resource_of::<K>(), value).await?)
    }

    /// `PATCH`.
    pub async fn patch(&self, name: &str, patch: Patch) -> Result<K, Error> {
        let resource = resource_of::<K>();
        decode(&*self.client.patch(&resource, &self.namespace, name, patch).await?)
    }

    /// `PATCH` of the status.
    pub async fn patch_status(&self, name: &str, patch: Patch) -> Result<K, Error> {
        let resource = resource_of::<K>();
        decode(&*self.client.patch_status(&resource, &self.namespace, name, patch).await?)
    }

    /// Reads, changes and writes until nobody wrote in between; `subresource` is empty or
    /// `status`. The change is made on the whole object, so that no field is lost.
    pub async fn modify(
        &self,
        name: &str,
        subresource: &str,
        change: impl FnMut(&mut Value) + Send,
    ) -> Result<K, Error> {
        let resource = resource_of::<K>();
        let client = &self.client;
        decode(&*client.modify(&resource, &self.namespace, name, subresource, change).await?)
    }

    /// `DELETE`.
    pub async fn delete(&self, name: &str, options: WriteOptions) -> Result<Deleted, Error> {
        self.client.delete(&resource_of::<K>(), &self.namespace, name, options).await
    }

    fn placed(&self, object: &K) -> Result<Value, Error> {
        let mut value = encode(object)?;
        if object.metadata().namespace.is_none() && !self.namespace.is_empty() {
            value["metadata"]["namespace"] = self.namespace.as_str().into();
        }
        Ok(value)
    }
}

fn decode<K: DeserializeOwned>(object: &Object) -> Result<K, Error> {
    Ok(object.decode()?)
}

fn encode<K: Resource + Serialize>(object: &K) -> Result<Value, Error> {
    serde_json::to_value(object)
        .map_err(|e| Error::Decode(format!("{} cannot be encoded: {e}", K::KIND)))
}
