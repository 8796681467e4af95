//! `v1 ConfigMap`.

use onggi_api::FieldError;
use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{at, bool_at, entries_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    columns: &[Column::NAME, Column::text("Data"), Column::AGE],
    row,
    validate,
    validate_update: immutable_data,
    warnings,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let count = entries_at(object, "data").count() + entries_at(object, "binaryData").count();
    vec![table::name(object), count.into(), table::age(object, now)]
}

/// How many bytes the values of a ConfigMap or a Secret may have together.
pub(super) const SIZE_MAX: usize = 1024 * 1024;

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(object);
    let (data, binary) = (root.child("data"), root.child("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        check_key(key, &value, &mut errors);
        if binary.value.get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(&value.path, key, detail));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        check_key(key, &value, &mut errors);
        size += decoded_len(value.text());
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&data.path, SIZE_MAX));
    }
    errors
}

/// A key becomes the name of a file or of a variable.
pub(super) fn check_key(key: &str, value: &At<'_>, errors: &mut Errors) {
    let wrong = names::config_key(key);
    errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&value.path, key, e)));
}

/// How many bytes a base64 text stands for.
pub(super) fn decoded_len(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// What was made immutable stays so, and as it is.
pub(super) fn immutable_data(object: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if !bool_at(old, "immutable") {
        return errors;
    }
    let new = At::root(object);
    let changed =
        ["data", "binaryData"].into_iter().filter(|name| at(object, name) != at(old, name));
    let mut fields: Vec<_> = changed.map(|name| new.child(name)).collect();
    if !new.child("immutable").flag() {
        fields.insert(0, new.child("immutable"));
    }
    let detail = "field is immutable when `immutable` is set";
    errors.extend(fields.iter().map(|field| field.forbidden(detail)));
    errors
}

/// A password in a ConfigMap is a password that everybody reads.
fn warnings(object: &Value) -> Vec<String> {
    entries_at(object, "data")
        .filter(|(key, value)| looks_like_credential(key) && value.as_str() != Some(""))
        .map(|(key, _)| {
            format!(
                "key {key} looks like a credential and every reader of ConfigMaps can see it; \
                 move it to a Secret"
            )
        })
        .collect()
}

/// Whether a key is named as credentials are: `JWT_SECRET`, `db.password`, `apiKey`. Names of
/// other things that hold them (`PASSWORD_FILE`, `SECRET_NAME`) are not meant.
fn looks_like_credential(key: &str) -> bool {
    const CREDENTIALS: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "credential",
        "credentials",
    ];
    let word: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    CREDENTIALS.iter().any(|credential| word.ends_with(credential))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_and_size() {
        let object = json!({
            "data": {"a b": "x", "both": "x", "big": "y".repeat(SIZE_MAX)},
            "binaryData": {"both": "eA=="},
        });
        let errors: Vec<String> = validate(&object).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key must")
        );
        assert_eq!(
            errors[1],
            "data[both]: Invalid value: \"both\": duplicate of key present in binaryData"
        );
        assert_eq!(errors[2], "data: Too long: may not be more than 1048576 bytes");
    }

    #[test]
    fn immutable() {
        let old = json!({"data": {"a": "1"}, "immutable": true});
        for (new, expected) in [
            (json!({"data": {"a": "1"}, "immutable": true, "metadata": {}}), &[][..]),
            (json!({"data": {"a": "2"}, "immutable": true}), &["data"]),
            (json!({"data": {"a": "1"}}), &["immutable"]),
        ] {
            let errors = immutable_data(&new, &old);
            let paths: Vec<&str> = errors.iter().map(|e| e.path.as_str()).collect();
            assert_eq!(paths, expected);
        }
        assert_eq!(immutable_data(&json!({}), &json!({"data": {"a": "1"}})), []);
    }

    #[test]
    fn credentials() {
        let keys = |texts: &[&str], expected| {
            for key in texts {
                assert_eq!(looks_like_credential(key), expected, "{key}");
            }
        };
        keys(&["JWT_SECRET", "db.password", "apiKey", "API_TOKEN", "aws-secret-access-key"], true);
        keys(&["SECRET_NAME", "PASSWORD_FILE", "TOKEN_URL", "key", "MONKEY", "nginx.conf"], false);
        let object = json!({"data": {"JWT_SECRET": "hello", "URL": "x", "EMPTY_TOKEN": ""}});
        assert_eq!(
            warnings(&object),
            ["key JWT_SECRET looks like a credential and every reader of ConfigMaps can see it; \
              move it to a Secret"]
        );
    }
}
