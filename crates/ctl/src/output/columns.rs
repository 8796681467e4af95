//! `-o custom-columns`.

use serde_json::Value;

use super::tabwriter::{TABLE, align};
use crate::error::Error;
use crate::jsonpath::{Template, text_of};

/// Headings and what stands below them.
#[derive(Debug, Clone)]
pub struct Columns(Vec<(String, Template)>);

impl Columns {
    /// Reads `NAME:.metadata.name,NODE:.spec.nodeName`.
    pub fn parse(spec: &str) -> Result<Self, Error> {
        let columns = spec.split(',').map(|part| {
            let (name, path) = part.split_once(':').ok_or_else(|| {
                let text = format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                );
                Error::new(text)
            })?;
            Ok((name.to_owned(), Template::relaxed(path)?))
        });
        Ok(Self(columns.collect::<Result<_, Error>>()?))
    }

    /// Reads a file of two lines: headings, and the paths below them.
    pub fn parse_file(text: &str) -> Result<Self, Error> {
        let mut lines = text.lines();
        let mut words = || lines.next().unwrap_or_default().split_whitespace();
        let (names, paths): (Vec<_>, Vec<_>) = (words().collect(), words().collect());
        if names.is_empty() || names.len() != paths.len() {
            let text = format!("number of headers ({}) and paths ({})", names.len(), paths.len());
            return Err(Error::new(format!("custom-columns-file: {text} must be the same")));
        }
        let columns = names.iter().zip(&paths);
        let columns =
            columns.map(|(name, path)| Ok(((*name).to_owned(), Template::relaxed(path)?)));
        Ok(Self(columns.collect::<Result<_, Error>>()?))
    }

    /// The table of the objects.
    pub fn print<'a>(
        &self,
        objects: impl Iterator<Item = &'a Value>,
        no_headers: bool,
    ) -> Result<String, Error> {
        let mut text = String::new();
        if !no_headers {
            let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
            text.push_str(&names.join("\t"));
            text.push('\n');
        }
        for object in objects {
            let cells = self.0.iter().map(|(_, path)| {
                let found: Vec<_> = path.find(object)?.into_iter().map(cell).collect();
                Ok(if found.is_empty() { "<none>".to_owned() } else { found.join(",") })
            });
            text.push_str(&cells.collect::<Result<Vec<_>, Error>>()?.join("\t"));
            text.push('\n');
        }
        Ok(align(&text, TABLE))
    }
}

/// As Go spells values.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let one = |(key, value): (&String, &Value)| format!("{key}:{}", cell(value));
            format!("map[{}]", map.iter().map(one).collect::<Vec<_>>().join(" "))
        }
        other => text_of(other),
    }
}
