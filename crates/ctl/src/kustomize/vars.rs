//! `vars`: `$(NAME)` in some fields stands for a field of an object. Older than replacements.

use onggi_machinery::value::str_at;
use serde_json::Value;

use super::config::Config;
use super::fieldspec::{Leaf, split_smart};
use super::file::Var;
use super::resource::Resource;

/// Ties the variables of a layer to the objects that they name.
pub(super) fn tie(
    new: &[Var],
    known: &mut Vec<Var>,
    resources: &mut [Resource],
) -> Result<(), String> {
    for var in new {
        let fits = |r: &&mut Resource| r.ids().iter().any(|id| var.objref.fits(id));
        let mut found: Vec<&mut Resource> = resources.iter_mut().filter(fits).collect();
        if found.len() > 1 {
            return Err(format!("found {} resId matches for var {}", found.len(), var.name));
        }
        if let Some(resource) = found.pop() {
            resource.vars.push(var.name.clone());
        }
        add(var.clone(), known)?;
    }
    Ok(())
}

/// Adds a variable; two may not have one name.
pub(super) fn add(var: Var, known: &mut Vec<Var>) -> Result<(), String> {
    if known.iter().any(|other| other.name == var.name) {
        return Err(format!("var '{}' already encountered", var.name));
    }
    known.push(var);
    Ok(())
}

/// Puts the values in; the names of the variables that stand nowhere.
pub(super) fn resolve(
    vars: &[Var],
    resources: &mut [Resource],
    config: &Config,
) -> Result<Vec<String>, String> {
    if vars.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = Vec::new();
    for var in vars {
        let path = match var.fieldref.fieldpath.as_str() {
            "" => "metadata.name",
            path => path,
        };
        let object = resources.iter().find(|r| r.vars.contains(&var.name)).ok_or_else(|| {
            let objref = &var.objref;
            format!(
                "var '{}' cannot be mapped to a field in the set of known resources ({}/{})",
                var.name, objref.kind, objref.name
            )
        })?;
        let value = field(&object.value, path).ok_or_else(|| {
            let name = str_at(&object.value, "metadata.name");
            format!(
                "field specified in var '{}' ({path}) not found in corresponding resource {name}",
                var.name
            )
        })?;
        values.push((var.name.as_str(), value.clone()));
    }
    let mut used: Vec<&str> = Vec::new();
    for resource in resources {
        for spec in &config.var_reference {
            spec.visit(&mut resource.value, Leaf::None, &mut |value| {
                each_text(value, &mut |text| expand(text, &values, &mut used));
                Ok(())
            })?;
        }
    }
    let unused = values.iter().filter(|(name, _)| !used.contains(name));
    Ok(unused.map(|(name, _)| (*name).to_owned()).collect())
}

/// `spec.ports[0].port` and `metadata.labels[app.io/x]` too.
fn field<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let dotted = path.replace('[', ".[");
    let mut here = object;
    for part in split_smart(&dotted, '.') {
        let bare = part.trim_matches(['[', ']']);
        here = match here {
            Value::Array(items) => items.get(bare.parse::<usize>().ok()?)?,
            other => other.get(bare)?,
        };
    }
    Some(here)
}

fn each_text(value: &mut Value, change: &mut dyn FnMut(&str) -> Option<Value>) {
    match value {
        Value::String(text) => {
            if let Some(new) = change(text) {
                *value = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(map) => map.values_mut().for_each(|value| {
            if value.is_string() {
                each_text(value, change);
            }
        }),
        _ => {}
    }
}

/// Puts values in the place of `$(NAME)`; `$$` is a dollar sign. A text that is nothing else takes
/// the value as it is, a number too.
fn expand<'v>(text: &str, values: &[(&'v str, Value)], used: &mut Vec<&'v str>) -> Option<Value> {
    if !text.contains('$') {
        return None;
    }
    let find = |name: &str| values.iter().find(|(known, _)| *known == name);
    let whole = text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    if let Some((name, value)) = whole.filter(|name| !name.contains(')')).and_then(find) {
        used.push(name);
        return Some(value.clone());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(more) = after.strip_prefix('$') {
            out.push('$');
            rest = more;
        } else if let Some((name, more)) = after.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match find(name) {
                Some((name, value)) => {
                    used.push(name);
                    out.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                }
                None => out.push_str(&format!("$({name})")),
            }
            rest = more;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_expanded() {
        let values = [("A", json!("x")), ("N", json!(5))];
        let mut used = Vec::new();
        for (text, new) in [
            ("$(A)", json!("x")),
            ("$(N)", json!(5)),
            ("a$(N)b", json!("a5b")),
            ("$(A)$(N)", json!("x5")),
            ("$$(A)", json!("$(A)")),
            ("$(OTHER) $", json!("$(OTHER) $")),
            ("$(A", json!("$(A")),
        ] {
            assert_eq!(expand(text, &values, &mut used), Some(new), "{text}");
        }
        assert_eq!(expand("plain", &values, &mut used), None);
    }
}
