//! The server's tables (`meta.k8s.io/v1 Table`) as text.

use std::fmt::Write as _;

use onggi_machinery::value::{at, entries_at, list_at, str_at};
use serde_json::Value;

use crate::jsonpath::{Template, compare, text_of};

/// What a table shows beside its own columns.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// All columns.
    pub wide: bool,
    /// No first line.
    pub no_headers: bool,
    /// A column with the namespace.
    pub with_namespace: bool,
    /// `deployment.apps` before each name.
    pub kind: Option<String>,
    /// Labels with a column of their own.
    pub label_columns: Vec<String>,
    /// A column with all labels.
    pub show_labels: bool,
    /// A column with what happened to the object.
    pub with_event: bool,
}

/// Prints tables of one kind, one below the other, with columns that never become narrower: a
/// watch goes on below what it printed.
#[derive(Debug, Default)]
pub struct Printer {
    options: Options,
    heading: Vec<String>,
    /// Which columns are shown, by their place.
    shown: Vec<(usize, bool)>,
    widths: Vec<usize>,
    /// `ADDED`, for the rows that come next.
    event: String,
}

/// Least width of a column, and the space behind it.
const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

impl Printer {
    /// With options.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Says what happened to the rows that come next.
    pub fn event(&mut self, event: &str) {
        event.clone_into(&mut self.event);
    }

    /// A table as text; the first line is printed with the first table that names its columns.
    pub fn print(&mut self, table: &Value) -> String {
        let mut lines: Vec<Vec<String>> = Vec::new();
        let columns = list_at(table, "columnDefinitions");
        if !columns.is_empty() {
            let mut heading = Vec::new();
            self.shown.clear();
            if self.options.with_event {
                heading.push(format!("{:8}", "EVENT"));
            }
            if self.options.with_namespace {
                heading.push("NAMESPACE".to_owned());
            }
            for (place, column) in columns.iter().enumerate() {
                if self.options.wide || column["priority"].as_i64().unwrap_or(0) == 0 {
                    self.shown.push((place, str_at(column, "format") == "name"));
                    heading.push(str_at(column, "name").to_uppercase());
                }
            }
            for label in &self.options.label_columns {
                heading.push(label.rsplit('/').next().unwrap_or(label).to_uppercase());
            }
            if self.options.show_labels {
                heading.push("LABELS".to_owned());
            }
            // A watch names its columns once more.
            if !self.options.no_headers && self.heading != heading {
                lines.push(heading.clone());
            }
            self.heading = heading;
        }
        lines.extend(list_at(table, "rows").iter().map(|row| self.row(row)));
        self.layout(&lines)
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let object = at(row, "object");
        let cells = list_at(row, "cells");
        let mut line = Vec::new();
        if self.options.with_event {
            line.push(format!("{:8}", self.event));
        }
        if self.options.with_namespace {
            line.push(str_at(object, "metadata.namespace").to_owned());
        }
        for (place, is_name) in &self.shown {
            let text = cells.get(*place).map(cell_text).unwrap_or_default();
            match &self.options.kind {
                Some(kind) if *is_name => line.push(format!("{kind}/{text}")),
                _ => line.push(text),
            }
        }
        for label in &self.options.label_columns {
            let labels = at(object, "metadata.labels");
            line.push(labels.get(label).and_then(Value::as_str).unwrap_or("").to_owned());
        }
        if self.options.show_labels {
            line.push(labels_text(at(object, "metadata")));
        }
        line
    }

    fn layout(&mut self, lines: &[Vec<String>]) -> String {
        for line in lines {
            for (at, cell) in line.iter().enumerate() {
                let width = (cell.chars().count() + PADDING).max(MIN_WIDTH);
                match self.widths.get_mut(at) {
                    Some(widest) => *widest = width.max(*widest),
                    None => self.widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for line in lines {
            for (at, cell) in line.iter().enumerate() {
                if at + 1 == line.len() {
                    out.push_str(cell);
                } else {
                    let _infallible = write!(out, "{cell:width$}", width = self.widths[at]);
                }
            }
            out.push('\n');
        }
        out
    }
}

/// `a=1,b=2`, or `<none>`.
pub fn labels_text(metadata: &Value) -> String {
    let labels: Vec<_> = entries_at(metadata, "labels")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") }
}

/// A cell; texts are cut at the first line break, and hold nothing that moves the cursor.
fn cell_text(cell: &Value) -> String {
    let text = match cell {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => text_of(other),
    };
    let first = text.split(['\n', '\r', '\u{c}']).next().unwrap_or_default();
    let cut = if first.len() < text.len() { "..." } else { "" };
    first.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>() + cut
}

/// Puts the rows of a table in the order of what a path finds in their objects.
pub fn sort(table: &mut Value, by: &Template) {
    let Some(Value::Array(rows)) = table.get_mut("rows") else { return };
    sort_by(rows, by, |row| at(row, "object"));
}

/// Puts objects in the order of what a path finds.
pub fn sort_by(items: &mut [Value], by: &Template, object: impl Fn(&Value) -> &Value) {
    let key = |item: &Value| {
        let found = by.find(object(item)).unwrap_or_default();
        found.first().map_or(Value::Null, |value| (*value).clone())
    };
    items.sort_by(|a, b| compare(&key(a), &key(b)));
}
