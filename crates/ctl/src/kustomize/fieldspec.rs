//! Field specifications: which field of which kinds a transformer works on, and the walk to it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::id::Gvk;

/// `{path, create, group, version, kind}`; what is empty fits everything.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct FieldSpec {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) path: String,
    pub(super) create: bool,
}

/// What is made at the end of a path that is not there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaf {
    /// Nothing: only what is there is visited.
    None,
    Map,
    Scalar,
}

/// What is done with the field; a text says why it cannot be.
type Set<'a> = &'a mut dyn FnMut(&mut Value) -> Result<(), String>;

impl FieldSpec {
    pub(super) fn new(kind: &str, path: &str, create: bool) -> Self {
        Self { kind: kind.to_owned(), path: path.to_owned(), create, ..Self::default() }
    }

    pub(super) fn of(group: &str, kind: &str, path: &str, create: bool) -> Self {
        Self { group: group.to_owned(), ..Self::new(kind, path, create) }
    }

    pub(super) fn fits(&self, gvk: &Gvk) -> bool {
        (self.kind.is_empty() || self.kind == gvk.kind)
            && (self.group.is_empty() || self.group == gvk.group)
            && (self.version.is_empty() || self.version == gvk.version)
    }

    /// Visits the fields of an object that the path leads to.
    pub(super) fn visit(&self, object: &mut Value, leaf: Leaf, set: Set<'_>) -> Result<(), String> {
        if !self.fits(&Gvk::of(object)) {
            return Ok(());
        }
        let path = split(&self.path, '/');
        let leaf = if self.create { leaf } else { Leaf::None };
        walk(object, &path, leaf, set)
            .map_err(|text| format!("considering field '{}': {text}", self.path))
    }
}

fn walk(value: &mut Value, path: &[String], leaf: Leaf, set: Set<'_>) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return set(value) };
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => {
            items.iter_mut().try_for_each(|item| walk(item, path, leaf, &mut *set))
        }
        Value::Object(map) => {
            let (name, of_list) = match first.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (first.as_str(), false),
            };
            if name.is_empty() {
                return Err("cannot set or create an empty field name".to_owned());
            }
            if leaf != Leaf::None && !of_list {
                let made = if rest.is_empty() && leaf == Leaf::Scalar {
                    Value::from("")
                } else {
                    Value::Object(Map::new())
                };
                let field = map.entry(name).or_insert(Value::Null);
                if field.is_null() {
                    *field = made;
                }
            }
            match map.get_mut(name) {
                Some(field) => walk(field, rest, leaf, set),
                None => Ok(()),
            }
        }
        _ => Err("expected sequence or mapping node".to_owned()),
    }
}

/// Parts of a path; a divider behind a backslash belongs to the part.
pub(super) fn split(path: &str, divider: char) -> Vec<String> {
    let bare = path.strip_prefix(divider).filter(|rest| !rest.is_empty()).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    let mut joins = false;
    for part in bare.split(divider) {
        let (text, escaped) = match part.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (part, false),
        };
        match parts.last_mut().filter(|_| joins) {
            Some(last) => {
                last.push(divider);
                last.push_str(text);
            }
            None => parts.push(text.to_owned()),
        }
        joins = escaped;
    }
    parts
}

/// As [`split`], with what stands in brackets kept whole: `[name=a.b]` as it is, `[a.b]` without
/// its brackets.
pub(super) fn split_smart(path: &str, divider: char) -> Vec<String> {
    let mut parts = Vec::new();
    let mut open: Option<String> = None;
    for part in split(path, divider) {
        let whole = match open.take() {
            Some(before) => format!("{before}{divider}{part}"),
            None if part.starts_with('[') && !part.ends_with(']') => {
                open = Some(part);
                continue;
            }
            None => {
                parts.push(part);
                continue;
            }
        };
        if part_ends(&whole) {
            parts.push(bracketed(whole));
        } else {
            open = Some(whole);
        }
    }
    parts.extend(open.map(bracketed));
    parts
}

fn part_ends(whole: &str) -> bool {
    whole.ends_with(']')
}

fn bracketed(whole: String) -> String {
    if whole.contains('=') { whole } else { whole.trim_matches(['[', ']']).to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        assert_eq!(split("a/b\\/c/d", '/'), ["a", "b/c", "d"]);
        assert_eq!(split("/a/b", '/'), ["a", "b"]);
        for (path, parts) in [
            ("a.b", vec!["a", "b"]),
            ("a.[name=x.y].c", vec!["a", "[name=x.y]", "c"]),
            ("metadata.annotations.[a.b/c]", vec!["metadata", "annotations", "a.b/c"]),
            ("a.b\\.c.d", vec!["a", "b.c", "d"]),
            ("a.[x].0.*", vec!["a", "[x]", "0", "*"]),
        ] {
            assert_eq!(split_smart(path, '.'), parts, "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_made_where_that_is_wanted() {
        let mut object = json!({"kind": "X", "apiVersion": "v1", "l": [{"m": {}}, {}], "n": null});
        let label = |value: &mut Value| {
            value["k"] = json!("v");
            Ok(())
        };
        for (path, create) in [("a/b", true), ("c/d", false), ("l[]/m/e", true), ("n/o", true)] {
            let spec = FieldSpec::new("", path, create);
            spec.visit(&mut object, Leaf::Map, &mut { label }).unwrap();
        }
        let expected = json!({
            "kind": "X", "apiVersion": "v1", "a": {"b": {"k": "v"}}, "n": {"o": {"k": "v"}},
            "l": [{"m": {"e": {"k": "v"}}}, {"m": {"e": {"k": "v"}}}],
        });
        assert_eq!(object, expected);
        let spec = FieldSpec::new("", "kind/x", true);
        assert!(spec.visit(&mut object, Leaf::Map, &mut { label }).is_err());
    }
}
