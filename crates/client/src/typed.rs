//! Typed and dynamic client.
use onggi_api::GroupVersionResource;
use onggi_api::k8s_openapi;

/// The collection of a typed kind.
pub fn resource_of<K: k8s_openapi::Resource>() -> GroupVersionResource {
    GroupVersionResource::new(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
}
