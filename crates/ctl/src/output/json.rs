//! JSON as Go's encoder writes it: keys in order, `<`, `>`, `&` escaped, four spaces.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

/// On one line.
pub fn compact(value: &Value) -> String {
    escape(&value.to_string())
}

/// Indented, with a line break at the end, as `-o json` prints it.
pub fn pretty(value: &Value) -> String {
    indented(value, "    ")
}

/// The fields of an object as Go's types have them: kind, version and metadata come first.
pub(super) fn in_order(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const FIRST: [&str; 3] = ["kind", "apiVersion", "metadata"];
    let first = FIRST.iter().filter_map(|key| map.get_key_value(*key));
    first.chain(map.iter().filter(|(key, _)| !FIRST.contains(&key.as_str())))
}

/// As [`pretty`], beginning with the kind.
pub(crate) fn typed(value: &Value) -> String {
    struct Typed<'a>(&'a Map<String, Value>);
    impl Serialize for Typed<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(in_order(self.0))
        }
    }
    match value {
        Value::Object(map) => indented(&Typed(map), "    "),
        other => pretty(other),
    }
}

/// As [`pretty`], with another indent.
pub fn indented(value: &impl Serialize, indent: &str) -> String {
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
