//! Values against a schema, in the words of Kubernetes (`kube-openapi/pkg/validation/validate`).
//!
//! A value that an update leaves as it was is not complained of, so that a schema may become
//! stricter than what is stored (ratcheting).

use onggi_api::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::{Additional, Checks, Kind, List, Schema, format, lists};

/// How many errors are told.
const MAX_ERRORS: usize = 200;

/// What is wrong with an object; `old` is the one that an update replaces.
pub fn validate(object: &Value, old: Option<&Value>, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    value(object, old, schema, &FieldPath::root(), &mut errors);
    embedded(object, schema, &FieldPath::root(), true, &mut errors);
    let mut duplicates = Vec::new();
    unique(object, old, schema, &FieldPath::root(), &mut duplicates);
    errors.extend(duplicates);
    errors.truncate(MAX_ERRORS);
    errors
}

/// The JSON type of a value, as Go's validator names it.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether the value is of a type; `3.0` counts as whole.
fn fits(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Any, _) => true,
        (Kind::Object, Value::Object(_))
        | (Kind::Array, Value::Array(_))
        | (Kind::String, Value::String(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_)) => true,
        (Kind::Integer, Value::Number(n)) => {
            !n.is_f64() || n.as_f64().is_some_and(|f| f.fract() == 0.0)
        }
        _ => false,
    }
}

fn mistyped(path: &FieldPath, wanted: &str, found: &str) -> FieldError {
    let detail = format!("{} in body must be of type {wanted}: {found:?}", path.as_str());
    FieldError::type_invalid(path, found, detail)
}

fn value(
    found: &Value,
    old: Option<&Value>,
    schema: &Schema,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    if errors.len() >= MAX_ERRORS || old == Some(found) {
        return;
    }
    let wanted = if schema.int_or_string { "integer,string" } else { schema.kind.as_str() };
    if found.is_null() {
        if !wanted.is_empty() && !schema.nullable {
            errors.push(mistyped(path, wanted, "null"));
        }
        return;
    }
    let right = match schema.int_or_string {
        true => fits(Kind::Integer, found) || found.is_string(),
        false => fits(schema.kind, found),
    };
    if !right {
        errors.push(mistyped(path, wanted, type_name(found)));
    }
    if let Some(checks) = &schema.checks {
        composed(found, old, checks, path, errors);
        match found {
            Value::String(text) => texts(text, checks, path, errors),
            Value::Number(_) => numbers(found, checks, path, errors),
            Value::Array(items) => counts(items, checks, path, errors),
            Value::Object(map) => fields(map, checks, path, errors),
            _ => {}
        }
        one_of_values(found, schema, checks, path, errors);
    }
    match found {
        Value::Object(map) => {
            for (key, item) in map {
                let before = old.and_then(|old| old.get(key));
                match (schema.properties.get(key), &schema.additional) {
                    (Some(schema), _) => value(item, before, schema, &path.child(key), errors),
                    (None, Some(Additional::Of(schema))) => {
                        value(item, before, schema, &path.child(key), errors);
                    }
                    (None, Some(Additional::Allowed(false))) => errors.push(FieldError::invalid(
                        path,
                        "",
                        format!("{}.{key} in body is a forbidden property", path.as_str()),
                    )),
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = &schema.items else { return };
            let others = old.and_then(Value::as_array);
            for (at, item) in items.iter().enumerate() {
                let before = match schema.list {
                    List::Map(_) => lists::same(item, others, schema),
                    _ => None,
                };
                value(item, before, of, &path.index(at), errors);
            }
        }
        _ => {}
    }
}

/// An error that names its path in the text.
fn complain(path: &FieldPath, found: impl Into<Value>, detail: &str) -> FieldError {
    FieldError::invalid(path, found, format!("{} in body {detail}", path.as_str()))
}

fn texts(text: &str, checks: &Checks, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as u64;
    // The first of these is told.
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
    } else if let Some(min) = checks.min_length.filter(|min| length < *min) {
        errors.push(complain(path, text, &format!("should be at least {min} chars long")));
    } else if let Some((pattern, compiled)) = &checks.pattern
        && !compiled
            .get_or_init(|| crate::pattern::compile(pattern).ok())
            .as_ref()
            .is_some_and(|compiled| compiled.is_match(text))
    {
        errors.push(complain(path, text, &format!("should match '{pattern}'")));
    }
    if !checks.format.is_empty() && !format::matches(&checks.format, text) {
        let detail =
            format!("{} in body must be of type {}: {text:?}", path.as_str(), checks.format);
        errors.push(FieldError::type_invalid(path, text, detail));
    }
}

fn numbers(found: &Value, checks: &Checks, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(number) = found.as_f64() else { return };
    let mut say = |wrong: bool, detail: String| {
        if wrong {
            errors.push(complain(path, found.clone(), &detail));
        }
    };
    if let Some(factor) = checks.multiple_of.filter(|factor| *factor > 0.0) {
        let ratio = number / factor;
        say((ratio - ratio.round()).abs() > 1e-9, format!("should be a multiple of {factor}"));
    }
    match (checks.maximum, checks.exclusive_maximum) {
        (Some(max), true) => say(number >= max, format!("should be less than {max}")),
        (Some(max), false) => say(number > max, format!("should be less than or equal to {max}")),
        _ => {}
    }
    match (checks.minimum, checks.exclusive_minimum) {
        (Some(min), true) => say(number <= min, format!("should be greater than {min}")),
        (Some(min), false) => {
            say(number < min, format!("should be greater than or equal to {min}"));
        }
        _ => {}
    }
}

fn counts(items: &[Value], checks: &Checks, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let count = items.len() as u64;
    if let Some(min) = checks.min_items.filter(|min| count < *min) {
        errors.push(complain(path, count, &format!("should have at least {min} items")));
    }
    if let Some(max) = checks.max_items.filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, items.len(), usize::try_from(max).unwrap_or(0)));
    }
    if checks.unique_items {
        let mut seen = std::collections::HashSet::new();
        if !items.iter().all(|item| seen.insert(item.to_string())) {
            errors.push(complain(path, "", "shouldn't contain duplicates"));
        }
    }
}

fn fields(
    map: &Map<String, Value>,
    checks: &Checks,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let count = map.len() as u64;
    if let Some(min) = checks.min_properties.filter(|min| count < *min) {
        errors.push(complain(path, count, &format!("should have at least {min} properties")));
    }
    if let Some(max) = checks.max_properties.filter(|max| count > *max) {
        errors.push(FieldError::too_many(path, map.len(), usize::try_from(max).unwrap_or(0)));
    }
    for name in checks.required.iter().filter(|name| !map.contains_key(*name)) {
        errors.push(FieldError::required(&path.child(name), ""));
    }
}

fn one_of_values(
    found: &Value,
    schema: &Schema,
    checks: &Checks,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let known = &checks.one_of_values;
    let same = |known: &Value| match (known, found) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (known, found) => known == found,
    };
    if known.is_empty() || known.iter().any(same) || (found.is_null() && schema.nullable) {
        return;
    }
    let texts: Vec<String> = known
        .iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    errors.push(FieldError::not_supported(path, found.clone(), &texts));
}

fn composed(
    found: &Value,
    old: Option<&Value>,
    checks: &Checks,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let tried = |schema: &Schema| {
        let mut errors = Vec::new();
        value(found, old, schema, path, &mut errors);
        errors
    };
    // Kubernetes names the place in the text only.
    let whole = |detail: String| FieldError::invalid(&FieldPath::root(), "", detail);
    let place = path.as_str();
    let best = |results: Vec<Vec<FieldError>>| {
        results.into_iter().min_by_key(Vec::len).unwrap_or_default()
    };
    if !checks.any_of.is_empty() {
        let results: Vec<_> = checks.any_of.iter().map(tried).collect();
        if !results.iter().any(Vec::is_empty) {
            errors.push(whole(format!("{place:?} must validate at least one schema (anyOf)")));
            errors.extend(best(results));
        }
    }
    if !checks.one_of.is_empty() {
        let results: Vec<_> = checks.one_of.iter().map(tried).collect();
        let text = format!("{place:?} must validate one and only one schema (oneOf).");
        match results.iter().filter(|errors| errors.is_empty()).count() {
            1 => {}
            0 => {
                errors.push(whole(format!("{text} Found none valid")));
                errors.extend(best(results));
            }
            several => errors.push(whole(format!("{text} Found {several} valid alternatives"))),
        }
    }
    if !checks.all_of.is_empty() {
        let results: Vec<_> = checks.all_of.iter().map(tried).collect();
        let right = results.iter().filter(|errors| errors.is_empty()).count();
        if right < results.len() {
            let none = if right == 0 { ". None validated" } else { "" };
            errors.extend(results.into_iter().flatten());
            errors.push(whole(format!("{place:?} must validate all the schemas (allOf){none}")));
        }
    }
    if let Some(not) = &checks.not
        && tried(not).is_empty()
    {
        errors.push(whole(format!("{place:?} must not validate the schema (not)")));
    }
}

/// Embedded objects say what they are.
fn embedded(
    found: &Value,
    schema: &Schema,
    path: &FieldPath,
    is_root: bool,
    errors: &mut Vec<FieldError>,
) {
    match found {
        Value::Object(map) => {
            if schema.embedded && !is_root {
                for field in ["apiVersion", "kind"] {
                    match map.get(field) {
                        Some(Value::String(text)) if !text.is_empty() => {}
                        Some(Value::String(_)) | None => {
                            errors.push(FieldError::required(&path.child(field), ""));
                        }
                        Some(_) => {
                            let detail = "must be a string";
                            errors.push(FieldError::invalid(&path.child(field), "", detail));
                        }
                    }
                }
            }
            for (key, item) in map {
                if let Some(schema) = schema.child(key) {
                    embedded(item, schema, &path.child(key), false, errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    embedded(item, schema, &path.index(at), false, errors);
                }
            }
        }
        _ => {}
    }
}

fn unique(
    found: &Value,
    old: Option<&Value>,
    schema: &Schema,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    if old == Some(found) {
        return;
    }
    match found {
        Value::Object(map) => {
            for (key, item) in map {
                if let Some(schema) = schema.child(key) {
                    let before = old.and_then(|old| old.get(key));
                    unique(item, before, schema, &path.child(key), errors);
                }
            }
        }
        Value::Array(items) => {
            errors.extend(lists::check(items, schema, path));
            let Some(of) = &schema.items else { return };
            let others = old.and_then(Value::as_array);
            for (at, item) in items.iter().enumerate() {
                unique(item, lists::same(item, others, schema), of, &path.index(at), errors);
            }
        }
        _ => {}
    }
}
