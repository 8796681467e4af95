//! How values look in errors. Rules find fields that are not set; Go has no such thing and shows
//! the zero of their type. It shows structs field by field in their own order: those of `meta/v1` as
//! their JSON, all others as the internal types have them, by their Go names and without leaving
//! anything out.

use onggi_api::schema::{Empty, Field, Schema, Shape};
use serde_json::Value;

use super::Errors;

/// Gives the values in errors about an object of this schema the look that Go gives them.
pub fn settle(errors: &mut Errors, schema: Schema<'_>) {
    for error in errors {
        let Some(value) = &mut error.value else { continue };
        if !matches!(value, Value::Null | Value::Object(_) | Value::Array(_)) {
            continue;
        }
        let Some((of, empty)) = find(schema, error.path.as_str()) else { continue };
        if value.is_null() {
            let plain = matches!(empty, Empty::LeftOut | Empty::Zero);
            match of.shape() {
                Shape::String | Shape::Bytes if plain => *value = "".into(),
                Shape::Int32 | Shape::Int64 | Shape::Double if plain => *value = 0.into(),
                Shape::Bool if plain => *value = false.into(),
                _ => {}
            }
            continue;
        }
        let mut text = String::new();
        write(of, value, Empty::Counts, &mut text);
        error.shown = Some(text);
    }
}

/// The schema at the path of an error, and what its field writes when it holds nothing.
fn find<'t>(schema: Schema<'t>, path: &str) -> Option<(Schema<'t>, Empty)> {
    let mut found = (schema, Empty::Counts);
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (_, behind) = inside.split_once(']')?;
            let of = found.0;
            let inner = match of.shape() {
                Shape::Map(map) => of.at(map.value),
                _ => of.item()?,
            };
            (found, rest) = ((inner, Empty::Zero), behind);
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let field = found.0.field(&rest[..end])?;
        found = (found.0.at(field.schema), field.empty);
        rest = &rest[end..];
    }
    Some(found)
}

fn write(schema: Schema<'_>, value: &Value, empty: Empty, text: &mut String) {
    match (schema.shape(), value) {
        (Shape::Object(_), Value::Object(map)) => {
            let external = schema.name().is_some_and(|name| name.contains(".pkg.apis.meta."));
            let mut fields: Vec<&Field> = schema.fields().iter().filter(|f| f.tag > 0).collect();
            fields.sort_by_key(|field| field.tag);
            text.push('{');
            let start = text.len();
            for field in fields {
                let value = map.get(&*field.name).unwrap_or(&Value::Null);
                let always = matches!(field.empty, Empty::Zero | Empty::Null);
                if external && value.is_null() && !always {
                    continue;
                }
                if text.len() > start {
                    text.push(',');
                }
                let name = if external { (*field.name).to_owned() } else { go_name(&field.name) };
                text.push_str(&format!("{name:?}:"));
                write(schema.at(field.schema), value, field.empty, text);
            }
            text.push('}');
        }
        (Shape::Object(_), Value::Null) if empty != Empty::Counts && empty != Empty::Null => {
            write(schema, &Value::Object(serde_json::Map::new()), empty, text);
        }
        (Shape::List(list), Value::Array(items)) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(schema.at(list.item), item, Empty::Zero, text);
            }
            text.push(']');
        }
        (Shape::Map(map), Value::Object(entries)) => {
            text.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&format!("{}:", Value::from(key.as_str())));
                write(schema.at(map.value), value, Empty::Zero, text);
            }
            text.push('}');
        }
        (shape, Value::Null) if matches!(empty, Empty::LeftOut | Empty::Zero) => {
            text.push_str(match shape {
                Shape::String => "\"\"",
                Shape::Quantity => "\"0\"",
                Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => "0",
                Shape::Bool => "false",
                _ => "null",
            });
        }
        (_, value) => text.push_str(&value.to_string()),
    }
}

/// The field of the Go type: `hostIP` is `HostIP`.
fn go_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use onggi_api::{FieldError, FieldPath};
    use serde_json::json;

    use super::*;

    #[test]
    fn as_go_shows_them() {
        let schema = onggi_api::schema::of("apps", "v1", "Deployment").unwrap();
        for (path, value, expected) in [
            ("spec.template.spec.tolerations[0].operator", json!(null), "\"\""),
            ("spec.replicas", json!(null), "null"),
            (
                "spec.selector",
                json!({"matchExpressions": [{"key": "a", "operator": ""}], "matchLabels": {"a": "b"}}),
                r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":""}]}"#,
            ),
            (
                "spec.strategy",
                json!({"type": "x", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}),
                r#"{"Type":"x","RollingUpdate":{"MaxUnavailable":1,"MaxSurge":"25%"}}"#,
            ),
            (
                "spec.template.spec.resourceClaims[0]",
                json!({}),
                r#"{"Name":"","ResourceClaimName":null,"ResourceClaimTemplateName":null}"#,
            ),
            ("spec.template.metadata.labels", json!({"b": "1", "a": "2"}), r#"{"a":"2","b":"1"}"#),
            ("nowhere[0].x", json!({"a": 1}), r#"{"a":1}"#),
        ] {
            let mut errors = vec![FieldError::invalid(&FieldPath::new(path), value, "d")];
            settle(&mut errors, schema);
            assert_eq!(errors[0].to_string(), format!("{path}: Invalid value: {expected}: d"));
        }
    }
}
