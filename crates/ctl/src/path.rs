//! Paths and queries of requests that are no objects.

use onggi_api::GroupVersionResource;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in a path or a query as it is (RFC 3986, unreserved).
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE?QUERY`; what is empty is left
/// out.
pub(crate) fn path(
    resource: &GroupVersionResource,
    namespace: &str,
    name: &str,
    subresource: &str,
    query: &[(&str, &str)],
) -> String {
    let GroupVersionResource { group, version, resource } = resource;
    let mut path = String::from(if group.is_empty() { "/api" } else { "/apis" });
    let namespaces = if namespace.is_empty() { "" } else { "namespaces" };
    for segment in [group, version, namespaces, namespace, resource, name, subresource] {
        if !segment.is_empty() {
            path.push('/');
            path.extend(utf8_percent_encode(segment, KEPT));
        }
    }
    let mut separator = '?';
    for (key, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        path.push(std::mem::replace(&mut separator, '&'));
        path.push_str(key);
        path.push('=');
        path.extend(utf8_percent_encode(value, KEPT));
    }
    path
}
