//! What every verb works with: the global flags, the connection, where to print.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use onggi_base::pki::Pair;
use onggi_client::http::Watcher;
use onggi_client::kubeconfig::{Kubeconfig, PluginPolicy, Resolved};
use onggi_client::{Client, Config, HttpTransport, Request, Response, Token};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::discovery::Mapper;
use crate::error::Error;
use crate::noise;
use crate::output::Format;

/// Flags that every verb has.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig cluster to use
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The kubeconfig user to use
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// The namespace
    #[arg(long, short = 'n', global = true)]
    pub namespace: Option<String>,
    /// Address of the API server
    #[arg(long, short = 's', global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// File with the certificate authority of the server
    #[arg(long, global = true, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name in the server's certificate
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// File with the client's certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// File with the key of the client's certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// User of basic authentication, for `config set-credentials`
    #[arg(long, global = true, hide = true)]
    pub username: Option<String>,
    /// Password of basic authentication, for `config set-credentials`
    #[arg(long, global = true, hide = true)]
    pub password: Option<String>,
    /// User to be taken for
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to be taken for a member of; again for more
    #[arg(long, global = true, value_name = "GROUP")]
    pub as_group: Vec<String>,
    /// UID to be taken for
    #[arg(long, global = true, value_name = "UID")]
    pub as_uid: Option<String>,
    /// The server's advice is an error
    #[arg(long, global = true)]
    pub warnings_as_errors: bool,
    /// Where kubectl keeps what it discovered; nothing is kept here
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The versions of client and server must be the same; taken and not minded
    #[arg(long, global = true, hide = true)]
    pub match_server_version: bool,
    /// Answers come as they are; taken and not minded
    #[arg(long, global = true, hide = true)]
    pub disable_compression: bool,
    /// How long one request may take: 5s, 2m; 0 for as long as it takes
    #[arg(long, global = true, value_name = "TIME", value_parser = crate::duration::parse)]
    pub request_timeout: Option<Duration>,
    /// Path of the preferences of the command line (kuberc)
    #[arg(long, global = true, value_name = "FILE")]
    pub kuberc: Option<String>,
    /// More of whom to be taken for, KEY=VALUE; again for more
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub as_user_extra: Vec<String>,
    /// Which programs may give credentials, as the preferences have it.
    #[arg(skip)]
    pub plugins: PluginPolicy,
    /// Level of the log
    #[arg(long = "v", short = 'v', global = true, value_name = "LEVEL")]
    pub verbosity: Option<u8>,
}

/// Where a verb prints.
#[derive(Clone)]
pub struct Io {
    out: Arc<Mutex<dyn Write + Send>>,
    err: Arc<Mutex<dyn Write + Send>>,
}

/// A way to the API server.
#[derive(Clone)]
pub struct Connection {
    /// Objects.
    pub client: Client,
    /// What is no object: tables, logs, exec, discovery.
    pub http: HttpTransport,
    /// The server's address, as the kubeconfig has it.
    pub server: String,
}

/// A verb's surroundings. Connects when a verb first asks for it: some need no server.
pub struct Session {
    /// The flags.
    pub globals: Globals,
    io: Io,
    connection: OnceLock<Connection>,
    mapper: OnceCell<Mapper>,
    /// What the server advised; each is said once, as kubectl does.
    warned: Mutex<HashSet<String>>,
    names_users: AtomicBool,
    /// A YAML document was printed.
    printed: AtomicBool,
}

// === impl Io ===

impl Default for Io {
    fn default() -> Self {
        Self::new(io::stdout(), io::stderr())
    }
}

impl Io {
    /// Prints to these.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(out)), err: Arc::new(Mutex::new(err)) }
    }
}

// === impl Connection ===

impl Connection {
    /// To the server of a configuration.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let http = HttpTransport::new(config)?;
        let client = Client::new(Arc::new(http.clone()));
        Ok(Self { client, http, server: config.server.clone() })
    }

    /// The same, with somebody who is told of every answer.
    fn watched(self, watcher: Watcher) -> Self {
        let http = self.http.watched(watcher);
        let client = Client::new(Arc::new(http.clone()));
        Self { client, http, server: self.server }
    }
}

// === impl Session ===

impl Session {
    /// For the flags, printing to the process's own outputs.
    pub fn new(globals: Globals) -> Self {
        Self::with_io(globals, Io::default())
    }

    /// As [`Self::new`], printing elsewhere.
    pub fn with_io(globals: Globals, io: Io) -> Self {
        Self {
            globals,
            io,
            connection: OnceLock::new(),
            mapper: OnceCell::new(),
            warned: Mutex::default(),
            names_users: AtomicBool::new(false),
            printed: AtomicBool::new(false),
        }
    }

    /// Over a connection that is there already; the namespace is that of the flags.
    pub fn over(connection: Connection, globals: Globals, io: Io) -> Self {
        let session = Self::with_io(globals, io);
        // New, so nothing is in it.
        let _first = session.connection.set(connection);
        session
    }

    /// The connection; opened at the first call.
    pub fn connection(&self) -> Result<&Connection, Error> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection);
        }
        let mut connection = Connection::open(&self.config()?)?;
        if let Some(level @ 6..) = self.globals.verbosity {
            let err = Arc::clone(&self.io.err);
            for path in onggi_client::kubeconfig::paths(self.globals.kubeconfig.as_deref()) {
                if path.exists() {
                    let text = noise::loaded(&path, jiff::Timestamp::now());
                    self.print_error(&text)?;
                }
            }
            connection = connection.watched(Arc::new(move |seen| {
                let text = noise::told(level, seen, jiff::Timestamp::now());
                // Where nobody reads it, nobody misses it.
                let _unread = err.lock().write_all(text.as_bytes());
            }));
        }
        Ok(self.connection.get_or_init(|| connection))
    }

    /// The client.
    pub fn client(&self) -> Result<&Client, Error> {
        Ok(&self.connection()?.client)
    }

    fn config(&self) -> Result<Config, Error> {
        let globals = &self.globals;
        let mut config = match (self.resolve(), &globals.server) {
            (Ok(resolved), _) => resolved.config,
            // All that is needed stands in the flags.
            (Err(_), Some(_)) => Config::default(),
            (Err(error), None) => return Err(error),
        };
        if let Some(server) = &globals.server {
            let with_scheme = server.contains("://");
            config.server = if with_scheme { server.clone() } else { format!("http://{server}") };
        }
        if let Some(token) = &globals.token {
            config.token = Some(Token::Text(token.clone()));
        }
        if let Some(path) = &globals.certificate_authority {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::new(format!("{}: {e}", path.display())))?;
            config.ca = Some(text);
        }
        config.insecure |= globals.insecure_skip_tls_verify;
        if let Some(name) = &globals.tls_server_name {
            config.server_name = Some(name.clone());
        }
        if let (Some(certificate), Some(key)) = (&globals.client_certificate, &globals.client_key) {
            let read = |path: &PathBuf| {
                std::fs::read_to_string(path)
                    .map_err(|e| Error::new(format!("{}: {e}", path.display())))
            };
            config.client = Some(Pair { certificate: read(certificate)?, key: read(key)? });
        }
        let wanted = &mut config.impersonate;
        if let Some(user) = &globals.as_user {
            wanted.user.clone_from(user);
        }
        if let Some(uid) = &globals.as_uid {
            wanted.uid.clone_from(uid);
        }
        wanted.groups.extend(globals.as_group.iter().cloned());
        for pair in &globals.as_user_extra {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::new(format!("--as-user-extra {pair:?}: write KEY=VALUE")))?;
            wanted.extra.push((key.to_owned(), value.to_owned()));
        }
        let has_more =
            !(wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty());
        if wanted.user.is_empty() && has_more {
            return Err(Error::new(
                "requesting uid, groups or user-extra for a user without impersonating a user",
            ));
        }
        Ok(config)
    }

    /// The kubeconfig's context that is meant.
    pub fn resolve(&self) -> Result<Resolved, Error> {
        let globals = &self.globals;
        let config = Kubeconfig::discover(globals.kubeconfig.as_deref())?;
        let config = config.with_plugins(globals.plugins.clone());
        // There a user is somebody else: who gets a role.
        let user = globals.user.as_deref().filter(|_| !self.names_users.load(Ordering::Relaxed));
        Ok(config.resolve_as(globals.context.as_deref(), globals.cluster.as_deref(), user)?)
    }

    /// `-n`, else the context's, else `default`.
    pub fn namespace(&self) -> String {
        // An empty one is none, as for kubectl.
        if let Some(namespace) = self.globals.namespace.as_ref().filter(|n| !n.is_empty()) {
            return namespace.clone();
        }
        if self.globals.server.is_some() {
            return "default".to_owned();
        }
        self.resolve().map_or_else(|_| "default".to_owned(), |resolved| resolved.namespace)
    }

    /// The kinds that the server has; asked once.
    pub async fn mapper(&self) -> Result<&Mapper, Error> {
        let connection = self.connection()?;
        self.mapper.get_or_try_init(|| self.within(Mapper::discover(&connection.http))).await
    }

    /// A request within `--request-timeout`, its warnings printed.
    pub async fn call(&self, request: Request) -> Result<Value, Error> {
        let client = self.client()?;
        let response = self.within(async { Ok(client.call(request).await?) }).await?;
        let (value, warnings) = value_of(response)?;
        self.warn(&warnings)?;
        Ok(value)
    }

    /// `GET` of a path, as JSON.
    pub async fn get(&self, path: &str, accept: &'static str) -> Result<Value, Error> {
        let http = &self.connection()?.http;
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, accept)
            .body(Full::default())
            .map_err(|e| Error::new(format!("path {path:?}: {e}")))?;
        let (body, warnings) = self
            .within(async {
                let response = http.send(request).await?;
                let warnings = onggi_client::http::warnings(response.headers());
                Ok((http.read(response).await?, warnings))
            })
            .await?;
        self.warn(&warnings)?;
        serde_json::from_slice(&body)
            .map_err(|e| Error::new(format!("the answer to {path} is no JSON: {e}")))
    }

    /// Any request to a path; the body of the answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let http = &self.connection()?.http;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let request = http::Request::builder()
            .method(method)
            .uri(&path)
            .header(http::header::CONTENT_TYPE, content_type)
            .header(http::header::ACCEPT, "application/json")
            .body(Full::new(body.into()))
            .map_err(|e| Error::new(format!("path {path:?}: {e}")))?;
        let (body, warnings) = self
            .within(async {
                let response = http.send(request).await?;
                let warnings = onggi_client::http::warnings(response.headers());
                Ok((http.read(response).await?, warnings))
            })
            .await?;
        self.warn(&warnings)?;
        Ok(body)
    }

    /// `POST` of an object that is a question, such as a review; the answer.
    pub async fn ask(&self, path: &str, question: &Value) -> Result<Value, Error> {
        let answer = self.send("POST", path, "application/json", question.to_string()).await?;
        serde_json::from_slice(&answer)
            .map_err(|e| Error::new(format!("the answer to {path} is no JSON: {e}")))
    }

    /// A watch: `--request-timeout` ends it, and it has done its work then.
    pub async fn follow(
        &self,
        watch: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        match self.globals.request_timeout.filter(|limit| !limit.is_zero()) {
            Some(limit) => tokio::time::timeout(limit, watch).await.unwrap_or(Ok(())),
            None => watch.await,
        }
    }

    /// Anything else that is asked of the server, its answer included.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.globals.request_timeout.filter(|limit| !limit.is_zero()) {
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::new(format!("no answer of the server within {limit:?}")))
            }),
            None => work.await,
        }
    }

    /// Prints to the output, as it is.
    pub fn print(&self, text: &str) -> Result<(), Error> {
        let mut out = self.io.out.lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Prints an object; YAML documents are divided.
    pub(crate) fn print_object(&self, format: &Format, object: &Value) -> Result<(), Error> {
        let text = format.print(object, false)?;
        self.divide(format)?;
        self.print(&text)
    }

    /// Divides a YAML document from the one that was printed before.
    pub(crate) fn divide(&self, format: &Format) -> Result<(), Error> {
        if matches!(format, Format::Yaml) && self.printed.swap(true, Ordering::Relaxed) {
            return self.print("---\n");
        }
        Ok(())
    }

    /// Prints bytes to the output, as logs are.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = self.io.out.lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Prints to the error output.
    pub fn print_error(&self, text: &str) -> Result<(), Error> {
        Ok(self.io.err.lock().write_all(text.as_bytes())?)
    }

    /// The server's advice.
    pub fn warn(&self, warnings: &[String]) -> Result<(), Error> {
        let mut warned = self.warned.lock();
        let new = warnings.iter().filter(|text| warned.insert((*text).clone()));
        new.into_iter().try_for_each(|text| self.print_error(&format!("Warning: {text}\n")))
    }

    /// What `--warnings-as-errors` makes of the advice that was given.
    pub(crate) fn check_warnings(&self) -> Result<(), Error> {
        match self.warned.lock().len() {
            count if count == 0 || !self.globals.warnings_as_errors => Ok(()),
            1 => Err(Error::new("1 warning received")),
            count => Err(Error::new(format!("{count} warnings received"))),
        }
    }

    /// `--user` names others in this verb, not who calls.
    pub(crate) fn users_are_others(&self) {
        self.names_users.store(true, Ordering::Relaxed);
    }
}

/// An answer as a value, and the warnings that came with it.
pub(crate) fn value_of(response: Response) -> Result<(Value, Vec<String>), onggi_client::Error> {
    Ok(match response {
        Response::Object { object, warnings, .. } => (object.value()?, warnings),
        Response::Document { value, warnings, .. } => (value, warnings),
        Response::Status(status) => {
            let value = serde_json::to_value(status)
                .map_err(|e| onggi_client::Error::Decode(e.to_string()))?;
            (value, Vec::new())
        }
        Response::List { items, warnings, .. } => {
            let items: Result<Vec<Value>, _> = items.iter().map(|item| item.value()).collect();
            (Value::Array(items?), warnings)
        }
    })
}
