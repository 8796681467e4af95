//! ConfigMaps and Secrets from files, literals and env files.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_machinery::value::map_mut;
use serde_json::{Map, Value, json};

use super::Error;
use super::file::{Generator, Options, values};
use super::folder::Layer;
use super::layer::Builder;
use super::resource::Resource;
use crate::verbs::create::env_line;

/// Runs the generators of a layer.
pub(super) fn all(
    builder: &Builder<'_>,
    layer: &Layer<'_>,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let maps = layer.says.config_map_generator.iter().map(|generator| ("ConfigMap", generator));
    let secrets = layer.says.secret_generator.iter().map(|generator| ("Secret", generator));
    for (kind, generator) in maps.chain(secrets) {
        let field = if kind == "Secret" { "secretGenerator" } else { "configMapGenerator" };
        let place = format!("{field}[name={}]", generator.name);
        let note =
            builder.metadata.is_tracked.then(|| layer.configured(&format!("{kind}Generator")));
        one(layer, note, &place, kind, generator, resources)?;
    }
    Ok(())
}

/// Runs one generator; `note` tells what it is.
pub(super) fn one(
    layer: &Layer<'_>,
    note: Option<String>,
    place: &str,
    kind: &str,
    generator: &Generator,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    let mut made = Resource::new(object(layer, place, kind, generator)?);
    let without = &layer.says.generator_options;
    made.hashed = !without.disable_name_suffix_hash && !generator.options.disable_name_suffix_hash;
    made.origin = note;
    let id = made.id();
    let found: Vec<usize> =
        (0..resources.len()).filter(|at| resources[*at].is_called(&id)).collect();
    let problem = match (generator.behavior.as_str(), found.as_slice()) {
        ("" | "create" | "unspecified", []) => {
            resources.push(made);
            return Ok(());
        }
        ("replace" | "merge", [at]) => {
            let old = &resources[*at];
            made.take_place_of(old);
            if generator.behavior == "merge" {
                under(&mut made, old);
                if old.origin.is_some() {
                    made.origin.clone_from(&old.origin);
                }
            }
            resources[*at] = made;
            return Ok(());
        }
        ("" | "create" | "unspecified", [_]) => {
            "there is one of this name already; use merge or replace".to_owned()
        }
        ("merge" | "replace", []) => "there is none of this name to change".to_owned(),
        ("" | "create" | "unspecified" | "merge" | "replace", _) => {
            "there are several of this name".to_owned()
        }
        (other, _) => format!("{other:?} is none of create, merge, replace"),
    };
    Err(layer.fault(format!("{place}: behavior: {problem}")))
}

fn object(
    layer: &Layer<'_>,
    place: &str,
    kind: &str,
    generator: &Generator,
) -> Result<Value, Error> {
    if generator.name.is_empty() {
        return Err(layer.fault(format!("{place}: name is missing")));
    }
    let mut value = json!({
        "apiVersion": "v1", "kind": kind, "metadata": {"name": generator.name},
    });
    if !generator.namespace.is_empty() {
        value["metadata"]["namespace"] = json!(generator.namespace);
    }
    if kind == "Secret" {
        let given = generator.kind.as_str();
        value["type"] = json!(if given.is_empty() { "Opaque" } else { given });
    }
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in entries(layer, place, generator)? {
        let is_new = !data.contains_key(&key) && !binary.contains_key(&key);
        if !is_new {
            let text = format!("{place}: key {key:?} is given twice");
            return Err(layer.fault(text));
        }
        if kind == "Secret" {
            data.insert(key, wrapped(&bytes).into());
        } else {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, text.into()),
                Err(error) => binary.insert(key, wrapped(error.as_bytes()).into()),
            };
        }
    }
    for (field, map) in [("data", data), ("binaryData", binary)] {
        // Kustomize writes the empty map of a Secret, and not that of a ConfigMap.
        if !map.is_empty() || (kind == "Secret" && field == "data") {
            value[field] = Value::Object(map);
        }
    }
    for options in [&layer.says.generator_options, &generator.options] {
        set_options(&mut value, options);
    }
    Ok(value)
}

fn set_options(value: &mut Value, options: &Options) {
    for (field, map) in [("labels", &options.labels), ("annotations", &options.annotations)] {
        if !map.is_empty() {
            map_mut(value, &format!("metadata.{field}")).extend(values(map));
        }
    }
    if options.immutable {
        value["immutable"] = json!(true);
    }
}

fn entries(
    layer: &Layer<'_>,
    place: &str,
    generator: &Generator,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut entries = Vec::new();
    let env = std::iter::once(&generator.env).filter(|env| !env.is_empty());
    for file in generator.envs.iter().chain(env) {
        let text = layer.text(&format!("{place}.envs"), file)?;
        for (number, line) in text.lines().enumerate() {
            // A name alone has the empty value here, not that of the environment.
            let bare = line.trim();
            let is_alone = !bare.is_empty() && !bare.starts_with('#') && !bare.contains('=');
            let line = if is_alone { format!("{line}=") } else { line.to_owned() };
            let found = env_line(&line).map_err(|e| {
                layer.fault(format!("{place}.envs: {file}: line {}: {e}", number + 1))
            })?;
            entries.extend(found.map(|(key, value)| (key, value.into_bytes())));
        }
    }
    for literal in &generator.literals {
        let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let text = format!("{place}.literals: {literal:?}: expected key=value");
            return Err(layer.fault(text));
        };
        let bare = unquoted(value);
        entries.push((key.to_owned(), bare.as_bytes().to_vec()));
    }
    for file in &generator.files {
        let (key, path) = match file.split_once('=') {
            Some((key, path)) => (key, path),
            None => (file.rsplit('/').next().unwrap_or(file), file.as_str()),
        };
        entries.push((key.to_owned(), layer.read(&format!("{place}.files"), path)?));
    }
    Ok(entries)
}

/// Base64 in lines of 70 characters, as Kustomize writes what does not fit on one.
fn wrapped(bytes: &[u8]) -> String {
    const LINE: usize = 70;
    let text = BASE64_STANDARD.encode(bytes);
    if text.len() < LINE {
        return text;
    }
    let mut lines = String::with_capacity(text.len() + text.len() / LINE + 1);
    for line in text.as_bytes().chunks(LINE) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines
}

/// Without the quotes around it.
fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Puts the data of one that was there under that of the new one.
fn under(made: &mut Resource, old: &Resource) {
    for field in ["data", "binaryData"] {
        let Some(Value::Object(before)) = old.value.get(field) else { continue };
        let mut merged = before.clone();
        if let Some(Value::Object(own)) = made.value.get(field) {
            merged.extend(own.clone());
        }
        made.value[field] = Value::Object(merged);
    }
}
