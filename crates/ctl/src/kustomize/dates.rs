//! Dates that stand in YAML without quotes. They are times for Kustomize: `2012-10-17` becomes
//! `2012-10-17T00:00:00Z`, but for an object's own annotations.

use std::sync::OnceLock;

use onggi_machinery::yaml::{self, Document, YamlError};
use regex::Regex;
use serde_json::Value;

use crate::output::yaml::as_time;

/// Reads the objects or patches of a text.
///
/// The reader does not tell whether a text was quoted. So what looks like a time is put in quotes,
/// and the text is read again: where it stood alone, both differ by the time alone.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut found = yaml::documents_of_kustomize(text)?;
    let Some(pattern) = pattern().filter(|pattern| pattern.is_match(text)) else {
        return Ok(found);
    };
    let quoted = quoted(text, pattern);
    let Ok(again) = yaml::documents_of_kustomize(&quoted) else { return Ok(found) };
    if again.len() == found.len() {
        for (document, other) in found.iter_mut().zip(&again) {
            // Lists are JSON patches, which keep what they say.
            if document.value.is_object() {
                let annotations = document.value["metadata"].get("annotations").cloned();
                take(&mut document.value, &other.value);
                if let Some(annotations) = annotations {
                    document.value["metadata"]["annotations"] = annotations;
                }
            }
        }
    }
    Ok(found)
}

fn pattern() -> Option<&'static Regex> {
    const TIME: &str = r"\d{4}-\d{1,2}-\d{1,2}(?:[Tt ][0-9:.]+(?:Z|[+-]\d\d:\d\d)?)?";
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    PATTERN.get_or_init(|| Regex::new(TIME).ok()).as_ref()
}

/// Puts in quotes what looks like a time and has its place for itself, as a time is written.
fn quoted(text: &str, pattern: &Regex) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for found in pattern.find_iter(text) {
        let (before, after) = (&text[..found.start()], &text[found.end()..]);
        let blank = [' ', '\t'];
        let (bare, rest) = (before.trim_end_matches(blank), after.trim_start_matches(blank));
        let begins = bare.ends_with(['[', '{', ','])
            || (bare.len() < before.len() && bare.ends_with([':', '-']));
        let ends = rest.is_empty()
            || rest.starts_with(['\n', '\r', ']', '}', ','])
            || (rest.len() < after.len() && rest.starts_with('#'));
        if let Some(time) = as_time(found.as_str()).filter(|_| begins && ends) {
            out += &text[done..found.start()];
            out += &format!("\"{time}\"");
            done = found.end();
        }
    }
    out += &text[done..];
    out
}

/// Takes the times that another reading found at the same places.
fn take(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(map), Value::Object(other)) => {
            for (key, value) in map {
                if let Some(other) = other.get(key) {
                    take(value, other);
                }
            }
        }
        (Value::Array(items), Value::Array(other)) => {
            items.iter_mut().zip(other).for_each(|(value, other)| take(value, other));
        }
        (Value::String(text), Value::String(other)) if text != other => {
            if as_time(text).as_ref() == Some(other) {
                text.clone_from(other);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_told_from_texts() {
        let text = "
metadata: {annotations: {a: 2020-01-01}, labels: {a: 2020-01-01}}
a: 2020-01-01
b: '2020-01-01'
c: 2020-1-2 # day
d: [2020-01-01, \"2020-01-01\", 2020-01-02]
e: |
  x: 2020-01-01
f: 2020-13-01
g: 2020-01-01 and more
h: 2001-12-14t21:59:43.10-05:00
i: 2001-12-14 21:59:43
j: 'x: 2020-01-01'
k: 2001-12-14T21:59:43
l: 2001-12-14T21:59:43+00:00
";
        let found = documents(text).unwrap();
        let day = "2020-01-01T00:00:00Z";
        let expected = json!({
            "metadata": {"annotations": {"a": "2020-01-01"}, "labels": {"a": day}},
            "a": day, "b": "2020-01-01", "c": "2020-01-02T00:00:00Z",
            "d": [day, "2020-01-01", "2020-01-02T00:00:00Z"], "e": "x: 2020-01-01\n",
            "f": "2020-13-01", "g": "2020-01-01 and more", "h": "2001-12-14T21:59:43.1-05:00",
            "i": "2001-12-14T21:59:43Z", "j": "x: 2020-01-01", "k": "2001-12-14T21:59:43",
            "l": "2001-12-14T21:59:43Z",
        });
        assert_eq!(found[0].value, expected);
        assert_eq!(documents("- {value: 2020-01-01}").unwrap()[0].value[0]["value"], "2020-01-01");
    }
}
