//! ONE path for every verb of every kind. What a kind adds stands in its row
//! ([`onggi_machinery::kinds`]) and, where it must act, in its hooks ([`crate::rest`]).

mod conversions;
mod create;
mod decode;
mod delete;
mod kind;
mod meta;
mod owners;
mod read;
mod review;
mod strategy;
mod structural;
mod update;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use onggi_api::{GroupVersionResource, Object, Status, json};
use onggi_base::Clock;
use onggi_machinery::conversion::Version;
use onggi_machinery::resource::{self, Resource};
use onggi_store::{Error as StoreError, KeyValue, Store};
use serde_json::Value;

use crate::admission::{Admission, Notes};
use crate::authn::{Authenticators, User};
use crate::authz::Chain;
use crate::cache::{self, Cache};
use crate::custom::CustomKinds;
use crate::rest::{Components, ServiceAllocator};
use crate::versions;
use crate::webhook::Webhooks;

pub(crate) use decode::{apply_plain_patch, configuration, problem_status, validation};
pub(crate) use delete::DeleteOptions;
pub(crate) use meta::{check_place, suffix};
pub(crate) use owners::ScaleOwners;
pub(crate) use read::{invalid_list_options, revision};
pub(crate) use review::is_review;
pub(crate) use strategy::creates_on_update;
pub(crate) use structural::Structurals;
pub(crate) use update::Part;

/// How often a write is tried again when others were faster.
const ATTEMPTS: usize = 32;

/// Everything that a request needs.
pub(crate) struct Registry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) kinds: Arc<CustomKinds>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) structurals: Structurals,
    pub(crate) services: ServiceAllocator,
    pub(crate) admission: Admission,
    pub(crate) authenticators: Authenticators,
    pub(crate) authorizers: Chain,
    /// The certificates by which pods know this server.
    pub(crate) root_ca: String,
    pub(crate) components: Components,
    /// The newest state that the token of a page names.
    pub(crate) paged: AtomicU64,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) user: Arc<User>,
    /// Fields that stand twice in the body, which a value cannot show any more.
    pub(crate) duplicates: Vec<String>,
    /// What is said beside the answer.
    pub(crate) notes: Notes,
    /// The version of the request, where it is not the stored one: patches are done in it.
    pub(crate) version: Option<&'static Version>,
    /// The program that asks; its first part owns what it writes where it says no `fieldManager`.
    pub(crate) user_agent: String,
    /// The server writes what no rule is asked about.
    pub(crate) unchecked: bool,
}

impl Context {
    pub(crate) fn new(user: impl Into<Arc<User>>) -> Self {
        let user = user.into();
        // Of components of this process the user is the program.
        let name = match user.name.strip_prefix("system:") {
            Some(name) if name.starts_with("node:") => "kubelet",
            Some("apiserver") => "kube-apiserver",
            Some(name) => name,
            None => &user.name,
        };
        let user_agent = name.to_owned();
        Self {
            user,
            duplicates: Vec::new(),
            notes: Notes::default(),
            version: None,
            user_agent,
            unchecked: false,
        }
    }
}

/// Why a write was refused because of another one (the text that clients look for).
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl Registry {
    /// The row of a path, or 404; for a path of an old version the row that it is read as.
    pub(crate) fn row(&self, resource: &GroupVersionResource) -> Result<&'static Resource, Status> {
        resource::by_gvr(&resource.group, &resource.version, &resource.resource)
            .or_else(|| versions::find(resource)?.resource())
            .or_else(|| self.kinds.snapshot().row(resource))
            .ok_or_else(Status::no_such_path)
    }

    /// The newest state of an object, or 404.
    pub(crate) async fn current(
        &self,
        row: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Object>, Status> {
        let key = cache::key(row, namespace, name);
        match self.store.get(&key).await.map_err(store_status)? {
            Some(kv) => self.shown(row, self.decode(row, &kv)?).await,
            None => Err(Status::not_found(&row.group_resource(), name)),
        }
    }

    /// A stored value as an object: the one of the cache where that is as new. That of a custom
    /// kind is in the version it was stored in.
    pub(crate) fn decode(
        &self,
        row: &'static Resource,
        kv: &KeyValue,
    ) -> Result<Arc<Object>, Status> {
        if let Some(object) = self.cache.of(row)?.get(&kv.key)
            && object.head().resource_version == kv.mod_revision
        {
            return Ok(object);
        }
        self.read(row, &kv.value, kv.mod_revision)
    }

    fn read(
        &self,
        row: &'static Resource,
        bytes: &Bytes,
        revision: u64,
    ) -> Result<Arc<Object>, Status> {
        let object = if row.custom.is_some() {
            self.kinds.read(row, bytes, revision)
        } else {
            Object::from_stored(bytes, revision, row.fields)
        };
        object.map(Arc::new).map_err(Status::internal)
    }

    /// What the store has just taken. The cache reads it anyway, a moment later: taken from there,
    /// it is decoded once for all, and who has written sees it in every later list.
    pub(crate) async fn written(
        &self,
        row: &'static Resource,
        key: &str,
        bytes: &Bytes,
        revision: u64,
    ) -> Result<Arc<Object>, Status> {
        if self.cache.wait_for(revision).await.is_ok()
            && let Some(object) = self.cache.of(row)?.get(key)
            && object.head().resource_version == revision
        {
            return self.shown(row, object).await;
        }
        self.shown(row, self.read(row, bytes, revision)?).await
    }
}

fn below<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    let (mut here, mut rest) = (value, pointer.strip_prefix('/')?);
    while let Some(end) = json::first(rest.as_bytes(), b'/') {
        here = json::get(here, &rest[..end])?;
        rest = &rest[end + 1..];
    }
    json::get(here, rest)
}

/// A text of the object, empty where it has none.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    // Asked for dozens of times a write; only a pointer with escapes needs more than this.
    let found = match json::first(pointer.as_bytes(), b'~').is_some() {
        true => value.pointer(pointer),
        false => below(value, pointer),
    };
    found.and_then(Value::as_str).unwrap_or_default()
}

/// Errors of the store that no caller has dealt with.
pub(crate) fn store_status(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { oldest } => Status::expired(format!(
            "The provided resource version is too old: the oldest one kept is {oldest}"
        )),
        StoreError::TooLarge { .. } => Status::failure(
            413,
            onggi_api::status::reason::REQUEST_ENTITY_TOO_LARGE,
            error.to_string(),
        ),
        StoreError::Closed => Status::unavailable("the API server is shutting down"),
        other => {
            tracing::error!(error = %other, "the store failed");
            Status::internal(other)
        }
    }
}
