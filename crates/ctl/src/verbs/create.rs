//! `create`.

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::{Map, Value, json};

use super::apply::validation;
use crate::apply::{Options, annotate, modernize, place};
use crate::error::Error;
use crate::manifest::Files;
use crate::output::Format;
use crate::select::DryRun;
use crate::session::Session;

mod data;

use data::Data;
pub(crate) use data::env_line;

/// Flags of `create`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    common: Common,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
}

#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// Keep the manifest for a later `apply`
    #[arg(long)]
    save_config: bool,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
    /// yaml, json, name …
    #[arg(long, short, default_value = "")]
    output: String,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace(Named),
    /// A map of settings
    #[command(visible_alias = "cm")]
    Configmap(Filled),
    /// A map of secrets
    Secret(Secret),
    /// A Deployment
    #[command(visible_alias = "deploy")]
    Deployment(Deployment),
    /// A service account
    #[command(visible_alias = "sa")]
    Serviceaccount(Named),
    /// A token of a service account
    Token(Token),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Its name
    name: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Filled {
    /// Its name
    name: String,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Secret {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(Debug, clap::Subcommand)]
enum SecretKind {
    /// From files, folders or texts
    Generic(Generic),
    /// A login to a registry
    DockerRegistry(DockerRegistry),
    /// A certificate and its key
    Tls(Tls),
}

#[derive(Debug, clap::Args)]
struct Generic {
    #[command(flatten)]
    filled: Filled,
    /// Its type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Debug, clap::Args)]
struct DockerRegistry {
    /// Its name
    name: String,
    /// The registry
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// The user
    #[arg(long)]
    docker_username: String,
    /// The password
    #[arg(long)]
    docker_password: String,
    /// The mail address
    #[arg(long)]
    docker_email: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Tls {
    /// Its name
    name: String,
    /// File with the certificate (PEM)
    #[arg(long)]
    cert: String,
    /// File with the key (PEM)
    #[arg(long)]
    key: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Deployment {
    /// Its name
    name: String,
    /// Image of a container; once for each
    #[arg(long, required = true)]
    image: Vec<String>,
    /// How many pods
    #[arg(long, short, default_value_t = 1)]
    replicas: u32,
    /// Port of the container
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    common: Common,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Token {
    /// The service account
    name: String,
    /// How long it lasts
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    duration: Option<std::time::Duration>,
    /// For whom it is
    #[arg(long)]
    audience: Vec<String>,
}

impl Args {
    /// Creates it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (object, common) = match self.what {
            None => return self.read_files(session).await,
            Some(What::Token(token)) => return token.run(session).await,
            Some(What::Namespace(Named { name, common })) => {
                let object = object("v1", "Namespace", &name, json!({"spec": {}, "status": {}}));
                (object, common)
            }
            Some(What::Serviceaccount(Named { name, common })) => {
                (object("v1", "ServiceAccount", &name, json!({})), common)
            }
            Some(What::Configmap(filled)) => {
                let fields = filled.data.config_map()?;
                (object("v1", "ConfigMap", &filled.name, fields), filled.common)
            }
            Some(What::Secret(Secret { kind })) => secret(kind)?,
            Some(What::Deployment(deployment)) => deployment.object()?,
        };
        let format = Format::parse(&common.output)?;
        let mut object = object;
        if common.save_config {
            annotate(&mut object);
        }
        print_or_send(session, object, &format, common.dry_run, "kubectl-create").await
    }

    async fn read_files(&self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k, or what to create"));
        }
        let format = Format::parse(&self.common.output)?;
        let options = Options { namespace: session.namespace(), ..Options::default() };
        let mut errors = Vec::new();
        for mut manifest in self.files.read(session)? {
            session.warn(&modernize(&mut manifest.value))?;
            let mapping = session.mapper().await?.of_object(&manifest.value, &manifest.source)?;
            let namespace = place(mapping, &mut manifest.value, &options)?;
            if self.common.save_config {
                annotate(&mut manifest.value);
            }
            let created = if self.common.dry_run == DryRun::Client {
                Ok(manifest.value)
            } else {
                let mut request = Request::new(Verb::Create, mapping.gvr(), &namespace, "");
                request.write.field_manager = "kubectl-create".to_owned();
                request.write.field_validation = validation(&self.validate)?.to_owned();
                request.write.dry_run = self.common.dry_run == DryRun::Server;
                session.call(request.body(Body::Object(manifest.value))).await
            };
            match created {
                Ok(object) => show(session, &object, &format, self.common.dry_run)?,
                Err(error) => errors.push(error.about("creating", &manifest.source)),
            }
        }
        Error::all(errors)
    }
}

/// Creates an object, or prints it for a dry run.
pub(crate) async fn print_or_send(
    session: &Session,
    mut object: Value,
    format: &Format,
    dry_run: DryRun,
    manager: &str,
) -> Result<(), Error> {
    // Like kubectl: the namespace stands in the object only where it was given.
    if let Some(namespace) = session.globals.namespace.as_deref()
        && str_at(&object, "kind") != "Namespace"
    {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if dry_run != DryRun::Client {
        let mapping = session.mapper().await?.of_object(&object, "")?;
        let namespace = session.namespace();
        let place = mapping.place(&namespace);
        let mut request = Request::new(Verb::Create, mapping.gvr(), place, "");
        manager.clone_into(&mut request.write.field_manager);
        request.write.field_validation = "Strict".to_owned();
        request.write.dry_run = dry_run == DryRun::Server;
        let doing = str_at(&object, "kind").to_ascii_lowercase();
        object =
            session.call(request.body(Body::Object(object))).await.map_err(|e| match manager {
                "kubectl-create" => failed(e, &doing),
                _ => e,
            })?;
    }
    show(session, &object, format, dry_run)
}

/// `error: failed to create configmap: …`, as kubectl's generators say it.
fn failed(error: Error, kind: &str) -> Error {
    match error {
        Error::Api(onggi_client::Error::Status(status)) if kind != "namespace" => {
            let colon = if kind == "secret" { "" } else { ":" };
            Error::new(format!("failed to create {kind}{colon} {}", status.message))
        }
        other => other,
    }
}

fn show(session: &Session, object: &Value, format: &Format, dry_run: DryRun) -> Result<(), Error> {
    if format.is_table() {
        let name = crate::output::format::name_of(object);
        return session.print(&format!("{name} created{}\n", dry_run.suffix()));
    }
    let mut object = object.clone();
    crate::output::format::hide_managed_fields(&mut object);
    session.print(&format.print(&object, false)?)
}

fn object(api_version: &str, kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"creationTimestamp": null, "name": name},
    });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

fn secret(kind: SecretKind) -> Result<(Value, Common), Error> {
    Ok(match kind {
        SecretKind::Generic(Generic { filled, kind }) => {
            let mut fields = filled.data.secret()?;
            if let Some(kind) = kind {
                fields["type"] = json!(kind);
            }
            (object("v1", "Secret", &filled.name, fields), filled.common)
        }
        SecretKind::DockerRegistry(registry) => {
            let text = registry.config();
            let data = json!({".dockerconfigjson": data::encode(text.as_bytes())});
            let fields = json!({"data": data, "type": "kubernetes.io/dockerconfigjson"});
            (object("v1", "Secret", &registry.name, fields), registry.common)
        }
        SecretKind::Tls(tls) => {
            let read =
                |path: &str| std::fs::read(path).map_err(|e| Error::new(format!("{path}: {e}")));
            let data = json!({
                "tls.crt": data::encode(&read(&tls.cert)?),
                "tls.key": data::encode(&read(&tls.key)?),
            });
            let fields = json!({"data": data, "type": "kubernetes.io/tls"});
            (object("v1", "Secret", &tls.name, fields), tls.common)
        }
    })
}

impl DockerRegistry {
    /// `~/.docker/config.json` with this login alone, in the order of its fields that kubectl has.
    fn config(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let auth = format!("{}:{}", self.docker_username, self.docker_password);
        let email = match &self.docker_email {
            Some(email) => format!(",\"email\":{}", quoted(email)),
            None => String::new(),
        };
        format!(
            "{{\"auths\":{{{}:{{\"username\":{},\"password\":{}{email},\"auth\":{}}}}}}}",
            quoted(&self.docker_server),
            quoted(&self.docker_username),
            quoted(&self.docker_password),
            quoted(&data::encode(auth.as_bytes())),
        )
    }
}

impl Deployment {
    fn object(self) -> Result<(Value, Common), Error> {
        let Self { name, image, replicas, port, common, command } = self;
        if image.len() > 1 && !command.is_empty() {
            return Err(Error::new("cannot specify multiple --image options and command"));
        }
        let containers: Vec<Value> = image
            .iter()
            .map(|image| {
                let last = image.rsplit('/').next().unwrap_or(image);
                let bare = last.split(['@', ':']).next().unwrap_or(last);
                let mut container =
                    json!({"image": image, "name": bare.replace('_', "-"), "resources": {}});
                if let Some(port) = port {
                    container["ports"] = json!([{"containerPort": port}]);
                }
                if !command.is_empty() {
                    container["command"] = json!(command);
                }
                container
            })
            .collect();
        let labels = json!({"app": name});
        let fields = json!({
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "strategy": {},
                "template": {
                    "metadata": {"creationTimestamp": null, "labels": labels},
                    "spec": {"containers": containers},
                },
            },
            "status": {},
        });
        let mut object = object("apps/v1", "Deployment", &name, fields);
        object["metadata"]["labels"] = labels;
        Ok((object, common))
    }
}

impl Token {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let mut spec = json!({"audiences": self.audience});
        if let Some(duration) = self.duration {
            spec["expirationSeconds"] = json!(duration.as_secs());
        }
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"creationTimestamp": null}, "spec": spec,
        });
        let accounts = onggi_api::GroupVersionResource::new("", "v1", "serviceaccounts");
        let request = Request::new(Verb::Create, accounts, &session.namespace(), &self.name);
        let answer = session.call(request.subresource("token").body(Body::Object(body))).await?;
        session.print(&format!("{}\n", str_at(&answer, "status.token")))
    }
}

/// `KEY=VALUE` texts as a map.
pub(crate) fn key_values(pairs: &[String]) -> Result<Map<String, Value>, Error> {
    let mut map = Map::new();
    for pair in pairs.iter().filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Error::new(format!("unexpected label spec: {pair}: write KEY=VALUE")));
        };
        map.insert(key.to_owned(), value.into());
    }
    Ok(map)
}
