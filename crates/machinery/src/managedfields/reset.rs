//! What a write through a path cannot set (`GetResetFields` of the real strategies): it is put back
//! before the object is stored, and nobody comes to own it that way.

use super::set::FieldSet;
use crate::resource::Resource;

/// The fields that are reset by a write of the object itself (`subresource` empty) or of a part.
pub fn reset_fields(row: &Resource, subresource: &str) -> FieldSet {
    match subresource {
        "" if row.has_status => FieldSet::of(&[&["f:status"]]),
        "" => FieldSet::default(),
        "status" => {
            let mut fields = FieldSet::of(&[&["f:spec"]]);
            if onggi_api::schema::of(row.group, row.version, row.kind).is_none() {
                fields.insert(&["f:metadata"]);
            }
            for field in status_resets(row) {
                fields.insert(&["f:metadata", field]);
            }
            fields
        }
        _ => FieldSet::default(),
    }
}

fn status_resets(row: &Resource) -> &'static [&'static str] {
    match (row.group, row.plural) {
        ("", "pods") => &["f:deletionTimestamp", "f:ownerReferences"],
        ("apps", "deployments") => &["f:labels"],
        _ => &[],
    }
}

/// The fields of `metadata`, without the `f:`, that a write of the status leaves as they are.
pub fn status_keeps(row: &Resource) -> impl Iterator<Item = &'static str> {
    status_resets(row).iter().map(|field| field.trim_start_matches("f:"))
}
