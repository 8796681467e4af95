//! May they: a chain of authorizers. The first that allows it ends the search; when none does, the
//! answer is no.

mod escalation;
mod node;
pub(crate) mod policy;
mod rbac;
pub(crate) mod reviews;
mod webhook;

use std::fmt;
use std::sync::Arc;

use onggi_api::Status;
use onggi_machinery::authorization::Authorizer as Configured;
use onggi_machinery::rbac::PolicyRule;

use crate::access::Access;
use crate::authn::User;
use crate::cache::Cache;

pub(crate) use escalation::check as check_escalation;
use rbac::Source;

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
        /// The field selector of a list or watch.
        selector: &'a str,
    },
    /// A path that is none.
    Path(&'a str),
}

/// What an authorizer says.
#[derive(Debug)]
pub(crate) enum Decision {
    Allow(Because),
    /// Nobody else is asked.
    Deny(Because),
    /// Another may know.
    NoOpinion(Because),
}

/// Why; made into words only when somebody reads it.
#[derive(Debug)]
pub(crate) enum Because {
    Nothing,
    Text(String),
    Binding(Source),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Binding(source) => write!(f, "RBAC: allowed by {source}"),
        }
    }
}

/// One way to decide.
pub(crate) trait Authorizer: Send + Sync {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision;

    /// The rules that a user holds in a namespace, as far as this one can tell.
    fn rules(&self, user: &User, namespace: &str) -> Rules;
}

/// What somebody may do, for `auth can-i --list`.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<PolicyRule>,
    /// There may be more.
    pub(crate) incomplete: bool,
    pub(crate) errors: Vec<String>,
}

/// The modes of `--authorization-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Mode {
    /// What nodes may, by what their pods name.
    Node,
    /// Roles and bindings.
    #[serde(rename = "RBAC")]
    Rbac,
    /// Everything is allowed.
    AlwaysAllow,
    /// Nothing is, but to `system:masters`.
    AlwaysDeny,
    /// Another server is asked.
    Webhook,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Node" => Ok(Self::Node),
            "RBAC" => Ok(Self::Rbac),
            "AlwaysAllow" => Ok(Self::AlwaysAllow),
            "AlwaysDeny" => Ok(Self::AlwaysDeny),
            "Webhook" => Ok(Self::Webhook),
            other => Err(format!(
                "{other:?} is no authorization mode: AlwaysAllow, AlwaysDeny, Node, RBAC or \
                 Webhook"
            )),
        }
    }
}

/// `system:masters` may everything.
struct Masters;

/// One answer for all: `AlwaysAllow` and `AlwaysDeny`.
struct Always(bool);

fn everything() -> Rules {
    let all = || vec!["*".to_owned()];
    let resources =
        PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() };
    let paths = PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() };
    Rules { rules: vec![resources, paths], ..Rules::default() }
}

impl Authorizer for Masters {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in("system:masters") {
            return Decision::Allow(Because::Nothing);
        }
        Decision::NoOpinion(Because::Nothing)
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        // Nothing to list: those of `cluster-admin` are listed where they are bound to the group.
        Rules::default()
    }
}

impl Authorizer for Always {
    fn decide(&self, _: &Attributes<'_>) -> Decision {
        if self.0 {
            Decision::Allow(Because::Nothing)
        } else {
            Decision::NoOpinion(Because::Text("Everything is forbidden.".into()))
        }
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        if self.0 { everything() } else { Rules::default() }
    }
}

/// One of the chain.
enum Link {
    Own(Box<dyn Authorizer>),
    Webhook(Box<webhook::Webhook>),
}

impl Link {
    fn own(&self) -> &dyn Authorizer {
        match self {
            Self::Own(own) => own.as_ref(),
            Self::Webhook(webhook) => webhook.as_ref(),
        }
    }
}

/// All of them.
pub(crate) struct Chain {
    links: Vec<Link>,
    /// Whether one of them is to be waited for.
    waits: bool,
    /// Whether the rules of RBAC decide; then nobody gives away what they do not have.
    rbac: Arc<rbac::Rbac>,
}

impl Chain {
    /// The error is about an option.
    pub(crate) fn new(access: &Access, cache: &Arc<Cache>) -> Result<Self, String> {
        let rbac = Arc::new(rbac::Rbac::new(Arc::clone(cache)));
        let own = |mode: Mode| -> Result<Link, String> {
            let link: Box<dyn Authorizer> = match mode {
                Mode::Node => Box::new(node::Node::new(Arc::clone(cache))),
                Mode::Rbac => Box::new(Arc::clone(&rbac)),
                Mode::AlwaysAllow => Box::new(Always(true)),
                Mode::AlwaysDeny => Box::new(Always(false)),
                Mode::Webhook => return Err("authorization mode Webhook without a webhook".into()),
            };
            Ok(Link::Own(link))
        };
        let mut links = vec![Link::Own(Box::new(Masters))];
        if access.authorization.is_empty() {
            for mode in &access.modes {
                links.push(own(*mode)?);
            }
        }
        for one in &access.authorization {
            links.push(match one {
                Configured::Own(mode) => own(mode.parse()?)?,
                Configured::Webhook(options) => {
                    Link::Webhook(Box::new(webhook::Webhook::new(options)?))
                }
            });
        }
        let waits = links.iter().any(|link| matches!(link, Link::Webhook(_)));
        Ok(Self { links, waits, rbac })
    }

    /// The first answer of the chain, for who cannot wait.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons = Reasons::default();
        for link in &self.links {
            if let Some(decided) = reasons.take(link.own().decide(attributes)) {
                return decided;
            }
        }
        reasons.none()
    }

    /// The first answer of the chain.
    pub(crate) async fn ask(&self, attributes: &Attributes<'_>) -> Decision {
        if !self.waits {
            return self.decide(attributes);
        }
        let mut reasons = Reasons::default();
        for link in &self.links {
            let decision = match link {
                Link::Own(own) => own.decide(attributes),
                Link::Webhook(webhook) => webhook.ask(attributes).await,
            };
            if let Some(decided) = reasons.take(decision) {
                return decided;
            }
        }
        reasons.none()
    }

    pub(crate) fn allows(&self, attributes: &Attributes<'_>) -> bool {
        matches!(self.decide(attributes), Decision::Allow(_))
    }

    /// Why it is allowed, or 403 in Kubernetes' words.
    pub(crate) async fn check(&self, attributes: &Attributes<'_>) -> Result<Because, Status> {
        match self.ask(attributes).await {
            Decision::Allow(why) => Ok(why),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                Err(forbidden(attributes, &why.to_string()))
            }
        }
    }

    /// What a user may do in a namespace.
    pub(crate) fn rules(&self, user: &User, namespace: &str) -> Rules {
        let mut all = Rules::default();
        for link in &self.links {
            let Rules { rules, incomplete, errors } = link.own().rules(user, namespace);
            all.rules.extend(rules);
            all.incomplete |= incomplete;
            all.errors.extend(errors);
        }
        all
    }
}

/// Why those who were asked had no opinion.
#[derive(Default)]
struct Reasons(Vec<String>);

impl Reasons {
    /// What ends the search.
    fn take(&mut self, decision: Decision) -> Option<Decision> {
        match decision {
            Decision::NoOpinion(Because::Nothing) => None,
            Decision::NoOpinion(why) => {
                self.0.push(why.to_string());
                None
            }
            decided => Some(decided),
        }
    }

    fn none(self) -> Decision {
        if self.0.is_empty() {
            return Decision::NoOpinion(Because::Nothing);
        }
        Decision::NoOpinion(Because::Text(self.0.join("\n")))
    }
}

/// 403 as kube-apiserver words it.
pub(crate) fn forbidden(attributes: &Attributes<'_>, why: &str) -> Status {
    let Attributes { user, verb, target } = attributes;
    let user = &user.name;
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    match target {
        Target::Path(path) => {
            let text = format!("forbidden: User {user:?} cannot {verb} path {path:?}{because}");
            let mut status = Status::failure(403, onggi_api::status::reason::FORBIDDEN, text);
            status.details = Some(onggi_api::status::Details::default());
            status
        }
        Target::Resource { group, resource, subresource, namespace, name, .. } => {
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
                "User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}{because}"
            );
            let about = if group.is_empty() {
                (*resource).to_owned()
            } else {
                format!("{resource}.{group}")
            };
            Status::forbidden(&about, name, &why)
        }
    }
}
