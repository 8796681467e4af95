//! The node's Unix socket: images and builds for the command line on this machine. Only root can
//! open it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use onggi_base::Shutdown;
use onggi_images::Images;
use tokio::net::UnixListener;
use tokio_util::task::TaskTracker;

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Binds the socket in the place of one that a dead process left.
pub fn bind(path: &Path) -> Result<UnixListener, Error> {
    let error = |source| Error { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(error)?;
    Ok(listener)
}

/// Answers until the shutdown; requests under way end first.
pub async fn serve(listener: UnixListener, images: Images, shutdown: Shutdown) -> io::Result<()> {
    let connections = TaskTracker::new();
    let server = auto::Builder::new(TokioExecutor::new());
    loop {
        let (stream, _) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted?,
        };
        let images = images.clone();
        let handler = service_fn(move |request| {
            let images = images.clone();
            async move { Ok::<_, io::Error>(onggi_images::http::handle(images, request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), handler).into_owned();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            tokio::pin!(connection);
            tokio::select! {
                // A client that goes away has ended its request.
                _ = &mut connection => return,
                () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    connections.close();
    connections.wait().await;
    Ok(())
}
