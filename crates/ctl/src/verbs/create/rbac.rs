//! Roles and their bindings.

use onggi_machinery::value::str_at;
use serde_json::{Value, json};

use super::{Common, object};
use crate::error::Error;
use crate::session::Session;

const GROUP: &str = "rbac.authorization.k8s.io";
const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Verbs that the API server knows; others may be meant for other servers.
const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
    "sign",
    "proxy",
    "*",
];
const URL_VERBS: &[&str] = &["get", "put", "post", "head", "options", "delete", "patch", "*"];

/// What may be done with what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Rules {
    /// Verbs
    #[arg(long, value_delimiter = ',', value_name = "VERB")]
    verb: Vec<String>,
    /// Resources: pods, deployments.apps, pods/log
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE")]
    resource: Vec<String>,
    /// Only objects of this name
    #[arg(long, value_name = "NAME")]
    resource_name: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Role {
    /// Its name
    name: String,
    #[command(flatten)]
    rules: Rules,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ClusterRole {
    /// Its name
    name: String,
    #[command(flatten)]
    rules: Rules,
    /// Paths that are no resource: /healthz
    #[arg(long, value_delimiter = ',', value_name = "PATH")]
    non_resource_url: Vec<String>,
    /// Labels of the roles that it is made of
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE")]
    aggregation_rule: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Who is meant.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Subjects {
    /// A user
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// A group
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// A service account: NAMESPACE:NAME
    #[arg(long, value_name = "NAMESPACE:NAME")]
    serviceaccount: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RoleBinding {
    /// Its name
    name: String,
    /// The cluster role that is given
    #[arg(long, value_name = "NAME")]
    clusterrole: Option<String>,
    /// The role that is given
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    #[command(flatten)]
    subjects: Subjects,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ClusterRoleBinding {
    /// Its name
    name: String,
    /// The cluster role that is given
    #[arg(long, value_name = "NAME")]
    clusterrole: String,
    #[command(flatten)]
    subjects: Subjects,
    #[command(flatten)]
    common: Common,
}

impl Rules {
    fn verbs(&self) -> Result<Vec<&str>, Error> {
        let mut verbs: Vec<&str> = Vec::new();
        for verb in self.verb.iter().map(|verb| verb.trim()) {
            if verb == "*" {
                return Ok(vec!["*"]);
            }
            if !verb.is_empty() && !verbs.contains(&verb) {
                verbs.push(verb);
            }
        }
        if verbs.is_empty() {
            return Err(Error::new("at least one verb must be specified"));
        }
        Ok(verbs)
    }

    /// A rule for each group, in the order of their names.
    async fn of_resources(&self, session: &Session, verbs: &[&str]) -> Result<Vec<Value>, Error> {
        for verb in verbs.iter().filter(|verb| !VERBS.contains(verb)) {
            session.warn(&[format!("'{verb}' is not a standard resource verb")])?;
        }
        let mut groups: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for text in self.resource.iter().filter(|text| !text.is_empty()) {
            let (named, part) = text.split_once('/').unwrap_or((text, ""));
            if named.is_empty() {
                return Err(Error::new("resource can not be empty"));
            }
            let (group, mut plural) = if named == "*" {
                (String::new(), "*".to_owned())
            } else if let Some(group) = named.strip_prefix("*.") {
                (group.to_owned(), "*".to_owned())
            } else {
                match session.mapper().await?.by_name(named) {
                    Ok(mapping) => (mapping.group.clone(), mapping.plural.clone()),
                    Err(_) => {
                        let (plain, group) = named.split_once('.').unwrap_or((named, ""));
                        let what = if group.is_empty() {
                            plain.to_owned()
                        } else {
                            format!("{plain}\" in group \"{group}")
                        };
                        let text = format!("the server doesn't have a resource type \"{what}\"");
                        return Err(Error::Bare(text));
                    }
                }
            };
            if !part.is_empty() {
                plural = format!("{plural}/{part}");
            }
            let listed = groups.entry(group).or_default();
            if !listed.contains(&plural) {
                listed.push(plural);
            }
        }
        let rule = |(group, resources): (String, Vec<String>)| {
            let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
            if !self.resource_name.is_empty() {
                rule["resourceNames"] = json!(self.resource_name);
            }
            rule
        };
        Ok(groups.into_iter().map(rule).collect())
    }
}

impl Role {
    pub(super) async fn made(self, session: &Session) -> Result<(Value, Common), Error> {
        let verbs = self.rules.verbs()?;
        if self.rules.resource.iter().all(String::is_empty) {
            return Err(Error::new("at least one resource must be specified"));
        }
        let rules = self.rules.of_resources(session, &verbs).await?;
        Ok((object(VERSION, "Role", &self.name, json!({"rules": rules})), self.common))
    }
}

impl ClusterRole {
    pub(super) async fn made(self, session: &Session) -> Result<(Value, Common), Error> {
        let Self { name, rules, non_resource_url: urls, aggregation_rule, common } = self;
        if !aggregation_rule.is_empty() {
            if !(rules.verb.is_empty() && rules.resource.is_empty() && urls.is_empty()) {
                return Err(Error::new(
                    "aggregation rule must be specified without verbs, resources or nonResourceURLs",
                ));
            }
            let labels = super::key_values(&aggregation_rule)?;
            let selector = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            let fields = json!({"aggregationRule": selector, "rules": null});
            return Ok((object(VERSION, "ClusterRole", &name, fields), common));
        }
        let verbs = rules.verbs()?;
        if rules.resource.is_empty() && urls.is_empty() {
            return Err(Error::new("one of resource or nonResourceURL must be specified"));
        }
        if rules.resource.is_empty() && !rules.resource_name.is_empty() {
            return Err(Error::new("one of resource or nonResourceURL must be specified"));
        }
        if !urls.is_empty()
            && let Some(verb) = verbs.iter().find(|verb| !URL_VERBS.contains(verb))
        {
            return Err(Error::new(format!("invalid verb: '{verb}' for nonResourceURL")));
        }
        if urls.iter().any(|url| url != "*" && !url.starts_with('/')) {
            return Err(Error::new("nonResourceURL should start with /"));
        }
        let mut made = rules.of_resources(session, &verbs).await?;
        if !urls.is_empty() {
            made.push(json!({"nonResourceURLs": urls, "verbs": verbs}));
        }
        Ok((object(VERSION, "ClusterRole", &name, json!({"rules": made})), common))
    }
}

impl Subjects {
    pub(super) fn list(&self) -> Result<Vec<Value>, Error> {
        let named =
            |kind: &str, name: &String| json!({"apiGroup": GROUP, "kind": kind, "name": name});
        let mut list: Vec<Value> = self.user.iter().map(|name| named("User", name)).collect();
        list.extend(self.group.iter().map(|name| named("Group", name)));
        for account in &self.serviceaccount {
            match account.split(':').collect::<Vec<_>>().as_slice() {
                [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                    let kind = "ServiceAccount";
                    list.push(json!({"kind": kind, "name": name, "namespace": namespace}));
                }
                _ => {
                    return Err(Error::new("serviceaccount must be <namespace>:<name>"));
                }
            }
        }
        Ok(list)
    }
}

fn binding(
    kind: &str,
    name: &str,
    role: (&str, &str),
    subjects: &Subjects,
) -> Result<Value, Error> {
    let mut fields = json!({"roleRef": {"apiGroup": GROUP, "kind": role.0, "name": role.1}});
    let subjects = subjects.list()?;
    if !subjects.is_empty() {
        fields["subjects"] = Value::Array(subjects);
    }
    Ok(object(VERSION, kind, name, fields))
}

impl RoleBinding {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let role = match (&self.clusterrole, &self.role) {
            (Some(name), None) => ("ClusterRole", name.as_str()),
            (None, Some(name)) => ("Role", name.as_str()),
            _ => return Err(Error::new("exactly one of clusterrole or role must be specified")),
        };
        Ok((binding("RoleBinding", &self.name, role, &self.subjects)?, self.common))
    }
}

impl ClusterRoleBinding {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let role = ("ClusterRole", self.clusterrole.as_str());
        Ok((binding("ClusterRoleBinding", &self.name, role, &self.subjects)?, self.common))
    }
}

/// Users, groups and service accounts as subjects of a binding.
pub(crate) fn subjects(
    user: &[String],
    group: &[String],
    serviceaccount: &[String],
) -> Result<Vec<Value>, Error> {
    let [user, group, serviceaccount] = [user, group, serviceaccount].map(<[String]>::to_vec);
    Subjects { user, group, serviceaccount }.list()
}

/// Whether two subjects are the same one.
pub(crate) fn same_subject(a: &Value, b: &Value) -> bool {
    ["kind", "name", "namespace", "apiGroup"]
        .iter()
        .all(|field| str_at(a, field) == str_at(b, field))
}
