//! `plaintext`: what OpenAPI v3 says of a kind or a field, as kubectl's template prints it.

use onggi_machinery::value::{at, entries_at, list_at, str_at};
use serde_json::Value;

use super::wrap::{indented, wrapped};
use crate::discovery::Mapping;

const REFERENCE: &str = "#/components/schemas/";
/// Where lines of a description end.
const WIDTH: usize = 76;
/// So many values are listed beside a field.
const FEW: usize = 4;
/// A schema that refers to itself in more places than this is not followed further.
const MAX_DEPTH: usize = 64;

/// The OpenAPI of a group.
pub(super) struct Document<'a> {
    pub(super) value: &'a Value,
    /// Only names and types, of all that is below.
    pub(super) recursive: bool,
}

/// The references that were followed to come here.
type History<'a> = Vec<&'a str>;

impl<'a> Document<'a> {
    /// The schema of a kind.
    pub(super) fn kind(&self, mapping: &Mapping) -> Option<&'a Value> {
        super::kind(self.value, "components.schemas", mapping)
    }

    /// What there is to say of the field at a path; `None` where there is no such field.
    pub(super) fn explain(&self, schema: &'a Value, path: &[String]) -> Option<String> {
        self.follow(schema, path, &mut Vec::new())
    }

    fn follow(
        &self,
        schema: &'a Value,
        path: &[String],
        history: &mut History<'a>,
    ) -> Option<String> {
        let Some((name, rest)) = path.split_first() else { return Some(self.described(schema)) };
        let (reference, resolved) = self.resolve(schema);
        if !enter(reference, history) {
            return None;
        }
        if let Some(field) = at(resolved, "properties").get(name.as_str()) {
            let mut text = String::new();
            if rest.is_empty() {
                text = format!("FIELD: {name} <{}>\n", self.type_of(field, 0));
                text += &every_value(field);
                text += "\n\n";
            }
            return Some(text + &self.follow(field, rest, &mut Vec::new())?);
        }
        let inside = [resolved.get("items"), values_of(resolved)].into_iter().flatten().next();
        if let Some(inside) = inside {
            return self.follow(inside, path, history);
        }
        let all = list_at(resolved, "allOf").iter();
        let mut found = all.map(|one| self.follow(one, path, &mut history.clone()));
        found.find_map(|text| text)
    }

    fn described(&self, schema: &'a Value) -> String {
        let (_, resolved) = self.resolve(schema);
        let mut said = String::new();
        self.descriptions(resolved, &mut said, 0);
        let said = if said.is_empty() { "<empty>" } else { &said };
        let mut text = format!("DESCRIPTION:\n{}\n", indented(&wrapped(said, WIDTH), 4));
        if let Some(docs) = resolved.get("externalDocs") {
            text += &format!("\n{}", external_docs(docs, 0));
        }
        let mut fields = String::new();
        self.list(schema, 1, &mut Vec::new(), &mut fields);
        if !fields.is_empty() {
            text += &format!("FIELDS:\n{fields}");
        }
        text
    }

    /// What is said of a schema and of those that it consists of.
    fn descriptions(&self, schema: &'a Value, said: &mut String, depth: usize) {
        let (_, schema) = self.resolve(schema);
        if depth > MAX_DEPTH {
            return;
        }
        let own = str_at(schema, "description");
        if !own.is_empty() {
            *said += &format!("{own}\n");
        }
        for part in parts(schema) {
            self.descriptions(part, said, depth + 1);
        }
    }

    fn list(&self, schema: &'a Value, level: usize, history: &mut History<'a>, text: &mut String) {
        let (reference, resolved) = self.resolve(schema);
        if !enter(reference, history) || level > MAX_DEPTH {
            return;
        }
        for (name, field) in entries_at(resolved, "properties") {
            *text += &self.field(resolved, name, field, level * 2);
            if self.recursive {
                self.list(field, level + 1, &mut history.clone(), text);
            }
        }
        for part in parts(resolved) {
            self.list(part, level, &mut history.clone(), text);
        }
    }

    fn field(&self, schema: &Value, name: &str, field: &'a Value, indent: usize) -> String {
        let required = list_at(schema, "required").iter().any(|one| one == name);
        let mark = if required { " -required-" } else { "" };
        let space = " ".repeat(indent);
        let values = few_values(field, indent);
        let mut text = format!("{space}{name}\t<{}>{mark}{values}\n", self.type_of(field, 0));
        if self.recursive {
            return text;
        }
        let said = match str_at(field, "description") {
            "" => "<no description>",
            said => said,
        };
        let width = (WIDTH + 2).saturating_sub(indent);
        text += &format!("{}\n", indented(&wrapped(said, width), indent + 2));
        if let Some(docs) = field.get("externalDocs") {
            text += &format!("\n{}", external_docs(docs, indent + 2));
        }
        text + "\n"
    }

    /// The name that a schema refers to, and what it is.
    fn resolve(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            return (None, schema);
        };
        // Names hold dots: no path.
        let name = reference.strip_prefix(REFERENCE).unwrap_or_default();
        let found = at(self.value, "components.schemas").get(name);
        (Some(reference), found.unwrap_or(schema))
    }

    /// `[]Container`, `map[string]string`, `integer`.
    fn type_of(&self, schema: &'a Value, depth: usize) -> String {
        if depth > MAX_DEPTH {
            return "Object".to_owned();
        }
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.type_of(items, depth + 1));
        }
        if let Some(values) = values_of(schema) {
            return format!("map[string]{}", self.type_of(values, depth + 1));
        }
        if let [one] = list_at(schema, "allOf")
            && schema.get("properties").is_none()
        {
            return self.type_of(one, depth + 1);
        }
        let (reference, resolved) = self.resolve(schema);
        match (str_at(resolved, "type"), reference) {
            ("" | "object", Some(name)) => {
                name.rsplit(['/', '.']).next().filter(|n| !n.is_empty()).unwrap_or("Object")
            }
            ("" | "object", None) => "Object",
            (plain, _) => plain,
        }
        .to_owned()
    }
}

/// Whether a reference is followed for the first time.
fn enter<'a>(reference: Option<&'a str>, history: &mut History<'a>) -> bool {
    let Some(reference) = reference else { return true };
    if history.contains(&reference) {
        return false;
    }
    history.push(reference);
    true
}

/// `additionalProperties`, where it is a schema.
fn values_of(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|values| !values.is_boolean())
}

/// What a schema consists of beside its fields.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    list_at(schema, "allOf").iter().chain(schema.get("items")).chain(values_of(schema))
}

fn values(schema: &Value) -> impl Iterator<Item = String> {
    list_at(schema, "enum").iter().map(|value| match value.as_str() {
        Some("") => "\"\"".to_owned(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    })
}

/// Each on a line of its own.
fn every_value(schema: &Value) -> String {
    let lines: String = values(schema).map(|value| format!("\n    {value}")).collect();
    if lines.is_empty() { lines } else { format!("ENUM:{lines}") }
}

/// The first, in one line.
fn few_values(schema: &Value, indent: usize) -> String {
    let mut few: Vec<String> = values(schema).take(FEW + 1).collect();
    if few.is_empty() {
        return String::new();
    }
    if let Some(last) = few.get_mut(FEW) {
        "....".clone_into(last);
    }
    format!("\n{}enum: {}", " ".repeat(indent), few.join(", "))
}

fn external_docs(docs: &Value, indent: usize) -> String {
    let mut text = format!("{}EXTERNAL DOCS:\n", " ".repeat(indent));
    let said = str_at(docs, "description");
    if !said.is_empty() {
        let width = (WIDTH + 2).saturating_sub(indent.max(2));
        text += &format!("{}\n", indented(&wrapped(said, width), indent + 4));
    }
    let url = str_at(docs, "url");
    if !url.is_empty() {
        text += &format!("{}URL: {url}\n", " ".repeat(indent + 4));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_field_is_is_said_by_all_its_schemas() {
        let value = json!({"components": {"schemas": {
            "a.Tree": {"description": "A tree.", "type": "object", "required": ["left"],
                "properties": {
                    "left": {"description": "The left one.", "allOf": [{"$ref": format!("{REFERENCE}a.Tree")}]},
                    "leaves": {"type": "array", "items": {"type": "string", "enum": ["", "b", "c", "d", "e"]}},
                    "size": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
                }},
        }}});
        let mut document = Document { value: &value, recursive: false };
        let tree = &value["components"]["schemas"]["a.Tree"];
        let left = document.explain(tree, &["left".to_owned()]).unwrap();
        let fields = "FIELDS:\n  leaves\t<[]string>\n    <no description>\n\n  left\t<Tree> -required-\n    \
                      The left one.\n\n  size\t<integer>\n  enum: 1, 2, 3, 4, ....\n    <no description>\n\n";
        let said = "DESCRIPTION:\n    The left one.\n    A tree.\n    \n";
        assert_eq!(left, format!("FIELD: left <Tree>\n\n\n{said}{fields}"));
        let size = document.explain(tree, &["left".to_owned(), "size".to_owned()]).unwrap();
        assert!(size.starts_with("FIELD: size <integer>\nENUM:\n    1\n    2\n"), "{size}");
        assert!(size.ends_with("5\n\nDESCRIPTION:\n    <empty>\n"), "{size}");
        assert_eq!(document.explain(tree, &["right".to_owned()]), None);
        document.recursive = true;
        let all = document.explain(tree, &[]).unwrap();
        let left =
            "  left\t<Tree> -required-\n    leaves\t<[]string>\n    left\t<Tree> -required-\n";
        assert!(all.contains(left), "{all}");
    }
}
