//! Images on the node's Unix socket: the paths below `/v1/`. Whoever may open the socket is root
//! already; nothing is asked here.
//!
//! | | |
//! |---|---|
//! | `GET /v1/images` | list |
//! | `GET /v1/images/inspect?reference=` | one, with its configuration |
//! | `DELETE /v1/images?reference=` | the names that went |
//! | `POST /v1/images/pull?reference=` | events |
//! | `POST /v1/images/push?reference=` | events |
//! | `POST /v1/images/tag?source=&target=` | – |
//! | `POST /v1/images/load[?tag=]` | archive in, events |
//! | `GET /v1/images/save?reference=…` | archive out |
//! | `POST /v1/build?tag=…&arg=N=V…&target=&no-cache=&pull=&dockerfile=` | tar of `Dockerfile` and `context/` in, events |
//! | `POST /v1/login` | checks a login |
//!
//! Events are lines of JSON ([`Event`]); the last one of a failure is `error`, and nothing then has
//! changed. Logins for registries travel in the header `x-onggi-logins` ([`Logins`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use onggi_node_api::{Image, ImageConfig, ImageService, RegistryAuth, RootFs};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use crate::body::{self, Body, first};
use crate::build::{self, Context};
use crate::progress::{Event, Progress};
use crate::service::{Images, blocking};
use crate::{Error, Reference, Result, archive, unpack};

/// Header with the logins.
pub const LOGINS: &str = "x-onggi-logins";

/// Logins by registry, as they travel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins(pub BTreeMap<String, RegistryAuth>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Wire {
    Basic(String, String),
    Bearer(String),
}

impl Logins {
    /// One login.
    pub fn of(registry: &str, auth: RegistryAuth) -> Self {
        Self(BTreeMap::from([(registry.to_owned(), auth)]))
    }

    /// As a header; none when there are none.
    pub fn to_header(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        let wire: BTreeMap<&String, Wire> = self
            .0
            .iter()
            .map(|(registry, auth)| {
                let wire = match auth {
                    RegistryAuth::Basic(user, password) => {
                        Wire::Basic(user.clone(), password.clone())
                    }
                    RegistryAuth::Bearer(token) => Wire::Bearer(token.clone()),
                };
                (registry, wire)
            })
            .collect();
        let text = serde_json::to_vec(&wire).ok()?;
        let mut value = HeaderValue::from_str(&STANDARD.encode(text)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let Some(value) = headers.get(LOGINS) else { return Ok(Self::default()) };
        let wire: Option<BTreeMap<String, Wire>> = STANDARD
            .decode(value.as_bytes())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let wire = wire.ok_or_else(|| Error::invalid(format!("header {LOGINS} is not valid")))?;
        Ok(Self(
            wire.into_iter()
                .map(|(registry, wire)| {
                    let auth = match wire {
                        Wire::Basic(user, password) => RegistryAuth::Basic(user, password),
                        Wire::Bearer(token) => RegistryAuth::Bearer(token),
                    };
                    (registry, auth)
                })
                .collect(),
        ))
    }

    fn for_image(&self, reference: &str) -> Result<Vec<RegistryAuth>> {
        let reference: Reference = reference.parse()?;
        Ok(self.0.get(reference.registry()).cloned().into_iter().collect())
    }
}

/// Body of `POST /v1/login`.
#[derive(Serialize, Deserialize)]
pub struct Login {
    /// `docker.io`, `localhost:5000` …
    pub registry: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
}

/// Answer of `GET /v1/images/inspect`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// The image.
    pub image: Image,
    /// What it says about its process.
    pub config: ImageConfig,
}

/// Body of an error.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// For people.
    pub message: String,
}

/// Whether [`handle`] knows the path.
pub fn serves(path: &str) -> bool {
    path == "/v1/build"
        || path == "/v1/login"
        || path == "/v1/images"
        || path.starts_with("/v1/images/")
}

/// Answers one request.
pub async fn handle<B>(images: Images, request: Request<B>) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    answer(images, request).await.unwrap_or_else(|e| {
        let status = match &e {
            Error::InvalidReference { .. } | Error::Invalid(_) | Error::Build { .. } => {
                StatusCode::BAD_REQUEST
            }
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Unauthorized { .. } => StatusCode::FORBIDDEN,
            Error::Registry(_) => StatusCode::BAD_GATEWAY,
            Error::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        body::json(status, &Problem { message: e.to_string() })
    })
}

async fn answer<B>(images: Images, request: Request<B>) -> Result<Response<Body>>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let (head, content) = request.into_parts();
    let query = body::query(&head.uri);
    let need = |key: &str| {
        first(&query, key)
            .filter(|v| !v.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| Error::invalid(format!("the query has no {key}")))
    };
    let logins = Logins::from_headers(&head.headers)?;
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/images") => {
            Ok(body::json(StatusCode::OK, &images.list_images().await?))
        }
        (&Method::GET, "/v1/images/inspect") => {
            let reference = need("reference")?;
            let image = images.image_status(&reference).await?;
            let image = image.ok_or_else(|| Error::NotFound(reference.clone()))?;
            let config = images.image_config(&image.id).await?;
            Ok(body::json(StatusCode::OK, &Inspection { image, config }))
        }
        (&Method::DELETE, "/v1/images") => {
            let reference = need("reference")?;
            let gone = images.remove(&reference).await?;
            match gone.is_empty() {
                true => Err(Error::NotFound(reference)),
                false => Ok(body::json(StatusCode::OK, &gone)),
            }
        }
        (&Method::POST, "/v1/images/tag") => {
            images.tag(&need("source")?, &need("target")?).await?;
            Ok(no_content())
        }
        (&Method::POST, "/v1/images/pull") => {
            let reference = need("reference")?;
            let auth = logins.for_image(&reference)?;
            Ok(events(move |progress| async move {
                let (sender, mut parts) = mpsc::channel(64);
                let counters = progress.clone();
                let forward = async move {
                    while let Some(part) = parts.recv().await {
                        counters.try_tell(Event::Part(part));
                    }
                };
                let (image, ()) =
                    tokio::join!(images.pull(&reference, auth, Some(sender)), forward);
                progress.tell(Event::Image(image?)).await;
                Ok(())
            }))
        }
        (&Method::POST, "/v1/images/push") => {
            let reference: Reference = need("reference")?.parse()?;
            let auth = logins.for_image(&reference.to_string())?;
            Ok(events(move |progress| async move {
                let digest = images.push(&reference, &auth, &progress).await?;
                let (reference, digest) = (reference.to_string(), digest.to_string());
                progress.tell(Event::Pushed { reference, digest }).await;
                Ok(())
            }))
        }
        (&Method::POST, "/v1/images/load") => {
            let name = first(&query, "tag").map(str::parse::<Reference>).transpose()?;
            let archive = reader(content);
            Ok(events(move |progress| async move {
                let store = images.store().clone();
                let loaded = blocking(move || {
                    let loaded = archive::load(&store, archive, name.as_ref())?;
                    Ok(loaded.iter().map(|image| store.summary(image)).collect::<Vec<_>>())
                });
                for image in loaded.await? {
                    progress.tell(Event::Image(image)).await;
                }
                images.tidy();
                Ok(())
            }))
        }
        (&Method::GET, "/v1/images/save") => {
            let names: Vec<String> =
                query.iter().filter(|(k, _)| k == "reference").map(|(_, v)| v.clone()).collect();
            save(images, names).await
        }
        (&Method::POST, "/v1/build") => {
            let request = BuildQuery::new(&query, logins)?;
            let archive = reader(content);
            Ok(events(move |progress| async move {
                let image = request.run(images, archive, &progress).await?;
                progress.tell(Event::Image(image)).await;
                Ok(())
            }))
        }
        (&Method::POST, "/v1/login") => {
            let whole = content.collect().await.map_err(|e| Error::invalid(e.to_string()))?;
            let login: Login = serde_json::from_slice(&whole.to_bytes())
                .map_err(|e| Error::invalid(format!("login: {e}")))?;
            let auth = RegistryAuth::Basic(login.username, login.password);
            images.check_login(&login.registry, &auth).await?;
            Ok(no_content())
        }
        (method, path) => Ok(body::json(
            StatusCode::NOT_FOUND,
            &Problem { message: format!("{method} {path} is not known") },
        )),
    }
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Runs an operation and answers with its events. It goes on when nobody listens any more, unless
/// it looks (a build does).
fn events<F, W>(work: F) -> Response<Body>
where
    F: FnOnce(Progress) -> W,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, events) = mpsc::channel(64);
    let progress = Progress::new(sender);
    let work = work(progress.clone());
    tokio::spawn(async move {
        if let Err(e) = work.await {
            progress.tell(Event::Error { message: e.to_string() }).await;
        }
    });
    let lines = ReceiverStream::new(events).map(|event| {
        let mut line = serde_json::to_vec(&event).map_err(io::Error::other)?;
        line.push(b'\n');
        Ok(Bytes::from(line))
    });
    let mut response = Response::new(body::stream(lines));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// A request's body for blocking code.
fn reader<B>(content: B) -> impl io::Read + Send + 'static
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    let stream = http_body_util::BodyDataStream::new(content)
        .map_err(|e| io::Error::other(e.to_string()))
        .boxed();
    let reader = SyncIoBridge::new(StreamReader::new(stream));
    ToItsEnd { reader: io::BufReader::with_capacity(256 << 10, reader), begun: false }
}

/// Reads what nobody wants any more before it goes: a connection that is closed while its client
/// still sends loses the answer that says why.
struct ToItsEnd<R: io::Read> {
    reader: R,
    /// Where it was read once, reading may block.
    begun: bool,
}

impl<R: io::Read> io::Read for ToItsEnd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        self.reader.read(buffer)
    }
}

impl<R: io::Read> Drop for ToItsEnd<R> {
    fn drop(&mut self) {
        if self.begun {
            // A client that is gone sends no more, which is the end too.
            let _ = io::copy(&mut self.reader, &mut io::sink());
        }
    }
}

async fn save(images: Images, names: Vec<String>) -> Result<Response<Body>> {
    if names.is_empty() {
        return Err(Error::invalid("the query has no reference"));
    }
    // What is not here is said before the archive begins.
    for name in &names {
        if images.image_status(name).await?.is_none() {
            return Err(Error::NotFound(name.clone()));
        }
    }
    let (near, far) = tokio::io::duplex(1 << 20);
    let out = SyncIoBridge::new(near);
    let store = images.store().clone();
    let writing = tokio::task::spawn_blocking(move || {
        archive::save(&store, &names, io::BufWriter::with_capacity(256 << 10, out))
    });
    // An archive cut short must not look whole: its error ends the stream.
    let end = futures::stream::once(async move {
        match writing.await {
            Ok(Ok(())) => Ok::<_, Infallible>(Ok(Bytes::new())),
            Ok(Err(e)) => Ok(Err(io::Error::other(e.to_string()))),
            Err(e) => Ok(Err(io::Error::other(e))),
        }
    })
    .filter_map(|end| async move {
        match end {
            Ok(Ok(_)) => None,
            Ok(Err(e)) => Some(Err(e)),
            Err(never) => match never {},
        }
    });
    let mut response =
        Response::new(body::stream(ReaderStream::with_capacity(far, 256 << 10).chain(end)));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

/// Parameters of a build.
struct BuildQuery {
    tags: Vec<Reference>,
    args: BTreeMap<String, String>,
    target: Option<String>,
    no_cache: bool,
    pull: bool,
    dockerfile: String,
    logins: Logins,
}

impl BuildQuery {
    fn new(query: &[(String, String)], logins: Logins) -> Result<Self> {
        let all = |key: &'static str| query.iter().filter(move |(k, _)| k == key).map(|(_, v)| v);
        let flag = |key: &'static str| matches!(first(query, key), Some("true" | "1"));
        let args = all("arg").map(|arg| {
            arg.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or_else(|| Error::invalid(format!("build argument {arg:?} is not NAME=VALUE")))
        });
        Ok(Self {
            tags: all("tag").map(|tag| tag.parse()).collect::<Result<_>>()?,
            args: args.collect::<Result<_>>()?,
            target: first(query, "target").map(str::to_owned),
            no_cache: flag("no-cache"),
            pull: flag("pull"),
            dockerfile: first(query, "dockerfile").unwrap_or("Dockerfile").to_owned(),
            logins,
        })
    }

    async fn run(
        self,
        images: Images,
        archive: impl io::Read + Send + 'static,
        progress: &Progress,
    ) -> Result<Image> {
        use crate::error::Context as _;
        let store = images.store().clone();
        // Lives until the build is over.
        let (dir, dockerfile) = blocking(move || {
            let dir = store.temp_dir()?;
            unpack::archive(archive, dir.path())
                .map_err(|e| Error::invalid(format!("build context: {e}")))?;
            let path = dir.path().join("Dockerfile");
            let text = std::fs::read_to_string(&path).at(&path)?;
            let context = dir.path().join("context");
            std::fs::create_dir_all(&context).at(&context)?;
            Ok((dir, text))
        })
        .await?;
        let request = build::Request {
            tags: self.tags,
            context: Context::whole(&dir.path().join("context")),
            dockerfile,
            dockerfile_name: self.dockerfile,
            build_args: self.args,
            target: self.target,
            no_cache: self.no_cache,
            pull: self.pull,
            logins: self.logins.0,
        };
        let image = images.build(request, progress).await;
        drop(dir);
        image
    }
}
