//! Field names of a kustomization file in another case: Kustomize takes `nameprefix` for
//! `namePrefix`. The keys of labels and the like are left as they are.

use serde_json::Value;

const TOP: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "resources",
    "bases",
    "components",
    "crds",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replicas",
    "replacements",
    "vars",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
    "sortOptions",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
];
const PATCH: &[&str] = &["path", "patch", "target", "options"];
const IMAGE: &[&str] = &["name", "newName", "newTag", "tagSuffix", "digest"];
const GENERATOR: &[&str] =
    &["name", "namespace", "behavior", "files", "literals", "envs", "env", "type", "options"];
const TARGET: &[&str] =
    &["group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector"];

/// The fields of what a field holds, or of the items of its list.
const INSIDE: &[(&str, &[&str])] = &[
    ("labels", &["pairs", "includeSelectors", "includeTemplates", "fields"]),
    ("patchesJson6902", PATCH),
    ("patches", PATCH),
    ("images", IMAGE),
    ("imageTags", IMAGE),
    ("replicas", &["name", "count"]),
    ("replacements", &["path", "source", "sourceValue", "targets"]),
    ("vars", &["name", "objref", "fieldref"]),
    ("configMapGenerator", GENERATOR),
    ("secretGenerator", GENERATOR),
    ("generatorOptions", &["labels", "annotations", "disableNameSuffixHash", "immutable"]),
    ("sortOptions", &["order", "legacySortOptions"]),
];

/// Lets a kustomization say the fields as they are written, and drops those that are null.
pub(super) fn fold(file: &mut Value) {
    rename(file, TOP);
    for (field, names) in INSIDE {
        let Some(value) = file.get_mut(*field) else { continue };
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| inside(item, names)),
            value => inside(value, names),
        }
    }
    for field in ["commonLabels", "commonAnnotations"] {
        let Some(Value::Object(map)) = file.get_mut(field) else { continue };
        map.values_mut().filter(|value| value.is_null()).for_each(|value| *value = "".into());
    }
}

/// Whether a kustomization says nothing.
pub(super) fn is_empty(file: &Value) -> bool {
    let is_head = |key: &str| key == "apiVersion" || key == "kind";
    file.as_object().is_some_and(|map| map.keys().all(|key| is_head(key)))
}

fn inside(value: &mut Value, names: &[&str]) {
    rename(value, names);
    if let Some(target) = value.get_mut("target") {
        rename(target, TARGET);
    }
}

fn rename(value: &mut Value, names: &[&str]) {
    let Value::Object(map) = value else { return };
    map.retain(|_, value| !value.is_null());
    let meant = |key: &String| {
        let name = names.iter().find(|name| name.eq_ignore_ascii_case(key))?;
        (*name != key).then(|| (key.clone(), (*name).to_owned()))
    };
    let renamed: Vec<(String, String)> = map.keys().filter_map(meant).collect();
    for (key, name) in renamed {
        if let Some(value) = map.remove(&key) {
            map.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_and_not_labels() {
        let mut file = json!({
            "nameprefix": "a-", "Resources": ["x"], "namespace": null,
            "commonLabels": {"Resources": "r"}, "Images": [{"newname": "n", "newTag": null}],
            "other": 1,
        });
        fold(&mut file);
        let expected = json!({
            "namePrefix": "a-", "resources": ["x"], "commonLabels": {"Resources": "r"},
            "images": [{"newName": "n"}], "other": 1,
        });
        assert_eq!(file, expected);
    }
}
