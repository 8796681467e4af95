//! One inotify instance for all logs that are followed: instances are few on a machine.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// Bytes of events read at once.
const BUFFER: usize = 4096;

/// The instance. A cheap handle.
#[derive(Clone)]
pub(super) struct Inotify {
    inner: Arc<Inner>,
}

struct Inner {
    fd: Arc<AsyncFd<OwnedFd>>,
    /// Who waits, by watch descriptor.
    waiting: Mutex<HashMap<i32, Vec<Arc<Notify>>>>,
}

/// A file and its directory, watched until this is dropped.
pub(super) struct Watch {
    inner: Arc<Inner>,
    notify: Arc<Notify>,
    descriptors: Mutex<Vec<i32>>,
}

impl Inotify {
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "an OwnedFd keeps its number; the successor is unsafe")]
        let fd = Arc::new(AsyncFd::new(fd)?);
        let inner = Arc::new(Inner { fd: Arc::clone(&fd), waiting: Mutex::default() });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            loop {
                let Ok(mut ready) = fd.readable().await else { return };
                let Some(inner) = weak.upgrade() else { return };
                match ready.try_io(|fd| read(fd.get_ref())) {
                    Ok(Ok(descriptors)) => inner.wake(&descriptors),
                    Ok(Err(error)) => return tracing::error!(%error, "inotify"),
                    // Nothing yet.
                    Err(_) => {}
                }
            }
        });
        Ok(Self { inner })
    }

    /// Watches a file, and its directory for a file that takes its place.
    pub(super) fn watch(&self, path: &Path) -> io::Result<Watch> {
        let watch = Watch {
            inner: Arc::clone(&self.inner),
            notify: Arc::new(Notify::new()),
            descriptors: Mutex::default(),
        };
        if let Some(directory) = path.parent() {
            watch.add(directory, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        }
        watch.renew(path)?;
        Ok(watch)
    }
}

impl Watch {
    /// Watches the file that is there now, too.
    pub(super) fn renew(&self, path: &Path) -> io::Result<()> {
        self.add(path, WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF)
    }

    /// Returns after a change since the last call.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }

    fn add(&self, path: &Path, flags: WatchFlags) -> io::Result<()> {
        // Under the lock: a descriptor must not be removed between its making and our entry.
        let mut waiting = self.inner.waiting.lock();
        let flags = flags | WatchFlags::MASK_ADD;
        let descriptor = inotify::add_watch(self.inner.fd.get_ref(), path, flags)?;
        let mut own = self.descriptors.lock();
        if !own.contains(&descriptor) {
            own.push(descriptor);
            waiting.entry(descriptor).or_default().push(Arc::clone(&self.notify));
        }
        // What happened before is looked at once.
        self.notify.notify_one();
        Ok(())
    }
}

impl Inner {
    fn wake(&self, descriptors: &[i32]) {
        let waiting = self.waiting.lock();
        for notify in descriptors.iter().filter_map(|wd| waiting.get(wd)).flatten() {
            notify.notify_one();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.inner.waiting.lock();
        for descriptor in self.descriptors.get_mut() {
            let Some(list) = waiting.get_mut(descriptor) else { continue };
            list.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if list.is_empty() {
                waiting.remove(descriptor);
                // It may be gone already with its file.
                let _ = inotify::remove_watch(self.inner.fd.get_ref(), *descriptor);
            }
        }
    }
}

fn read(fd: &OwnedFd) -> io::Result<Vec<i32>> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut descriptors = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => descriptors.push(event.wd()),
            Err(rustix::io::Errno::WOULDBLOCK) if !descriptors.is_empty() => {
                return Ok(descriptors);
            }
            Err(error) => return Err(error.into()),
        }
        if reader.is_buffer_empty() {
            return Ok(descriptors);
        }
    }
}
