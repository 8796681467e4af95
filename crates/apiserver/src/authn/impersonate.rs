//! Acting as another (`Impersonate-User`, `-Group`, `-Uid`, `-Extra-…`): each part must be allowed.

use std::sync::Arc;

use http::HeaderMap;
use onggi_api::Status;
use percent_encoding::percent_decode_str;

use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};
use crate::authz::{Attributes, Chain, Target};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// A key as it stands in a header's name: lower case, percent-encoded where it must be.
pub(super) fn unescape(key: &str) -> String {
    percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), Into::into)
}

/// The user that a request wants to be taken for; `None` when it wants nothing.
pub(crate) async fn impersonated(
    chain: &Chain,
    user: &User,
    headers: &HeaderMap,
) -> Result<Option<Arc<User>>, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    };
    let name = texts(USER).into_iter().next().unwrap_or_default();
    let mut groups = texts(GROUP);
    let uid = texts(UID).into_iter().next().unwrap_or_default();
    let mut wanted = User { name, uid, ..User::default() };
    for (header, value) in headers {
        let Some(key) = header.as_str().strip_prefix(EXTRA) else { continue };
        let value = value.to_str().unwrap_or_default().to_owned();
        wanted.extra.entry(unescape(key)).or_default().push(value);
    }
    if wanted.name.is_empty() {
        let parts = nameless(&groups, &wanted);
        if parts.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request(format!(
            "requested [{}] without impersonating a user",
            parts.join(" ")
        )));
    }
    let account = account(&wanted.name);
    let mut parts = vec![match account {
        Some((namespace, name)) => ("", "serviceaccounts", "", namespace, name),
        None => ("", "users", "", "", wanted.name.as_str()),
    }];
    parts.extend(groups.iter().map(|group| ("", "groups", "", "", group.as_str())));
    for (key, values) in &wanted.extra {
        let extras = values
            .iter()
            .map(|value| ("authentication.k8s.io", "userextras", key.as_str(), "", value.as_str()));
        parts.extend(extras);
    }
    if !wanted.uid.is_empty() {
        parts.push(("authentication.k8s.io", "uids", "", "", &wanted.uid));
    }
    for (group, resource, subresource, namespace, name) in parts {
        let target =
            Target::Resource { group, resource, subresource, namespace, name, selector: "" };
        chain.check(&Attributes { user, verb: "impersonate", target }).await?;
    }
    if let Some((namespace, _)) = account.filter(|_| groups.is_empty()) {
        groups.push("system:serviceaccounts".into());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let is = |group: &str| groups.iter().any(|g| g == group);
    let added = if wanted.name == ANONYMOUS {
        (!is(UNAUTHENTICATED)).then_some(UNAUTHENTICATED)
    } else {
        (!is(AUTHENTICATED) && !is(UNAUTHENTICATED)).then_some(AUTHENTICATED)
    };
    groups.extend(added.map(str::to_owned));
    wanted.groups = groups;
    Ok(Some(Arc::new(wanted)))
}

/// Namespace and name, where a user is a service account.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// What was asked for, as kube-apiserver prints the references that it makes of it.
fn nameless(groups: &[String], wanted: &User) -> Vec<String> {
    const VERSION: &str = "authentication.k8s.io/v1";
    let mut parts: Vec<String> =
        groups.iter().map(|group| format!("{{Group  {group}    }}")).collect();
    for (key, values) in &wanted.extra {
        parts.extend(values.iter().map(|v| format!("{{UserExtra  {v}  {VERSION}  {key}}}")));
    }
    if !wanted.uid.is_empty() {
        parts.push(format!("{{UID  {}  {VERSION}  }}", wanted.uid));
    }
    parts
}
