//! The transport: what a request to the API server is, whichever way it goes.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use onggi_api::{GroupVersionResource, Object, Status};
use onggi_machinery::resource::Verb;
use serde_json::Value;

/// A request to the API server, after decoding and before any decision.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do. `Watch` goes through [`Transport::watch`].
    pub verb: Verb,
    /// With which collection.
    pub resource: GroupVersionResource,
    /// Empty: cluster-scoped, or all namespaces.
    pub namespace: String,
    /// Empty for list, create and deletecollection.
    pub name: String,
    /// `status`, `scale`, `binding` …; empty for the object itself.
    pub subresource: String,
    /// What list and deletecollection select.
    pub list: ListOptions,
    /// How a write is done.
    pub write: WriteOptions,
    /// What is sent.
    pub body: Body,
}

/// What a request carries.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// An object, in any state of completeness. For `Delete`: the `DeleteOptions`.
    Object(Value),
    /// A patch; bytes for server-side apply may be YAML.
    Patch(PatchKind, Bytes),
}

/// The patch types of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

/// `ListOptions`, as far as list and deletecollection use them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListOptions {
    /// `labelSelector`.
    pub label_selector: String,
    /// `fieldSelector`.
    pub field_selector: String,
    /// `limit`; 0: no limit.
    pub limit: usize,
    /// `continue`.
    pub continue_token: String,
    /// `resourceVersion`; empty: the most recent.
    pub resource_version: String,
    /// `resourceVersionMatch`.
    pub resource_version_match: String,
}

/// `CreateOptions`, `UpdateOptions`, `PatchOptions` and `DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteOptions {
    /// `dryRun=All`.
    pub dry_run: bool,
    /// `fieldManager`.
    pub field_manager: String,
    /// `fieldValidation`: `Strict`, `Warn` (also when empty) or `Ignore`.
    pub field_validation: String,
    /// `force`, for server-side apply.
    pub force: bool,
    /// `gracePeriodSeconds` of a delete.
    pub grace_period_seconds: Option<i64>,
    /// `propagationPolicy` of a delete: `Background`, `Foreground`, `Orphan`; empty: the default.
    pub propagation_policy: String,
    /// `preconditions.uid` of a delete.
    pub precondition_uid: Option<String>,
    /// `preconditions.resourceVersion` of a delete.
    pub precondition_resource_version: Option<String>,
}

/// What the API server answers.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "made once a request and taken apart at once")]
pub enum Response {
    /// An object that is stored.
    Object {
        /// The object, shared with the watch cache.
        object: Arc<Object>,
        /// Whether this request created it (201).
        created: bool,
        /// Advice for people (`Warning` headers).
        warnings: Vec<String>,
    },
    /// Some other document: a `Scale`, a `TokenRequest`, an object of a dry run.
    Document {
        /// The document.
        value: Value,
        /// Whether something was created (201).
        created: bool,
        /// Advice for people.
        warnings: Vec<String>,
    },
    /// A collection.
    List {
        /// Revision and continuation.
        meta: ListMeta,
        /// The objects, shared with the watch cache.
        items: Vec<Arc<Object>>,
        /// Advice for people.
        warnings: Vec<String>,
    },
    /// Done, and nothing to show: the object is gone.
    Status(Status),
}

/// `ListMeta`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListMeta {
    /// The revision at which the list is true; a watch goes on from here.
    pub resource_version: u64,
    /// Empty: that was all.
    pub continue_token: String,
    /// How many are left after this page, where it is known.
    pub remaining: Option<u64>,
}

/// What to watch.
#[derive(Debug, Clone)]
pub struct WatchSpec {
    /// Which collection.
    pub resource: GroupVersionResource,
    /// Empty: all namespaces.
    pub namespace: String,
    /// `labelSelector`.
    pub label_selector: String,
    /// `fieldSelector`.
    pub field_selector: String,
    /// Events after this revision; `None`: first the present state as `Added`, then, with
    /// `initial_events`, a bookmark, then changes.
    pub resource_version: Option<u64>,
    /// `sendInitialEvents`: the present state, then a bookmark annotated
    /// `k8s.io/initial-events-end`.
    pub initial_events: bool,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
}

/// A change that a watcher is told.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventType,
    /// After the change; before it for `Deleted` (with the deletion's revision); only a version for
    /// `Bookmark`. One decoded object for all watchers of the process.
    pub object: Arc<Object>,
    /// On a bookmark: the present state has been sent.
    pub initial_events_end: bool,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// It is there, or entered the selection.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or left the selection.
    Deleted,
    /// Nothing; all events up to this revision have been sent.
    Bookmark,
}

impl EventType {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

/// Events in the order of their revisions; ends with an error (`Status` 410 when the watcher must
/// list again) or when the server closes.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Error>> + Send>>;

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The API server said so.
    #[error("{0}")]
    Status(Box<Status>),
    /// The API server was not reached, or the connection broke.
    #[error("cannot reach the API server at {server}: {message}")]
    Connection {
        /// Where it should be.
        server: String,
        /// What happened.
        message: String,
    },
    /// The answer could not be read.
    #[error("unexpected answer of the API server: {0}")]
    Decode(String),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<onggi_api::DecodeError> for Error {
    fn from(error: onggi_api::DecodeError) -> Self {
        Self::Decode(error.to_string())
    }
}

impl Error {
    /// The status, where the server gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// 404.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// 409 because of a concurrent write.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// 409 because the name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// 410: list again.
    pub fn is_expired(&self) -> bool {
        self.status().is_some_and(Status::is_expired)
    }
}

/// The way to the API server, with the caller's identity in it.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Any verb but watch.
    async fn call(&self, request: Request) -> Result<Response, Error>;

    /// Opens a watch; authorized once, when it opens.
    async fn watch(&self, spec: WatchSpec) -> Result<EventStream, Error>;

    /// What aggregated API servers say that they serve, as an `APIGroupDiscoveryList`; groups of the
    /// API server's own may stand beside them. Empty where there are none.
    async fn aggregated(&self) -> Result<Value, Error> {
        Ok(serde_json::json!({"items": []}))
    }
}

// === impl Request ===

impl Request {
    /// A request with nothing but its place; set the rest with struct update or the fields.
    pub fn new(verb: Verb, resource: GroupVersionResource, namespace: &str, name: &str) -> Self {
        Self {
            verb,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            list: ListOptions::default(),
            write: WriteOptions::default(),
            body: Body::None,
        }
    }

    /// With a subresource.
    pub fn subresource(mut self, name: &str) -> Self {
        name.clone_into(&mut self.subresource);
        self
    }

    /// With a body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

// === impl WatchSpec ===

impl WatchSpec {
    /// Everything of a collection: the present state, a bookmark, then changes.
    pub fn all(resource: GroupVersionResource) -> Self {
        Self {
            resource,
            namespace: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
            resource_version: None,
            initial_events: true,
            bookmarks: true,
        }
    }
}
