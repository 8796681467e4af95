//! JSONPath in kubectl's dialect (`k8s.io/client-go/util/jsonpath`): templates of text and
//! `{actions}`, ranges, filters, unions, slices, `a\.b`. It is not RFC 9535.

mod eval;
mod parse;

use std::cmp::Ordering;

use serde_json::Value;

use parse::Node;

/// A template is malformed, or asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A template, ready to be used on any number of objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Node>);

impl Template {
    /// Reads a template: `{range .items[*]}{.metadata.name}{"\n"}{end}`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::template(text).map(Self)
    }

    /// Reads a single expression, with or without braces and leading dot, as custom columns,
    /// `--sort-by` and `wait --for=jsonpath` take it.
    pub fn relaxed(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if bare.is_empty() {
            return Err(Error("the path is empty".to_owned()));
        }
        let dot = if bare.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{bare}}}"))
    }

    /// What the template prints for an object; what is not there prints as nothing.
    pub fn render(&self, object: &Value) -> Result<String, Error> {
        eval::render(&self.0, object)
    }

    /// The values that the expressions find.
    pub fn find<'a>(&self, object: &'a Value) -> Result<Vec<&'a Value>, Error> {
        eval::find(&self.0, object)
    }
}

/// A value as text: texts as they are, maps and lists as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// The order in which `--sort-by` puts values: numbers and quantities by size, texts by letters.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (a, b) => text_of(a).cmp(&text_of(b)),
    }
}

#[cfg(test)]
mod tests;
