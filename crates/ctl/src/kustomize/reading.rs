//! Scalars without quotes that Kustomize reads otherwise than the rest of the program: a date is a
//! time, `2012-10-17` becomes `2012-10-17T00:00:00Z`; and an object's own annotations are texts, so
//! that `1.10` stays what it is.
//!
//! The reader does not tell whether a text was quoted. So what may be meant is put in quotes, and
//! the text is read again: where it stood alone, both readings differ by that alone.

use std::sync::OnceLock;

use onggi_machinery::yaml::{self, Document, YamlError};
use regex::Regex;
use serde_json::Value;

use crate::output::yaml::as_time;

/// Reads the objects or patches of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut found = yaml::documents_of_kustomize(text)?;
    if let Some(pattern) = times().filter(|pattern| pattern.is_match(text)) {
        again(text, pattern, as_time, &mut found, |value, other| {
            // Lists are JSON patches, which keep what they say.
            let Value::Object(map) = value else { return };
            let annotations = map.get("metadata").and_then(|m| m.get("annotations")).cloned();
            take_times(value, other);
            if let Some((kept, own)) = annotations_of(value).zip(annotations) {
                *kept = own;
            }
        });
    }
    let is_text = |value: &Value| !(value.is_number() || value.is_boolean());
    let annotations = |document: &mut Document| {
        let own = annotations_of(&mut document.value).and_then(|own| own.as_object());
        own.is_some_and(|own| !own.values().all(is_text))
    };
    if found.iter_mut().any(annotations)
        && let Some(pattern) = words()
    {
        let word = |text: &str| Some(text.to_owned());
        again(text, pattern, word, &mut found, |value, other| {
            let written = other["metadata"]["annotations"].as_object();
            let own = annotations_of(value).and_then(Value::as_object_mut);
            let Some((own, written)) = own.zip(written) else { return };
            for (key, value) in own.iter_mut().filter(|(_, value)| !is_text(value)) {
                if let Some(text) = written.get(key).filter(|text| text.is_string()) {
                    value.clone_from(text);
                }
            }
        });
    }
    Ok(found)
}

fn annotations_of(object: &mut Value) -> Option<&mut Value> {
    object.get_mut("metadata")?.get_mut("annotations")
}

/// Reads a text again with what fits a pattern in quotes, and looks at both readings.
fn again(
    text: &str,
    pattern: &Regex,
    change: impl Fn(&str) -> Option<String>,
    found: &mut [Document],
    look: impl Fn(&mut Value, &Value),
) {
    let Ok(again) = yaml::documents_of_kustomize(&quoted(text, pattern, change)) else { return };
    if again.len() == found.len() {
        for (document, other) in found.iter_mut().zip(&again) {
            look(&mut document.value, &other.value);
        }
    }
}

fn words() -> Option<&'static Regex> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    PATTERN.get_or_init(|| Regex::new(r"[-+.~0-9A-Za-z_]+").ok()).as_ref()
}

fn times() -> Option<&'static Regex> {
    const TIME: &str = r"\d{4}-\d{1,2}-\d{1,2}(?:[Tt ][0-9:.]+(?:Z|[+-]\d\d:\d\d)?)?";
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    PATTERN.get_or_init(|| Regex::new(TIME).ok()).as_ref()
}

/// Puts in quotes what fits a pattern and has its place for itself, changed.
fn quoted(text: &str, pattern: &Regex, change: impl Fn(&str) -> Option<String>) -> String {
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
        if begins
            && ends
            && let Some(new) = change(found.as_str())
        {
            out += &text[done..found.start()];
            out += &format!("\"{new}\"");
            done = found.end();
        }
    }
    out += &text[done..];
    out
}

/// Takes the times that another reading found at the same places.
fn take_times(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(map), Value::Object(other)) => {
            for (key, value) in map {
                if let Some(other) = other.get(key) {
                    take_times(value, other);
                }
            }
        }
        (Value::Array(items), Value::Array(other)) => {
            items.iter_mut().zip(other).for_each(|(value, other)| take_times(value, other));
        }
        (Value::String(text), Value::String(other))
            if text != other && as_time(text).as_ref() == Some(other) =>
        {
            text.clone_from(other);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_texts() {
        let text = "
metadata:
  annotations: {f: 1.10, 'i': 0777, t: True, q: \"1.10\", n: null, d: 2020-01-01}
  labels: {f: 1.10, t: True}
text: |
  f: 1.10
---
metadata: {annotations: &a {x: 1_0}, labels: *a}
";
        let found = documents(text).unwrap();
        let expected = json!({
            "metadata": {
                "annotations": {
                    "f": "1.10", "i": "0777", "t": "True", "q": "1.10", "n": null, "d": "2020-01-01",
                },
                "labels": {"f": 1.1, "t": true},
            },
            "text": "f: 1.10\n",
        });
        assert_eq!(found[0].value, expected);
        let expected = json!({"metadata": {"annotations": {"x": "1_0"}, "labels": {"x": 10}}});
        assert_eq!(found[1].value, expected);
    }

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
