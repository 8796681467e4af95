//! `explain`: the fields of a kind, from the server's OpenAPI v3.

use onggi_machinery::value::{at, entries_at, list_at, str_at};
use serde_json::Value;

use crate::discovery::Mapping;
use crate::error::Error;
use crate::session::Session;

/// Schemas of schemas go round in circles.
const MAX_DEPTH: usize = 24;
const REFERENCE: &str = "#/components/schemas/";
/// Where kubectl breaks descriptions.
const WIDTH: usize = 76;

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// deployment, deployment.spec.template
    #[arg(value_name = "TYPE[.FIELD…]")]
    what: String,
    /// All fields below
    #[arg(long)]
    recursive: bool,
    /// Of this version: apps/v1
    #[arg(long, default_value = "", value_name = "GROUP/VERSION")]
    api_version: String,
    /// plaintext
    #[arg(long, short, default_value = "plaintext", value_parser = ["plaintext", "plaintext-openapiv2"])]
    output: String,
}

impl Args {
    /// Prints names, types and what they mean, as far as the server says it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (mapping, fields) = self.named(session).await?;
        let place = if mapping.group.is_empty() { "api" } else { "apis" };
        let path = format!("/openapi/v3/{place}/{}", mapping.api_version());
        let document = session.get(&path, "application/json").await?;
        let document = Document(&document);
        let missing = || {
            let what = format!("{}, Kind={}", mapping.api_version(), mapping.kind);
            Error::new(format!("couldn't find resource for {what:?}"))
        };
        let kind = document.kind(&mapping).ok_or_else(missing)?;
        let mut text = String::new();
        if !mapping.group.is_empty() {
            text += &format!("GROUP:      {}\n", mapping.group);
        }
        text += &format!("KIND:       {}\nVERSION:    {}\n\n", mapping.kind, mapping.version);
        let mut here = kind;
        let mut field = None;
        for name in &fields {
            let inner = document.fields_of(here);
            let Some(next) = at(inner, "properties").get(name.as_str()) else {
                session.print(&text)?;
                return Err(Error::new(format!("field {name:?} does not exist")));
            };
            field = Some((name, next, is_required(inner, name)));
            here = next;
        }
        if let Some((name, schema, required)) = field {
            let mark = if required { " -required-" } else { "" };
            text += &format!("FIELD: {name} <{}>{mark}\n\n", document.type_of(schema, 0));
            text += &enumeration(document.resolved(schema), "");
            text.push('\n');
        }
        let said = [here, document.resolved(here), document.fields_of(here)]
            .into_iter()
            .map(|schema| str_at(schema, "description"))
            .find(|said| !said.is_empty());
        text += "DESCRIPTION:\n";
        text += &match said {
            Some(said) => format!("{}    \n", wrapped(said, 4)),
            None => "    <empty>\n".to_owned(),
        };
        let schema = document.fields_of(here);
        if entries_at(schema, "properties").next().is_some() {
            text += "FIELDS:\n";
            self.list(&document, schema, 1, &mut text);
        }
        session.print(&(text + "\n"))
    }

    /// The kind and the fields below it that are meant; the kind's own name may hold dots.
    async fn named(&self, session: &Session) -> Result<(Mapping, Vec<String>), Error> {
        let mapper = session.mapper().await?;
        let parts: Vec<&str> = self.what.split('.').collect();
        let (kind, fields) = parts.split_first().ok_or_else(|| Error::new("no kind is named"))?;
        let fields = fields.iter().filter(|field| !field.is_empty());
        let fields: Vec<String> = fields.map(|field| (*field).to_owned()).collect();
        if self.api_version.is_empty() {
            // `gateways.example.com` is a kind, `pods.spec` a kind and a field.
            if let Ok(mapping) = mapper.by_name(&self.what) {
                return Ok((mapping.clone(), Vec::new()));
            }
            return Ok((mapper.by_name(kind)?.clone(), fields));
        }
        let mapping = mapper.by_name(kind)?;
        let of_version = mapper.by_kind(&self.api_version, &mapping.kind).ok_or_else(|| {
            Error::new(format!(
                "couldn't find resource for \"{}, Resource={}\"",
                self.api_version, mapping.plural
            ))
        })?;
        Ok((of_version.clone(), fields))
    }

    fn list(&self, document: &Document<'_>, schema: &Value, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        for (name, field) in entries_at(schema, "properties") {
            let mark = if is_required(schema, name) { " -required-" } else { "" };
            *text += &format!("{indent}{name}\t<{}>{mark}\n", document.type_of(field, 0));
            *text += &enumeration(document.resolved(field), &indent);
            if self.recursive {
                let inner = document.fields_of(field);
                if depth < MAX_DEPTH {
                    self.list(document, inner, depth + 1, text);
                }
                continue;
            }
            let said = match str_at(field, "description") {
                "" => str_at(document.resolved(field), "description"),
                said => said,
            };
            *text += &match said {
                "" => format!("{indent}  <no description>\n\n"),
                said => format!("{}\n", wrapped(said, indent.len() + 2)),
            };
        }
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    list_at(schema, "required").iter().any(|field| field == name)
}

/// `enum: A, B`.
fn enumeration(schema: &Value, indent: &str) -> String {
    let values: Vec<&str> = list_at(schema, "enum").iter().filter_map(Value::as_str).collect();
    match values.as_slice() {
        [] => String::new(),
        values => format!("{indent}enum: {}\n", values.join(", ")),
    }
}

/// Lines of at most [`WIDTH`] characters, indented; lines of their own stay so.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let space = " ".repeat(indent);
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                out += &format!("{space}{line}\n");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out += &format!("{space}{line}\n");
    }
    out
}

/// The OpenAPI of a group.
struct Document<'a>(&'a Value);

impl<'a> Document<'a> {
    fn kind(&self, mapping: &Mapping) -> Option<&'a Value> {
        let is_meant = |gvk: &Value| {
            str_at(gvk, "group") == mapping.group
                && str_at(gvk, "version") == mapping.version
                && str_at(gvk, "kind") == mapping.kind
        };
        let mut schemas = entries_at(self.0, "components.schemas").map(|(_, schema)| schema);
        schemas.find(|s| list_at(s, "x-kubernetes-group-version-kind").iter().any(is_meant))
    }

    /// The name that a schema refers to.
    fn reference(&self, schema: &'a Value) -> Option<&'a str> {
        let own = schema.get("$ref").and_then(Value::as_str);
        let inner = || list_at(schema, "allOf").iter().find_map(|one| one.get("$ref")?.as_str());
        own.or_else(inner)?.strip_prefix(REFERENCE)
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let mut here = schema;
        for _ in 0..MAX_DEPTH {
            let Some(name) = self.reference(here) else { return here };
            // Names hold dots: no path.
            here = at(self.0, "components.schemas").get(name).unwrap_or(&Value::Null);
        }
        here
    }

    /// The schema whose fields a field leads to: through lists and maps.
    fn fields_of(&self, schema: &'a Value) -> &'a Value {
        let mut here = self.resolved(schema);
        for _ in 0..MAX_DEPTH {
            let inner = match (here.get("items"), here.get("additionalProperties")) {
                (Some(items), _) => items,
                (None, Some(values)) if values.is_object() => values,
                _ => return here,
            };
            here = self.resolved(inner);
        }
        here
    }

    /// `[]Container`, `map[string]string`, `integer`.
    fn type_of(&self, schema: &'a Value, depth: usize) -> String {
        if depth > MAX_DEPTH {
            return "Object".to_owned();
        }
        if let Some(name) = self.reference(schema) {
            let resolved = self.resolved(schema);
            let plain = str_at(resolved, "type");
            if !plain.is_empty() && plain != "object" {
                return self.type_of(resolved, depth + 1);
            }
            return name.rsplit('.').next().unwrap_or(name).to_owned();
        }
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.type_of(items, depth + 1));
        }
        if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
            return format!("map[string]{}", self.type_of(values, depth + 1));
        }
        match str_at(schema, "type") {
            "" => "Object".to_owned(),
            "object" => "Object".to_owned(),
            plain => plain.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_wrapped() {
        let text = format!("{} end\nnext", "word ".repeat(16).trim());
        let lines: Vec<String> = wrapped(&text, 2).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("  word") && lines[0].len() <= WIDTH + 2);
        assert_eq!(lines[2], "  next");
    }
}
