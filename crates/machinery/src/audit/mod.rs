//! What of a request goes into the audit log (`audit.k8s.io/v1 Policy`): the first rule that a
//! request meets says how much, and which stages are left out. Pure; events are made and written by
//! the API server.

mod read;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use read::read;

/// How much is kept of a request; each level holds all of the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and how it ended.
    Metadata,
    /// The object that was sent, too.
    Request,
    /// The object that was answered, too.
    RequestResponse,
}

/// When an event is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The request is here; nothing has been done about it.
    RequestReceived,
    /// The head of the answer is sent: streams alone.
    ResponseStarted,
    /// The answer is sent.
    ResponseComplete,
    /// The server failed.
    Panic,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
}

/// Which requests, and what is kept of them; an empty list means any.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    level: Level,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    non_resource_urls: Vec<String>,
    /// Those of the whole policy too.
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// A request, as authorization sees it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Name and groups; nobody where the credentials were refused.
    pub user: Option<(&'a str, &'a [String])>,
    /// `get`, `list` …; of a path the method in lower case.
    pub verb: &'a str,
    /// On what.
    pub target: Target<'a>,
}

/// On what.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// An object or collection.
    Resource {
        /// Empty for the core group.
        group: &'a str,
        /// The plural.
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty for cluster-scoped kinds and all namespaces.
        namespace: &'a str,
        /// Empty for collections.
        name: &'a str,
    },
    /// A path that is none.
    Path(&'a str),
}

/// What is kept of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept<'p> {
    /// How much.
    pub level: Level,
    /// At which stages there is no event.
    pub omit_stages: &'p [Stage],
    /// Whether objects are shown without `metadata.managedFields`.
    pub omit_managed_fields: bool,
}

impl Policy {
    /// What is kept of a request: nothing where no rule speaks of it.
    pub fn keeps(&self, request: &Attributes<'_>) -> Kept<'_> {
        match self.rules.iter().find(|rule| rule.matches(request)) {
            Some(rule) => Kept {
                level: rule.level,
                omit_stages: &rule.omit_stages,
                omit_managed_fields: rule.omit_managed_fields,
            },
            None => Kept {
                level: Level::None,
                omit_stages: &self.omit_stages,
                omit_managed_fields: false,
            },
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|text| text == wanted)
}

/// Whether `wanted` is one of the list, or the list is empty.
fn any_or(list: &[String], wanted: &str) -> bool {
    list.is_empty() || has(list, wanted)
}

impl Rule {
    fn matches(&self, request: &Attributes<'_>) -> bool {
        if !self.users.is_empty() && !request.user.is_some_and(|(name, _)| has(&self.users, name)) {
            return false;
        }
        let in_group =
            |(_, groups): (_, &[String])| groups.iter().any(|group| has(&self.user_groups, group));
        if !self.user_groups.is_empty() && !request.user.is_some_and(in_group) {
            return false;
        }
        if !any_or(&self.verbs, request.verb) {
            return false;
        }
        let of_resources = !self.namespaces.is_empty() || !self.resources.is_empty();
        match request.target {
            Target::Resource { group, resource, subresource, namespace, name } => {
                if !of_resources {
                    return self.non_resource_urls.is_empty();
                }
                let of = |entry: &GroupResources| {
                    entry.group == group && entry.matches(resource, subresource, name)
                };
                any_or(&self.namespaces, namespace)
                    && (self.resources.is_empty() || self.resources.iter().any(of))
            }
            Target::Path(path) => {
                let urls = &self.non_resource_urls;
                !of_resources && (urls.is_empty() || urls.iter().any(|url| path_matches(url, path)))
            }
        }
    }
}

impl GroupResources {
    /// `pods`, `pods/log`, `pods/*` (subresources and the pods themselves), `*/scale`, `*`.
    fn matches(&self, resource: &str, subresource: &str, name: &str) -> bool {
        if self.resources.is_empty() {
            return true;
        }
        any_or(&self.resource_names, name)
            && self.resources.iter().any(|pattern| match pattern.split_once('/') {
                None if pattern == "*" => true,
                None => subresource.is_empty() && pattern == resource,
                Some(("*", part)) if !subresource.is_empty() && part == subresource => true,
                Some((of, "*")) => of == resource,
                Some((of, part)) => of == resource && part == subresource,
            })
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => pattern == path,
    }
}
