//! JSON as Go's encoder writes it: keys in order, `<`, `>`, `&` escaped, four spaces.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// On one line.
pub fn compact(value: &Value) -> String {
    escape(&value.to_string())
}

/// Indented, with a line break at the end, as `-o json` prints it.
pub fn pretty(value: &Value) -> String {
    indented(value, "    ")
}

/// As [`pretty`], with another indent.
pub fn indented(value: &Value, indent: &str) -> String {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut to = Serializer::with_formatter(&mut out, formatter);
    // A JSON value written to memory: nothing in it can be refused.
    let _infallible = value.serialize(&mut to);
    out.push(b'\n');
    escape(&String::from_utf8_lossy(&out))
}

/// These stand inside texts alone, so they can be replaced in the whole.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}
