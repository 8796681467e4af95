//! The request that is to be admitted, and what admission says about it to people.

use std::sync::Arc;
use std::time::Duration;

use onggi_api::Status;
use onggi_client::WriteOptions;
use onggi_machinery::admission::rules::Target;
use onggi_machinery::kinds::scale;
use onggi_machinery::resource::Resource;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::authn::User;
use crate::registry::{Context, DeleteOptions, text};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// As rules and reviews name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The options of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Options<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
    None,
}

/// The request.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) context: &'a Context,
    pub(crate) row: &'static Resource,
    pub(crate) namespace: &'a str,
    /// Of the path; of the object when one is created, empty while it has none.
    pub(crate) name: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) operation: Operation,
    pub(crate) options: Options<'a>,
    /// What is stored; `None` for a new object.
    pub(crate) old: Option<&'a Value>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn user(&self) -> &'a User {
        &self.context.user
    }

    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> bool {
        match self.options {
            Options::Write(options) => options.dry_run,
            Options::Delete(options) => options.dry_run,
            Options::None => false,
        }
    }

    /// Whether it is about objects of this kind themselves.
    pub(crate) fn about(&self, group: &str, plural: &str) -> bool {
        self.subresource.is_empty() && self.part(group, plural)
    }

    /// Whether it is about objects of this kind or a part of them.
    pub(crate) fn part(&self, group: &str, plural: &str) -> bool {
        (self.row.group, self.row.plural) == (group, plural)
    }

    /// Whether it is this operation on objects of this kind themselves.
    pub(crate) fn is(&self, operation: Operation, group: &str, plural: &str) -> bool {
        self.operation == operation && self.about(group, plural)
    }

    /// Whether a new or changed object is written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }

    /// The namespace as Kubernetes counts it: that of a namespace is itself.
    pub(crate) fn place(&self) -> &'a str {
        if self.part("", "namespaces") { self.name } else { self.namespace }
    }

    /// The request as rules of webhooks and policies see it.
    pub(crate) fn target(&self) -> Target<'a> {
        Target {
            operation: self.operation.as_str(),
            group: self.row.group,
            version: self.row.version,
            resource: self.row.plural,
            subresource: self.subresource,
            namespace: self.place(),
            name: self.name,
        }
    }

    /// Group, version and kind of what is sent.
    pub(crate) fn kind(&self) -> (&'static str, &'static str, &'static str) {
        let part = self.row.subresource(self.subresource);
        part.map_or((self.row.group, self.row.version, self.row.kind), |part| part.kind)
    }

    /// The options as an object of `meta.k8s.io/v1`; `null` where there are none.
    pub(crate) fn options_value(&self) -> Value {
        let mut value = match self.options {
            Options::None => return Value::Null,
            Options::Write(options) => {
                let kind = match self.operation {
                    Operation::Create => "CreateOptions",
                    _ => "UpdateOptions",
                };
                let mut value = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
                for (field, text) in [
                    ("fieldManager", &options.field_manager),
                    ("fieldValidation", &options.field_validation),
                ] {
                    if !text.is_empty() {
                        value[field] = text.as_str().into();
                    }
                }
                value
            }
            Options::Delete(options) => {
                let mut value = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
                if let Some(grace) = options.grace {
                    value["gracePeriodSeconds"] = grace.into();
                }
                if !options.propagation.is_empty() {
                    value["propagationPolicy"] = options.propagation.as_str().into();
                }
                if let Some(uid) = &options.uid {
                    value["preconditions"]["uid"] = uid.as_str().into();
                }
                if let Some(version) = &options.resource_version {
                    value["preconditions"]["resourceVersion"] = version.as_str().into();
                }
                value
            }
        };
        if self.dry_run() {
            value["dryRun"] = json!(["All"]);
        }
        value
    }

    /// 403 in Kubernetes' words. The object names itself where the path does not.
    pub(crate) fn forbidden(&self, object: &Value, why: &str) -> Status {
        let own = text(object, "/metadata/name");
        let generated = text(object, "/metadata/generateName");
        let name = [self.name, own, generated].into_iter().find(|name| !name.is_empty());
        // Kubernetes names the object that has no name yet so.
        let name = match (name, self.operation) {
            (Some(name), _) => name,
            (None, Operation::Create) => "Unknown",
            (None, _) => "",
        };
        Status::forbidden(&self.row.group_resource(), name, why)
    }

    /// Whether it is the write that an action makes which has been admitted as what was sent: the
    /// pod that a binding changes.
    pub(super) fn is_within(&self) -> bool {
        let kind = self.kind();
        self.operation == Operation::Update
            && kind != (self.row.group, self.row.version, self.row.kind)
            && kind.2 != "Scale"
    }

    /// What is admitted in place of the whole object: a `Scale` for the part of that name.
    pub(super) fn part_of(&self, object: &Value) -> Option<Value> {
        (self.subresource == "scale" && self.kind().2 == "Scale" && object["kind"] != "Scale")
            .then(|| scale::of_kind(self.row, object).ok())
            .flatten()
    }

    pub(super) fn put_part(&self, object: &mut Value, part: &Value) -> Result<(), Status> {
        scale::apply(self.row, object, part)
            .map_err(|error| Status::invalid("Scale.autoscaling", self.name, &[error]))
    }
}

/// What is said about a request beside its answer. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    warnings: Vec<String>,
    annotations: Vec<(String, String)>,
    waited: Duration,
}

/// How many warnings a request may gather.
const MAX_WARNINGS: usize = 64;
/// How long one may be.
const MAX_WARNING: usize = 4096;

impl Notes {
    /// A `Warning` header, once for each text.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        let mut warning = warning.into();
        if let Some((end, _)) = warning.char_indices().nth(MAX_WARNING) {
            warning.truncate(end);
        }
        let mut said = self.0.lock();
        if said.warnings.len() < MAX_WARNINGS && !said.warnings.contains(&warning) {
            said.warnings.push(warning);
        }
    }

    /// An annotation of the audit event; the first of a key stays.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        let mut said = self.0.lock();
        if !said.annotations.iter().any(|(known, _)| *known == key) {
            said.annotations.push((key, value));
        }
    }

    /// The request waited so long for webhooks.
    pub(crate) fn waited(&self, time: Duration) {
        self.0.lock().waited += time;
    }

    /// How long it has waited for them so far.
    pub(crate) fn has_waited(&self) -> Duration {
        self.0.lock().waited
    }

    /// The warnings so far, which are taken away.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().warnings)
    }

    /// The annotations so far.
    pub(crate) fn annotations(&self) -> Vec<(String, String)> {
        self.0.lock().annotations.clone()
    }
}
