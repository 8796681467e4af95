//! Images over the node's Unix socket, for the command line: what to print is the caller's affair.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use onggi_node_api::Image;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use crate::body::{self, Body};
use crate::build::Context;
use crate::error::Context as _;
use crate::http::{Inspection, LOGINS, Login, Logins, Problem};
use crate::progress::Event;
use crate::{Error, Result};

/// A connection to the node: one request each.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// What `onggi build` was told.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// What to copy from.
    pub context: PathBuf,
    /// `-f`; none: `Dockerfile` in the context.
    pub dockerfile: Option<PathBuf>,
    /// `-t`.
    pub tags: Vec<String>,
    /// `--build-arg NAME=VALUE`.
    pub args: Vec<String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// For base images.
    pub logins: Logins,
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

impl Client {
    /// Over a socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Every image.
    pub async fn list(&self) -> Result<Vec<Image>> {
        self.json(Method::GET, "/v1/images", vec![]).await
    }

    /// One image.
    pub async fn inspect(&self, reference: &str) -> Result<Inspection> {
        self.json(Method::GET, "/v1/images/inspect", vec![("reference", reference)]).await
    }

    /// Removes a name or an image; answers the names that went.
    pub async fn remove(&self, reference: &str) -> Result<Vec<String>> {
        self.json(Method::DELETE, "/v1/images", vec![("reference", reference)]).await
    }

    /// Gives an image another name.
    pub async fn tag(&self, source: &str, target: &str) -> Result<()> {
        let query = vec![("source", source), ("target", target)];
        self.send(Method::POST, "/v1/images/tag", query, &Logins::default(), body::empty())
            .await
            .map(drop)
    }

    /// Pulls; answers the image.
    pub async fn pull(
        &self,
        reference: &str,
        logins: &Logins,
        on_event: impl FnMut(&Event),
    ) -> Result<Image> {
        let query = vec![("reference", reference)];
        let images = self.stream("/v1/images/pull", query, logins, body::empty(), on_event).await?;
        last(images, "pull")
    }

    /// Pushes; the digest is in the last event.
    pub async fn push(
        &self,
        reference: &str,
        logins: &Logins,
        on_event: impl FnMut(&Event),
    ) -> Result<()> {
        let query = vec![("reference", reference)];
        self.stream("/v1/images/push", query, logins, body::empty(), on_event).await.map(drop)
    }

    /// Loads an archive; answers its images. `tag` is for one that names none.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Sync + 'static,
        tag: Option<&str>,
    ) -> Result<Vec<Image>> {
        let query = tag.map(|tag| ("tag", tag)).into_iter().collect();
        let content = body::stream(ReaderStream::with_capacity(archive, 256 << 10));
        self.stream("/v1/images/load", query, &Logins::default(), content, |_| {}).await
    }

    /// Writes images as an archive.
    pub async fn save(
        &self,
        references: &[String],
        mut out: impl AsyncWrite + Unpin,
    ) -> Result<u64> {
        let query = references.iter().map(|r| ("reference", r.as_str())).collect();
        let response = self
            .send(Method::GET, "/v1/images/save", query, &Logins::default(), body::empty())
            .await?;
        let mut archive = lines(response);
        tokio::io::copy(&mut archive, &mut out).await.context(|| "writing the archive".to_owned())
    }

    /// Checks a login; it is kept nowhere.
    pub async fn login(&self, login: &Login) -> Result<()> {
        let content = body::full(crate::spec::to_json("the login", login)?);
        self.send(Method::POST, "/v1/login", vec![], &Logins::default(), content).await.map(drop)
    }

    /// Builds; answers the image.
    pub async fn build(
        &self,
        options: &BuildOptions,
        on_event: impl FnMut(&Event),
    ) -> Result<Image> {
        let dockerfile =
            options.dockerfile.clone().unwrap_or_else(|| options.context.join("Dockerfile"));
        let name = dockerfile.display().to_string();
        let mut query: Pairs<'_> = vec![("dockerfile", &name)];
        query.extend(options.tags.iter().map(|tag| ("tag", tag.as_str())));
        query.extend(options.args.iter().map(|arg| ("arg", arg.as_str())));
        query.extend(options.target.as_deref().map(|target| ("target", target)));
        query.extend(options.no_cache.then_some(("no-cache", "true")));
        query.extend(options.pull.then_some(("pull", "true")));

        if !options.context.is_dir() {
            return Err(Error::invalid(format!("{} is no directory", options.context.display())));
        }
        let text = std::fs::read(&dockerfile).at(&dockerfile)?;
        let context = Context::open(&options.context, &dockerfile)?;
        let (near, far) = tokio::io::duplex(1 << 20);
        let out = SyncIoBridge::new(near);
        let packing = tokio::task::spawn_blocking(move || pack(&context, &text, out));
        let content = body::stream(ReaderStream::with_capacity(far, 256 << 10));
        let built = self.stream("/v1/build", query, &options.logins, content, on_event).await;
        match (built, packing.await) {
            (Ok(images), _) => last(images, "build"),
            // The cause is here, unless the other side hung up first.
            (Err(_), Ok(Err(Error::Io { context, source })))
                if source.kind() != io::ErrorKind::BrokenPipe =>
            {
                Err(Error::Io { context, source })
            }
            (Err(e), _) => Err(e),
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: Pairs<'_>,
    ) -> Result<T> {
        let response = self.send(method, path, query, &Logins::default(), body::empty()).await?;
        let whole = response.into_body().collect().await.map_err(|e| self.broken(e))?;
        crate::spec::parse_json("the answer", &whole.to_bytes())
    }

    /// Follows events to the end; answers the images among them.
    async fn stream(
        &self,
        path: &str,
        query: Pairs<'_>,
        logins: &Logins,
        content: Body,
        mut on_event: impl FnMut(&Event),
    ) -> Result<Vec<Image>> {
        let response = self.send(Method::POST, path, query, logins, content).await?;
        let mut lines = lines(response).lines();
        let mut images = Vec::new();
        while let Some(line) = lines.next_line().await.context(|| self.lost())? {
            let event: Event = crate::spec::parse_json("an event", line.as_bytes())?;
            on_event(&event);
            match event {
                Event::Error { message } => return Err(Error::Invalid(message)),
                Event::Image(image) => images.push(image),
                _ => {}
            }
        }
        Ok(images)
    }

    fn send<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        query: Pairs<'a>,
        logins: &'a Logins,
        content: Body,
    ) -> BoxFuture<'a, Result<Response<Incoming>>> {
        Box::pin(async move {
            let query: Vec<String> = query
                .iter()
                .map(|(key, value)| {
                    format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
                })
                .collect();
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{path}?{}", query.join("&")))
                .header("host", "onggi");
            if let Some(header) = logins.to_header() {
                request = request.header(LOGINS, header);
            }
            let request = request.body(content).map_err(|e| Error::invalid(e.to_string()))?;
            let stream = UnixStream::connect(&self.socket).await.context(|| {
                format!("{} (is the cluster up? see `onggi status`)", self.socket.display())
            })?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream))
                    .await
                    .map_err(|e| self.broken(e))?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|e| self.broken(e))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let status = response.status();
            let whole =
                response.into_body().collect().await.map_err(|e| self.broken(e))?.to_bytes();
            let message = match serde_json::from_slice::<Problem>(&whole) {
                Ok(problem) => problem.message,
                Err(_) if status == StatusCode::NOT_FOUND => format!("{path} is not served here"),
                Err(_) => format!("{path}: {status}"),
            };
            Err(Error::Invalid(message))
        })
    }

    fn broken(&self, e: hyper::Error) -> Error {
        Error::Io { context: self.lost(), source: io::Error::other(e) }
    }

    fn lost(&self) -> String {
        format!("connection to {} was lost", self.socket.display())
    }
}

fn lines(
    response: Response<Incoming>,
) -> StreamReader<impl futures::Stream<Item = io::Result<Bytes>> + Unpin, Bytes> {
    StreamReader::new(BodyDataStream::new(response.into_body()).map_err(io::Error::other))
}

fn last(mut images: Vec<Image>, what: &str) -> Result<Image> {
    images.pop().ok_or_else(|| Error::invalid(format!("the {what} ended without an image")))
}

/// The body of a build: `Dockerfile`, and the context without what is ignored.
fn pack(context: &Context, dockerfile: &[u8], out: impl io::Write) -> Result<()> {
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(256 << 10, out));
    tar.follow_symlinks(false);
    let sending = || "sending the build context".to_owned();
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, "Dockerfile", dockerfile).context(sending)?;
    for path in context.paths()? {
        let real = context.root().join(&path);
        let meta = std::fs::symlink_metadata(&real).at(&real)?;
        if meta.is_file() || meta.is_dir() || meta.is_symlink() {
            tar.append_path_with_name(&real, Path::new("context").join(&path)).at(&real)?;
        }
    }
    let mut out = tar.into_inner().context(sending)?;
    io::Write::flush(&mut out).context(sending)
}
