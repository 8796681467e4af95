//! The ConfigMaps and Secrets that the pods of this node refer to: one watch for each, as long as
//! a pod needs it. A change wakes the pods at once; nothing is asked for twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::{DecodeError, GroupVersionResource, Object};
use onggi_base::Shutdown;
use onggi_client::{Cache, Project, SharedInformers, Source, Stopped, Transport};
use parking_lot::Mutex;
use serde::Deserialize;

/// What a pod may refer to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    #[default]
    ConfigMap,
    Secret,
}

/// The content of a ConfigMap or a Secret.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Data {
    pub(crate) kind: Kind,
    /// `type` of a Secret.
    pub(crate) type_: String,
    /// Decoded; of a ConfigMap text and binary together.
    pub(crate) entries: BTreeMap<String, Vec<u8>>,
}

/// All that is watched. A cheap handle.
#[derive(Clone)]
pub(crate) struct Objects {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    shutdown: Shutdown,
    watched: Mutex<HashMap<Reference, Weak<Watched>>>,
}

type Reference = (Kind, String, String);

/// One object, watched until the last handle is dropped.
pub(crate) struct Watched {
    pub(crate) cache: Cache<Data>,
    namespace: String,
    name: String,
    end: Shutdown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default, rename = "type")]
    type_: String,
    data: Option<BTreeMap<String, Option<String>>>,
    binary_data: Option<BTreeMap<String, Option<String>>>,
}

impl Kind {
    /// As Kubernetes writes it in `… "x" not found`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    /// The kind's name.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn resource(self) -> GroupVersionResource {
        let plural = match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        };
        GroupVersionResource::new("", "v1", plural)
    }
}

impl Project for Data {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let raw: Raw = object.decode()?;
        let kind = if object.head().kind == "Secret" { Kind::Secret } else { Kind::ConfigMap };
        let mut entries = BTreeMap::new();
        for (key, text) in raw.data.into_iter().flatten() {
            let text = text.unwrap_or_default();
            let value = match kind {
                Kind::ConfigMap => text.into_bytes(),
                Kind::Secret => decode(&key, &text)?,
            };
            entries.insert(key, value);
        }
        for (key, text) in raw.binary_data.into_iter().flatten() {
            let value = decode(&key, &text.unwrap_or_default())?;
            entries.insert(key, value);
        }
        Ok(Self { kind, type_: raw.type_, entries })
    }
}

fn decode(key: &str, text: &str) -> Result<Vec<u8>, DecodeError> {
    STANDARD.decode(text).map_err(|error| DecodeError::Json {
        what: format!("data[{key}]"),
        message: error.to_string(),
    })
}

impl Objects {
    pub(crate) fn new(transport: Arc<dyn Transport>, shutdown: Shutdown) -> Self {
        let watched = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { transport, shutdown, watched }) }
    }

    /// Begins to watch an object, or joins those who do.
    pub(crate) fn watch(&self, kind: Kind, namespace: &str, name: &str) -> Arc<Watched> {
        let reference = (kind, namespace.to_owned(), name.to_owned());
        let mut all = self.inner.watched.lock();
        if let Some(watched) = all.get(&reference).and_then(Weak::upgrade) {
            return watched;
        }
        let end = self.inner.shutdown.child_token();
        // An informer of its own, so that it ends with the last pod that needs it.
        let informers = SharedInformers::new(Arc::clone(&self.inner.transport), end.clone());
        let source = Source::all(kind.resource())
            .in_namespace(namespace)
            .fields(format!("metadata.name={name}"));
        let watched = Arc::new(Watched {
            cache: informers.informer(source),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            end,
        });
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(reference, Arc::downgrade(&watched));
        watched
    }
}

impl Watched {
    /// The object as it is; none when it does not exist. Waits for the first answer of the server.
    pub(crate) async fn get(&self) -> Result<Option<Arc<Data>>, Stopped> {
        self.cache.synced().await?;
        Ok(self.cache.get(&self.namespace, &self.name))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.cancel();
    }
}
