//! `format`: the named formats of Kubernetes, which say what is wrong with a text.

use std::any::Any;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::EvalError;
use super::functions::text;
use super::value::{Opaque, Value};
use crate::validation::names;

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// `format.NAME()`, and `format.named(NAME)`.
pub(super) const NAMES: &[&str] = &[
    "byte",
    "date",
    "datetime",
    "dns1035Label",
    "dns1035LabelPrefix",
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "labelValue",
    "named",
    "qualifiedName",
    "uri",
    "uuid",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format(&'static str);

pub(super) fn make<'a>(name: &str, args: &[Value<'a>]) -> Outcome<'a> {
    let known = |wanted: &str| {
        let found = NAMES.iter().find(|known| **known == wanted && wanted != "named");
        found.map(|name| Value::Opaque(Arc::new(Format(name))))
    };
    match (name, args) {
        ("named", [wanted]) => Ok(Value::Optional(known(text(wanted)?).map(Arc::new))),
        (name, []) => known(name).ok_or_else(EvalError::no_overload),
        _ => Err(EvalError::no_overload()),
    }
}

impl Format {
    /// What is wrong with a text.
    fn problems(self, text: &str) -> Vec<String> {
        // A prefix may end in what only the end may not.
        let prefix = |text: &str| match text.strip_suffix('-') {
            Some(rest) => format!("{rest}a"),
            None => text.to_owned(),
        };
        let as_format =
            |format: &str, problem: &str| match crate::crd::schema::has_format(format, text) {
                true => Vec::new(),
                false => vec![problem.to_owned()],
            };
        match self.0 {
            "dns1123Label" => names::dns1123_label(text),
            "dns1123LabelPrefix" => names::dns1123_label(&prefix(text)),
            "dns1123Subdomain" => names::dns1123_subdomain(text),
            "dns1123SubdomainPrefix" => names::dns1123_subdomain(&prefix(text)),
            "dns1035Label" => names::dns1035_label(text),
            "dns1035LabelPrefix" => names::dns1035_label(&prefix(text)),
            "qualifiedName" => names::qualified_name(text),
            "labelValue" => names::label_value(text),
            "uuid" => as_format("uuid", "does not match the UUID format"),
            "date" => as_format("date", "invalid date"),
            "datetime" => as_format("date-time", "invalid datetime"),
            "uri" => as_format("uri", "invalid URI"),
            "byte" if STANDARD.decode(text).is_err() => vec!["invalid base64".to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Opaque for Format {
    fn type_name(&self) -> &'static str {
        "kubernetes.NamedFormat"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        let ("validate", [arg]) = (name, args) else { return None };
        Some(text(arg).map(|text| {
            let problems = self.problems(text);
            let list = problems.into_iter().map(Value::from).collect::<Vec<_>>();
            Value::Optional((!list.is_empty()).then(|| Arc::new(list.into())))
        }))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_owned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
