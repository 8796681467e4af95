//! `replacements`: values of some fields are copied into others.

use onggi_machinery::{pattern, yaml};
use serde_json::{Map, Value};

use super::fieldspec::split_smart;
use super::file::{FieldOptions, Replacement, ReplacementSource, ReplacementTarget, Selected};
use super::id::Id;
use super::patterns::{Patterns, Texts};
use super::resource::Resource;
use super::structured::{divided, in_json, in_yaml};

const DEFAULT_PATH: &str = "metadata.name";

/// Copies what one entry says.
pub(super) fn apply(replacement: &Replacement, resources: &mut [Resource]) -> Result<(), String> {
    let Some(targets) = &replacement.targets else {
        return Err("replacements must specify a source and at least one target".to_owned());
    };
    let value = match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => {
            return Err("value and resource selectors are mutually exclusive".to_owned());
        }
        (None, None) => {
            return Err("replacements must specify a source and at least one target".to_owned());
        }
        (None, Some(text)) => Value::from(text.as_str()),
        (Some(source), None) => found(source, resources)?,
    };
    targets.iter().try_for_each(|target| put(target, &value, resources))
}

fn named(source: &ReplacementSource) -> String {
    let wanted = &source.wanted;
    let namespace = if wanted.namespace.is_empty() { "[noNs]" } else { &wanted.namespace };
    let name = if wanted.name.is_empty() { "[noName]" } else { &wanted.name };
    format!("{}/{name}.{namespace}", wanted.gvk())
}

fn found(source: &ReplacementSource, resources: &[Resource]) -> Result<Value, String> {
    let path = if source.field_path.is_empty() { DEFAULT_PATH } else { &source.field_path };
    let fits = |r: &&Resource| r.ids().iter().any(|id| source.wanted.fits(id));
    let mut fitting = resources.iter().filter(fits);
    let (first, second) = (fitting.next(), fitting.next());
    let object = match (first, second) {
        (Some(object), None) => &object.value,
        (None, _) => return Err(format!("nothing selected by {}:{path}", named(source))),
        (Some(_), Some(_)) => {
            return Err(format!("multiple matches for selector {}:{path}", named(source)));
        }
    };
    let parts = split_smart(path, '.');
    let value = look_up(object, &parts).filter(|value| !is_empty(value)).ok_or_else(|| {
        format!("fieldPath `{path}` is missing for replacement source {}", named(source))
    })?;
    let options = &source.options;
    if options.delimiter.is_empty() {
        return Ok(value.clone());
    }
    let text = scalar(value).ok_or("delimiter option can only be used with scalar nodes")?;
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|index| text.split(options.delimiter.as_str()).nth(index))
        .ok_or_else(|| {
            format!("options.index {} is out of bounds for value {text}", options.index)
        })?;
    Ok(part.into())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A scalar as the text that it is written with.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// One field; a list is looked into by `[key=value]` or a number.
fn look_up<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return Some(value) };
    let next = match value {
        Value::Object(map) => map.get(first.as_str()),
        Value::Array(items) => match (key_value(first), first.as_str()) {
            (Some((key, wanted)), _) => {
                let is = |item: &&Value| {
                    let of = if key.is_empty() { Some(*item) } else { item.get(key) };
                    of.and_then(scalar).is_some_and(|text| text == wanted)
                };
                items.iter().find(is)
            }
            (None, "-") => items.last(),
            (None, index) => index.parse::<usize>().ok().and_then(|at| items.get(at)),
        },
        _ => None,
    };
    look_up(next?, rest)
}

fn key_value(part: &str) -> Option<(&str, &str)> {
    part.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn put(
    target: &ReplacementTarget,
    value: &Value,
    resources: &mut [Resource],
) -> Result<(), String> {
    let Some(select) = &target.select else {
        return Err("target must specify resources to select".to_owned());
    };
    let select = meant("select", select)?;
    let rejects = target.reject.iter().map(|reject| meant("reject", reject));
    let rejects = rejects.collect::<Result<Vec<_>, String>>()?;
    let default = [DEFAULT_PATH.to_owned()];
    let paths = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    for resource in resources {
        let ids = resource.ids();
        let is_meant = fits(&select, &ids) && select.selects(resource);
        let is_rejected = rejects.iter().any(|reject| {
            (!reject.is_empty() && fits(reject, &ids))
                || (reject.has_selector() && reject.selects(resource))
        });
        if !is_meant || is_rejected {
            continue;
        }
        for path in paths {
            let parts = split_smart(path, '.');
            if in_text(&mut resource.value, &parts, value, &target.options)? {
                continue;
            }
            let way = Way { value, options: &target.options };
            let count = way.walk(&mut resource.value, &parts)?;
            if count == 0 {
                let what = if target.options.create { "find or create" } else { "find" };
                return Err(format!("unable to {what} field {path:?} in replacement target"));
            }
        }
    }
    Ok(())
}

/// Sets a field within a text that is JSON or YAML; whether there was one.
fn in_text(
    object: &mut Value,
    path: &[String],
    value: &Value,
    options: &FieldOptions,
) -> Result<bool, String> {
    let Some((text, rest)) = divided(object, path) else { return Ok(false) };
    // Kustomize does not divide texts within texts.
    let options = options.undivided();
    let way = Way { value, options: &options };
    let changed = match in_json(text, |inner| way.walk(inner, rest)) {
        Some(changed) => Some(changed),
        None => match value {
            Value::String(new) => in_yaml(text, rest, new)?,
            Value::Number(_) | Value::Bool(_) => in_yaml(text, rest, &value.to_string())?,
            _ => None,
        },
    };
    let Some(changed) = changed else { return Ok(false) };
    *text = changed;
    Ok(true)
}

fn meant(place: &str, selected: &Selected) -> Result<Patterns, String> {
    let texts = Texts {
        gvk: &selected.wanted.gvk(),
        name: &selected.wanted.name,
        namespace: &selected.wanted.namespace,
        labels: &selected.label_selector,
        annotations: &selected.annotation_selector,
    };
    Patterns::of(place, &texts)
}

/// Whether one of the ids of an object is meant.
fn fits(meant: &Patterns, ids: &[Id]) -> bool {
    // The present namespace is meant as it is written, former ones as they were effective.
    let namespace = |at: usize, id: &Id| match at {
        0 => id.namespace.clone(),
        _ => id.effective_namespace().to_owned(),
    };
    ids.iter().enumerate().any(|(at, id)| {
        meant.group.fits(&id.gvk.group)
            && meant.version.fits(&id.gvk.version)
            && meant.kind.fits(&id.gvk.kind)
            && meant.name.fits(&id.name)
            && meant.namespace.fits(&namespace(at, id))
    })
}

/// The way to the fields that are set.
struct Way<'a> {
    value: &'a Value,
    options: &'a FieldOptions,
}

impl Way<'_> {
    /// Sets what the path leads to; how many fields that were.
    fn walk(&self, here: &mut Value, path: &[String]) -> Result<usize, String> {
        let Some((first, rest)) = path.split_first() else {
            self.set(here)?;
            return Ok(1);
        };
        if let Ok(index) = first.parse::<usize>()
            && here.is_array()
        {
            return self.at_index(here, index, rest);
        }
        if let Some((key, wanted)) = key_value(first) {
            return self.in_list(here, key, wanted, path);
        }
        if first == "*" {
            let Value::Array(items) = here else {
                return Err("wildcard is only for lists".to_owned());
            };
            let mut count = 0;
            for item in items {
                count += self.walk(item, rest)?;
            }
            return Ok(count);
        }
        match here {
            Value::Null if self.options.create => *here = Value::Object(Map::new()),
            Value::Object(_) => {}
            Value::Null => return Ok(0),
            _ => return Err(format!("wrong Node Kind: {first} is looked for in no map")),
        }
        let Value::Object(map) = here else { return Ok(0) };
        if !map.contains_key(first.as_str()) {
            if !self.options.create {
                return Ok(0);
            }
            let made = match rest.first() {
                // A list, a map, or the value itself.
                Some(next) if key_value(next).is_some() || next.parse::<usize>().is_ok() => {
                    Value::Array(Vec::new())
                }
                Some(_) => Value::Object(Map::new()),
                None => {
                    let mut made = Value::Null;
                    self.set(&mut made)?;
                    map.insert(first.clone(), made);
                    return Ok(1);
                }
            };
            map.insert(first.clone(), made);
        }
        match map.get_mut(first.as_str()) {
            Some(next) => self.walk(next, rest),
            None => Ok(0),
        }
    }

    fn at_index(&self, here: &mut Value, index: usize, rest: &[String]) -> Result<usize, String> {
        let Value::Array(items) = here else { return Ok(0) };
        if items.len() == index && self.options.create {
            if rest.is_empty() {
                let mut made = Value::Null;
                self.set(&mut made)?;
                items.push(made);
                return Ok(1);
            }
            items.push(Value::Object(Map::new()));
        }
        let count = items.len();
        match items.get_mut(index) {
            Some(item) => self.walk(item, rest),
            None => Err(format!("index {index} specified but only {count} elements found")),
        }
    }

    fn in_list(
        &self,
        here: &mut Value,
        key: &str,
        wanted: &str,
        path: &[String],
    ) -> Result<usize, String> {
        let rest = &path[1..];
        if here.is_null() && self.options.create {
            *here = Value::Array(Vec::new());
        }
        let Value::Array(items) = here else { return Ok(0) };
        let pattern = pattern::compile(wanted).map_err(|e| format!("[{key}={wanted}]: {e}"))?;
        let mut count = 0;
        let mut fits = false;
        for item in items.iter_mut() {
            let of = if key.is_empty() { Some(&*item) } else { item.get(key) };
            if of.and_then(scalar).is_some_and(|text| pattern.is_match(&text)) {
                fits = true;
                count += self.walk(item, if key.is_empty() { &[] } else { rest })?;
            }
        }
        if !fits && self.options.create {
            let mut made = Value::from(wanted);
            if !key.is_empty() {
                made = Value::Object(Map::from_iter([(key.to_owned(), made)]));
            }
            count += self.walk(&mut made, if key.is_empty() { &[] } else { rest })?;
            items.push(made);
        }
        Ok(count)
    }

    fn set(&self, field: &mut Value) -> Result<(), String> {
        let mut value = self.value.clone();
        let options = self.options;
        if !options.delimiter.is_empty() {
            let wrong = "delimiter option can only be used with scalar nodes";
            // A field that is new is the empty text.
            let is_new = field.is_null();
            let old = if is_new { String::new() } else { scalar(field).ok_or(wrong)? };
            let new = scalar(self.value).ok_or(wrong)?;
            let mut parts: Vec<&str> = old.split(options.delimiter.as_str()).collect();
            match usize::try_from(options.index) {
                Err(_) => parts.insert(0, &new),
                Ok(index) if index >= parts.len() => parts.push(&new),
                Ok(index) => parts[index] = &new,
            }
            value = parts.join(&options.delimiter).into();
        }
        *field = match (&*field, scalar(&value)) {
            (Value::Null, _) => made_of(&value),
            (Value::Array(_) | Value::Object(_), _) | (_, None) => value,
            // A field that was a text stays one; a number stays a number.
            (Value::String(_), Some(text)) => text.into(),
            (old, Some(text)) => {
                let new = plain(&text);
                if new.is_number() != old.is_number() || new.is_boolean() != old.is_boolean() {
                    let (new, old) = (tag(&new), tag(old));
                    return Err(format!("yaml: cannot decode {new} `{text}` as a {old}"));
                }
                new
            }
        };
        Ok(())
    }
}

fn tag(value: &Value) -> &'static str {
    match value {
        Value::Null => "!!null",
        Value::Bool(_) => "!!bool",
        Value::Number(number) if number.is_f64() => "!!float",
        Value::Number(_) => "!!int",
        _ => "!!str",
    }
}

/// A value in a field that is new: a text is read anew, as if it stood there without quotes.
fn made_of(value: &Value) -> Value {
    match value {
        Value::String(text) => plain(text),
        other => other.clone(),
    }
}

/// A text as YAML reads it without quotes.
fn plain(text: &str) -> Value {
    if matches!(text, "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
    if !is_plain || text.is_empty() {
        return text.into();
    }
    match yaml::documents_of_kustomize(text).ok().and_then(|mut found| found.pop()) {
        Some(document) if !document.value.is_object() && !document.value.is_array() => {
            document.value
        }
        _ => text.into(),
    }
}
