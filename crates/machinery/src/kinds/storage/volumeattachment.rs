//! `VolumeAttachment`: that a volume is to be attached to a node, and whether it is.

use serde_json::{Value, json};

use super::{BASE, GROUP, driver_name, size};
use crate::kinds::status_of;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{at, bool_at, set, set_default, str_at};

/// The row.
pub const VOLUME_ATTACHMENT: Resource = Resource {
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    subresources: &[status_of(GROUP, "v1", "VolumeAttachment")],
    has_status: true,
    columns: &[
        Column::NAME,
        Column { format: "name", ..Column::text("Attacher") },
        Column::text("PV"),
        Column::text("Node"),
        Column { kind: "boolean", ..Column::text("Attached") },
        Column::AGE,
    ],
    row: |attachment, now| {
        vec![
            table::name(attachment),
            str_at(attachment, "spec.attacher").into(),
            str_at(attachment, "spec.source.persistentVolumeName").into(),
            str_at(attachment, "spec.nodeName").into(),
            bool_at(attachment, "status.attached").into(),
            table::age(attachment, now),
        ]
    },
    default: |attachment| set_default(attachment, "status.attached", false),
    prepare_create: |attachment| set(attachment, "status", json!({"attached": false})),
    validate,
    validate_update: |attachment, old| {
        let mut errors = Errors::new();
        At::root(attachment).child("spec").unchanged(at(old, "spec"), &mut errors);
        errors
    },
    answers_deleted: true,
    ..BASE
};

const MESSAGE_MAX: usize = 1024;

fn validate(attachment: &Value) -> Errors {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let mut errors = Errors::new();
    let (spec, status) = (At::root(attachment).child("spec"), At::root(attachment).child("status"));
    driver_name(&spec.child("attacher"), &mut errors);
    let source = spec.child("source");
    let name = source.child("persistentVolumeName");
    match (source.child("inlineVolumeSpec").is_set(), name.is_set()) {
        (true, true) => errors.push(source.forbidden(ONE)),
        (false, false) => errors.push(source.required(ONE)),
        _ => name.may(names::dns1123_subdomain, &mut errors),
    }
    spec.child("nodeName").must(names::dns1123_subdomain, &mut errors);
    size(&status.child("attachmentMetadata"), &mut errors);
    for error in ["attachError", "detachError"] {
        status.child(error).child("message").at_most(MESSAGE_MAX, &mut errors);
    }
    errors
}
