//! What the user of a request may do beside it.

use std::sync::{Arc, Weak};

use onggi_api::Status;
use onggi_machinery::cel::authorizer::{Decide, Decision, Question};
use serde_json::Value;

use super::Attributes;
use crate::ApiServer;
use crate::authn::User;
use crate::authz::{self, Target};
use crate::registry::Registry;

/// An object or a part of one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object<'a> {
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Whether the user may.
pub(super) fn may(
    registry: &Registry,
    attributes: &Attributes<'_>,
    verb: &str,
    object: Object<'_>,
) -> bool {
    let Object { group, resource, subresource, namespace, name } = object;
    let question = Question {
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        verb: verb.to_owned(),
        ..Question::default()
    };
    let user = Arc::clone(&attributes.context.user);
    Asker { server: registry.admission.weak_server(), user }.decide(&question).allowed
}

/// Asks the server's authorizers about a user, or about whom the question names.
pub(super) struct Asker {
    pub(super) server: Weak<ApiServer>,
    pub(super) user: Arc<User>,
}

impl Decide for Asker {
    fn decide(&self, question: &Question) -> Decision {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
            User::new(format!("system:serviceaccount:{namespace}:{name}"), &groups)
        });
        let user = account.as_ref().unwrap_or(&self.user);
        let target = match &question.path {
            Some(path) => Target::Path(path),
            None => Target::Resource {
                group: &question.group,
                resource: &question.resource,
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
                selector: &question.field_selector,
            },
        };
        let Some(server) = self.server.upgrade() else {
            let error = "the API server is shutting down".to_owned();
            return Decision { error, ..Decision::default() };
        };
        let attributes = authz::Attributes { user, verb: &question.verb, target };
        match server.registry.authorizers.decide(&attributes) {
            authz::Decision::Allow(why) => {
                Decision { allowed: true, reason: why.to_string(), ..Decision::default() }
            }
            authz::Decision::Deny(why) | authz::Decision::NoOpinion(why) => {
                Decision { reason: why.to_string(), ..Decision::default() }
            }
        }
    }
}

/// Whether the user may do it with requests of a signer: of this one, or of all of its domain.
pub(super) fn may_sign(
    registry: &Registry,
    attributes: &Attributes<'_>,
    verb: &str,
    signer: &str,
) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    let whole = format!("{domain}/*");
    [signer, whole.as_str()].into_iter().any(|name| {
        let signers =
            Object { group: "certificates.k8s.io", resource: "signers", name, ..Object::default() };
        may(registry, attributes, verb, signers)
    })
}

/// 403 with a text.
pub(super) fn refuse(attributes: &Attributes<'_>, object: &Value, why: &str) -> Result<(), Status> {
    Err(attributes.forbidden(object, why))
}
