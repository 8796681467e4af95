//! May they: a chain of authorizers; the first that allows it ends the search. RBAC will be a link
//! of [`Chain::new`] between the table of the system's own parts and the end.

mod table;

use onggi_api::Status;

use crate::authn::User;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    pub(crate) user: &'a User,
    /// `get`, `list`, `watch`, `create` …
    pub(crate) verb: &'a str,
    pub(crate) target: Target<'a>,
}

/// On what.
#[derive(Debug, Clone)]
pub(crate) enum Target<'a> {
    /// An object or collection.
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    /// A path that is none.
    Path(&'a str),
}

/// One way to decide.
pub(crate) trait Authorizer: Send + Sync {
    /// Whether this one allows it. `false`: another may.
    fn allows(&self, attributes: &Attributes<'_>) -> bool;
}

/// All of them.
pub(crate) struct Chain(Vec<Box<dyn Authorizer>>);

/// `system:masters` may everything.
struct Masters;

impl Authorizer for Masters {
    fn allows(&self, attributes: &Attributes<'_>) -> bool {
        attributes.user.is_in("system:masters")
    }
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self(vec![Box::new(Masters), Box::new(table::Components), Box::new(table::Everybody)])
    }

    /// 403 in Kubernetes' words when nobody allows it.
    pub(crate) fn check(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        if self.0.iter().any(|authorizer| authorizer.allows(attributes)) {
            return Ok(());
        }
        let Attributes { user, verb, target } = attributes;
        let user = &user.name;
        Err(match target {
            Target::Path(path) => {
                let text = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
                let mut status = Status::failure(403, onggi_api::status::reason::FORBIDDEN, text);
                status.details = Some(onggi_api::status::Details::default());
                status
            }
            Target::Resource { group, resource, subresource, namespace, name } => {
                let place = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {namespace:?}")
                };
                let full = match *subresource {
                    "" => (*resource).to_owned(),
                    sub => format!("{resource}/{sub}"),
                };
                let why = format!(
                    "User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}"
                );
                let about = if group.is_empty() {
                    (*resource).to_owned()
                } else {
                    format!("{resource}.{group}")
                };
                Status::forbidden(&about, name, &why)
            }
        })
    }
}
