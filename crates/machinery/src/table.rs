//! Tables as `kubectl get` prints them (`meta.k8s.io/v1 Table`).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::resource::{Column, Resource};
use crate::value::{entries_at, list_at, str_at, time_at};

/// How much of the object goes beside its cells (`includeObject` of the request).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// From the query parameter; empty is the default, an unknown word is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// A table with a row for each item. `list_metadata` is that of the list (`resourceVersion`,
/// `continue`, `remainingItemCount`), `now` in seconds since 1970. Later events of a watch leave
/// the columns out: `with_columns`.
pub fn render<'a>(
    resource: &Resource,
    items: impl Iterator<Item = &'a Value>,
    now: i64,
    include: IncludeObject,
    list_metadata: Value,
    with_columns: bool,
) -> Value {
    let rows: Vec<Value> = items.map(|item| row(resource, item, now, include)).collect();
    let columns = if with_columns { columns(resource.columns) } else { json!([]) };
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": list_metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn columns(columns: &[Column]) -> Value {
    let definition = |column: &Column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": format!("{} of the object", column.name),
            "priority": column.priority,
        })
    };
    columns.iter().map(definition).collect()
}

fn row(resource: &Resource, item: &Value, now: i64, include: IncludeObject) -> Value {
    let mut row = json!({ "cells": resource.cells(item, now) });
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial_metadata(item),
        IncludeObject::Object => row["object"] = item.clone(),
    }
    row
}

/// The metadata of an object alone (`meta.k8s.io/v1 PartialObjectMetadata`).
pub fn partial_metadata(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| Map::new().into()),
    })
}

// === Cells ===

/// The cells of a kind that has no columns of its own: name and age.
pub fn name_and_age(object: &Value, now: i64) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

/// The cells of a kind for which Kubernetes has no columns: name and the moment it was made.
pub fn name_and_created(object: &Value, _: i64) -> Vec<Value> {
    vec![name(object), str_at(object, "metadata.creationTimestamp").into()]
}

/// `metadata.name`.
pub fn name(object: &Value) -> Value {
    str_at(object, "metadata.name").into()
}

/// The time since the object was made.
pub fn age(object: &Value, now: i64) -> Value {
    since(time_at(object, "metadata.creationTimestamp"), now).into()
}

/// The time since a moment, `<unknown>` where there is none.
pub fn since(moment: Option<i64>, now: i64) -> String {
    match moment {
        Some(moment) => human_duration(now.saturating_sub(moment)),
        None => "<unknown>".to_owned(),
    }
}

/// The text, or `other` where it is empty.
pub fn text_or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// Names and images of containers, each joined by commas: two `-o wide` columns.
pub fn containers_and_images(pod_spec: &Value) -> [Value; 2] {
    let join = |field| {
        let texts: Vec<&str> =
            list_at(pod_spec, "containers").iter().map(|c| str_at(c, field)).collect();
        Value::from(texts.join(","))
    };
    [join("name"), join("image")]
}

/// Labels as text: `a=b,c=d`, `<none>` where there are none.
pub fn labels_text(labels: &Value) -> String {
    let pairs: Vec<String> = match labels {
        Value::Object(map) => {
            map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect()
        }
        _ => Vec::new(),
    };
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// A label selector as text, as selectors are written in queries: `a=b,c in (x,y),!d`; empty for
/// one that selects everything.
pub fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<(&str, String)> = entries_at(selector, "matchLabels")
        .map(|(key, value)| (key, format!("{key}={}", value.as_str().unwrap_or(""))))
        .collect();
    for expression in list_at(selector, "matchExpressions") {
        let key = str_at(expression, "key");
        let mut values: Vec<&str> =
            list_at(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match str_at(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key, part));
    }
    parts.sort_by(|a, b| a.0.cmp(b.0));
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

/// The first three of a list, and how many more there are: `a,b,c + 2 more...`.
pub fn first_three(list: &[Cow<'_, str>], none: &str) -> String {
    const SHOWN: usize = 3;
    if list.is_empty() {
        return none.to_owned();
    }
    let shown = list.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(",");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// Seconds as a short text, with two units where that is still useful: `45s`, `5m30s`, `3h`, `2d`
/// (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`). A clock that is a second behind shows
/// `0s`, more than that `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: char, small: i64, small_unit: char| {
        let (whole, rest) = (seconds / big, seconds % big / small);
        if rest == 0 {
            format!("{whole}{big_unit}")
        } else {
            format!("{whole}{big_unit}{rest}{small_unit}")
        }
    };
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(MINUTE, 'm', 1, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(HOUR, 'h', MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(DAY, 'd', HOUR, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(YEAR, 'y', DAY, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Verb;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 120, "3h2m"),
            (8 * 3600 + 120, "8h"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (50 * 3600, "2d2h"),
            (9 * 86400 + 3600, "9d"),
            (729 * 86400, "729d"),
            (2 * 365 * 86400 + 3 * 86400, "2y3d"),
            (9 * 365 * 86400, "9y"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn selectors() {
        for (selector, text) in [
            (json!({}), ""),
            (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
            (
                json!({"matchLabels": {"b": "2"}, "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["y", "x"]},
                    {"key": "c", "operator": "DoesNotExist"}, {"key": "d", "operator": "Exists"}]}),
                "a in (x,y),b=2,!c,d",
            ),
        ] {
            assert_eq!(selector_text(&selector), text);
        }
    }

    #[test]
    fn lists_are_cut_at_three() {
        let list = |n: usize| (0..n).map(|i| i.to_string().into()).collect::<Vec<_>>();
        assert_eq!(first_three(&list(0), "<none>"), "<none>");
        assert_eq!(first_three(&list(3), ""), "0,1,2");
        assert_eq!(first_three(&list(5), ""), "0,1,2 + 2 more...");
    }

    #[test]
    fn a_table_of_every_kind_has_a_cell_a_column() {
        let listed = |resource: &&&Resource| resource.verbs.contains(&Verb::List);
        for resource in crate::resource::all().iter().filter(listed) {
            let object = json!({"metadata": {"name": "x"}});
            let table = render(
                resource,
                [&object].into_iter(),
                0,
                IncludeObject::Metadata,
                json!({}),
                true,
            );
            assert_eq!(
                table["rows"][0]["cells"].as_array().map(Vec::len),
                Some(resource.columns.len()),
                "{}",
                resource.kind
            );
            assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
            assert!(resource.columns.iter().any(|c| c.format == "name"), "{}", resource.kind);
        }
    }
}
