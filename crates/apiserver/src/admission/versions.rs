//! Versions of a kind: a webhook that has asked for one of them is shown all of them in it.

use onggi_api::{GroupVersionKind, Object, Status};
use onggi_machinery::resource::Resource;
use onggi_machinery::schema::{self, FieldValidation};
use serde_json::Value;

use super::Attributes;
use crate::registry::{Registry, problem_status};

/// The other versions that the kind is served in.
pub(super) fn equivalents(registry: &Registry, row: &'static Resource) -> Vec<&'static Resource> {
    if row.custom.is_none() {
        return Vec::new();
    }
    let snapshot = registry.kinds.snapshot();
    let same = |other: &&'static Resource| {
        (other.group, other.plural) == (row.group, row.plural) && other.version != row.version
    };
    snapshot.served().map(|version| version.row).filter(same).collect()
}

/// The object in another version of its kind.
pub(super) async fn convert(
    registry: &Registry,
    from: &'static Resource,
    to: &'static Resource,
    object: Value,
) -> Result<Value, Status> {
    if from.version == to.version || object.is_null() {
        return Ok(object);
    }
    let object = Object::from_value(&object, &[]).map_err(Status::internal)?;
    registry.shown(to, object.into()).await?.value().map_err(Status::internal)
}

/// An object that somebody has changed, as a body that has just come in: what its schema does not
/// know is dropped, and what was left out is set.
pub(super) fn readmit(
    registry: &Registry,
    attributes: &Attributes<'_>,
    mut object: Value,
) -> Result<Value, Status> {
    let (group, version, kind) = attributes.kind();
    let gvk = GroupVersionKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    };
    let row = attributes.row;
    let whole = (group, version, kind) == (row.group, row.version, row.kind);
    let kind = registry.kind(row)?;
    let prune = |value: &mut Value| match kind.custom().filter(|_| whole) {
        Some(custom) => custom.prune(value),
        None => Vec::new(),
    };
    schema::admit_custom(&mut object, &gvk, FieldValidation::Ignore, Vec::new(), prune)
        .map_err(|problem| problem_status(&problem))?;
    if whole {
        kind.default(&mut object);
    }
    Ok(object)
}
