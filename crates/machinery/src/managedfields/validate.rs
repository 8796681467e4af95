//! Whether a configuration fits its type, in the words of Kubernetes. Unlike other bodies it may
//! have no unknown fields, whatever the client asks.

use std::collections::HashSet;

use serde_json::Value;

use super::element::show;
use super::fields::item_element;
use super::types::{Class, Scalar, Type};
use crate::value::go_text;

/// How many faults are told.
const MOST: usize = 100;

/// Every fault: `.spec.replicas: expected numeric (int or float), got string`.
pub(super) fn faults(ty: Type<'_>, config: &Value) -> Option<String> {
    let mut faults = Vec::new();
    check(ty, config, "", &mut faults);
    match faults.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => {
            let lines: String = many.iter().map(|fault| format!("\n  {fault}")).collect();
            Some(format!("errors:{lines}"))
        }
    }
}

fn check(ty: Type<'_>, value: &Value, path: &str, faults: &mut Vec<String>) {
    if faults.len() >= MOST || value.is_null() {
        return;
    }
    let at_place = |text: String| if path.is_empty() { text } else { format!("{path}: {text}") };
    match value {
        Value::Object(map) => {
            if ty.scalar().is_some_and(|scalar| scalar != Scalar::Any) {
                return faults.push(at_place(wrong_scalar(ty, value)));
            }
            if ty.is_list() {
                return faults.push(at_place(format!("expected list, got {}", shown(value))));
            }
            for (key, value) in map {
                let here = format!("{path}.{key}");
                if !ty.knows(key) {
                    faults.push(format!("{here}: field not declared in schema"));
                    return;
                }
                check(ty.child(key).ty, value, &here, faults);
            }
        }
        Value::Array(items) => {
            if ty.is_map() {
                return faults.push(at_place(format!("expected map, got {}", shown(value))));
            }
            if ty.scalar().is_some_and(|scalar| scalar != Scalar::Any) {
                return faults.push(at_place(wrong_scalar(ty, value)));
            }
            let merged = matches!(ty.class(value), Class::List(_) | Class::Set);
            let mut seen = HashSet::new();
            for (at, item) in items.iter().enumerate() {
                let element = if merged {
                    match item_element(ty, item) {
                        Ok(element) => element,
                        Err(problem) => {
                            return faults.push(at_place(format!("element {at}: {problem}")));
                        }
                    }
                } else {
                    format!("i:{at}")
                };
                let shown = show(&[&element]);
                let here = format!("{path}{shown}");
                if !seen.insert(element) {
                    faults.push(at_place(format!("duplicate entries for key {shown}")));
                }
                check(ty.item(), item, &here, faults);
            }
        }
        scalar => {
            if ty.is_map() {
                return faults.push(at_place(format!("expected map, got {}", shown(scalar))));
            }
            if ty.is_list() {
                return faults.push(at_place(format!("expected list, got {}", shown(scalar))));
            }
            let fits = match ty.scalar() {
                Some(Scalar::Text) => scalar.is_string(),
                Some(Scalar::Number) => scalar.is_number(),
                Some(Scalar::Boolean) => scalar.is_boolean(),
                Some(Scalar::Any) | None => true,
            };
            if !fits {
                faults.push(at_place(wrong_scalar(ty, scalar)));
            }
        }
    }
}

fn wrong_scalar(ty: Type<'_>, found: &Value) -> String {
    match ty.scalar() {
        Some(Scalar::Number) => {
            format!("expected numeric (int or float), got {}", go_type(found))
        }
        Some(Scalar::Boolean) => format!("expected boolean, got {}", shown(found)),
        _ => format!("expected string, got &value.valueUnstructured{{Value:{found}}}"),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// As Go's `%v` writes a value of a configuration.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", go_text(value))
}
