//! What expressions of webhooks and policies may name, and its values.

use std::sync::Arc;

pub(super) use onggi_machinery::admission::environment::{of_policies, of_webhooks};
use onggi_machinery::cel::authorizer::{self, Question};
use onggi_machinery::cel::{Declarations, Program, Value as Cel, Variables, compile};
use serde_json::Value;

use super::Attributes;
use super::access::Asker;
use crate::registry::Registry;

/// An expression, or what is wrong with it.
pub(super) type Compiled = Result<Program, String>;

/// Reads an expression.
pub(super) fn read(text: &str, declarations: &Declarations) -> Compiled {
    compile(text, declarations).map_err(|error| format!("compilation error: {error}"))
}

/// The values of a request; `null` where there is none.
pub(super) struct Scope<'a> {
    pub(super) object: &'a Value,
    pub(super) old: &'a Value,
    pub(super) request: &'a Value,
    pub(super) params: &'a Value,
    pub(super) namespace: &'a Value,
    pub(super) authorizer: Cel<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn variables(&self) -> Variables<'a> {
        let mut variables = Variables::default();
        for (name, value) in [
            ("object", self.object),
            ("oldObject", self.old),
            ("request", self.request),
            ("params", self.params),
            ("namespaceObject", self.namespace),
        ] {
            variables.set(name, Cel::json(value));
        }
        variables.set("authorizer", self.authorizer.clone());
        variables
    }

    /// `authorizer`: what the user of the request may do beside it.
    pub(super) fn authorizer(registry: &Registry, attributes: &Attributes<'_>) -> Cel<'a> {
        let user = Arc::clone(&attributes.context.user);
        let server = registry.admission.weak_server();
        let request = Question {
            group: attributes.row.group.to_owned(),
            resource: attributes.row.plural.to_owned(),
            subresource: attributes.subresource.to_owned(),
            namespace: attributes.place().to_owned(),
            name: attributes.name.to_owned(),
            ..Question::default()
        };
        authorizer::authorizer(Arc::new(Asker { server, user }), request)
    }
}
