//! The texts that field selectors compare, taken from an object's bytes without making a tree of
//! it: what is not on the way to a field is skipped, such as `metadata.managedFields`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::object::text_of;

/// The places that are still to be found below a value: which field, and the rest of its path.
type Ways<'p> = Vec<(usize, &'p str)>;

/// What Kubernetes' own kinds say of a field that is left out: of some that is not nothing.
pub(crate) fn left_out(path: &str) -> &'static str {
    match path {
        "spec.hostNetwork" | "spec.unschedulable" => "false",
        "status.replicas" | "status.succeeded" => "0",
        _ => "",
    }
}

/// The name of a selectable field: of `source=source.component|reportingComponent`, `source`. A
/// plain path is its own name.
pub fn name(field: &str) -> &str {
    field.split_once('=').map_or(field, |(name, _)| name)
}

/// Where its text may stand: in the first of these dotted paths that is set.
pub(crate) fn paths(field: &str) -> impl Iterator<Item = &str> {
    field.split_once('=').map_or(field, |(_, paths)| paths).split('|')
}

/// The texts of these fields; empty where there is nothing.
pub(crate) fn read(bytes: &[u8], fields: &[&str]) -> Result<Vec<String>, serde_json::Error> {
    let all = || fields.iter().flat_map(|field| paths(field));
    let mut found: Vec<String> = all().map(|path| left_out(path).to_owned()).collect();
    let ways = all().enumerate().collect();
    let mut input = serde_json::Deserializer::from_slice(bytes);
    Below { ways, found: &mut found }.deserialize(&mut input)?;
    input.end()?;
    if found.len() == fields.len() {
        return Ok(found);
    }
    let mut found = found.into_iter();
    let text = |field: &&str| {
        let texts = found.by_ref().take(paths(field).count());
        texts.fold(String::new(), |first, next| if first.is_empty() { next } else { first })
    };
    Ok(fields.iter().map(text).collect())
}

/// A value that some fields lie in.
struct Below<'p, 'f> {
    ways: Ways<'p>,
    found: &'f mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Below<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(ways) = map.next_key_seed(Key(&self.ways))? {
            match ways.as_slice() {
                [] => {
                    map.next_value::<IgnoredAny>()?;
                }
                [(field, "")] => self.found[*field] = text_of(&map.next_value::<Value>()?),
                _ => map.next_value_seed(Below { ways, found: &mut *self.found })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key, as what lies behind it.
struct Key<'w, 'p>(&'w Ways<'p>);

impl<'de, 'p> DeserializeSeed<'de> for Key<'_, 'p> {
    type Value = Ways<'p>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Ways<'p>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'_, 'p> {
    type Value = Ways<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Ways<'p>, E> {
        if key.contains('.') {
            return Ok(Vec::new());
        }
        let rest = |path: &'p str| match path.strip_prefix(key)? {
            "" => Some(""),
            rest => rest.strip_prefix('.'),
        };
        Ok(self.0.iter().filter_map(|(field, path)| Some((*field, rest(path)?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_and_counts_are_never_empty() {
        let paths = ["spec.unschedulable", "status.replicas", "spec.nodeName"];
        assert_eq!(read(b"{}", &paths).unwrap(), ["false", "0", ""]);
        let set = br#"{"spec": {"unschedulable": true}}"#;
        assert_eq!(read(set, &paths).unwrap(), ["true", "0", ""]);
    }

    #[test]
    fn fields_are_found_among_others() {
        let bytes = br#"{"metadata": {"name": "n", "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeName": "a\nb", "deep": {"er": true, "list": [1]}, "nodeNames": 3, "none": null},
            "status": "text", "spec.x": 1}"#;
        let paths = [
            "spec.nodeName",
            "spec.deep.er",
            "spec.deep.list",
            "spec.none",
            "spec.x",
            "status.phase",
        ];
        assert_eq!(read(bytes, &paths).unwrap(), ["a\nb", "true", "[1]", "", "", ""]);
        assert!(read(b"{", &["a"]).is_err() && read(b"{} x", &["a"]).is_err());
        assert_eq!(read(b"[1]", &["a"]).unwrap(), [""]);
    }

    #[test]
    fn a_field_may_stand_in_the_first_of_several_places() {
        let fields = ["type", "source=source.component|reportingComponent", "reason"];
        assert_eq!(fields.map(name), ["type", "source", "reason"]);
        let both = json!({"reportingComponent": "b", "source": {"component": "a"}, "reason": "r"});
        let one = json!({"source": {}, "reportingComponent": "b", "type": "t"});
        for (event, wanted) in [(both, ["", "a", "r"]), (one, ["t", "b", ""])] {
            let bytes = serde_json::to_vec(&event).unwrap();
            assert_eq!(read(&bytes, &fields).unwrap(), wanted);
            assert_eq!(fields.map(|field| crate::object::field_text(&event, field)), wanted);
        }
    }

    #[test]
    fn as_field_text_finds_them() {
        let bytes = br#"{"a": {"b": 1.5, "c": {"d": "x"}}, "e": []}"#;
        let value: Value = serde_json::from_slice(bytes).unwrap();
        for path in ["a.b", "a.c.d", "a.c", "e", "a.b.c", "x"] {
            assert_eq!(read(bytes, &[path]).unwrap(), [crate::object::field_text(&value, path)]);
        }
    }
}
