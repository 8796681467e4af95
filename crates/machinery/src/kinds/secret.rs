//! `v1 Secret`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::FieldError;
use serde_json::Value;

use super::configmap::{SIZE_MAX, check_key, decoded_len, immutable_data};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{at, entries_at, map_mut, remove, set_default_text, str_at};

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
    validate,
    validate_update,
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

/// A service account's token.
const TOKEN: &str = "kubernetes.io/service-account-token";
/// What a Secret of a type must hold.
const REQUIRED_KEYS: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(object);
    let data = root.child("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        check_key(key, &value, &mut errors);
        size += decoded_len(value.text());
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&data.path, SIZE_MAX));
    }
    let kind = root.child("type").text();
    let has = |key: &str| data.value.get(key).is_some();
    let required = |key: &str| FieldError::required(&data.path.key(key), "");
    let (_, keys) = REQUIRED_KEYS.iter().find(|(name, _)| *name == kind).unwrap_or(&("", &[]));
    errors.extend(keys.iter().filter(|key| !has(key)).map(|key| required(key)));
    match kind {
        "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson" => {
            for (_, value) in data.entries().filter(|(key, _)| keys.contains(key)) {
                must_be_json(&value, &mut errors);
            }
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.extend(["username", "password"].map(required));
        }
        TOKEN => {
            let annotations = root.child("metadata.annotations");
            let key = "kubernetes.io/service-account.name";
            if annotations.value.get(key).is_none() {
                errors.push(FieldError::required(&annotations.path.key(key), ""));
            }
        }
        _ => {}
    }
    errors
}

/// The contents are never shown.
fn must_be_json(value: &At<'_>, errors: &mut Errors) {
    let decoded = STANDARD.decode(value.text()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&decoded) {
        let detail = format!("not JSON: {error}");
        errors.push(FieldError::invalid(&value.path, "<secret contents redacted>", detail));
    }
}

fn validate_update(object: &Value, old: &Value) -> Errors {
    let mut errors = immutable_data(object, old);
    At::root(object).child("type").unchanged(at(old, "type"), &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_is_folded() {
        let mut object = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "plain"}});
        fold_string_data(&mut object);
        assert_eq!(object, json!({"data": {"a": "cGxhaW4=", "b": "eQ=="}}));
    }

    #[test]
    fn types_have_keys() {
        for (kind, data, expected) in [
            ("Opaque", json!({}), &[][..]),
            ("kubernetes.io/tls", json!({"tls.crt": ""}), &["data[tls.key]: Required value"]),
            (
                "kubernetes.io/basic-auth",
                json!({}),
                &["data[username]: Required value", "data[password]: Required value"],
            ),
            ("kubernetes.io/basic-auth", json!({"username": "eA=="}), &[]),
            ("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}), &[]),
            (
                "kubernetes.io/dockerconfigjson",
                json!({".dockerconfigjson": "eA=="}),
                &[
                    "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": not JSON",
                ],
            ),
            (
                TOKEN,
                json!({}),
                &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
        ] {
            let errors = validate(&json!({"type": kind, "data": data}));
            assert_eq!(errors.len(), expected.len(), "{errors:?}");
            for (error, start) in errors.iter().zip(expected) {
                assert!(error.to_string().starts_with(start), "{error}");
            }
        }
    }

    #[test]
    fn the_type_stays() {
        let errors = validate_update(&json!({"type": "a"}), &json!({"type": "b"}));
        assert_eq!(errors[0].to_string(), "type: Invalid value: \"a\": field is immutable");
    }
}
