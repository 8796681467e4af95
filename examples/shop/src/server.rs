//! The HTTP server that all services share: health, information, a clean end.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::services::Service;
use crate::{Config, Error};

/// What a handler answers: a code and a JSON document.
pub(crate) type Answer = (StatusCode, Value);

/// How long connections are served after SIGTERM, each answer asking the client to come back on a
/// new one. Longer than a client of ours keeps an idle connection ([`crate::client::IDLE`]), so that
/// none sends a request into one that is being closed.
const LINGER: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then lets clients go and ends the requests that are under way.
pub async fn serve(config: Config) -> Result<(), Error> {
    let port = config.port;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .await
        .map_err(|source| Error::Listen { port, source })?;
    println!("{} {} listens on port {port}", config.service, config.version);
    let service = Arc::new(Service::new(config));
    let server = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    let ending = Arc::new(AtomicBool::new(false));
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        println!("ends after the requests under way");
        ending.store(true, Ordering::Relaxed);
        tokio::time::sleep(LINGER).await;
    };
    tokio::pin!(told);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut told => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("accept: {error}");
                continue;
            }
        };
        let (service, ending) = (Arc::clone(&service), Arc::clone(&ending));
        let handler = hyper::service::service_fn(move |request| {
            let (service, ending) = (Arc::clone(&service), Arc::clone(&ending));
            async move {
                let mut response = respond(&service, request).await;
                if ending.load(Ordering::Relaxed) {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = server.serve_connection(TokioIo::new(stream), handler).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that leaves early is its own affair.
            let _ = connection.await;
        });
    }
    connections.shutdown().await;
    Ok(())
}

async fn respond(service: &Service, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (code, body) = match path.as_str() {
        "/actuator/health" => (StatusCode::OK, json!({"status": "UP"})),
        "/actuator/info" => (StatusCode::OK, service.info()),
        _ if !may(service, &request) => {
            (StatusCode::UNAUTHORIZED, json!({"error": "user and password are needed"}))
        }
        _ => service.answer(&path, &query).await,
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The gateway is open; the others want the credentials of the Secret, where there are any.
fn may(service: &Service, request: &Request<Incoming>) -> bool {
    let Some(expected) = service.authorization() else { return true };
    request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|given| given.to_str().ok())
        .is_some_and(|given| given == expected)
}

/// `Authorization: Basic …`.
pub(crate) fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}
