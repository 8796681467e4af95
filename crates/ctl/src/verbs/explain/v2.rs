//! `plaintext-openapiv2`: what OpenAPI v2 says, as kubectl's older printer has it.

use onggi_machinery::value::{at, entries_at, list_at, str_at};
use serde_json::Value;

use super::wrap::refilled;
use crate::discovery::Mapping;

const REFERENCE: &str = "#/definitions/";
const WIDTH: usize = 80;
/// A schema that is nested deeper is not followed.
const MAX_DEPTH: usize = 64;

/// The whole document.
pub(super) struct Document<'a> {
    pub(super) value: &'a Value,
    /// Only names and types, of all that is below.
    pub(super) recursive: bool,
}

/// What a schema is for the printer.
enum Form<'a> {
    Reference(&'a str, &'a Value),
    Kind,
    Map(&'a Value),
    Array(&'a Value),
    Primitive(&'a str),
    Arbitrary,
}

impl<'a> Document<'a> {
    /// The schema of a kind.
    pub(super) fn kind(&self, mapping: &Mapping) -> Option<&'a Value> {
        super::kind(self.value, "definitions", mapping)
    }

    /// The text for the field at a path, or the name that is not found on it.
    pub(super) fn explain<'p>(
        &self,
        (kind, api_version): (&str, &str),
        schema: &'a Value,
        path: &'p [String],
    ) -> Result<String, &'p str> {
        let name = path.last().map_or("", String::as_str);
        let here = self.follow(schema, path)?;
        let mut text = format!("KIND:     {kind}\nVERSION:  {api_version}\n\n");
        // What is said on the way to the schema that has the fields.
        let mut said = vec![str_at(here, "description")];
        let mut inner = here;
        let mut named = None;
        for _ in 0..MAX_DEPTH {
            let form = self.form(inner);
            if matches!(form, Form::Map(_) | Form::Array(_)) {
                named.get_or_insert_with(|| self.type_of(inner, 0));
            }
            inner = match form {
                Form::Reference(_, next) | Form::Map(next) | Form::Array(next) => next,
                _ => break,
            };
            said.push(str_at(inner, "description"));
        }
        let type_name = named.unwrap_or_else(|| self.type_of(inner, 0));
        let form = self.form(inner);
        match form {
            Form::Kind if name.is_empty() => {}
            Form::Kind => text += &format!("RESOURCE: {name} <{type_name}>\n\n"),
            Form::Primitive(_) => text += &format!("FIELD:    {name} <{type_name}>\n\n"),
            _ => {}
        }
        text += &descriptions(&said);
        if matches!(form, Form::Kind) {
            text += "\nFIELDS:\n";
            self.list(inner, 3, &mut Vec::new(), &mut text);
        }
        Ok(text)
    }

    /// The schema at a path; a plain value has whatever is asked for below it.
    fn follow<'p>(&self, schema: &'a Value, path: &'p [String]) -> Result<&'a Value, &'p str> {
        let mut here = schema;
        for name in path {
            let mut depth = 0;
            while let Form::Reference(_, next) | Form::Map(next) | Form::Array(next) =
                self.form(here)
                && depth < MAX_DEPTH
            {
                here = next;
                depth += 1;
            }
            if !matches!(self.form(here), Form::Kind) {
                return Ok(here);
            }
            here = at(here, "properties").get(name.as_str()).ok_or(name.as_str())?;
        }
        Ok(here)
    }

    fn list(&self, kind: &'a Value, indent: usize, seen: &mut Vec<&'a str>, text: &mut String) {
        let space = " ".repeat(indent);
        for (name, field) in entries_at(kind, "properties") {
            let type_name = self.type_of(field, 0);
            if self.recursive {
                *text += &format!("{space}{name}\t<{type_name}>\n");
                self.list_below(field, indent + 3, seen, text);
                continue;
            }
            let required = list_at(kind, "required").iter().any(|one| one == name);
            let mark = if required { " -required-" } else { "" };
            *text += &format!("{space}{name}\t<{type_name}>{mark}\n");
            *text += &paragraph(str_at(field, "description"), indent + 2);
            text.push('\n');
        }
    }

    fn list_below(
        &self,
        schema: &'a Value,
        indent: usize,
        seen: &mut Vec<&'a str>,
        text: &mut String,
    ) {
        match self.form(schema) {
            Form::Reference(name, next) if !seen.contains(&name) => {
                seen.push(name);
                self.list_below(next, indent, seen, text);
                seen.pop();
            }
            Form::Map(next) | Form::Array(next) => self.list_below(next, indent, seen, text),
            Form::Kind => self.list(schema, indent, seen, text),
            _ => {}
        }
    }

    fn form(&self, schema: &'a Value) -> Form<'a> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.strip_prefix(REFERENCE).unwrap_or_default();
            let found = at(self.value, "definitions").get(name);
            return Form::Reference(name, found.unwrap_or(&Value::Null));
        }
        let has_fields = schema.get("properties").is_some();
        match str_at(schema, "type") {
            "" | "object" if has_fields => Form::Kind,
            "" => Form::Arbitrary,
            "object" => {
                let values = schema.get("additionalProperties");
                Form::Map(values.filter(|values| values.is_object()).unwrap_or(&Value::Null))
            }
            "array" => Form::Array(schema.get("items").unwrap_or(&Value::Null)),
            plain => Form::Primitive(plain),
        }
    }

    fn type_of(&self, schema: &'a Value, depth: usize) -> String {
        if depth > MAX_DEPTH {
            return String::new();
        }
        match self.form(schema) {
            Form::Reference(_, next) => self.type_of(next, depth + 1),
            Form::Kind => "Object".to_owned(),
            Form::Map(next) => format!("map[string]{}", self.type_of(next, depth + 1)),
            Form::Array(next) => format!("[]{}", self.type_of(next, depth + 1)),
            Form::Primitive(name) => name.to_owned(),
            Form::Arbitrary => String::new(),
        }
    }
}

fn descriptions(said: &[&str]) -> String {
    let mut text = "DESCRIPTION:\n".to_owned();
    let mut empty = true;
    for (at, said) in said.iter().enumerate().filter(|(_, said)| !said.is_empty()) {
        if at != 0 {
            text.push('\n');
        }
        text += &paragraph(said, 5);
        empty = false;
    }
    if empty { text + "     <empty>\n" } else { text }
}

fn paragraph(text: &str, indent: usize) -> String {
    let space = " ".repeat(indent);
    let lines = refilled(text, WIDTH - indent.min(WIDTH)).into_iter();
    let lines = lines.map(|line| match line.is_empty() {
        true => "\n".to_owned(),
        false => format!("{space}{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_is_said_on_the_way() {
        let value = json!({"definitions": {
            "a.Tree": {"description": "A tree.", "type": "object", "required": ["left"],
                "properties": {
                    "left": {"description": "The left one.", "$ref": "#/definitions/a.Tree"},
                    "leaves": {"type": "array", "items": {"type": "string"}},
                }},
        }});
        let head = ("Tree", "v1");
        let mut document = Document { value: &value, recursive: false };
        let tree = &value["definitions"]["a.Tree"];
        let text = document.explain(head, tree, &["left".to_owned()]).unwrap();
        assert_eq!(
            text,
            "KIND:     Tree\nVERSION:  v1\n\nRESOURCE: left <Object>\n\nDESCRIPTION:\n     \
             The left one.\n\n     A tree.\n\nFIELDS:\n   leaves\t<[]string>\n\n   left\t<Object> \
             -required-\n     The left one.\n\n"
        );
        let text = document.explain(head, tree, &["leaves".to_owned()]).unwrap();
        assert!(
            text.contains("FIELD:    leaves <[]string>\n\nDESCRIPTION:\n     <empty>\n"),
            "{text}"
        );
        assert_eq!(document.explain(head, tree, &["right".to_owned()]), Err("right"));
        document.recursive = true;
        let text = document.explain(head, tree, &[]).unwrap();
        let fields = "   left\t<Object>\n      leaves\t<[]string>\n      left\t<Object>\n";
        assert!(text.ends_with(fields), "{text}");
    }
}
