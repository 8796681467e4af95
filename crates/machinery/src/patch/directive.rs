//! The words with a `$` of strategic merge patches, and the facts of the schema that steer them.

use onggi_api::schema::{PatchStrategy, Schema};
use serde_json::{Map, Value};

use super::PatchError;

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";

/// What `$patch` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Merge,
    Replace,
    Delete,
}

/// How a field is merged.
#[derive(Clone, Copy)]
pub(super) struct Rule<'t> {
    pub(super) schema: Option<Schema<'t>>,
    pub(super) patch: PatchStrategy,
}

impl<'t> Rule<'t> {
    /// For a key of an object or map.
    pub(super) fn of(parent: Option<Schema<'t>>, key: &str) -> Self {
        Self {
            schema: parent.and_then(|schema| schema.child(key)),
            patch: parent
                .and_then(|schema| schema.field(key))
                .map(|field| field.patch)
                .unwrap_or_default(),
        }
    }

    /// The schema of a list's items.
    pub(super) fn item(self) -> Option<Schema<'t>> {
        self.schema.and_then(Schema::item)
    }

    /// The field that tells the items of a merged list apart.
    pub(super) fn merge_key(self) -> Option<&'t str> {
        let list = self.schema.and_then(Schema::list)?;
        list.merge_key.as_deref().filter(|_| self.patch.merge)
    }
}

/// Takes `$patch` out of a map.
pub(super) fn take(map: &mut Map<String, Value>) -> Result<Option<Directive>, PatchError> {
    match map.remove(PATCH) {
        None => Ok(None),
        Some(Value::String(text)) if text == "merge" => Ok(Some(Directive::Merge)),
        Some(Value::String(text)) if text == "replace" => Ok(Some(Directive::Replace)),
        Some(Value::String(text)) if text == "delete" => Ok(Some(Directive::Delete)),
        Some(other) => {
            let found = other.as_str().map_or_else(|| other.to_string(), ToOwned::to_owned);
            map.insert(PATCH.to_owned(), found.clone().into());
            let map = crate::value::go_text(&Value::Object(std::mem::take(map)));
            Err(PatchError::Lists(format!("unknown patch type: {found} in map: {map}")))
        }
    }
}

/// Takes everything with a `$` out of a value that has no counterpart in the object, and the nulls
/// that would have deleted something.
pub(super) fn drop_all(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                let word = key == PATCH
                    || key == RETAIN_KEYS
                    || key.starts_with(SET_ELEMENT_ORDER)
                    || key.starts_with(DELETE_FROM_LIST);
                !word && !value.is_null()
            });
            map.values_mut().for_each(drop_all);
        }
        Value::Array(items) => {
            items.retain(|item| item.get(PATCH).and_then(Value::as_str) != Some("delete"));
            // A list that only replaces is the list without the word.
            items.retain(|item| {
                let words = item.as_object().filter(|map| map.contains_key(PATCH));
                words.is_none_or(|map| map.len() > 1)
            });
            items.iter_mut().for_each(drop_all);
        }
        _ => {}
    }
}
