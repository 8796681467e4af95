//! New keys for what is sealed in the store: by a running daemon, or here where none runs.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use onggi_store::LocalStore;
use tokio::signal::unix::{SignalKind, signal};

use crate::control::Control;
use crate::lock;
use crate::paths::Paths;

/// The signal that tells a daemon to make new keys.
const ROTATE: Signal = Signal::SIGUSR1;

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The daemon of this process id, in the background; its log tells when it is done.
    Daemon(i32),
    /// It is done.
    Done,
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory.
    #[error(transparent)]
    Paths(#[from] crate::paths::Error),
    /// The lock of the data directory.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] onggi_store::Error),
    /// What is to be sealed.
    #[error(transparent)]
    Control(#[from] crate::control::Error),
    /// The daemon could not be told.
    #[error("cannot tell the daemon: {0}")]
    Signal(#[from] nix::Error),
}

/// Makes new keys at each signal, while the store is there.
pub(crate) fn rotate_when_told(store: &Arc<LocalStore>) -> io::Result<()> {
    let mut told = signal(SignalKind::user_defined1())?;
    let store: Weak<LocalStore> = Arc::downgrade(store);
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            let Some(store) = store.upgrade() else { return };
            tracing::info!("new keys for what is sealed: begun");
            match store.rotate_key().await {
                Ok(()) => tracing::info!("new keys for what is sealed: everything is sealed anew"),
                Err(error) => tracing::error!(%error, "new keys for what is sealed"),
            }
        }
    });
    Ok(())
}

/// Makes new keys and seals everything anew with them.
pub async fn rotate(data_dir: &Path, control: &Control) -> Result<Rotation, Error> {
    let paths = Paths::new(data_dir)?;
    if let Some(pid) = lock::holder(&paths.lock())? {
        kill(Pid::from_raw(pid), ROTATE)?;
        return Ok(Rotation::Daemon(pid));
    }
    let _lock = lock::acquire(&paths.lock())?;
    let store = onggi_store::sqlite::open(&onggi_store::sqlite::Options {
        sealing: Some(onggi_store::Sealing {
            key_file: paths.store_key(),
            prefixes: control.sealed()?,
        }),
        ..onggi_store::sqlite::Options::new(paths.store())
    })?;
    store.rotate_key().await?;
    Ok(Rotation::Done)
}
