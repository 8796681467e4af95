//! The owners of `scale`: replicas of the object are seen as `.spec.replicas` of a `Scale` and
//! brought back after a write.

use super::entries::{Entry, Id, Managed};
use super::set::FieldSet;

/// The version of `Scale`.
pub const VERSION: &str = "autoscaling/v1";

const REPLICAS: &[&str] = &["f:spec", "f:replicas"];

/// The entries that a `Scale` has: of those who own the replicas, each with its identity in the
/// object. `path` is where the object has them.
pub fn to_scale(managed: &Managed, path: &[&str]) -> Vec<(Id, Entry)> {
    let owners = managed.0.iter().filter(|entry| entry.fields.has(path));
    owners
        .map(|entry| {
            let scale = Entry {
                api_version: VERSION.to_owned(),
                fields: FieldSet::of(&[REPLICAS]),
                ..entry.clone()
            };
            (entry.id(), scale)
        })
        .collect()
}

/// The entries of the object after a write of its `Scale`. `before` is what [`to_scale`] gave,
/// `after` the entries of the scale now.
pub fn to_object(
    managed: Managed,
    path: &[&str],
    api_version: &str,
    before: &[(Id, Entry)],
    after: &Managed,
) -> Managed {
    let replicas = FieldSet::of(&[path]);
    let mut kept = Vec::new();
    let mut out = Managed::default();
    for mut entry in managed.0 {
        let id = entry.id();
        if entry.fields.has(path) {
            let scale = before.iter().find(|(of, _)| *of == id).map(|(_, scale)| scale.id());
            match scale.filter(|scale| after.find(scale).is_some()) {
                Some(scale) => kept.push(scale),
                None => entry.fields.subtract(&replicas),
            }
        }
        if !entry.fields.is_empty() {
            out.0.push(entry);
        }
    }
    for entry in &after.0 {
        if !entry.fields.has(REPLICAS) || kept.contains(&entry.id()) {
            continue;
        }
        let new = Entry {
            api_version: api_version.to_owned(),
            fields: replicas.clone(),
            // As Kubernetes leaves it.
            time: None,
            ..entry.clone()
        };
        out.take(&new.id());
        out.0.push(new);
    }
    out
}
