//! Printer columns: what `kubectl get` shows of custom objects.

use serde_json::Value;

use crate::jsonpath::Template;
use crate::table::since;
use crate::value::str_at;

/// A column that a definition declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Printer {
    kind: String,
    path: Option<Template>,
}

impl Printer {
    /// From one of `additionalPrinterColumns`.
    pub fn read(column: &Value) -> Self {
        Self {
            kind: str_at(column, "type").to_owned(),
            path: Template::parse(&format!("{{{}}}", str_at(column, "jsonPath"))).ok(),
        }
    }

    /// What stands in the cell; null where the path finds nothing of the type.
    pub fn cell(&self, object: &Value, now: i64) -> Value {
        let found = self.path.as_ref().and_then(|path| path.find(object).ok());
        let Some(first) = found.as_ref().and_then(|found| found.first()) else {
            return Value::Null;
        };
        match (self.kind.as_str(), *first) {
            ("string", _) => {
                let path = self.path.as_ref();
                path.and_then(|path| path.render(object).ok()).map_or(Value::Null, Value::String)
            }
            ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                // Go cuts the fraction off.
                (None, Some(float)) => (float as i64).into(),
                _ => Value::Null,
            },
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*first).clone(),
            ("date", Value::String(text)) => match text.parse::<jiff::Timestamp>() {
                Ok(moment) => since(Some(moment.as_second()), now).into(),
                Err(_) => "<invalid>".into(),
            },
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells() {
        let object = json!({
            "spec": {"n": 3, "f": 2.5, "b": true, "s": "x", "m": {"a": 1}, "l": [1, 2]},
            "status": {"conditions": [
                {"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
            "when": "2026-01-01T00:00:00Z",
        });
        let now = 1_767_225_600 + 300;
        for (kind, path, expected) in [
            ("integer", ".spec.n", json!(3)),
            ("integer", ".spec.f", json!(2)),
            ("number", ".spec.f", json!(2.5)),
            ("boolean", ".spec.b", json!(true)),
            ("string", ".spec.s", json!("x")),
            ("string", ".spec.n", json!("3")),
            ("string", ".spec.m", json!("{\"a\":1}")),
            ("integer", ".spec.l[]", json!(1)),
            ("integer", ".spec.s", Value::Null),
            ("string", ".spec.nothing", Value::Null),
            ("date", ".when", json!("5m")),
            ("date", ".spec.s", json!("<invalid>")),
            ("string", ".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
        ] {
            let column = Printer::read(&json!({"type": kind, "jsonPath": path}));
            assert_eq!(column.cell(&object, now), expected, "{kind} {path}");
        }
    }
}
