//! The asynchronous face of the store: [`ImageService`] for the kubelet, [`RootFs`] for the runtime.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use onggi_node_api::{
    Image, ImageConfig, ImageError, ImageService, PullProgress, RegistryAuth, RootFs, StepRunner,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc};

use crate::progress::{Event, Progress};
use crate::remote::{Trust, tls_config};
use crate::store::{Store, image_config};
use crate::{Digest, Error, Reference, Result};

/// Settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `images/` below the data directory.
    pub root: PathBuf,
    /// Registries (`host` or `host:port`) that speak plain HTTP; loopback always does.
    pub insecure_registries: Vec<String>,
    /// PEM files with authorities of private registries, beside the machine's.
    pub certificate_authorities: Vec<PathBuf>,
}

/// The images of a node. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    trust: Trust,
    /// Pulls under way. The logins are part of the key: nobody rides on another's.
    pulls: Mutex<HashMap<PullKey, Flight>>,
    fetching: AsyncLocks,
    steps: OnceLock<Arc<dyn StepRunner>>,
    /// One tidy-up at a time.
    tidying: Mutex<()>,
}

type PullKey = (String, Vec<(String, String)>);

#[derive(Clone)]
struct Flight {
    done: Shared<BoxFuture<'static, Result<Image, ImageError>>>,
    progress: broadcast::Sender<PullProgress>,
}

impl Images {
    /// Opens the store.
    pub fn open(options: Options) -> Result<Self> {
        let store = Store::open(&options.root)?;
        let trust = Trust {
            tls: tls_config(&options.certificate_authorities)?,
            insecure: options.insecure_registries,
        };
        let inner = Inner {
            store,
            trust,
            pulls: Mutex::default(),
            fetching: AsyncLocks::default(),
            steps: OnceLock::new(),
            tidying: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who runs `RUN`; without one, a Dockerfile with `RUN` is refused. The first one stays.
    pub fn set_step_runner(&self, steps: Arc<dyn StepRunner>) {
        let _ = self.inner.steps.set(steps);
    }

    /// Who runs `RUN`.
    pub(crate) fn steps(&self) -> Option<&Arc<dyn StepRunner>> {
        self.inner.steps.get()
    }

    /// The store, for blocking code.
    pub fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    pub(crate) fn fetching(&self) -> &AsyncLocks {
        &self.inner.fetching
    }

    /// Behind the answer: syncs new layers and removes what nobody needs.
    pub(crate) fn tidy(&self) {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            // One that is under way may be past what changed: wait for it, then do it again.
            let _alone = inner.tidying.lock();
            let done =
                inner.store.sync_layers().and_then(|()| inner.store.collect(SystemTime::now()));
            match done {
                Ok(gone) if gone.blobs + gone.layers > 0 => {
                    tracing::info!(
                        blobs = gone.blobs,
                        layers = gone.layers,
                        bytes = gone.bytes,
                        "collected"
                    );
                }
                Ok(_) => {}
                Err(e) => tracing::warn!(error = %e, "tidying the image store failed"),
            }
        });
    }

    /// Removes images of containers that are no more (after a restart), and what nobody needs.
    pub async fn reconcile(&self, containers: HashSet<String>) -> Result<()> {
        let store = Arc::clone(self.store());
        blocking(move || {
            for holder in store.holders()? {
                if !containers.contains(&holder) {
                    store.release(&holder)?;
                }
            }
            Ok(())
        })
        .await?;
        self.tidy();
        Ok(())
    }

    /// Gives an image another name.
    pub async fn tag(&self, source: &str, target: &str) -> Result<()> {
        let (store, source, target) =
            (Arc::clone(self.store()), source.to_owned(), target.parse()?);
        blocking(move || store.tag(&source, &target)).await
    }

    /// Removes a name or an image; answers the names that went.
    pub async fn remove(&self, reference: &str) -> Result<Vec<String>> {
        let (store, reference) = (Arc::clone(self.store()), reference.to_owned());
        let gone = blocking(move || store.untag(&reference)).await?;
        self.tidy();
        Ok(gone)
    }

    /// Pulls; pulls of the same image with the same logins become one.
    pub async fn pull(
        &self,
        reference: &str,
        auth: Vec<RegistryAuth>,
        progress: Option<mpsc::Sender<PullProgress>>,
    ) -> Result<Image, ImageError> {
        let reference: Reference = reference.parse()?;
        // A digest says all: what is here whole needs no registry.
        if reference.digest().is_some()
            && let Some(image) = self.image_status(&reference.to_string()).await?
        {
            return Ok(image);
        }
        let (flight, mut counters) = self.board(reference, auth);
        let done = flight.done;
        let Some(progress) = progress else { return done.await };
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                counter = counters.recv() => match counter {
                    // A reader that is behind misses counters, not the end.
                    Ok(counter) => { let _ = progress.try_send(counter); }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return done.await,
                },
                result = &mut done => return result,
            }
        }
    }

    /// Joins a pull or starts it. It goes on when whoever asked goes away.
    fn board(
        &self,
        reference: Reference,
        auth: Vec<RegistryAuth>,
    ) -> (Flight, broadcast::Receiver<PullProgress>) {
        let logins = auth
            .iter()
            .map(|auth| match auth {
                RegistryAuth::Basic(user, password) => (user.clone(), password.clone()),
                RegistryAuth::Bearer(token) => (String::new(), token.clone()),
            })
            .collect();
        let key = (reference.to_string(), logins);
        let mut pulls = self.inner.pulls.lock();
        if let Some(flight) = pulls.get(&key) {
            return (flight.clone(), flight.progress.subscribe());
        }
        let (counters, receiver) = broadcast::channel(64);
        let (images, sender) = (self.clone(), counters.clone());
        let landed = Landed { images: self.clone(), key: key.clone() };
        let task = tokio::spawn(async move {
            let _landed = landed;
            let (events, mut inbox) = mpsc::channel(64);
            let forward = tokio::spawn(async move {
                while let Some(event) = inbox.recv().await {
                    if let Event::Part(part) = event {
                        let _ = sender.send(part);
                    }
                }
            });
            let result = images.pull_now(&reference, &auth, &Progress::new(events)).await;
            let _ = forward.await;
            result.map_err(ImageError::from)
        });
        let done = async move {
            match task.await {
                Ok(result) => result,
                Err(e) => Err(ImageError::Registry(format!("the pull was broken off: {e}"))),
            }
        };
        let flight = Flight { done: done.boxed().shared(), progress: counters };
        pulls.insert(key, flight.clone());
        (flight, receiver)
    }
}

/// Takes a pull from the table when it ends, however it ends.
struct Landed {
    images: Images,
    key: PullKey,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.images.inner.pulls.lock().remove(&self.key);
    }
}

/// Runs blocking code of the store.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::invalid(format!("the image store failed: {e}"))),
    }
}

#[async_trait]
impl ImageService for Images {
    async fn list_images(&self) -> Result<Vec<Image>, ImageError> {
        let store = Arc::clone(self.store());
        Ok(blocking(move || Ok(store.images())).await?)
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let (store, reference) = (Arc::clone(self.store()), reference.to_owned());
        Ok(blocking(move || Ok(store.find(&reference)?.map(|image| store.summary(&image)))).await?)
    }

    async fn pull_image(
        &self,
        reference: &str,
        auth: Vec<RegistryAuth>,
        progress: Option<mpsc::Sender<PullProgress>>,
    ) -> Result<Image, ImageError> {
        self.pull(reference, auth, progress).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), ImageError> {
        Ok(self.remove(reference).await.map(drop)?)
    }
}

#[async_trait]
impl RootFs for Images {
    async fn image_config(&self, image: &str) -> Result<ImageConfig, ImageError> {
        let (store, image) = (Arc::clone(self.store()), image.to_owned());
        Ok(blocking(move || Ok(image_config(&store.get(&image)?.config))).await?)
    }

    async fn layers(&self, image: &str, container: &str) -> Result<Vec<PathBuf>, ImageError> {
        let (store, image, container) =
            (Arc::clone(self.store()), image.to_owned(), container.to_owned());
        Ok(blocking(move || {
            let image = store.get(&image)?;
            store.layers_for(&image, &container)
        })
        .await?)
    }

    async fn release(&self, container: &str) -> Result<(), ImageError> {
        let (store, container) = (Arc::clone(self.store()), container.to_owned());
        Ok(blocking(move || store.release(&container)).await?)
    }
}

/// Mutual exclusion by digest.
#[derive(Default)]
pub(crate) struct AsyncLocks {
    taken: Mutex<HashSet<Digest>>,
    freed: Notify,
}

impl AsyncLocks {
    pub(crate) async fn lock(&self, key: &Digest) -> AsyncGuard<'_> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Listening before looking: a release in between is not missed.
            freed.as_mut().enable();
            if self.taken.lock().insert(key.clone()) {
                return AsyncGuard { locks: self, key: key.clone() };
            }
            freed.await;
        }
    }
}

pub(crate) struct AsyncGuard<'a> {
    locks: &'a AsyncLocks,
    key: Digest,
}

impl Drop for AsyncGuard<'_> {
    fn drop(&mut self) {
        self.locks.taken.lock().remove(&self.key);
        self.locks.freed.notify_waiters();
    }
}
