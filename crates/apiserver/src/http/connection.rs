//! Connections: accepted, encrypted, and ended together.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;

use super::gate::{Gate, Ticket};
use super::held::Held;
use super::idle::Activity;
use crate::{ApiServer, Error};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be quiet before the other side is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long what was sent may go unanswered.
const UNANSWERED: Duration = Duration::from_secs(60);
/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How large a head may be: room for long tokens.
const MAX_HEAD: usize = 256 << 10;
/// How long open requests may take when the server ends.
const GRACE: Duration = Duration::from_secs(2);
/// How long to wait when the process has no file descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

impl ApiServer {
    /// Answers on a listener until [`ApiServer::close`]. May be called for several listeners.
    pub fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
    ) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(tls);
            let connections = TaskTracker::new();
            let gate = Gate::default();
            let shutdown = self.shutdown().clone();
            loop {
                let accepted = tokio::select! {
                    () = shutdown.cancelled() => break,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, from)) => {
                        let Some(ticket) = gate.enter(from.ip().to_canonical()) else {
                            tracing::debug!(%from, "too many connections");
                            continue;
                        };
                        let (server, acceptor) = (Arc::clone(&self), acceptor.clone());
                        connections.spawn(connection(server, acceptor, stream, ticket));
                    }
                    // The connection was gone before it was taken, or there is no descriptor left:
                    // neither is a reason to stop.
                    Err(error) if is_transient(&error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                    Err(error) => return Err(Error::Accept(error)),
                }
            }
            connections.close();
            // Whoever does not end in time is cut off with the runtime.
            let _ = tokio::time::timeout(GRACE, connections.wait()).await;
            Ok(())
        })
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(
        error.kind(),
        std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::Interrupted
    ) || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Sends at once, and notices a client that has gone without a word.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE / 2)
        .with_retries(4);
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNANSWERED))
}

fn connection(
    server: Arc<ApiServer>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    mut ticket: Ticket,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let remote = stream.peer_addr().ok();
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "the options of a connection");
        }
        let cut = ticket.cut();
        let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
        let stream = match cut.run_until_cancelled(shaken).await {
            Some(Ok(Ok(stream))) => stream,
            Some(Ok(Err(error))) => return tracing::debug!(%error, "no TLS connection"),
            Some(Err(_)) => return tracing::debug!("a client did not finish its TLS handshake"),
            None => return tracing::debug!("too many connections that say nothing"),
        };
        ticket.settle();
        let chain = stream.get_ref().1.peer_certificates();
        let authorities = &server.registry.authenticators.certificates;
        let peer = chain.map(|chain| Arc::new(authorities.peer(chain)));
        let remote = remote.map(|address| address.ip());
        let activity = Activity::new();
        let service = {
            let (server, activity) = (Arc::clone(&server), Arc::clone(&activity));
            service_fn(move |request| {
                let (server, peer, busy) = (Arc::clone(&server), peer.clone(), activity.begin());
                // In a box: a quiet connection need not keep room for it.
                Box::pin(async move {
                    let response = super::handle(server, peer, remote, request).await;
                    Ok::<_, std::convert::Infallible>(response.map(|body| Held::new(body, busy)))
                })
            })
        };
        // Looked at whenever something moves here: not at the one that all connections share.
        let shutdown = server.shutdown().child_token();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1000)
            .max_header_list_size(MAX_HEAD as u32)
            .keep_alive_interval(KEEP_ALIVE);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = activity.idle() => {
                tracing::debug!("a connection without requests is ended");
                connection.as_mut().graceful_shutdown();
                // Whoever does not answer to that is cut off.
                tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    })
}
