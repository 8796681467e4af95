//! What mutations make: `Object{…}`, `Object.spec{…}` for its fields, and `JSONPatch{…}`. A message
//! is a map that knows its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::Expr;
use super::value::{Key, Map, Value};

/// A message that an expression has made.
#[derive(Clone)]
pub struct Message<'a> {
    /// `Object.spec.template`.
    pub name: Arc<str>,
    /// What was set.
    pub fields: BTreeMap<Key, Value<'a>>,
}

/// The name of the message that a brace behind an expression would begin.
pub(super) fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Ident(name) => matches!(name.as_str(), "Object" | "JSONPatch").then(|| name.clone()),
        Expr::Select { operand, field, optional: false } => {
            let above = name_of(operand).filter(|above| above != "JSONPatch")?;
            Some(format!("{above}.{field}"))
        }
        _ => None,
    }
}

impl<'a> Value<'a> {
    fn message(&self) -> Option<&Message<'a>> {
        match self {
            Self::Map(Map::Message(message)) => Some(message),
            _ => None,
        }
    }

    /// Whether it is a message of this name, and those within it are named by the fields that they
    /// stand in. The error is in Kubernetes' words.
    pub fn check_message(&self, name: &str) -> Result<(), String> {
        let found = self.message().map(|message| &*message.name);
        if found != Some(name) {
            let got = found.unwrap_or_else(|| self.type_name());
            return Err(format!("must evaluate to {name} but got {got}"));
        }
        let mut problems = Vec::new();
        names(self, name, &mut problems);
        if problems.is_empty() {
            return Ok(());
        }
        Err(format!("type mismatch: {}", problems.join("\n")))
    }
}

fn names(value: &Value<'_>, path: &str, problems: &mut Vec<String>) {
    match value {
        Value::Map(Map::Message(message)) => {
            if &*message.name != path {
                problems.push(format!(
                    "unexpected type name {:?}, expected {path:?}, which matches field name path \
                     from root Object type",
                    message.name
                ));
            }
            for (field, value) in &message.fields {
                names(value, &format!("{path}.{field}"), problems);
            }
        }
        // Lists and maps have no name of their own.
        Value::Map(Map::Own(map)) => map.values().for_each(|value| names(value, path, problems)),
        Value::List(list) => list.iter().for_each(|value| names(&value, path, problems)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Declarations, Variables, compile};

    #[test]
    fn names_follow_the_fields() {
        let check = |text: &str| {
            let program = compile(text, &Declarations::default().with_patches()).unwrap();
            let value = program.evaluate(&Variables::default(), &mut Budget::per_call()).unwrap();
            let json = value.to_json().unwrap();
            value.check_message("Object").map(|()| json.to_string())
        };
        assert_eq!(
            check("Object{spec: Object.spec{items: [Object.spec.items{a: 1}], m: {'k': 'v'}}}"),
            Ok(r#"{"spec":{"items":[{"a":1}],"m":{"k":"v"}}}"#.to_owned())
        );
        assert_eq!(
            check("Object{?a: optional.none(), ?b: optional.of(1)}"),
            Ok("{\"b\":1}".into())
        );
        assert_eq!(
            check("Object{spec: Object.specx{replicas: 1}}").unwrap_err(),
            "type mismatch: unexpected type name \"Object.specx\", expected \"Object.spec\", which \
             matches field name path from root Object type"
        );
        assert!(check("Object{spec: {'a': [Object.spec.a{}]}}").is_err());
        for (text, got) in [("'teapot'", "string"), ("Object.spec{}", "Object.spec"), ("{}", "map")]
        {
            let expected = format!("must evaluate to Object but got {got}");
            assert_eq!(check(text).unwrap_err(), expected, "{text}");
        }
    }
}
