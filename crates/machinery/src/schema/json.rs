//! JSON text to a value, with the fields that stand twice. The last one wins, as in Go.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value and the paths of the keys that were given more than once.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The value.
    pub value: Value,
    /// `spec.containers[0].image`, each once.
    pub duplicates: Vec<String>,
}

/// Reads one JSON value. Nesting beyond 127 levels is an error, as is anything behind the value.
pub fn parse(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut duplicates = Vec::new();
    // Looked at once as a whole, and not again for each text in it.
    let text = str::from_utf8(bytes).map_or_else(|_| Cow::Owned(replaced(bytes)), Cow::Borrowed);
    let value = match read(serde_json::Deserializer::from_str(&text), &mut duplicates) {
        Err(error) => {
            let Some(paired) = paired(&text) else { return Err(error) };
            duplicates.clear();
            read(serde_json::Deserializer::from_str(&paired), &mut duplicates)?
        }
        Ok(value) => value,
    };
    // A key that stands thrice is one duplicate.
    let mut seen = HashSet::new();
    duplicates.retain(|path| seen.insert(path.clone()));
    Ok(Parsed { value, duplicates })
}

fn read<'de>(
    mut input: serde_json::Deserializer<impl serde_json::de::Read<'de>>,
    duplicates: &mut Vec<String>,
) -> Result<Value, serde_json::Error> {
    let value = Seed(duplicates).deserialize(&mut input)?;
    input.end()?;
    Ok(value)
}

/// Text with U+FFFD for each byte that is none, as Go reads it.
fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Text with U+FFFD for each half of a pair (`\ud800`) that stands alone, where there is one.
fn paired(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut made = String::new();
    let (mut from, mut at) = (0, 0);
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                made.push_str(text.get(from..at)?);
                made.push_str("\\ufffd");
                at += 6;
                from = at;
            }
            _ => at += 2,
        }
    }
    made.push_str(text.get(from..)?);
    (from > 0).then_some(made)
}

/// How many faults of one kind are told; as in Go's strict decoder.
pub(super) const MAX_FAULTS: usize = 100;

/// A key for a path; hostile keys are shortened, so that paths stay small.
pub(super) fn short(key: &str) -> Cow<'_, str> {
    match key.char_indices().nth(256) {
        Some((end, _)) => Cow::Owned(format!("{}…", &key[..end])),
        None => Cow::Borrowed(key),
    }
}

/// Paths are put together from the inside to the outside, and only where there is something to
/// report: the usual body pays nothing for it.
struct Seed<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let before = self.0.len();
            let Some(item) = items.next_element_seed(Seed(self.0))? else { break };
            for path in self.0.iter_mut().skip(before) {
                path.insert_str(0, &format!("[{}]{}", list.len(), joint(path)));
            }
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let before = self.0.len();
            let value = entries.next_value_seed(Seed(self.0))?;
            for path in self.0.iter_mut().skip(before) {
                path.insert_str(0, &format!("{}{}", short(&key), joint(path)));
            }
            if map.contains_key(&key) && self.0.len() < MAX_FAULTS {
                self.0.push(short(&key).into_owned());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

fn joint(path: &str) -> &'static str {
    if path.starts_with('[') { "" } else { "." }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named() {
        let text = r#"{"a":1,"spec":{"l":[{"x":1},{"x":1,"x":2,"x":3}],"b":1,"b":2},"a":[[{"y":1,"y":1}]]}"#;
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.duplicates, ["spec.l[1].x", "spec.b", "a[0][0].y", "a"]);
        assert_eq!(parsed.value["spec"]["l"][1]["x"], 3);
    }

    #[test]
    fn numbers_stay_what_they_are() {
        for text in ["1.500000000000682", "9007199254740993.5", "1e-7", "18446744073709551615"] {
            let value = parse(text.as_bytes()).unwrap().value;
            assert_eq!(parse(value.to_string().as_bytes()).unwrap().value, value, "{text}");
            assert_eq!(value.as_f64(), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn bad_input_is_an_error() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{}x", "{\"a\"}", "nul", "1e999", "\"\u{1}\"", deep.as_str()] {
            assert!(parse(text.as_bytes()).is_err(), "{:.20}", text);
        }
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let cases: [(&[u8], &str); 4] = [
            (b"\"a\xff\xfeb\"", "a\u{fffd}\u{fffd}b"),
            (br#""\ud800x""#, "\u{fffd}x"),
            (br#""\udc00\ud83d\ude00\\ud800""#, "\u{fffd}\u{1f600}\\ud800"),
            (br#""\ud800\u0041""#, "\u{fffd}A"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap().value, expected);
        }
    }
}
