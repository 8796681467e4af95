//! `FlowSchema` and `PriorityLevelConfiguration` as values, read once into what a request is
//! compared with.

use onggi_machinery::value::{bool_at, i64_at, list_at, str_at};
use serde_json::Value;

use super::queues::{Limits, Queuing};
use crate::authn::User;
use crate::authz::{Attributes, Target};

/// Which flow a request belongs to.
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) uid: String,
    /// The lowest that matches counts.
    pub(super) precedence: i64,
    pub(super) level: String,
    pub(super) distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

/// What tells flows of a schema apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distinguisher {
    None,
    User,
    Namespace,
}

/// How requests of a level are treated.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) uid: String,
    /// `None`: they are never held up.
    pub(super) limited: Option<Limited>,
}

/// The numbers of a level.
pub(super) struct Limited {
    shares: u32,
    /// Hundredths of its share that others may use while it does not.
    lendable: u32,
    /// Hundredths of its share that it may use of others; `None`: all that is lent.
    borrowing: Option<u32>,
    queuing: Option<Queuing>,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

enum Subject {
    User(String),
    Group(String),
    /// Namespace and name, which may be `*`.
    ServiceAccount(String, String),
}

struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    cluster: bool,
    namespaces: Vec<String>,
}

struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    list_at(value, field).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Whether a list names it, or everything.
fn names(list: &[String], wanted: &str) -> bool {
    list.iter().any(|name| name == "*" || name == wanted)
}

fn number(value: &Value, path: &str, otherwise: u32) -> u32 {
    i64_at(value, path).map_or(otherwise, |n| u32::try_from(n.max(0)).unwrap_or(u32::MAX))
}

impl Schema {
    pub(super) fn read(object: &Value) -> Self {
        Self {
            name: str_at(object, "metadata.name").to_owned(),
            uid: str_at(object, "metadata.uid").to_owned(),
            precedence: i64_at(object, "spec.matchingPrecedence").unwrap_or(1000),
            level: str_at(object, "spec.priorityLevelConfiguration.name").to_owned(),
            distinguisher: match str_at(object, "spec.distinguisherMethod.type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::None,
            },
            rules: list_at(object, "spec.rules").iter().map(Rule::read).collect(),
        }
    }

    pub(super) fn matches(&self, asked: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(asked))
    }
}

impl Rule {
    fn read(value: &Value) -> Self {
        let resource = |value: &Value| ResourceRule {
            verbs: texts(value, "verbs"),
            groups: texts(value, "apiGroups"),
            resources: texts(value, "resources"),
            cluster: bool_at(value, "clusterScope"),
            namespaces: texts(value, "namespaces"),
        };
        let path = |value: &Value| PathRule {
            verbs: texts(value, "verbs"),
            paths: texts(value, "nonResourceURLs"),
        };
        Self {
            subjects: list_at(value, "subjects").iter().filter_map(Subject::read).collect(),
            resources: list_at(value, "resourceRules").iter().map(resource).collect(),
            paths: list_at(value, "nonResourceRules").iter().map(path).collect(),
        }
    }

    fn matches(&self, asked: &Attributes<'_>) -> bool {
        let what = match &asked.target {
            Target::Resource { group, resource, subresource, namespace, .. } => {
                let found = |rule: &ResourceRule| {
                    names(&rule.verbs, asked.verb)
                        && names(&rule.groups, group)
                        && is_resource(&rule.resources, resource, subresource)
                        && if namespace.is_empty() {
                            rule.cluster
                        } else {
                            names(&rule.namespaces, namespace)
                        }
                };
                self.resources.iter().any(found)
            }
            Target::Path(path) => self
                .paths
                .iter()
                .any(|rule| names(&rule.verbs, asked.verb) && is_path(&rule.paths, path)),
        };
        what && self.subjects.iter().any(|subject| subject.is(asked.user))
    }
}

/// `pods`, `pods/status`.
fn is_resource(list: &[String], resource: &str, subresource: &str) -> bool {
    list.iter().any(|name| match name.split_once('/') {
        None => name == "*" || (subresource.is_empty() && name == resource),
        Some((whole, part)) => whole == resource && part == subresource,
    })
}

fn is_path(list: &[String], path: &str) -> bool {
    list.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => known == path,
    })
}

impl Subject {
    fn read(value: &Value) -> Option<Self> {
        let text = |path: &str| str_at(value, path).to_owned();
        match str_at(value, "kind") {
            "User" => Some(Self::User(text("user.name"))),
            "Group" => Some(Self::Group(text("group.name"))),
            "ServiceAccount" => Some(Self::ServiceAccount(
                text("serviceAccount.namespace"),
                text("serviceAccount.name"),
            )),
            _ => None,
        }
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.is_in(name),
            Self::ServiceAccount(namespace, name) => {
                let account = user.name.strip_prefix("system:serviceaccount:");
                account.and_then(|account| account.split_once(':')).is_some_and(|(ns, account)| {
                    ns == namespace && (name == "*" || account == name)
                })
            }
        }
    }
}

impl Level {
    pub(super) fn read(object: &Value) -> Self {
        let limited = (str_at(object, "spec.type") == "Limited").then(|| {
            let at = |field: &str| format!("spec.limited.{field}");
            let queuing = str_at(object, &at("limitResponse.type")) == "Queue";
            let queue = |field: &str, otherwise: u32| {
                number(object, &at(&format!("limitResponse.queuing.{field}")), otherwise)
            };
            Limited {
                shares: number(object, &at("nominalConcurrencyShares"), 30),
                lendable: number(object, &at("lendablePercent"), 0).min(100),
                borrowing: i64_at(object, &at("borrowingLimitPercent"))
                    .map(|percent| u32::try_from(percent.max(0)).unwrap_or(u32::MAX)),
                queuing: queuing.then(|| Queuing {
                    queues: queue("queues", 64).clamp(1, 4096),
                    hand: queue("handSize", 8).clamp(1, 64),
                    length: queue("queueLengthLimit", 50).clamp(1, 10_000),
                }),
            }
        });
        Self {
            name: str_at(object, "metadata.name").to_owned(),
            uid: str_at(object, "metadata.uid").to_owned(),
            limited,
        }
    }
}

impl Limited {
    /// Its limits where all levels have `shares` shares of `total` seats.
    pub(super) fn limits(&self, shares: u32, total: u32) -> Limits {
        let nominal =
            (u64::from(total) * u64::from(self.shares)).div_ceil(u64::from(shares.max(1)));
        let nominal = u32::try_from(nominal).unwrap_or(u32::MAX);
        let percent = |percent: u32| {
            let part = (u64::from(nominal) * u64::from(percent) + 50) / 100;
            u32::try_from(part).unwrap_or(u32::MAX)
        };
        Limits {
            nominal,
            least: nominal - percent(self.lendable).min(nominal),
            most: self
                .borrowing
                .map_or(total, |limit| nominal.saturating_add(percent(limit)).min(total)),
            queuing: self.queuing,
        }
    }

    pub(super) fn shares(&self) -> u32 {
        self.shares
    }
}
