//! The HTTP server that all services share: health, information, a clean end.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
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

/// Serves until SIGTERM or SIGINT, then ends the requests that are under way.
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
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("accept: {error}");
                continue;
            }
        };
        let service = Arc::clone(&service);
        let handler = hyper::service::service_fn(move |request| {
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(respond(&service, request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), handler).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that leaves early is its own affair.
            let _ = connection.await;
        });
    }
    println!("ends after the requests under way");
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
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
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
