//! `v1 Secret`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::value::{entries_at, map_mut, remove, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    fields: &["type"],
    columns: &[Column::NAME, Column::text("Type"), Column::text("Data"), Column::AGE],
    row,
    default,
    prepare_create: fold_string_data,
    prepare_update: |object, _| fold_string_data(object),
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    vec![
        table::name(object),
        str_at(object, "type").into(),
        entries_at(object, "data").count().into(),
        table::age(object, now),
    ]
}

fn default(object: &mut Value) {
    set_default_text(object, "type", "Opaque");
}

/// `stringData` is for writing only: its values go into `data`, over what stands there.
fn fold_string_data(object: &mut Value) {
    let encoded: Vec<(String, Value)> = entries_at(object, "stringData")
        .filter_map(|(key, text)| {
            Some((key.to_owned(), Value::from(STANDARD.encode(text.as_str()?))))
        })
        .collect();
    if !encoded.is_empty() {
        map_mut(object, "data").extend(encoded);
    }
    remove(object, "stringData");
}
