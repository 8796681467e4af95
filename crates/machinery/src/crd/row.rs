//! Rows of custom kinds. The generic path holds rows as `&'static Resource`, so a row is made once
//! for each distinct shape that was ever seen and never given back: a few hundred bytes for each
//! version of a definition, and nothing for a change of its schema.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use super::columns::Printer;
use super::definition::{Definition, ScalePaths, Version, by_priority};
use crate::resource::{Column, Resource, Subresource, Verb};
use crate::table;
use crate::value::{i64_at, map_mut, remove, str_at};

/// What the row of a custom kind has beyond the fields of [`Resource`].
#[derive(Debug)]
pub struct Shape {
    /// The kind of lists.
    pub list_kind: &'static str,
    /// `subresources.scale`.
    pub scale: Option<ScalePaths>,
    /// What users of a deprecated version are told.
    pub warning: Option<String>,
    /// `additionalPrinterColumns`; empty: name and age.
    printer: Vec<Printer>,
}

impl Shape {
    pub(crate) fn cells(&self, object: &Value, now: i64) -> Vec<Value> {
        if self.printer.is_empty() {
            return table::name_and_age(object, now);
        }
        let mut cells = vec![table::name(object)];
        cells.extend(self.printer.iter().map(|column| column.cell(object, now)));
        cells
    }
}

const PART_VERBS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

/// The row of a version of a definition.
pub fn row(definition: &Definition, version: &Version) -> &'static Resource {
    static ROWS: OnceLock<Mutex<HashMap<String, &'static Resource>>> = OnceLock::new();
    let key = key(definition, version);
    let rows = ROWS.get_or_init(Mutex::default);
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    rows.entry(key).or_insert_with(|| Box::leak(Box::new(make(definition, version))))
}

/// Everything that [`make`] reads.
fn key(definition: &Definition, version: &Version) -> String {
    format!(
        "{}/{} {:?} {:?} {} {:?} {:?} {:?} {}",
        definition.group,
        version.name,
        definition.scope,
        definition.names,
        version.status,
        version.scale,
        version.warning,
        version.selectable,
        json!(version.columns),
    )
}

fn text(text: &str) -> &'static str {
    static TEXTS: OnceLock<Mutex<HashMap<String, &'static str>>> = OnceLock::new();
    let texts = TEXTS.get_or_init(Mutex::default);
    let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    texts.insert(text.to_owned(), kept);
    kept
}

fn list<T>(items: Vec<T>) -> &'static [T] {
    Box::leak(items.into_boxed_slice())
}

fn make(definition: &Definition, version: &Version) -> Resource {
    let names = &definition.names;
    let texts = |all: &[String]| list(all.iter().map(|one| text(one)).collect());
    let (group, version_name, kind) =
        (text(&definition.group), text(&version.name), text(&names.kind));
    let mut parts = Vec::new();
    if version.status {
        let kind = (group, version_name, kind);
        parts.push(Subresource { name: "status", kind, verbs: PART_VERBS });
    }
    if version.scale.is_some() {
        let kind = ("autoscaling", "v1", "Scale");
        parts.push(Subresource { name: "scale", kind, verbs: PART_VERBS });
    }
    let mut columns = vec![Column::NAME];
    if version.columns.is_empty() {
        columns.push(Column { kind: "date", ..Column::AGE });
    }
    columns.extend(version.columns.iter().map(|column| Column {
        name: text(str_at(column, "name")),
        kind: text(str_at(column, "type")),
        format: text(str_at(column, "format")),
        priority: i64_at(column, "priority").and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
    }));
    let shape: &'static Shape = Box::leak(Box::new(Shape {
        list_kind: text(&names.list_kind),
        scale: version.scale.clone(),
        warning: version.warning.as_ref().map(|warning| match warning.as_str() {
            "" => deprecated(definition, version_name),
            warning => warning.to_owned(),
        }),
        printer: version.columns.iter().map(Printer::read).collect(),
    }));
    Resource {
        group,
        version: version_name,
        kind,
        plural: text(&names.plural),
        singular: text(&names.singular),
        short_names: texts(&names.short_names),
        categories: texts(&names.categories),
        scope: definition.scope,
        subresources: list(parts),
        fields: texts(&version.selectable),
        has_generation: true,
        has_status: version.status,
        columns: list(columns),
        prepare_create: if version.status { drop_status } else { |_| {} },
        custom: Some(shape),
        ..Resource::BASE
    }
}

fn drop_status(object: &mut Value) {
    if object.is_object() {
        remove(object, "status");
    } else {
        map_mut(object, "");
    }
}

/// What users of a deprecated version are told, and which version there is instead.
fn deprecated(definition: &Definition, version: &str) -> String {
    let (group, kind) = (&definition.group, &definition.names.kind);
    let newer = |other: &&Version| by_priority(&other.name, version).is_lt();
    let usable = definition.versions.iter().filter(|other| other.served && other.warning.is_none());
    let text = format!("{group}/{version} {kind} is deprecated");
    match usable.filter(newer).min_by(|a, b| by_priority(&a.name, &b.name)) {
        Some(best) => format!("{text}; use {group}/{} {kind}", best.name),
        None => text,
    }
}
