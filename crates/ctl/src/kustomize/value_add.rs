//! `ValueAddTransformer`: one value for fields of many objects, or for a part of the paths in them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::file::Target;
use super::patch::Wanted;
use super::resource::Resource;
use super::transform::{Namespace, Subjects};

const NAMESPACE: &str = "metadata/namespace";

/// What the transformer is told.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ValueAdd {
    pub(super) value: String,
    targets: Vec<Place>,
    pub(super) target_file_path: String,
}

/// Where the value goes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    selector: Option<Target>,
    field_path: String,
    /// As which part of a path, from 1; 0: the whole.
    file_path_position: i64,
}

impl ValueAdd {
    /// Targets of a file of their own.
    pub(super) fn add(&mut self, more: Self) {
        self.targets.extend(more.targets);
    }

    /// Puts the value into all places.
    pub(super) fn apply(&self, resources: &mut [Resource]) -> Result<(), String> {
        if self.targets.is_empty() {
            return Err("must specify at least one target".to_owned());
        }
        for place in &self.targets {
            if place.field_path.is_empty() {
                return Err("fieldPath cannot be empty".to_owned());
            }
            let position = usize::try_from(place.file_path_position).map_err(|_| {
                let position = place.file_path_position;
                format!("value of FilePathPosition ({position}) cannot be negative")
            })?;
            let wanted = place.selector.as_ref().map(Wanted::of).transpose()?;
            let path = parts(&place.field_path);
            for resource in resources.iter_mut() {
                if wanted.as_ref().is_some_and(|wanted| !wanted.fits(resource)) {
                    continue;
                }
                resource.remember();
                if place.field_path == NAMESPACE {
                    let (name, specs) = (self.value.as_str(), &[][..]);
                    let namespace =
                        Namespace { name, specs, unset_only: false, subjects: Subjects::default() };
                    namespace.apply(std::slice::from_mut(resource))?;
                    continue;
                }
                put(&mut resource.value, &path, &|old| match position {
                    0 => self.value.clone(),
                    position => inserted(old, position - 1, &self.value),
                })?;
            }
        }
        Ok(())
    }
}

/// The parts of a path; `\/` is no divider.
fn parts(path: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in path.split('/') {
        match found.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => {
                last.pop();
                last.push('/');
                last.push_str(part);
            }
            None => found.push(part.to_owned()),
        }
    }
    found
}

/// Makes what is missing on the way.
fn put(here: &mut Value, path: &[String], new: &dyn Fn(&str) -> String) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        let old = match &*here {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Object(_) => {
                return Err("wrong Node Kind: expected a scalar".to_owned());
            }
            other => other.to_string(),
        };
        *here = new(&old).into();
        return Ok(());
    };
    let chosen = first.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some((key, value)) = chosen.and_then(|text| text.split_once('=')) {
        if here.is_null() {
            *here = Value::Array(Vec::new());
        }
        let Value::Array(items) = here else {
            return Err(format!("wrong Node Kind: {first} is looked for in no list"));
        };
        let at = items.iter().position(|item| item[key] == value).unwrap_or_else(|| {
            items.push(Value::Object(Map::from_iter([(key.to_owned(), value.into())])));
            items.len() - 1
        });
        return put(&mut items[at], rest, new);
    }
    if here.is_null() {
        *here = Value::Object(Map::new());
    }
    match here {
        Value::Object(map) => put(map.entry(first.clone()).or_insert(Value::Null), rest, new),
        _ => Err(format!("wrong Node Kind: {first} is looked for in no map")),
    }
}

/// A path with one part more; behind the last where there are fewer.
fn inserted(path: &str, position: usize, part: &str) -> String {
    let mut all: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    all.insert(position.min(all.len()), part);
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", all.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (old, position, new) in [
            ("", 3, "P"),
            ("/", 0, "/P"),
            ("pie", 0, "P/pie"),
            ("/raw", 1, "/raw/P"),
            ("/a/nice/warm/pie", 3, "/a/nice/warm/P/pie"),
            ("a", 99, "a/P"),
        ] {
            assert_eq!(inserted(old, position, "P"), new, "{old}");
        }
        assert_eq!(parts(r"a/b.c\/d/e"), ["a", "b.c/d", "e"]);
    }

    #[test]
    fn fields_are_made() {
        let mut value = serde_json::json!({"a": [{"name": "x", "n": 1}]});
        for path in ["a/[name=x]/n", "a/[name=y]/m", "b/c"] {
            put(&mut value, &parts(path), &|_| "v".to_owned()).unwrap();
        }
        let expected = serde_json::json!({
            "a": [{"name": "x", "n": "v"}, {"name": "y", "m": "v"}], "b": {"c": "v"},
        });
        assert_eq!(value, expected);
        assert!(put(&mut value, &parts("a"), &|_| String::new()).is_err());
    }
}
