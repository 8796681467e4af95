//! Which objects a list or watch of the fake shows: namespace, labels and fields, in the simple
//! forms `key=value`, `key!=value`, `key`, `!key`, `key in (a,b)` left out.

use onggi_api::{Head, Object, Status};
use onggi_machinery::resource::Resource;

use crate::transport::Error;

#[derive(Debug, Clone)]
pub(super) struct Selection {
    namespace: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    field: Field,
    wanted: Wanted,
}

#[derive(Debug, Clone)]
enum Field {
    Label(String),
    Name,
    Namespace,
    /// A place in [`Head::fields`].
    Row(usize),
}

#[derive(Debug, Clone)]
enum Wanted {
    Is(String),
    IsNot(String),
    Present,
    Absent,
}

impl Selection {
    pub(super) fn new(
        namespace: &str,
        labels: &str,
        fields: &str,
        row: Option<&Resource>,
    ) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for text in labels.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let (key, wanted) = term(text);
            if key.contains(['(', ')', ' ']) {
                let text = format!("the fake server knows no label selector {text:?}");
                return Err(Status::bad_request(text).into());
            }
            terms.push(Term { field: Field::Label(key.to_owned()), wanted });
        }
        for text in fields.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let (key, wanted) = term(text);
            let in_row = || row?.fields.iter().position(|field| *field == key).map(Field::Row);
            let field = match key {
                "metadata.name" => Some(Field::Name),
                "metadata.namespace" => Some(Field::Namespace),
                _ => in_row(),
            };
            let field = field
                .ok_or_else(|| Status::bad_request(format!("field label not supported: {key}")))?;
            terms.push(Term { field, wanted });
        }
        Ok(Self { namespace: namespace.to_owned(), terms })
    }

    pub(super) fn shows(&self, object: &Object) -> bool {
        let head = object.head();
        (self.namespace.is_empty() || self.namespace == head.namespace)
            && self.terms.iter().all(|term| term.shows(head))
    }
}

impl Term {
    fn shows(&self, head: &Head) -> bool {
        let found = match &self.field {
            Field::Label(key) => head.labels.get(key).map(String::as_str),
            Field::Name => Some(head.name.as_str()),
            Field::Namespace => Some(head.namespace.as_str()),
            Field::Row(place) => Some(head.fields.get(*place).map_or("", String::as_str)),
        };
        match &self.wanted {
            Wanted::Is(value) => found == Some(value),
            Wanted::IsNot(value) => found != Some(value),
            Wanted::Present => found.is_some(),
            Wanted::Absent => found.is_none(),
        }
    }
}

fn term(text: &str) -> (&str, Wanted) {
    if let Some((key, value)) = text.split_once("!=") {
        return (key.trim(), Wanted::IsNot(value.trim().to_owned()));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return (key.trim(), Wanted::Is(value.trim().to_owned()));
    }
    match text.strip_prefix('!') {
        Some(key) => (key.trim(), Wanted::Absent),
        None => (text, Wanted::Present),
    }
}
