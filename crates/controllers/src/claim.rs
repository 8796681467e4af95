//! Who manages what: adoption and release of objects by their selector and controller reference.

use onggi_api::{GroupVersionResource, Object, OwnerReference};
use onggi_client::{Client, Patch};
use onggi_machinery::selector::LabelSelector;
use serde_json::json;

use crate::Error;
use crate::view::Meta;

/// What a controller's object does with one that it could manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It manages it already.
    Keep,
    /// It selects one that nobody manages.
    Adopt,
    /// It manages one that it no longer selects.
    Release,
    /// None of its business.
    Ignore,
}

/// Decides; an owner that is being deleted neither adopts nor releases.
pub(crate) fn claim(owner: &Meta, selector: &LabelSelector, object: &Meta) -> Claim {
    let selected = selector.matches(&object.labels);
    match object.controller() {
        Some(controller) if controller.uid != owner.uid => Claim::Ignore,
        Some(_) if selected => Claim::Keep,
        Some(_) if owner.deleting() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if selected && !owner.deleting() && !object.deleting() => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The reference of an object to its controller.
pub(crate) fn controller_reference(owner: &Object) -> OwnerReference {
    let head = owner.head();
    OwnerReference {
        api_version: head.api_version.clone(),
        kind: head.kind.clone(),
        name: head.name.clone(),
        uid: head.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Looks at the owner itself before it adopts: a cache may still show one that was deleted and
/// whose dependents were orphaned on purpose.
pub(crate) async fn may_adopt(
    client: &Client,
    resource: &GroupVersionResource,
    owner: &Meta,
) -> Result<(), Error> {
    let found = client.get(resource, &owner.namespace, &owner.name).await?;
    if found.head().uid != owner.uid || found.head().deleting {
        return Err(Error::Stale(format!("{} {} is gone", resource.resource, owner.name)));
    }
    Ok(())
}

/// Sets the controller reference. Answers the revision of the write.
pub(crate) async fn adopt(
    client: &Client,
    resource: &GroupVersionResource,
    object: &Meta,
    owner: &OwnerReference,
) -> Result<u64, Error> {
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [owner]}});
    let patch = Patch::strategic(patch);
    let written = client.patch(resource, &object.namespace, &object.name, patch).await?;
    Ok(written.head().resource_version)
}

/// Takes the controller reference away; an object that is gone needs none.
pub(crate) async fn release(
    client: &Client,
    resource: &GroupVersionResource,
    object: &Meta,
    owner_uid: &str,
) -> Result<u64, Error> {
    let reference = json!({"$patch": "delete", "uid": owner_uid});
    let patch = json!({"metadata": {"uid": object.uid, "ownerReferences": [reference]}});
    let patch = Patch::strategic(patch);
    match client.patch(resource, &object.namespace, &object.name, patch).await {
        Ok(written) => Ok(written.head().resource_version),
        Err(error) if error.is_not_found() => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Whether something could not be made because its namespace ends: then nothing is left to do.
pub(crate) fn namespace_ends(error: &onggi_client::Error) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref());
    causes.is_some_and(|details| {
        details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_api::meta::Time;

    fn object(app: &str, controller: &str, deleting: bool) -> Meta {
        let owner = OwnerReference {
            uid: controller.into(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        Meta {
            uid: "u".into(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            owner_references: if controller.is_empty() { vec![] } else { vec![owner] },
            deletion_timestamp: deleting.then_some(Time(onggi_api::jiff::Timestamp::UNIX_EPOCH)),
            ..Meta::default()
        }
    }

    #[test]
    fn claims() {
        let selector = LabelSelector::parse("app=a").unwrap();
        for (owner_deleting, of, expected) in [
            (false, object("a", "u", false), Claim::Keep),
            (false, object("b", "u", false), Claim::Release),
            (true, object("b", "u", false), Claim::Ignore),
            (false, object("a", "other", false), Claim::Ignore),
            (false, object("a", "", false), Claim::Adopt),
            (false, object("a", "", true), Claim::Ignore),
            (true, object("a", "", false), Claim::Ignore),
            (false, object("b", "", false), Claim::Ignore),
        ] {
            let owner = object("", "", owner_deleting);
            assert_eq!(claim(&owner, &selector, &of), expected, "{owner_deleting} {of:?}");
        }
    }
}
