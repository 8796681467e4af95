//! What the targets share: how an input is taken apart, and what must hold for every object.

pub mod texts;

use onggi_api::Object;
use onggi_api::object::encode;
use onggi_api::schema::{Schema, Shape};
use onggi_machinery::protobuf;
use onggi_machinery::resource::{self, Resource};
use onggi_machinery::schema::{self, FieldValidation};
use serde_json::Value;

/// Some moment, for what depends on the time.
pub const NOW: i64 = 1_700_000_000;

/// The kind that the first two bytes choose, and the other bytes.
pub fn kind(data: &[u8]) -> Option<(&'static Resource, &[u8])> {
    let (number, rest) = data.split_first_chunk()?;
    let kinds = resource::all();
    Some((kinds[usize::from(u16::from_le_bytes(*number)) % kinds.len()], rest))
}

/// The bytes that choose a kind.
pub fn number_of(row: &Resource) -> [u8; 2] {
    let at = resource::all().iter().position(|other| other.gvk() == row.gvk()).unwrap_or(0);
    (at as u16).to_le_bytes()
}

/// The parts of an input, which stand between zero bytes.
pub fn parts<const N: usize>(data: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    let mut found = [data; N];
    for slot in &mut found {
        *slot = parts.next()?;
    }
    Some(found)
}

/// An object of the kind as the server decodes and defaults it.
pub fn object(row: &Resource, body: &[u8]) -> Option<Value> {
    let found = schema::decode(body, "application/json", &row.gvk(), FieldValidation::Ignore);
    let mut value = found.ok()?.value;
    (row.default)(&mut value);
    Some(value)
}

/// What must hold for whatever the decoders or patches have let pass.
pub fn admitted(row: &Resource, value: &Value) {
    let text = serde_json::to_vec(value).expect("a value is JSON");
    let again = schema::decode(&text, "application/json", &row.gvk(), FieldValidation::Strict);
    let again = again.unwrap_or_else(|error| panic!("was admitted once: {error}: {value}"));
    assert_eq!(&again.value, value, "the canonical form is not its own canonical form");
    stored(row, value);
    crosses_protobuf(row, value);
    lives(row, value);
}

/// The store gives back what it was given, with its revision.
fn stored(row: &Resource, value: &Value) {
    if !value.get("metadata").is_some_and(Value::is_object) {
        return;
    }
    let bytes = encode(value).expect("it has metadata");
    let object = Object::from_stored(&bytes, 7, row.fields).expect("what was encoded is read");
    let mut expected = value.clone();
    expected["metadata"]["resourceVersion"] = "7".into();
    assert_eq!(object.value().expect("it was read"), expected);
}

/// Clients that ask for protobuf are told the same.
fn crosses_protobuf(row: &Resource, value: &Value) {
    if !protobuf::knows(&row.api_version(), row.kind) {
        return;
    }
    let mut value = value.clone();
    if let Some(of_kind) = onggi_api::schema::of(row.group, row.version, row.kind) {
        drop_inner_types(of_kind, &mut value, true);
    }
    let bytes = protobuf::encode(&value).unwrap_or_else(|error| panic!("{error}: {value}"));
    let mut back = protobuf::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {value}"));
    schema::admit(&mut back, &row.gvk(), FieldValidation::Ignore)
        .unwrap_or_else(|error| panic!("{error}: {back}"));
    // A list that is there and empty is nothing in a message; defaults make it again.
    (row.default)(&mut back);
    (row.default)(&mut value);
    assert_eq!(back, value, "protobuf has changed it");
}

/// Messages do not say the type of an object within another one: its field does.
fn drop_inner_types(of: Schema<'_>, value: &mut Value, whole: bool) {
    match (of.shape(), value) {
        (Shape::Object(_), Value::Object(map)) => map.retain(|name, value| {
            let Some(field) = of.field(name) else { return true };
            drop_inner_types(of.at(field.schema), value, false);
            whole || field.tag != 0 || !matches!(name.as_str(), "apiVersion" | "kind")
        }),
        (Shape::List(list), Value::Array(items)) => {
            items.iter_mut().for_each(|item| drop_inner_types(of.at(list.item), item, false));
        }
        (Shape::Map(map), Value::Object(values)) => {
            values.values_mut().for_each(|value| drop_inner_types(of.at(map.value), value, false));
        }
        _ => {}
    }
}

/// What the registry does with it: none of it may panic, and defaults settle.
fn lives(row: &Resource, value: &Value) {
    let mut new = value.clone();
    (row.prepare_create)(&mut new);
    (row.default)(&mut new);
    let once = new.clone();
    (row.default)(&mut new);
    assert_eq!(new, once, "defaults of defaults");
    let _ = (row.warnings)(&new);
    let _ = row.cells(&new, NOW);
    if (row.validate)(&new).is_empty() && (row.validate_create)(&new).is_empty() {
        let mut updated = new.clone();
        (row.prepare_update)(&mut updated, &new);
        let _ = (row.validate_update)(&updated, &new);
    }
}
