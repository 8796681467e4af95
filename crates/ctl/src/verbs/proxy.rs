//! `proxy`: the API server on a port or socket of this machine, with the user's own rights.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onggi_client::HttpTransport;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::Regex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::error::Error;
use crate::session::Session;

/// A request with a larger body is not passed on.
const MAX_BODY: usize = 64 << 20;

/// What stands in a path as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'&');

/// Flags of `proxy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port; 0 for any
    #[arg(long, short, default_value_t = 8001)]
    port: u16,
    /// The address
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// A socket instead of a port
    #[arg(long, short, value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// Below which path the API stands
    #[arg(long, default_value = "/")]
    api_prefix: String,
    /// Folder with files to serve too
    #[arg(long, short, value_name = "DIR")]
    www: Option<PathBuf>,
    /// Below which path the files stand
    #[arg(long, short = 'P', default_value = "/static/")]
    www_prefix: String,
    /// Names of hosts that are answered
    #[arg(
        long,
        default_value = "^localhost$,^127\\.0\\.0\\.1$,^\\[::1\\]$",
        value_name = "REGEXP,…"
    )]
    accept_hosts: String,
    /// Paths that are answered
    #[arg(long, default_value = "^.*", value_name = "REGEXP,…")]
    accept_paths: String,
    /// Paths that are not
    #[arg(
        long,
        default_value = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach",
        value_name = "REGEXP,…"
    )]
    reject_paths: String,
    /// Methods that are not
    #[arg(long, default_value = "^$", value_name = "REGEXP,…")]
    reject_methods: String,
    /// Answer everything
    #[arg(long)]
    disable_filter: bool,
    /// How long a connection may be silent; 0 for ever
    #[arg(long, default_value = "0s", value_parser = crate::duration::parse, value_name = "TIME")]
    keepalive: std::time::Duration,
    /// Append the server's own path
    #[arg(long)]
    append_server_path: bool,
}

type Body = BoxBody<Bytes, onggi_client::transport::Error>;

/// What is answered, and by what.
struct Proxy {
    http: HttpTransport,
    prefix: String,
    files: Option<(String, PathBuf)>,
    hosts: Vec<Regex>,
    paths: Vec<Regex>,
    no_paths: Vec<Regex>,
    no_methods: Vec<Regex>,
    filters: bool,
}

fn patterns(text: &str) -> Result<Vec<Regex>, Error> {
    text.split(',')
        .filter(|one| !one.is_empty())
        .map(|one| Regex::new(one).map_err(|e| Error::new(format!("invalid pattern {one:?}: {e}"))))
        .collect()
}

impl Args {
    /// Serves until it is broken off.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let mut prefix = format!("/{}", self.api_prefix.trim_matches('/'));
        if prefix != "/" {
            prefix.push('/');
        }
        let proxy = Arc::new(Proxy {
            http: session.connection()?.http.clone(),
            prefix,
            files: self
                .www
                .clone()
                .map(|dir| (format!("/{}/", self.www_prefix.trim_matches('/')), dir)),
            hosts: patterns(&self.accept_hosts)?,
            paths: patterns(&self.accept_paths)?,
            no_paths: patterns(&self.reject_paths)?,
            no_methods: patterns(&self.reject_methods)?,
            filters: !self.disable_filter,
        });
        if self.disable_filter {
            session.print_error(
                "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious\n",
            )?;
        }
        if let Some(path) = &self.unix_socket {
            let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
            // One that a proxy before this one left behind; nothing else is taken away.
            let is_socket = |found: std::fs::Metadata| found.file_type().is_socket();
            if std::fs::symlink_metadata(path).is_ok_and(is_socket) {
                std::fs::remove_file(path).map_err(failed)?;
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
            let only_ours = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, only_ours).map_err(failed)?;
            session.print(&format!("Starting to serve on {}\n", path.display()))?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(Arc::clone(&proxy).serve(stream));
            }
        }
        let ip = self
            .address
            .parse()
            .map_err(|_| Error::new(format!("--address {}: is no address", self.address)))?;
        let address = SocketAddr::new(ip, self.port);
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| Error::new(format!("listen tcp {address}: {e}")))?;
        session.print(&format!("Starting to serve on {}\n", listener.local_addr()?))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(Arc::clone(&proxy).serve(stream));
        }
    }
}

impl Proxy {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer = service_fn(move |request| {
            let this = Arc::clone(&self);
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        if let Err(error) =
            connection.serve_connection(TokioIo::new(stream), answer).with_upgrades().await
        {
            tracing::debug!(%error, "a connection of the proxy ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let raw = request.uri().path().to_owned();
        let Ok(path) = percent_decode_str(&raw).decode_utf8().map(Cow::into_owned) else {
            return said(StatusCode::BAD_REQUEST, "400 Bad Request");
        };
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let clean = cleaned(&path);
        if clean != path {
            return moved(&format!("{}{query}", escaped(&clean)));
        }
        if let Some((prefix, dir)) = &self.files
            && let Some(rest) = path.strip_prefix(prefix.as_str())
        {
            return file(dir, rest).await;
        }
        let Some(rest) = self.below_prefix(&path) else {
            return said(StatusCode::NOT_FOUND, "404 page not found");
        };
        if self.filters && !self.accepts(&request, &rest) {
            return said(StatusCode::FORBIDDEN, "Forbidden");
        }
        // As it came where that is possible: an escaped slash is none.
        let target = self.below_prefix(&raw).unwrap_or_else(|| escaped(&rest));
        let target = format!("{target}{query}");
        let passed = if upgrades(request.headers()) {
            self.upgrade(request, &target).await
        } else {
            self.pass(request, &target).await
        };
        passed.unwrap_or_else(|text| said(StatusCode::BAD_GATEWAY, &text))
    }

    /// The path at the server; a prefix that begins with `/api` is the server's own.
    fn below_prefix(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.prefix)?;
        let keeps = self.prefix.starts_with("/api");
        Some(if keeps { path.to_owned() } else { format!("/{rest}") })
    }

    fn accepts(&self, request: &Request<Incoming>, path: &str) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let bare = match host.rsplit_once(':') {
            Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
            _ => host,
        };
        let any = |list: &[Regex], text: &str| list.iter().any(|pattern| pattern.is_match(text));
        any(&self.hosts, bare)
            && any(&self.paths, path)
            && !any(&self.no_paths, path)
            && !any(&self.no_methods, request.method().as_str())
    }

    /// Passes on a connection that becomes something else: exec, port-forward, WebSockets.
    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        target: &str,
    ) -> Result<Response<Body>, String> {
        let ours = hyper::upgrade::on(&mut request);
        let mut passed = Request::builder().method(request.method()).uri(target);
        for (name, value) in request.headers().iter() {
            // No body goes along.
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                passed = passed.header(name, value);
            }
        }
        let passed = passed.body(Full::default()).map_err(|e| e.to_string())?;
        let mut response = self.http.upgrade(passed).await.map_err(|e| e.to_string())?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.answered(response));
        }
        let theirs = hyper::upgrade::on(&mut response);
        let mut answer = said(StatusCode::SWITCHING_PROTOCOLS, "");
        *answer.headers_mut() = response.headers().clone();
        *answer.body_mut() = Full::default().map_err(|never| match never {}).boxed();
        tokio::spawn(async move {
            let joined = async {
                let (ours, theirs) = tokio::try_join!(ours, theirs).map_err(|e| e.to_string())?;
                let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                tokio::io::copy_bidirectional(&mut ours, &mut theirs)
                    .await
                    .map_err(|e| e.to_string())
            };
            if let Err(error) = joined.await {
                tracing::debug!(%error, "a stream of the proxy ended");
            }
        });
        Ok(answer)
    }

    async fn pass(
        &self,
        request: Request<Incoming>,
        target: &str,
    ) -> Result<Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|e| e.to_string())?;
        let mut passed = Request::builder().method(parts.method).uri(target);
        for (name, value) in &parts.headers {
            if ![HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name) {
                passed = passed.header(name, value);
            }
        }
        let passed = passed.body(Full::new(body.to_bytes())).map_err(|e| e.to_string())?;
        let response = self.http.raw(passed).await.map_err(|e| e.to_string())?;
        Ok(self.answered(response))
    }

    fn answered(&self, response: Response<Incoming>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        for name in [CONNECTION, TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        parts.version = http::Version::HTTP_11;
        let stream = self.http.stream(Response::new(body)).map_ok(Frame::data);
        Response::from_parts(parts, BodyExt::boxed(SyncBody::new(StreamBody::new(stream))))
    }
}

/// Whether a connection is to become one that the API server knows; another (`h2c`) is not asked
/// for, and the request is passed on as it is.
fn upgrades(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, fits: fn(&str) -> bool| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|text| text.split(',')).any(|token| fits(token.trim()))
    };
    has(CONNECTION, |token| token.eq_ignore_ascii_case("upgrade"))
        && has(UPGRADE, |token| {
            let token = token.to_ascii_lowercase();
            token == "websocket" || token.starts_with("spdy/")
        })
}

/// The stream behind a lock: bodies must be `Sync`, and are read by one task alone.
struct SyncBody<B>(parking_lot::Mutex<std::pin::Pin<Box<B>>>);

impl<B> SyncBody<B> {
    fn new(body: B) -> Self {
        Self(parking_lot::Mutex::new(Box::pin(body)))
    }
}

impl<B: hyper::body::Body> hyper::body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.get_mut().as_mut().poll_frame(context)
    }
}

/// A path without empty parts, `.` and `..`, as Go's `ServeMux` wants it.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let ends = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) && !parts.is_empty();
    format!("/{}{}", parts.join("/"), if ends { "/" } else { "" })
}

fn escaped(path: &str) -> String {
    utf8_percent_encode(path, KEPT).to_string()
}

fn moved(to: &str) -> Response<Body> {
    let mut response = said(StatusCode::TEMPORARY_REDIRECT, "Temporary Redirect");
    match HeaderValue::from_str(to) {
        Ok(value) => {
            response.headers_mut().insert(LOCATION, value);
            response
        }
        Err(_) => said(StatusCode::BAD_REQUEST, "400 Bad Request"),
    }
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}

/// A file below a folder; a path that leaves it is none.
async fn file(dir: &std::path::Path, rest: &str) -> Response<Body> {
    let leaves = rest.split('/').any(|part| part == ".." || part.contains('\\'));
    let name = if rest.is_empty() || rest.ends_with('/') {
        format!("{rest}index.html")
    } else {
        rest.to_owned()
    };
    let path = dir.join(name.trim_start_matches('/'));
    let real = (tokio::fs::canonicalize(&path).await, tokio::fs::canonicalize(dir).await);
    let inside = matches!(&real, (Ok(path), Ok(dir)) if path.starts_with(dir));
    if leaves || !inside {
        return said(StatusCode::NOT_FOUND, "404 page not found");
    }
    match tokio::fs::read(&path).await {
        Ok(bytes) => {
            Response::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed())
        }
        Err(_) => said(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upgrades() {
        for (connection, upgrade, expected) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "SPDY/3.1", true),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("keep-alive", "websocket", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            assert_eq!(upgrades(&headers), expected, "{connection} {upgrade}");
        }
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("/", "/"),
            ("//api/v1", "/api/v1"),
            ("/api/./v1/", "/api/v1/"),
            ("/api/x/../v1", "/api/v1"),
            ("/../../etc", "/etc"),
            ("/api/..", "/"),
            ("/api/v1/namespaces/a/pods/web/exec", "/api/v1/namespaces/a/pods/web/exec"),
        ] {
            assert_eq!(cleaned(path), expected, "{path}");
        }
    }
}
