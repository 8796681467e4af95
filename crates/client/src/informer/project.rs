//! What an informer keeps of an object.

use std::ops::Deref;
use std::sync::Arc;

use onggi_api::k8s_openapi;
use onggi_api::{DecodeError, Head, Object};
use serde::de::DeserializeOwned;

/// What a reader keeps of each object. Called once per event; the object is dropped afterwards
/// unless the projection holds on to it.
///
/// A struct of a few fields that derives `Deserialize` does it with `object.decode()`.
pub trait Project: Sized + Send + Sync + 'static {
    /// Takes out what is needed. On an error the object is logged and skipped.
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError>;
}

/// The typed kinds are projections: the whole object, decoded.
impl<K> Project for K
where
    K: k8s_openapi::Resource + DeserializeOwned + Send + Sync + 'static,
{
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

/// The object as it is, shared with the watch cache in the API server's process.
#[derive(Debug, Clone)]
pub struct Whole(pub Arc<Object>);

impl Project for Whole {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Ok(Self(Arc::clone(object)))
    }
}

impl Deref for Whole {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

/// Metadata alone.
#[derive(Debug, Clone)]
pub struct HeadOnly(pub Head);

impl Project for HeadOnly {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Ok(Self(object.head().clone()))
    }
}

impl Deref for HeadOnly {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0
    }
}

/// A projection beside the object it came from, for readers that also write it back.
#[derive(Debug, Clone)]
pub struct Keep<T> {
    /// The projection.
    pub value: T,
    /// The object.
    pub object: Arc<Object>,
}

impl<T: Project> Project for Keep<T> {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Ok(Self { value: T::project(object)?, object: Arc::clone(object) })
    }
}

impl<T> Deref for Keep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
