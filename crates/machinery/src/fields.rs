//! Reading configuration files strictly: a field that is not known, or of another type, is said so
//! by its path.

use onggi_api::{FieldError, FieldPath};
use serde_json::{Map, Value};

use crate::yaml;

pub(crate) type Errors = Vec<FieldError>;

/// A file in YAML or JSON; the error names every field that is wrong.
pub(crate) fn read<T>(
    text: &str,
    parse: impl FnOnce(&Value, &mut Errors) -> T,
) -> Result<T, String> {
    let value = yaml::parse(text).map_err(|error| error.to_string())?;
    let mut errors = Errors::new();
    let found = parse(&value, &mut errors);
    if errors.is_empty() {
        return Ok(found);
    }
    Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// The fields of a map, and where it stands.
pub(crate) struct Fields<'a> {
    pub(crate) path: FieldPath,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value, path: &FieldPath, errors: &mut Errors) -> Self {
        let map = value.as_object();
        if map.is_none() {
            errors.push(FieldError::type_invalid(path, value.clone(), "must be a map"));
        }
        Self { path: path.clone(), map }
    }

    /// What the file says that it is.
    pub(crate) fn is_a(&self, versions: &[&str], kind: &str, errors: &mut Errors) {
        for (name, known) in [("apiVersion", versions), ("kind", &[kind][..])] {
            let found = self.text(name, errors);
            if !known.contains(&found.as_str()) {
                errors.push(FieldError::not_supported(&self.path.child(name), found, known));
            }
        }
    }

    pub(crate) fn only(&self, known: &[&str], errors: &mut Errors) {
        let names = self.map.into_iter().flat_map(Map::keys);
        for name in names.filter(|name| !known.contains(&name.as_str())) {
            let detail = format!("unknown field; known are {}", known.join(", "));
            errors.push(FieldError::forbidden(&self.path.child(name), detail));
        }
    }

    pub(crate) fn get(&self, name: &str) -> &'a Value {
        self.map.and_then(|map| map.get(name)).unwrap_or(&Value::Null)
    }

    pub(crate) fn wrong(&self, name: &str, must: &str, errors: &mut Errors) {
        let (path, value) = (self.path.child(name), self.get(name).clone());
        errors.push(FieldError::type_invalid(&path, value, format!("must be {must}")));
    }

    pub(crate) fn text(&self, name: &str, errors: &mut Errors) -> String {
        match self.get(name) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            _ => {
                self.wrong(name, "a text", errors);
                String::new()
            }
        }
    }

    pub(crate) fn flag(&self, name: &str, errors: &mut Errors) -> Option<bool> {
        match self.get(name) {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.wrong(name, "true or false", errors);
                None
            }
        }
    }

    pub(crate) fn list(&self, name: &str, errors: &mut Errors) -> &'a [Value] {
        match self.get(name) {
            Value::Null => &[],
            Value::Array(list) => list,
            _ => {
                self.wrong(name, "a list", errors);
                &[]
            }
        }
    }

    pub(crate) fn texts(&self, name: &str, errors: &mut Errors) -> Vec<String> {
        let mut texts = Vec::new();
        for (at, value) in self.list(name, errors).iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    let path = self.path.child(name).index(at);
                    errors.push(FieldError::type_invalid(&path, other.clone(), "must be a text"));
                }
            }
        }
        texts
    }
}
