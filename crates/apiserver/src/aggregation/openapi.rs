//! OpenAPI of aggregated servers beside our own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

const REF: &str = "#/definitions/";

/// Takes up what a document of v2 says of the paths below `prefix`, and the definitions that they
/// lead to. A definition that has the name of another one gets a name of its own.
pub(super) fn merge_v2(ours: &mut Value, theirs: &Value, prefix: &str) {
    let below = format!("{prefix}/");
    let wanted = theirs["paths"].as_object().into_iter().flatten();
    let wanted = wanted.filter(|(path, _)| *path == prefix || path.starts_with(&below));
    let mut paths: Vec<(String, Value)> =
        wanted.map(|(path, item)| (path.clone(), item.clone())).collect();
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut todo = Vec::new();
    paths.iter().for_each(|(_, item)| references(item, &mut todo));
    // Of kinds that no path names: clients find them by their group and version.
    let (group, version) = prefix.trim_start_matches("/apis/").split_once('/').unwrap_or_default();
    for (name, definition) in theirs["definitions"].as_object().into_iter().flatten() {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        let own = |kind: &Value| kind["group"] == group && kind["version"] == version;
        let plain = kinds.is_some_and(|kinds| kinds.len() == 1 && kinds.iter().all(own));
        if plain {
            todo.push(name.clone());
        }
    }
    while let Some(name) = todo.pop() {
        let definition = &theirs["definitions"][name.as_str()];
        if found.contains_key(&name) || definition.is_null() {
            continue;
        }
        references(definition, &mut todo);
        found.insert(name, definition.clone());
    }
    let Some(own) = ours["definitions"].as_object_mut() else { return };
    let mut renamed = BTreeMap::new();
    for (name, definition) in &found {
        let Some(taken) = own.get(name) else { continue };
        if taken == definition {
            continue;
        }
        let mut number = 2;
        while own.contains_key(&format!("{name}_v{number}")) {
            number += 1;
        }
        renamed.insert(name.clone(), format!("{name}_v{number}"));
    }
    for (name, mut definition) in found {
        rename(&mut definition, &renamed);
        let name = renamed.get(&name).cloned().unwrap_or(name);
        if let Some(map) = definition.as_object_mut().filter(|_| name.contains("_v")) {
            // What stands under another name is not what clients look for by its kind.
            if own.contains_key(name.rsplit_once("_v").map_or("", |(before, _)| before)) {
                map.remove("x-kubernetes-group-version-kind");
            }
        }
        own.insert(name, definition);
    }
    paths.iter_mut().for_each(|(_, item)| rename(item, &renamed));
    if let Some(all) = ours["paths"].as_object_mut() {
        all.retain(|path, _| path != prefix && !path.starts_with(&below));
        all.extend(paths);
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(target(map).map(str::to_owned));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn target(map: &Map<String, Value>) -> Option<&str> {
    map.get("$ref")?.as_str()?.strip_prefix(REF)
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            if let Some(new) = target(map).and_then(|name| names.get(name)) {
                map.insert("$ref".into(), format!("{REF}{new}").into());
            }
            map.values_mut().for_each(|value| rename(value, names));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_do_not_collide() {
        let mut ours = json!({
            "paths": {"/apis/apps/v1/x": {}},
            "definitions": {"Meta": {"type": "object"}, "Same": {"type": "string"}},
        });
        let theirs = json!({
            "paths": {
                "/apis/a.b/v1/flunders": {"get": {"schema": {"$ref": "#/definitions/Flunder"}}},
                "/apis/other/v1/x": {"get": {"schema": {"$ref": "#/definitions/Other"}}},
            },
            "definitions": {
                "Flunder": {"properties": {
                    "metadata": {"$ref": "#/definitions/Meta"},
                    "s": {"$ref": "#/definitions/Same"},
                }},
                "Meta": {"type": "object", "description": "x"},
                "Other": {},
                "Same": {"type": "string"},
            },
        });
        merge_v2(&mut ours, &theirs, "/apis/a.b/v1");
        assert_eq!(
            ours,
            json!({
                "paths": {
                    "/apis/apps/v1/x": {},
                    "/apis/a.b/v1/flunders": {"get": {"schema": {"$ref": "#/definitions/Flunder"}}},
                },
                "definitions": {
                    "Flunder": {"properties": {
                        "metadata": {"$ref": "#/definitions/Meta_v2"},
                        "s": {"$ref": "#/definitions/Same"},
                    }},
                    "Meta": {"type": "object"},
                    "Meta_v2": {"type": "object", "description": "x"},
                    "Same": {"type": "string"},
                },
            })
        );
    }
}
