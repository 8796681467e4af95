//! OpenAPI v2 (`openapi.v2.Document` of gnostic), which kubectl asks for where it does not use v3.

use serde_json::Value;

use super::super::wire::Writer;
use super::{Fields, Kind, extensions, fields, nested};

const DOCUMENT: Fields = &[
    ("swagger", 1, Kind::Text),
    ("info", 2, Kind::Message(info)),
    ("paths", 8, Kind::Named(2, path_item)),
    ("definitions", 9, Kind::Named(1, schema)),
    ("parameters", 10, Kind::Named(1, parameter)),
];
const INFO: Fields = &[("title", 1, Kind::Text), ("version", 2, Kind::Text)];
const PATH_ITEM: Fields = &[
    ("get", 2, Kind::Message(operation)),
    ("put", 3, Kind::Message(operation)),
    ("post", 4, Kind::Message(operation)),
    ("delete", 5, Kind::Message(operation)),
    ("patch", 8, Kind::Message(operation)),
    ("parameters", 9, Kind::Messages(parameter_item)),
];
const OPERATION: Fields = &[
    ("description", 3, Kind::Text),
    ("operationId", 5, Kind::Text),
    ("produces", 6, Kind::Texts),
    ("consumes", 7, Kind::Texts),
    ("parameters", 8, Kind::Messages(parameter_item)),
    ("responses", 9, Kind::Named(1, response)),
    ("schemes", 10, Kind::Texts),
];
const BODY_PARAMETER: Fields = &[
    ("name", 2, Kind::Text),
    ("in", 3, Kind::Text),
    ("required", 4, Kind::Bool),
    ("schema", 5, Kind::Message(schema)),
];
const QUERY_PARAMETER: Fields = &[
    ("required", 1, Kind::Bool),
    ("in", 2, Kind::Text),
    ("description", 3, Kind::Text),
    ("name", 4, Kind::Text),
    ("type", 6, Kind::Text),
];
const PATH_PARAMETER: Fields = &[
    ("required", 1, Kind::Bool),
    ("in", 2, Kind::Text),
    ("name", 4, Kind::Text),
    ("type", 5, Kind::Text),
];
const REFERENCE: Fields = &[("$ref", 1, Kind::Text)];
const RESPONSE: Fields =
    &[("description", 1, Kind::Text), ("schema", 2, Kind::Message(schema_item))];
const SCHEMA: Fields = &[
    ("$ref", 1, Kind::Text),
    ("format", 2, Kind::Text),
    ("title", 3, Kind::Text),
    ("description", 4, Kind::Text),
    ("maximum", 7, Kind::Double),
    ("minimum", 9, Kind::Double),
    ("maxLength", 11, Kind::Whole),
    ("minLength", 12, Kind::Whole),
    ("pattern", 13, Kind::Text),
    ("maxItems", 14, Kind::Whole),
    ("minItems", 15, Kind::Whole),
    ("uniqueItems", 16, Kind::Bool),
    ("required", 19, Kind::Texts),
    ("additionalProperties", 21, Kind::Message(additional)),
    ("type", 22, Kind::Message(type_item)),
    ("items", 23, Kind::Message(items)),
    ("properties", 25, Kind::Named(1, schema)),
];

/// See [`super::v2`].
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    fields(DOCUMENT, document, &mut out);
    out.0
}

fn info(value: &Value, out: &mut Writer) {
    fields(INFO, value, out);
}

fn path_item(value: &Value, out: &mut Writer) {
    fields(PATH_ITEM, value, out);
}

fn operation(value: &Value, out: &mut Writer) {
    fields(OPERATION, value, out);
    extensions(13, value, out);
}

fn parameter_item(value: &Value, out: &mut Writer) {
    match value.get("$ref") {
        Some(_) => nested(2, out, |out| fields(REFERENCE, value, out)),
        None => nested(1, out, |out| parameter(value, out)),
    }
}

/// For all but bodies with the place that it stands in.
fn parameter(value: &Value, out: &mut Writer) {
    match value["in"].as_str() {
        Some("body") => nested(1, out, |out| fields(BODY_PARAMETER, value, out)),
        Some("path") => nested(2, out, |out| {
            nested(4, out, |out| fields(PATH_PARAMETER, value, out));
        }),
        _ => nested(2, out, |out| nested(3, out, |out| fields(QUERY_PARAMETER, value, out))),
    }
}

fn response(value: &Value, out: &mut Writer) {
    nested(1, out, |out| fields(RESPONSE, value, out));
}

fn schema_item(value: &Value, out: &mut Writer) {
    nested(1, out, |out| schema(value, out));
}

fn schema(value: &Value, out: &mut Writer) {
    fields(SCHEMA, value, out);
    extensions(31, value, out);
}

fn additional(value: &Value, out: &mut Writer) {
    match value {
        Value::Bool(any) => out.varint(2, u64::from(*any)),
        value => nested(1, out, |out| schema(value, out)),
    }
}

fn type_item(value: &Value, out: &mut Writer) {
    if let Some(name) = value.as_str() {
        out.bytes(1, name.as_bytes());
    }
}

fn items(value: &Value, out: &mut Writer) {
    nested(1, out, |out| schema(value, out));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::document;

    #[test]
    fn parameters() {
        let given = json!({
            "paths": {"/a": {"get": {"parameters": [{"$ref": "#/w"}]}}},
            "parameters": {"w": {"name": "w", "in": "query", "type": "boolean"}},
        });
        let expected = [
            &b"\x42\x13\x12\x11\x0a\x02/a\x12\x0b\x12\x09\x42\x07\x12\x05\x0a\x03#/w"[..],
            b"\x52\x1e\x0a\x1c\x0a\x01w\x12\x17\x12\x15\x1a\x13",
            b"\x12\x05query\x22\x01w\x32\x07boolean",
        ];
        assert_eq!(document(&given), expected.concat());
    }

    #[test]
    fn a_small_document() {
        let given = json!({
            "swagger": "2.0",
            "info": {"title": "K", "version": "1"},
            "definitions": {"a": {"type": "object", "properties": {"b": {"$ref": "c"}}, "x-k": [1]}},
        });
        let properties = [&b"\xca\x01\x0a\x0a\x08\x0a\x01b\x12\x03\x0a\x01c"[..]].concat();
        let kind = b"\xb2\x01\x08\x0a\x06object";
        let extension = b"\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]";
        let schema = [&kind[..], &properties, extension].concat();
        let entry = [&b"\x0a\x01a\x12"[..], &[schema.len() as u8], &schema].concat();
        let definitions = [&b"\x0a"[..], &[entry.len() as u8], &entry].concat();
        let expected = [
            &b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x011\x4a"[..],
            &[definitions.len() as u8],
            &definitions,
        ]
        .concat();
        assert_eq!(document(&given), expected);
    }
}
