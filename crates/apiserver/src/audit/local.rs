//! Requests of components of this process: the same events, as if they had come over HTTP.

use jiff::Timestamp;
use onggi_api::GroupVersionResource;
use onggi_machinery::audit::Target;

use super::Arrival;
use crate::authn::User;
use crate::authz;

/// A request; `target` is what authorization sees of it.
pub(crate) fn arrival<'a>(
    user: &'a User,
    user_agent: &str,
    verb: &'a str,
    resource: &'a GroupVersionResource,
    target: &authz::Target<'a>,
    received: Timestamp,
) -> Arrival<'a> {
    let target = match *target {
        authz::Target::Path(path) => Target::Path(path),
        authz::Target::Resource { group, resource, subresource, namespace, name, .. } => {
            Target::Resource { group, resource, subresource, namespace, name }
        }
    };
    Arrival {
        audit_id: uuid::Uuid::new_v4().to_string(),
        received,
        request_uri: uri(verb, resource, target),
        verb,
        user: Some(user),
        source_ips: vec!["127.0.0.1".into()],
        user_agent: user_agent.to_owned(),
        version: &resource.version,
        target,
    }
}

/// The address that a client would have used, without its selectors.
fn uri(verb: &str, resource: &GroupVersionResource, target: Target<'_>) -> String {
    let Target::Resource { subresource, namespace, name, .. } = target else {
        return String::new();
    };
    let mut uri = String::from(if resource.group.is_empty() { "/api" } else { "/apis" });
    let namespaces = if namespace.is_empty() { "" } else { "namespaces" };
    // What a list selects by name is no part of its path.
    let name = if matches!(verb, "list" | "watch" | "deletecollection") { "" } else { name };
    let GroupVersionResource { group, version, resource } = resource;
    for segment in [group, version, namespaces, namespace, resource, name, subresource] {
        if !segment.is_empty() {
            uri.push('/');
            uri.push_str(segment);
        }
    }
    if verb == "watch" {
        uri.push_str("?watch=1");
    }
    uri
}
