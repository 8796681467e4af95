//! The resource table: a kind is a row of data and a few pure functions on the dynamic value.
//! Rows of kinds that a CustomResourceDefinition declares are made at run time, by [`crate::crd`].
//!
//! A kind that must act on other things when it is written (allocate a ClusterIP, mint a token,
//! bind a pod) has a hook of the same name in `apiserver`; everything else stands in its row.

use std::sync::OnceLock;

use onggi_api::{FieldError, GroupVersionKind, GroupVersionResource};
use serde_json::Value;

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster.
    Cluster,
}

/// What can be done with a resource; the names of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// As in discovery and in RBAC rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Every verb: what most kinds have.
pub const ALL_VERBS: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

/// A part of an object, or an action on it, with a path of its own.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// `status`, `scale`, `log`, `exec`, `binding` …
    pub name: &'static str,
    /// Group, version and kind of what is sent and answered: `("autoscaling", "v1", "Scale")`.
    pub kind: (&'static str, &'static str, &'static str),
    /// Its verbs.
    pub verbs: &'static [Verb],
}

/// A column of the table that `kubectl get` prints (`metav1.TableColumnDefinition`).
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, `date` …
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// 0: always; 1: with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The `Name` column.
    pub const NAME: Self = Self { name: "Name", kind: "string", format: "name", priority: 0 };
    /// The `Age` column.
    pub const AGE: Self = Self { name: "Age", kind: "string", format: "", priority: 0 };

    /// The moment it was made: the second column of kinds that have no columns of their own.
    pub const CREATED_AT: Self = Self { name: "Created At", kind: "date", format: "", priority: 0 };

    /// A text that is always shown.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: "string", format: "", priority: 0 }
    }

    /// A text shown with `-o wide`.
    pub const fn wide(name: &'static str) -> Self {
        Self { name, kind: "string", format: "", priority: 1 }
    }

    /// A whole number that is always shown.
    pub const fn integer(name: &'static str) -> Self {
        Self { name, kind: "integer", format: "", priority: 0 }
    }
}

/// A kind: one row of the table. Functions get the object as a dynamic value and are pure; the
/// schema check (types, unknown fields) has been done before any of them is called.
///
/// A create fills in the generic metadata (name, namespace, uid …), then calls `prepare_create`,
/// `default`, [`validation::create`](crate::validation::create) and `warnings`. An update calls
/// `prepare_update`, `default`, [`validation::update`](crate::validation::update) and `warnings`.
/// Writes of a part (`status`, `binding`, `finalize` …) leave those of the whole object out.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// API group; empty for core.
    pub group: &'static str,
    /// The version that is stored and that the functions see.
    pub version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// `deployments`: the path and the store key.
    pub plural: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// `deploy`.
    pub short_names: &'static [&'static str],
    /// `all`, where `kubectl get all` shows it.
    pub categories: &'static [&'static str],
    /// Namespaced or not.
    pub scope: Scope,
    /// What can be done.
    pub verbs: &'static [Verb],
    /// Its parts and actions.
    pub subresources: &'static [Subresource],
    /// Fields that a field selector may name, besides `metadata.name` and `metadata.namespace`:
    /// `spec.nodeName`, or a name and where it may stand, `source=source.component|…`.
    pub fields: &'static [&'static str],
    /// Whether `metadata.generation` counts the changes of the desired state, which is everything
    /// but metadata and status.
    pub has_generation: bool,
    /// Whether `status` is a subresource: then writes of the object keep the old status and writes
    /// of the status keep the rest.
    pub has_status: bool,
    /// How a `metadata.name` must look.
    pub name: NameRule,
    /// Columns of the table.
    pub columns: &'static [Column],
    /// Cells of a row, one for each column, in the same order. `now` is in seconds since 1970.
    pub row: fn(object: &Value, now: i64) -> Vec<Value>,
    /// Sets what was left out, as Kubernetes' defaulting does; idempotent.
    pub default: fn(object: &mut Value),
    /// Clears or sets what a creator may not choose (such as status), before defaulting.
    pub prepare_create: fn(object: &mut Value),
    /// Sets what depends on the name and the uid, which are given after `default` and admission.
    pub finish_create: Option<fn(object: &mut Value)>,
    /// Restores what an updater may not change silently, before validation.
    pub prepare_update: fn(object: &mut Value, old: &Value),
    /// What is wrong with a new object, beyond types; metadata is checked by the generic path.
    pub validate: fn(object: &Value) -> Vec<FieldError>,
    /// What is wrong with a new object alone; called after `validate`.
    pub validate_create: fn(object: &Value) -> Vec<FieldError>,
    /// What is wrong with the change; called after `validate`.
    pub validate_update: fn(object: &Value, old: &Value) -> Vec<FieldError>,
    /// Whether a delete that names no propagation policy leaves the dependents, as it did before
    /// there was a garbage collector (`DefaultGarbageCollectionPolicy`).
    pub orphans: bool,
    /// Whether DELETE answers with the object that is gone, not with a `Status`
    /// (`ReturnDeletedObject`).
    pub answers_deleted: bool,
    /// Said of every request, where Kubernetes deprecates the kind; else empty.
    pub deprecated: &'static str,
    /// Advice for a valid object that is sent back as `Warning` headers.
    pub warnings: fn(object: &Value) -> Vec<String>,
    /// What a CustomResourceDefinition adds to the row that was made from it; `None` for the kinds
    /// of the table.
    pub custom: Option<&'static crate::crd::Shape>,
}

/// How a name must look (`k8s.io/apimachinery/pkg/api/validation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Dns1123Subdomain,
    /// RFC 1123 label: namespaces.
    Dns1123Label,
    /// RFC 1035 label: services.
    Dns1035Label,
    /// Anything that fits a path segment: roles.
    PathSegment,
    /// An address in its one form: those of Services.
    IpAddress,
}

impl Resource {
    /// What rows begin with: `Resource { kind: "Pod", …, ..Resource::BASE }`.
    pub const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL_VERBS,
        subresources: &[],
        fields: &[],
        has_generation: false,
        has_status: false,
        name: NameRule::Dns1123Subdomain,
        columns: &[Column::NAME, Column::AGE],
        row: crate::table::name_and_age,
        default: |_| {},
        prepare_create: |_| {},
        finish_create: None,
        prepare_update: |_, _| {},
        validate: |_| Vec::new(),
        validate_create: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        orphans: false,
        answers_deleted: false,
        deprecated: "",
        warnings: |_| Vec::new(),
        custom: None,
    };

    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`: how `Status` names it.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Deployment.apps`: how a validation `Status` names it.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
        }
    }

    /// Group, version and plural.
    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(self.group, self.version, self.plural)
    }

    /// Clears or sets what a creator may not choose.
    pub fn prepare_new(&self, object: &mut Value) {
        (self.prepare_create)(object);
        self.complete_status(object);
    }

    fn complete_status(&self, object: &mut Value) {
        if let Some(schema) = onggi_api::schema::of(self.group, self.version, self.kind) {
            crate::schema::complete_status(schema, object);
        }
    }

    /// Sets what was left out: the defaults, and what is written of a status that holds nothing.
    pub fn set_defaults(&self, object: &mut Value) {
        (self.default)(object);
        self.complete_status(object);
    }

    /// Whether it has the subresource.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// The cells of an object's row in the table, one for each of [`Self::columns`].
    pub fn cells(&self, object: &Value, now: i64) -> Vec<Value> {
        match self.custom {
            Some(shape) => shape.cells(object, now),
            None => (self.row)(object, now),
        }
    }

    /// The kind of its lists: `DeploymentList`.
    pub fn list_kind(&self) -> String {
        match self.custom {
            Some(shape) => shape.list_kind.to_owned(),
            None => format!("{}List", self.kind),
        }
    }

    /// Whether objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

/// Every built-in kind, from [`crate::kinds::RESOURCES`].
pub fn all() -> &'static [&'static Resource] {
    crate::kinds::RESOURCES
}

/// Rows by group, version and plural.
type Index = foldhash::HashMap<(&'static str, &'static str, &'static str), &'static Resource>;

/// The row of a path; asked several times in every request.
pub fn by_gvr(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    static INDEX: OnceLock<Index> = OnceLock::new();
    let index: &foldhash::HashMap<(&str, &str, &str), &'static Resource> =
        INDEX.get_or_init(|| all().iter().map(|r| ((r.group, r.version, r.plural), *r)).collect());
    index.get(&(group, version, plural)).copied()
}

/// The row of an object.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    all().iter().copied().find(|r| r.group == group && r.version == version && r.kind == kind)
}

/// The row for what a person types: plural, singular, kind or short name, with or without
/// `.group`.
pub fn by_any_name(name: &str) -> Option<&'static Resource> {
    let lower = name.to_ascii_lowercase();
    let (plain, group) = match lower.split_once('.') {
        Some((plain, group)) => (plain, Some(group)),
        None => (lower.as_str(), None),
    };
    all().iter().copied().find(|r| {
        group.is_none_or(|group| group == r.group)
            && (r.plural == plain
                || r.singular == plain
                || r.kind.to_ascii_lowercase() == plain
                || r.short_names.contains(&plain))
    })
}
