//! What the system's own parts may do, in the manner of Kubernetes' bootstrap roles, and what
//! everybody may.

use super::{Attributes, Authorizer, Target};

/// A subject that a rule is for.
enum Subject {
    User(&'static str),
    Group(&'static str),
}

/// `*` stands for all.
struct Rule {
    subject: Subject,
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    /// `pods`, `pods/status` …
    resources: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch"];
const ANY: &[&str] = &["*"];
const EVENTS: &[&str] = &["events"];
const EVENT_GROUPS: &[&str] = &["", "events.k8s.io"];

const SCHEDULER: &str = "system:kube-scheduler";
const CONTROLLERS: &str = "system:kube-controller-manager";
const PROXY: &str = "system:kube-proxy";
const DNS: &str = "system:dns";
const NODES: &str = "system:nodes";

const fn user(name: &'static str) -> Subject {
    Subject::User(name)
}

const fn nodes() -> Subject {
    Subject::Group(NODES)
}

const RULES: &[Rule] = &[
    Rule { subject: user(CONTROLLERS), verbs: ANY, groups: ANY, resources: ANY },
    Rule { subject: user(SCHEDULER), verbs: READ, groups: ANY, resources: ANY },
    Rule { subject: user(SCHEDULER), verbs: WRITE, groups: EVENT_GROUPS, resources: EVENTS },
    Rule {
        subject: user(SCHEDULER),
        verbs: &["create", "update", "patch", "delete"],
        groups: &[""],
        resources: &["pods", "pods/binding", "pods/status"],
    },
    Rule {
        subject: user(SCHEDULER),
        verbs: WRITE,
        groups: &["coordination.k8s.io"],
        resources: &["leases"],
    },
    Rule {
        subject: nodes(),
        verbs: READ,
        groups: &[""],
        resources: &[
            "pods",
            "nodes",
            "services",
            "configmaps",
            "secrets",
            "serviceaccounts",
            "namespaces",
        ],
    },
    Rule {
        subject: nodes(),
        verbs: WRITE,
        groups: &[""],
        resources: &["nodes", "nodes/status", "pods/status"],
    },
    Rule { subject: nodes(), verbs: &["create", "delete"], groups: &[""], resources: &["pods"] },
    Rule {
        subject: nodes(),
        verbs: &["create"],
        groups: &[""],
        resources: &["serviceaccounts/token", "pods/eviction"],
    },
    Rule {
        subject: nodes(),
        verbs: &["get", "list", "watch", "create", "update", "patch", "delete"],
        groups: &["coordination.k8s.io"],
        resources: &["leases"],
    },
    Rule { subject: nodes(), verbs: WRITE, groups: EVENT_GROUPS, resources: EVENTS },
    // A node's own service proxy and DNS.
    Rule {
        subject: nodes(),
        verbs: READ,
        groups: &["discovery.k8s.io"],
        resources: &["endpointslices"],
    },
    Rule {
        subject: user(PROXY),
        verbs: READ,
        groups: &["", "discovery.k8s.io"],
        resources: &["services", "endpoints", "endpointslices", "nodes", "pods", "namespaces"],
    },
    Rule { subject: user(PROXY), verbs: WRITE, groups: EVENT_GROUPS, resources: EVENTS },
    Rule {
        subject: user(DNS),
        verbs: READ,
        groups: &["", "discovery.k8s.io"],
        resources: &["services", "endpoints", "endpointslices", "nodes", "pods", "namespaces"],
    },
];

fn has(list: &[&str], wanted: &str) -> bool {
    list.iter().any(|entry| *entry == "*" || *entry == wanted)
}

/// The rules above.
pub(super) struct Components;

impl Authorizer for Components {
    fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let Target::Resource { group, resource, subresource, .. } = &attributes.target else {
            return false;
        };
        let full = match *subresource {
            "" => (*resource).to_owned(),
            sub => format!("{resource}/{sub}"),
        };
        RULES.iter().any(|rule| {
            let subject = match rule.subject {
                Subject::User(name) => attributes.user.name == name,
                Subject::Group(name) => attributes.user.is_in(name),
            };
            subject
                && has(rule.verbs, attributes.verb)
                && has(rule.groups, group)
                && has(rule.resources, &full)
        })
    }
}

/// Health and version for all; what is served for all who have shown who they are
/// (`system:public-info-viewer`, `system:discovery`).
pub(super) struct Everybody;

impl Authorizer for Everybody {
    fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let Target::Path(path) = &attributes.target else { return false };
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if attributes.verb != "get" {
            return false;
        }
        ["/livez", "/readyz", "/healthz", "/version"].into_iter().any(below)
            || attributes.user.is_in("system:authenticated")
                && ["/api", "/apis", "/openapi", "/openid/v1/jwks", "/.well-known"]
                    .into_iter()
                    .any(below)
    }
}
