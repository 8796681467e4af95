//! OpenAPI v3 (`openapi.v3.Document` of gnostic).

use serde_json::Value;

use super::super::wire::Writer;
use super::{Fields, Kind, extensions, fields, nested};

const DOCUMENT: Fields = &[
    ("openapi", 1, Kind::Text),
    ("info", 2, Kind::Message(info)),
    ("paths", 4, Kind::Named(1, path_item)),
    ("components", 5, Kind::Message(components)),
];
const INFO: Fields =
    &[("title", 1, Kind::Text), ("description", 2, Kind::Text), ("version", 6, Kind::Text)];
const COMPONENTS: Fields = &[
    ("schemas", 1, Kind::Named(1, schema)),
    ("responses", 2, Kind::Named(1, response)),
    ("parameters", 3, Kind::Named(1, parameter)),
];
const PATH_ITEM: Fields = &[
    ("summary", 2, Kind::Text),
    ("description", 3, Kind::Text),
    ("get", 4, Kind::Message(operation)),
    ("put", 5, Kind::Message(operation)),
    ("post", 6, Kind::Message(operation)),
    ("delete", 7, Kind::Message(operation)),
    ("options", 8, Kind::Message(operation)),
    ("head", 9, Kind::Message(operation)),
    ("patch", 10, Kind::Message(operation)),
    ("parameters", 13, Kind::Messages(parameter)),
];
const OPERATION: Fields = &[
    ("tags", 1, Kind::Texts),
    ("summary", 2, Kind::Text),
    ("description", 3, Kind::Text),
    ("operationId", 5, Kind::Text),
    ("parameters", 6, Kind::Messages(parameter)),
    ("requestBody", 7, Kind::Message(request_body)),
    ("responses", 8, Kind::Message(responses)),
    ("deprecated", 10, Kind::Bool),
];
const PARAMETER: Fields = &[
    ("name", 1, Kind::Text),
    ("in", 2, Kind::Text),
    ("description", 3, Kind::Text),
    ("required", 4, Kind::Bool),
    ("deprecated", 5, Kind::Bool),
    ("schema", 10, Kind::Message(schema)),
];
const REQUEST_BODY: Fields = &[
    ("description", 1, Kind::Text),
    ("content", 2, Kind::Named(1, media_type)),
    ("required", 3, Kind::Bool),
];
const MEDIA_TYPE: Fields = &[("schema", 1, Kind::Message(schema))];
const RESPONSE: Fields =
    &[("description", 1, Kind::Text), ("content", 3, Kind::Named(1, media_type))];
const REFERENCE: Fields =
    &[("$ref", 1, Kind::Text), ("summary", 2, Kind::Text), ("description", 3, Kind::Text)];
const SCHEMA: Fields = &[
    ("nullable", 1, Kind::Bool),
    ("readOnly", 3, Kind::Bool),
    ("writeOnly", 4, Kind::Bool),
    ("example", 7, Kind::Message(any)),
    ("deprecated", 8, Kind::Bool),
    ("title", 9, Kind::Text),
    ("multipleOf", 10, Kind::Double),
    ("maximum", 11, Kind::Double),
    ("exclusiveMaximum", 12, Kind::Bool),
    ("minimum", 13, Kind::Double),
    ("exclusiveMinimum", 14, Kind::Bool),
    ("maxLength", 15, Kind::Whole),
    ("minLength", 16, Kind::Whole),
    ("pattern", 17, Kind::Text),
    ("maxItems", 18, Kind::Whole),
    ("minItems", 19, Kind::Whole),
    ("uniqueItems", 20, Kind::Bool),
    ("maxProperties", 21, Kind::Whole),
    ("minProperties", 22, Kind::Whole),
    ("required", 23, Kind::Texts),
    ("enum", 24, Kind::Messages(any)),
    ("type", 25, Kind::Text),
    ("allOf", 26, Kind::Messages(schema)),
    ("oneOf", 27, Kind::Messages(schema)),
    ("anyOf", 28, Kind::Messages(schema)),
    ("not", 29, Kind::Message(bare_schema)),
    ("items", 30, Kind::Message(items)),
    ("properties", 31, Kind::Named(1, schema)),
    ("additionalProperties", 32, Kind::Message(additional)),
    ("default", 33, Kind::Message(default)),
    ("description", 34, Kind::Text),
    ("format", 35, Kind::Text),
];

/// See [`super::v3`].
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    fields(DOCUMENT, document, &mut out);
    extensions(9, document, &mut out);
    out.0
}

fn info(value: &Value, out: &mut Writer) {
    fields(INFO, value, out);
}

fn components(value: &Value, out: &mut Writer) {
    fields(COMPONENTS, value, out);
}

fn path_item(value: &Value, out: &mut Writer) {
    fields(PATH_ITEM, value, out);
    extensions(14, value, out);
}

fn operation(value: &Value, out: &mut Writer) {
    fields(OPERATION, value, out);
    extensions(13, value, out);
}

/// The thing itself as field 1, or what it refers to as field 2.
fn or_reference(value: &Value, out: &mut Writer, itself: impl FnOnce(&mut Writer)) {
    match value.get("$ref") {
        Some(_) => nested(2, out, |out| fields(REFERENCE, value, out)),
        None => nested(1, out, itself),
    }
}

fn parameter(value: &Value, out: &mut Writer) {
    or_reference(value, out, |out| {
        fields(PARAMETER, value, out);
        extensions(14, value, out);
    });
}

fn request_body(value: &Value, out: &mut Writer) {
    or_reference(value, out, |out| fields(REQUEST_BODY, value, out));
}

fn media_type(value: &Value, out: &mut Writer) {
    fields(MEDIA_TYPE, value, out);
}

fn response(value: &Value, out: &mut Writer) {
    or_reference(value, out, |out| fields(RESPONSE, value, out));
}

/// By their codes; what is said for all others stands apart.
fn responses(value: &Value, out: &mut Writer) {
    for (code, value) in value.as_object().into_iter().flatten() {
        match code.as_str() {
            "default" => nested(1, out, |out| response(value, out)),
            code if code.starts_with("x-") => {}
            code => nested(2, out, |out| {
                out.bytes(1, code.as_bytes());
                nested(2, out, |out| response(value, out));
            }),
        }
    }
    extensions(3, value, out);
}

fn bare_schema(value: &Value, out: &mut Writer) {
    fields(SCHEMA, value, out);
    extensions(36, value, out);
}

fn schema(value: &Value, out: &mut Writer) {
    or_reference(value, out, |out| bare_schema(value, out));
}

fn items(value: &Value, out: &mut Writer) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| nested(1, out, |out| schema(one, out))),
        one => nested(1, out, |out| schema(one, out)),
    }
}

fn additional(value: &Value, out: &mut Writer) {
    match value {
        Value::Bool(any) => out.varint(2, u64::from(*any)),
        value => nested(1, out, |out| schema(value, out)),
    }
}

/// The message knows scalars only.
fn default(value: &Value, out: &mut Writer) {
    match value {
        Value::Number(number) => {
            out.fixed64(1, number.as_f64().unwrap_or_default().to_bits());
        }
        Value::Bool(on) => out.varint(2, u64::from(*on)),
        Value::String(text) => out.bytes(3, text.as_bytes()),
        _ => {}
    }
}

/// A value in YAML; JSON is that too.
fn any(value: &Value, out: &mut Writer) {
    out.bytes(2, value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::wire::{Reader, Wire};
    use super::document;

    /// What stands behind the numbers on the way.
    fn at<'b>(bytes: &'b [u8], path: &[u32]) -> Vec<&'b [u8]> {
        let Some((first, rest)) = path.split_first() else { return vec![bytes] };
        let mut found = Vec::new();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.next().unwrap() {
            if let Wire::Bytes(inner) = wire
                && number == *first
            {
                found.extend(at(inner, rest));
            }
        }
        found
    }

    #[test]
    fn a_small_document() {
        let made = document(&json!({
            "openapi": "3.0.0",
            "info": {"title": "K", "version": "1"},
            "paths": {"/a": {"get": {
                "parameters": [{"$ref": "#/w"}, {"name": "n", "in": "path", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "OK", "content": {"application/json": {
                    "schema": {"$ref": "#/c"}}}}, "default": {"description": "else"}},
                "x-kubernetes-action": "list",
            }}},
            "components": {"schemas": {"c": {
                "type": "object", "required": ["a"], "x-k": [1],
                "properties": {"a": {"allOf": [{"$ref": "#/d"}], "default": {}},
                    "b": {"type": "array", "items": {"type": "integer", "default": 3}},
                    "e": {"enum": ["x", "y"], "default": "x"}},
                "additionalProperties": false,
            }}},
        }));
        let text = |path: &[u32]| {
            let all = at(&made, path).into_iter().map(String::from_utf8_lossy);
            all.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (text(&[1]), text(&[2, 1]), text(&[2, 6])),
            ("3.0.0".into(), "K".into(), "1".into())
        );
        assert_eq!(text(&[4, 1, 1]), "/a");
        let under = |path: &[u32]| text(&[&[4, 1, 2, 4], path].concat());
        assert_eq!(under(&[6, 2, 1]), "#/w");
        assert_eq!(under(&[6, 1, 1]), "n");
        assert_eq!(under(&[6, 1, 10, 1, 25]), "string");
        assert_eq!(under(&[8, 2, 1]), "200");
        assert_eq!(under(&[8, 2, 2, 1, 3, 1, 2, 1, 2, 1]), "#/c");
        assert_eq!(under(&[8, 1, 1, 1]), "else");
        assert_eq!(under(&[13, 2, 2]), "\"list\"");
        let schema = |path: &[u32]| text(&[&[5, 1, 1, 2, 1], path].concat());
        assert_eq!(text(&[5, 1, 1, 1]), "c");
        assert_eq!((schema(&[25]), schema(&[23])), ("object".into(), "a".into()));
        assert_eq!(schema(&[31, 1, 1]), "a b e");
        assert_eq!(schema(&[31, 1, 2, 1, 26, 2, 1]), "#/d");
        assert_eq!(schema(&[31, 1, 2, 1, 30, 1, 1, 25]), "integer");
        assert_eq!(schema(&[31, 1, 2, 1, 24, 2]), "\"x\" \"y\"");
        assert!(schema(&[31, 1, 2, 1, 33, 3]).ends_with('x'));
        assert_eq!(at(&made, &[5, 1, 1, 2, 1, 32]), [&[0x10, 0][..]]);
        assert_eq!(schema(&[36, 1]), "x-k");
    }
}
