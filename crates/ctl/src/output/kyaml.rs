//! KYAML (KEP-5295): YAML with brackets and quotes, as kubectl's `-o kyaml` writes it.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::json::in_order;
use super::yaml::{as_time, float_text};

/// A value as a document, with the line before it that tells it from JSON.
pub fn to_string(value: &Value) -> String {
    let mut text = "---\n".to_owned();
    put(&mut text, value, 0);
    text.push('\n');
    text
}

/// The same, beginning with the kind.
pub(crate) fn typed(value: &Value) -> String {
    let mut text = "---\n".to_owned();
    match value {
        Value::Object(map) if !map.is_empty() => put_fields(&mut text, in_order(map), 0),
        other => put(&mut text, other, 0),
    }
    text.push('\n');
    text
}

fn put(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => out.push_str(&json_float(float)),
            None => out.push_str(&number.to_string()),
        },
        Value::String(text) => put_text(out, text, depth + 1, Lines::Folded),
        Value::Array(items) => put_list(out, items, depth),
        Value::Object(map) => put_map(out, map, depth),
    }
}

fn put_map(out: &mut String, map: &Map<String, Value>, depth: usize) {
    if map.is_empty() {
        return out.push_str("{}");
    }
    put_fields(out, map.iter(), depth);
}

fn put_fields<'a>(
    out: &mut String,
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
) {
    out.push_str("{\n");
    for (key, value) in fields {
        indent(out, depth + 1);
        if needs_quotes(key) {
            put_text(out, key, depth + 1, Lines::Escaped);
        } else {
            out.push_str(key);
        }
        out.push_str(": ");
        put(out, value, depth + 1);
        out.push_str(",\n");
    }
    indent(out, depth);
    out.push('}');
}

/// Lists of lists and maps begin on the line of their bracket.
fn put_list(out: &mut String, items: &[Value], depth: usize) {
    if items.is_empty() {
        return out.push_str("[]");
    }
    out.push('[');
    if items.iter().all(|item| item.is_array() || item.is_object()) {
        for (at, item) in items.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            put(out, item, depth);
        }
    } else {
        out.push('\n');
        for item in items {
            indent(out, depth + 1);
            put(out, item, depth + 1);
            out.push_str(",\n");
        }
        indent(out, depth);
    }
    out.push(']');
}

/// What becomes of the ends of lines within a text.
#[derive(Clone, Copy, PartialEq)]
enum Lines {
    /// The text goes on on a line of its own.
    Folded,
    /// It stays on one line.
    Escaped,
}

/// A text in quotes; `depth`: of the lines that it is folded to.
fn put_text(out: &mut String, text: &str, depth: usize, lines: Lines) {
    const FOLD: &str = "\\\n";
    let folds = lines == Lines::Folded && text.contains('\n');
    out.push('"');
    if folds {
        out.push_str(FOLD);
    }
    for c in text.chars() {
        if out.ends_with('\n') {
            indent(out, depth);
            // Space at the beginning of a line would be lost; all else that is space is escaped.
            out.push(if matches!(c, ' ' | '\t') { '\\' } else { ' ' });
        }
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str(if folds { "\\n\\\n" } else { "\\n" }),
            '\t' if lines == Lines::Folded => out.push('\t'),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&escaped(c)),
        }
    }
    if folds {
        if !out.ends_with('\n') {
            out.push_str(FOLD);
        }
        indent(out, depth);
    }
    out.push('"');
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// As Go's `encoding/json` writes it.
fn json_float(float: f64) -> String {
    if float != 0.0 && !(1e-6..1e21).contains(&float.abs()) {
        return float_text(float).replace("e-0", "e-");
    }
    float.to_string()
}

fn escaped(c: char) -> String {
    match c {
        '\0' => "\\0".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\x1b' => "\\e".to_owned(),
        '\u{85}' => "\\N".to_owned(),
        '\u{a0}' => "\\_".to_owned(),
        '\u{2028}' => "\\L".to_owned(),
        '\u{2029}' => "\\P".to_owned(),
        c => match u32::from(c) {
            code @ (0..0x20 | 0x7f) => format!("\\x{code:02x}"),
            code @ 0..0x1_0000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
    }
}

/// Go's `unicode.IsPrint`.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    static PRINTABLE: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = PRINTABLE.get_or_init(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Whether a key cannot stand as it is.
fn needs_quotes(key: &str) -> bool {
    static PLAIN: OnceLock<Option<Regex>> = OnceLock::new();
    let plain =
        PLAIN.get_or_init(|| Regex::new(r"^[\p{L}\p{N}_]([\p{L}\p{N}_./-]*[\p{L}\p{N}_])?$").ok());
    key.contains('\n')
        || !plain.as_ref().is_some_and(|plain| plain.is_match(key))
        || is_other_than_text(key)
}

/// Whether some reader of YAML takes a word for something else than a text.
fn is_other_than_text(word: &str) -> bool {
    const WORDS: &[&str] =
        &["null", "true", "t", "y", "yes", "on", "false", "f", "n", "no", "off", "0", "1"];
    let is_word = WORDS.iter().any(|known| word.eq_ignore_ascii_case(known));
    is_word || is_number(&word.replace('_', "")) || as_time(word).is_some()
}

/// What Go's `ParseInt` with base 0 or `ParseFloat` reads; signs have no place in a plain key.
fn is_number(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let in_base = |prefix: &str, base: u32| {
        lower.strip_prefix(prefix).is_some_and(|digits| i64::from_str_radix(digits, base).is_ok())
    };
    let is_hexadecimal_float = lower.strip_prefix("0x").and_then(|rest| rest.split_once('p'));
    let is_hexadecimal_float = is_hexadecimal_float.is_some_and(|(mantissa, exponent)| {
        mantissa.chars().any(|c| c.is_ascii_hexdigit())
            && mantissa.chars().all(|c| c.is_ascii_hexdigit() || c == '.')
            && mantissa.matches('.').count() < 2
            && exponent.parse::<i64>().is_ok()
    });
    is_hexadecimal_float
        || in_base("0x", 16)
        || in_base("0o", 8)
        || in_base("0b", 2)
        || text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What kubectl 1.36 wrote.
    #[test]
    fn documents() {
        let value = json!({
            "empty": {}, "none": [], "list": ["a", 1, null], "maps": [{"a": true}, {}],
            "lists": [["x"], []], "text": "a\"b\\c\td\u{e9}\u{a0}", "lines": "one\n  two\n\nend",
            "ended": "a\n", "n": 1.5,
        });
        let expected = r#"---
{
  empty: {},
  ended: "\
     a\n\
    ",
  lines: "\
     one\n\
    \  two\n\
     \n\
     end\
    ",
  list: [
    "a",
    1,
    null,
  ],
  lists: [[
    "x",
  ], []],
  maps: [{
    a: true,
  }, {}],
  "n": 1.5,
  none: [],
  text: "a\"b\\c	dé\_",
}
"#;
        assert_eq!(to_string(&value), expected);
        assert_eq!(to_string(&json!({})), "---\n{}\n");
    }

    #[test]
    fn what_is_written_is_read() {
        let spaces = (0..=0x3000).filter_map(char::from_u32).filter(|c| {
            c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{2060}')
        });
        for space in spaces.chain(['\u{feff}', '"', '\\']) {
            for text in [
                format!("one\n{space}two"),
                format!("one\n{space}{space}two{space}\n"),
                format!("{space}\n{space}"),
                format!("{space}one{space}"),
            ] {
                let value = json!({"text": text, "list": [text], (text.clone()): "x"});
                let written = to_string(&value);
                let read = onggi_machinery::yaml::parse(&written);
                assert_eq!(read.as_ref(), Ok(&value), "{space:?}: {written}");
            }
        }
    }

    /// What kubectl 1.36 wrote.
    #[test]
    fn tabs() {
        let value = json!({"a": "one\n\ttwo\tx", "k\tk": "\tx"});
        let expected = "---\n{\n  a: \"\\\n     one\\n\\\n    \\\ttwo\tx\\\n    \",\n  \
                        \"k\\tk\": \"\tx\",\n}\n";
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn keys() {
        for plain in ["a", "a.b/c-d", "_x", "1a", "é", "12e", "0xg", "a_b"] {
            assert!(!needs_quotes(plain), "{plain}");
        }
        for quoted in [
            "",
            "y",
            "No",
            "T",
            "1",
            "1_000",
            "0x1f",
            "0b1",
            "1e3",
            "1.5",
            "inf",
            "NaN",
            "2001-01-01",
            ".a",
            "a.",
            "-a",
            "a b",
            "a\n",
            "a:b",
            "0x1p4",
        ] {
            assert!(needs_quotes(quoted), "{quoted}");
        }
    }
}
