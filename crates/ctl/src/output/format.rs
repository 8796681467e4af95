//! `-o`.

use std::fs;

use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use super::columns::Columns;
use super::go_template::GoTemplate;
use super::{json as go_json, kyaml, yaml};
use crate::error::Error;
use crate::jsonpath::Template;

/// How objects are printed.
#[derive(Debug, Clone, Default)]
pub enum Format {
    /// A table, or one line an object.
    #[default]
    Table,
    /// A table with all columns.
    Wide,
    /// `kind/name`.
    Name,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// YAML with brackets and quotes (KEP-5295).
    Kyaml,
    /// A template.
    JsonPath(Template),
    /// A template that must find something, and its text.
    StrictJsonPath(Template, String),
    /// The values that a template finds, as a JSON list.
    JsonPathAsJson(Template),
    /// Columns that the user chose.
    Columns(Columns),
    /// A Go template.
    Go(GoTemplate),
}

impl Format {
    /// Reads the value of `-o`; empty is the table.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, argument) = match text.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let needed = || {
            let text = format!("template format specified but no template given: -o {name}=…");
            argument.filter(|text| !text.is_empty()).ok_or_else(|| Error::new(text))
        };
        let file = || -> Result<String, Error> {
            let path = needed()?;
            fs::read_to_string(path).map_err(|e| Error::new(format!("{path}: {e}")))
        };
        Ok(match name {
            "" => Self::Table,
            "wide" => Self::Wide,
            "name" => Self::Name,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "kyaml" => Self::Kyaml,
            "jsonpath" => Self::JsonPath(Template::parse(needed()?)?),
            "jsonpath-as-json" => Self::JsonPathAsJson(Template::parse(needed()?)?),
            "jsonpath-file" => Self::JsonPath(Template::parse(file()?.trim_end_matches('\n'))?),
            "go-template" | "template" => Self::Go(GoTemplate::parse(needed()?)?),
            "go-template-file" | "templatefile" => Self::Go(GoTemplate::parse(&file()?)?),
            "custom-columns" => Self::Columns(Columns::parse(needed()?)?),
            "custom-columns-file" => Self::Columns(Columns::parse_file(&file()?)?),
            other => {
                return Err(Error::new(format!(
                    "unable to match a printer suitable for the output format {other:?}, allowed \
                     formats are: custom-columns,custom-columns-file,go-template,\
                     go-template-file,json,jsonpath,jsonpath-as-json,jsonpath-file,kyaml,\
                     name,template,templatefile,wide,yaml"
                )));
            }
        })
    }

    /// What a template does not find is an error; `text`: the template as it was given.
    pub fn strict(self, text: &str) -> Self {
        match self {
            Self::JsonPath(template) => Self::StrictJsonPath(template, text.to_owned()),
            Self::Go(template) => Self::Go(template.strict()),
            other => other,
        }
    }

    /// Whether the server makes the table.
    pub fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Several objects that were written as one `List`.
    pub(crate) fn print_list(&self, items: Vec<Value>) -> Result<String, Error> {
        let list = json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}});
        self.print_typed(&list)
    }

    /// What begins with its kind, as Go's types do.
    pub(crate) fn print_typed(&self, value: &Value) -> Result<String, Error> {
        Ok(match self {
            Self::Json => go_json::typed(value),
            Self::Kyaml => kyaml::typed(value),
            format => format.print(value, false)?,
        })
    }

    /// An object, or a `List` of them, as text. A table is not made here: it prints the name.
    pub fn print(&self, value: &Value, no_headers: bool) -> Result<String, Error> {
        Ok(match self {
            Self::Table | Self::Wide | Self::Name => {
                each(value).map(|object| name_of(object) + "\n").collect()
            }
            Self::Json => go_json::pretty(value),
            Self::Yaml => yaml::to_string(value),
            Self::Kyaml => kyaml::to_string(value),
            Self::JsonPath(template) => template.render(value)?,
            Self::StrictJsonPath(template, text) => {
                if template.find(value)?.is_empty() {
                    return Err(not_found(text, value));
                }
                template.render(value)?
            }
            Self::JsonPathAsJson(template) => {
                let found: Vec<Value> = template.find(value)?.into_iter().cloned().collect();
                go_json::pretty(&Value::Array(found))
            }
            Self::Columns(columns) => columns.print(each(value), no_headers)?,
            Self::Go(template) => template.render(value)?,
        })
    }
}

fn not_found(text: &str, value: &Value) -> Error {
    let name = text.trim_matches(['{', '}']).rsplit('.').next().unwrap_or(text);
    Error::new(format!(
        "error executing jsonpath {text:?}: Error executing template: {name} is not found. \
         Printing more information for debugging the template:\n\ttemplate \
         was:\n\t\t{text}\n\tobject given to jsonpath engine was:\n\t\t{value}\n\n"
    ))
}

/// The items of a list; of anything else, itself.
fn each(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value.get("items") {
        Some(Value::Array(_)) => Box::new(list_at(value, "items").iter()),
        _ => Box::new(std::iter::once(value)),
    }
}

/// `deployment.apps/web`.
pub fn name_of(object: &Value) -> String {
    let kind = str_at(object, "kind").to_ascii_lowercase();
    let name = str_at(object, "metadata.name");
    match str_at(object, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Several objects as one `List`.
pub fn list_of(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

/// Takes `managedFields` out, as kubectl does unless it is told otherwise.
pub fn hide_managed_fields(value: &mut Value) {
    if let Some(Value::Array(items)) = value.get_mut("items") {
        items.iter_mut().for_each(hide_managed_fields);
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
