//! `-o go-template`: Go's `text/template` with kubectl's two functions, `exists` and `base64decode`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gotmpl::{MissingKey, Template, TemplateError, Value as Go};
use serde_json::Value;

use crate::error::Error;

/// A template, ready to be used on any number of objects.
#[derive(Clone)]
pub struct GoTemplate {
    text: String,
    strict: bool,
}

impl std::fmt::Debug for GoTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GoTemplate").field(&self.text).finish()
    }
}

impl GoTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let this = Self { text: text.to_owned(), strict: false };
        this.template()?;
        Ok(this)
    }

    /// A key that is not there is an error, not `<no value>`.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    fn template(&self) -> Result<Template, Error> {
        let missing = if self.strict { MissingKey::Error } else { MissingKey::default() };
        Template::new("output")
            .missing_key(missing)
            .func("exists", |args| Ok(Go::Bool(exists(args))))
            .func("base64decode", decoded)
            .parse(&self.text)
            .map_err(|e| Error::new(format!("error parsing template {}, {e}", self.text)))
    }

    /// What it prints for an object.
    pub fn render(&self, object: &Value) -> Result<String, Error> {
        self.template()?
            .execute_to_string(&go(object))
            .map_err(|e| Error::new(format!("error executing template {:?}: {e}", self.text)))
    }
}

/// Whether a path of keys and indices leads somewhere.
fn exists(args: &[Go]) -> bool {
    let Some((first, path)) = args.split_first() else { return false };
    let mut here = first.clone();
    for step in path {
        match here.index(step) {
            Ok(next) => here = next,
            Err(_) => return false,
        }
    }
    !matches!(here, Go::Nil)
}

fn decoded(args: &[Go]) -> Result<Go, TemplateError> {
    let failed = |why: String| TemplateError::Exec(format!("base64 decode failed: {why}"));
    let text = args.first().and_then(Go::as_str).ok_or_else(|| failed("no text".to_owned()))?;
    let bytes = BASE64_STANDARD.decode(text).map_err(|e| failed(e.to_string()))?;
    Ok(Go::String(String::from_utf8_lossy(&bytes).into()))
}

fn go(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(is) => Go::Bool(*is),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Go::Int(number),
            (None, Some(number)) => Go::Uint(number),
            (None, None) => Go::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Go::String(text.as_str().into()),
        Value::Array(items) => Go::List(items.iter().map(go).collect()),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (Arc::from(key.as_str()), go(value)));
            Go::Map(Arc::new(entries.collect::<BTreeMap<_, _>>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates() {
        let object = json!({"items": [{"n": "a", "s": "eA=="}, {"n": "b", "x": {"y": 1}}]});
        for (template, text) in [
            ("{{range .items}}{{.n}}\n{{end}}", "a\nb\n"),
            ("{{(index .items 0).s | base64decode}}", "x"),
            ("{{.none}}", "<no value>"),
            ("{{range .items}}{{if exists . \"x\" \"y\"}}{{.n}}{{end}}{{end}}", "b"),
            ("{{len .items}}", "2"),
        ] {
            assert_eq!(GoTemplate::parse(template).unwrap().render(&object).unwrap(), text);
        }
        assert!(GoTemplate::parse("{{.a").is_err());
        assert!(GoTemplate::parse("{{.none}}").unwrap().strict().render(&object).is_err());
    }
}
