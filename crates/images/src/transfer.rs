//! Pull and push.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use onggi_node_api::{Image, RegistryAuth};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::archive::is_index;
use crate::progress::{Event, Progress, part};
use crate::remote::Remote;
use crate::service::{Images, blocking};
use crate::spec::{Descriptor, Index, Manifest, host_architecture, parse_json};
use crate::store::Pins;
use crate::{Digest, Error, Reference, Result};

/// Blobs that move at once.
const PARALLEL: usize = 4;

impl Images {
    /// Pulls an image with the first login that works; without any, as nobody.
    pub(crate) async fn pull_now(
        &self,
        reference: &Reference,
        auth: &[RegistryAuth],
        progress: &Progress,
    ) -> Result<Image> {
        let mut logins: Vec<Option<&RegistryAuth>> = auth.iter().map(Some).collect();
        if logins.is_empty() {
            logins.push(None);
        }
        let mut refused = None;
        for login in logins {
            let remote = Remote::new(reference, login, self.trust(), false).await;
            match self.pull_from(&remote, reference, progress).await {
                Err(e @ Error::Unauthorized { .. }) => refused = Some(e),
                other => return other,
            }
        }
        Err(refused.unwrap_or_else(|| Error::NotFound(reference.to_string())))
    }

    async fn pull_from(
        &self,
        remote: &Remote,
        reference: &Reference,
        progress: &Progress,
    ) -> Result<Image> {
        let pins = Arc::new(self.store().pins());
        let (text, named) = remote.manifest(None).await?;
        let (text, digest) = if is_index(&text) {
            let index: Index = parse_json(&format!("index of {reference}"), &text)?;
            let entry = index.for_host().ok_or_else(|| {
                let has: Vec<String> = index
                    .manifests
                    .iter()
                    .filter_map(|m| m.platform.as_ref())
                    .map(|p| format!("{}/{}", p.os, p.architecture))
                    .collect();
                Error::Registry(format!(
                    "image {reference} is not made for linux/{}, only for {}",
                    host_architecture(),
                    has.join(", ")
                ))
            })?;
            remote.manifest(Some(&entry.digest)).await?
        } else {
            (text, named.clone())
        };
        let manifest: Manifest = parse_json(&format!("manifest of {reference}"), &text)
            .map_err(|e| Error::Registry(format!("{e} (schema 1 images are not supported)")))?;

        let blobs: Vec<Descriptor> =
            std::iter::once(&manifest.config).chain(&manifest.layers).cloned().collect();
        let (kept, stop) = (&pins, &CancellationToken::new());
        // The first failure ends the others, and they are waited for: nothing of theirs is left when
        // it is told. It comes first, so it is the one that is told.
        let fetched: Vec<Result<()>> = futures::stream::iter(blobs)
            .map(|blob| async move {
                let fetched = self.fetch(remote, &blob, kept, progress, stop).await;
                if fetched.is_err() {
                    stop.cancel();
                }
                fetched
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        fetched.into_iter().collect::<Result<()>>()?;

        let (store, reference, progress) =
            (Arc::clone(self.store()), reference.clone(), progress.clone());
        let image = blocking(move || {
            store.put(&text, manifest.media_type(), &pins)?;
            for layer in &manifest.layers {
                progress.try_tell(Event::Part(part(
                    layer.digest.as_str(),
                    layer.size,
                    layer.size,
                    "unpacking",
                )));
            }
            // Before it gets its name: a layer that does not unpack is an image that is not here.
            let image = store.image(&digest)?;
            store.unpack_image(&image, &pins)?;
            for layer in &manifest.layers {
                progress.tell_blocking(Event::Part(part(
                    layer.digest.as_str(),
                    layer.size,
                    layer.size,
                    "done",
                )));
            }
            // Found by its tag, by the digest that the registry gave it, and by the manifest's.
            let names =
                [reference.clone(), reference.with_digest(&named), reference.with_digest(&digest)];
            let image = store.publish(&digest, &names)?;
            Ok(store.summary(&image))
        })
        .await?;
        self.tidy();
        Ok(image)
    }

    async fn fetch(
        &self,
        remote: &Remote,
        blob: &Descriptor,
        pins: &Arc<Pins>,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<()> {
        let _alone = self.fetching().lock(&blob.digest).await;
        pins.add(&blob.digest);
        let digest = blob.digest.as_str();
        if self.store().has_blob(&blob.digest) {
            progress.tell(Event::Part(part(digest, blob.size, blob.size, "exists"))).await;
            return Ok(());
        }
        let broken = |e: &dyn std::error::Error| {
            Error::Registry(format!("download of {digest} failed: {e}"))
        };
        let stopped = || Error::Registry(format!("download of {digest} ended with another one"));
        let mut stream = tokio::select! {
            () = stop.cancelled() => return Err(stopped()),
            stream = remote.blob(&blob.digest) => stream?,
        };
        let (sender, mut chunks) = mpsc::channel::<bytes::Bytes>(16);
        let (store, expected, kept) =
            (Arc::clone(self.store()), blob.digest.clone(), Arc::clone(pins));
        let writing = tokio::task::spawn_blocking(move || -> Result<Option<Digest>> {
            use std::io::Write;
            let mut writer = store.writer()?;
            let mut whole = false;
            while let Some(chunk) = chunks.blocking_recv() {
                // The empty chunk says that the stream ended well.
                whole = chunk.is_empty();
                writer.write_all(&chunk).map_err(|source| Error::Io {
                    context: format!("storing blob {expected}"),
                    source,
                })?;
            }
            match whole {
                true => writer.commit(Some(&expected), &kept).map(|(digest, _)| Some(digest)),
                false => Ok(None),
            }
        });
        let mut received = 0u64;
        let mut failed = None;
        loop {
            let chunk = tokio::select! {
                () = stop.cancelled() => Some(Err(())),
                chunk = stream.next() => chunk.map(Ok),
            };
            let chunk = match chunk {
                None => break,
                Some(Ok(chunk)) => chunk,
                Some(Err(())) => {
                    failed = Some(stopped());
                    break;
                }
            };
            match chunk {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    received += chunk.len() as u64;
                    if received > blob.size {
                        failed = Some(Error::Registry(format!(
                            "blob {digest} is larger than the {} bytes that its manifest says",
                            blob.size
                        )));
                        break;
                    }
                    progress.try_tell(Event::Part(part(
                        digest,
                        received,
                        blob.size,
                        "downloading",
                    )));
                    if sender.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(e) => {
                    failed = Some(broken(&e));
                    break;
                }
            }
        }
        if failed.is_none() {
            let _ = sender.send(bytes::Bytes::new()).await;
        }
        drop(sender);
        let written = writing.await.map_err(|e| broken(&e))?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        written.map_err(|e| match e {
            Error::Invalid(text) => Error::Registry(format!("blob {digest}: {text}")),
            other => other,
        })?;
        progress.tell(Event::Part(part(digest, blob.size, blob.size, "verifying"))).await;
        Ok(())
    }

    /// Pushes an image that is here. Answers the manifest's digest.
    pub async fn push(
        &self,
        reference: &Reference,
        auth: &[RegistryAuth],
        progress: &Progress,
    ) -> Result<Digest> {
        let store = Arc::clone(self.store());
        let key = reference.to_string();
        let (image, _pins) = blocking(move || {
            let image = store.get(&key)?;
            let pins = store.pin_image(&image);
            Ok((image, pins))
        })
        .await?;
        let mut refused = None;
        let logins: Vec<Option<&RegistryAuth>> = match auth {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        for login in logins {
            let remote = Remote::new(reference, login, self.trust(), true).await;
            match self.push_to(&remote, &image, progress).await {
                Err(e @ Error::Unauthorized { .. }) => refused = Some(e),
                Err(e) => return Err(e),
                Ok(()) => return Ok(image.digest),
            }
        }
        Err(refused.unwrap_or_else(|| Error::NotFound(reference.to_string())))
    }

    async fn push_to(
        &self,
        remote: &Remote,
        image: &crate::store::StoredImage,
        progress: &Progress,
    ) -> Result<()> {
        remote.log_in().await?;
        let blobs: Vec<Descriptor> =
            image.manifest.layers.iter().chain([&image.manifest.config]).cloned().collect();
        futures::stream::iter(blobs)
            .map(|blob| async move { self.send(remote, &blob, progress).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        let (store, digest) = (Arc::clone(self.store()), image.digest.clone());
        let text = blocking(move || store.read_document(&digest)).await?;
        remote.push_manifest(image.manifest.media_type(), text).await
    }

    async fn send(&self, remote: &Remote, blob: &Descriptor, progress: &Progress) -> Result<()> {
        let digest = blob.digest.to_string();
        if remote.has_blob(&blob.digest).await? {
            progress.tell(Event::Part(part(&digest, blob.size, blob.size, "exists"))).await;
            return Ok(());
        }
        let path = self.store().blob_path(&blob.digest);
        let file = tokio::fs::File::open(&path)
            .await
            .map_err(|source| Error::Io { context: path.display().to_string(), source })?;
        let (size, counter, name) = (blob.size, progress.clone(), digest.clone());
        let mut sent = 0;
        let content = tokio_util::io::ReaderStream::with_capacity(file, 256 << 10).inspect_ok(
            move |chunk: &bytes::Bytes| {
                sent += chunk.len() as u64;
                counter.try_tell(Event::Part(part(&name, sent, size, "uploading")));
            },
        );
        remote.push_blob(&blob.digest, blob.size, crate::body::stream(content)).await?;
        progress.tell(Event::Part(part(&digest, blob.size, blob.size, "done"))).await;
        Ok(())
    }

    /// Whether a login is good, asked of a registry without pulling.
    pub async fn check_login(&self, registry: &str, auth: &RegistryAuth) -> Result<()> {
        let reference: Reference = format!("{registry}/onggi/login:check").parse()?;
        let remote = Remote::new(&reference, Some(auth), self.trust(), false).await;
        remote.log_in().await
    }
}
