//! `create`: from files, or what its flags say. What can be created so stands in the files beside
//! this one.

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::{Map, Value, json};

use super::apply::{labels, validation};
use crate::apply::{Options, annotate, modernize, place};
use crate::discovery::Mapping;
use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::kustomize;
use crate::manifest::{Files, Manifest, Read};
use crate::output::Format;
use crate::select::DryRun;
use crate::session::Session;

mod batch;
mod data;
mod ingress;
mod policy;
mod rbac;
mod secret;
mod service;
mod token;
mod workload;

use data::Data;
pub(crate) use data::env_line;
pub(crate) use rbac::{same_subject, subjects};

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
    /// Only objects with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// Body of a POST, as it is, to this path
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
    /// Change them in an editor before they are sent
    #[arg(long)]
    edit: bool,
    /// With --edit: end the lines as Windows does
    #[arg(long)]
    windows_line_endings: bool,
}

/// Flags of everything that can be created.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Keep the manifest for a later `apply`
    #[arg(long)]
    pub(crate) save_config: bool,
    #[command(flatten)]
    pub(crate) writing: Writing,
    #[command(flatten)]
    pub(crate) printing: Printing,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    pub(crate) validate: String,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A role for the whole cluster
    Clusterrole(rbac::ClusterRole),
    /// Gives a cluster role to users, groups, service accounts
    Clusterrolebinding(rbac::ClusterRoleBinding),
    /// A map of settings
    #[command(visible_alias = "cm")]
    Configmap(Filled),
    /// A Job that runs at times
    #[command(visible_alias = "cj")]
    Cronjob(batch::CronJob),
    /// A Deployment
    #[command(visible_alias = "deploy")]
    Deployment(workload::Deployment),
    /// Routes of HTTP to services
    #[command(visible_alias = "ing")]
    Ingress(ingress::Ingress),
    /// A Job
    Job(batch::Job),
    /// A namespace
    #[command(visible_alias = "ns")]
    Namespace(Named),
    /// How many pods must stay available
    #[command(visible_alias = "pdb")]
    Poddisruptionbudget(policy::Budget),
    /// A priority of pods
    #[command(visible_alias = "pc")]
    Priorityclass(policy::Priority),
    /// Bounds of what a namespace may use
    #[command(visible_alias = "resourcequota")]
    Quota(policy::Quota),
    /// A role in a namespace
    Role(rbac::Role),
    /// Gives a role to users, groups, service accounts in a namespace
    Rolebinding(rbac::RoleBinding),
    /// A map of secrets
    Secret(secret::Secret),
    /// A Service
    #[command(visible_alias = "svc")]
    Service(service::Service),
    /// A service account
    #[command(visible_alias = "sa")]
    Serviceaccount(Named),
    /// A token of a service account
    Token(token::Token),
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
    /// Put a hash of what it holds behind its name
    #[arg(long)]
    append_hash: bool,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// Creates it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (mut object, common, doing) = match self.what {
            None => return self.read_files(session).await,
            Some(What::Token(token)) => return token.run(session).await,
            Some(What::Namespace(Named { name, common })) => {
                let object = object("v1", "Namespace", &name, json!({"spec": {}, "status": {}}));
                (object, common, "")
            }
            Some(What::Serviceaccount(Named { name, common })) => {
                (object("v1", "ServiceAccount", &name, json!({})), common, "serviceaccount:")
            }
            Some(What::Configmap(filled)) => {
                let mut map = object("v1", "ConfigMap", &filled.name, filled.data.config_map()?);
                if filled.append_hash {
                    append_hash(&mut map);
                }
                (map, filled.common, "configmap:")
            }
            Some(What::Secret(secret)) => doing(secret.made()?, "secret"),
            Some(What::Deployment(deployment)) => doing(deployment.made()?, "deployment:"),
            Some(What::Clusterrole(role)) => doing(role.made(session).await?, ""),
            Some(What::Role(role)) => doing(role.made(session).await?, ""),
            Some(What::Clusterrolebinding(b)) => {
                session.users_are_others();
                doing(b.made()?, "clusterrolebinding:")
            }
            Some(What::Rolebinding(b)) => {
                session.users_are_others();
                doing(b.made()?, "rolebinding:")
            }
            Some(What::Cronjob(job)) => doing(job.made()?, "cronjob:"),
            Some(What::Job(job)) => doing(job.made(session).await?, "job:"),
            Some(What::Ingress(ingress)) => doing(ingress.made()?, "ingress:"),
            Some(What::Poddisruptionbudget(b)) => doing(b.made()?, "poddisruptionbudgets:"),
            Some(What::Priorityclass(priority)) => doing(priority.made()?, "priorityclass:"),
            Some(What::Quota(quota)) => doing(quota.made()?, "quota:"),
            Some(What::Service(service)) => {
                let (object, common) = service.made()?;
                let doing = match str_at(&object, "spec.type") {
                    "NodePort" => "NodePort service:",
                    "LoadBalancer" => "LoadBalancer service:",
                    "ExternalName" => "ExternalName service:",
                    _ => "ClusterIP service:",
                };
                (object, common, doing)
            }
        };
        if common.save_config {
            annotate(&mut object);
        }
        let sent = print_or_send(session, object, &common, "kubectl-create", "created").await;
        sent.map_err(|error| failed(error, doing))
    }

    async fn read_files(self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        if let Some(path) = &self.raw {
            return super::raw::send(session, "POST", path, &self.files).await;
        }
        let selector = self.selector.as_deref().map(labels).transpose()?;
        let options = Options { namespace: session.namespace(), ..Options::default() };
        let mut count = 0;
        let format = self.common.printing.format()?;
        let Read { mut manifests, mut errors } = self.files.read_each(session)?;
        if self.edit {
            manifests = super::edit::manifests(manifests, self.windows_line_endings).await?;
        }
        for manifest in manifests {
            if selector.as_ref().is_some_and(|wanted| !wanted.fits(&manifest.value)) {
                continue;
            }
            count += 1;
            let source = manifest.source.clone();
            match self.one(session, manifest, &options).await {
                Ok(object) => show(session, &object, &format, &self.common, "created")?,
                Err(error) if matches!(error, Error::Api(_)) => {
                    errors.push(error.about("creating", &source));
                }
                Err(error) => Error::note(&mut errors, error)?,
            }
        }
        if count == 0 && errors.is_empty() {
            return Err(Error::new("no objects passed to create"));
        }
        Error::all(errors)
    }

    async fn one(
        &self,
        session: &Session,
        mut manifest: Manifest,
        options: &Options,
    ) -> Result<Value, Error> {
        session.warn(&modernize(&mut manifest.value))?;
        let mapping = session.mapper().await?.of_object(&manifest.value, &manifest.source)?;
        let namespace = place(mapping, &mut manifest.value, options)?;
        if self.common.save_config {
            annotate(&mut manifest.value);
        }
        let manager = "kubectl-create";
        sent(session, manifest.value, mapping, &namespace, &self.common, manager).await
    }
}

fn doing((object, common): (Value, Common), word: &str) -> (Value, Common, &str) {
    (object, common, word)
}

/// `name-hash`, as Kustomize's generators have it.
fn append_hash(object: &mut Value) {
    let name = format!(
        "{}-{}",
        str_at(object, "metadata.name"),
        kustomize::hash(object, str_at(object, "metadata.name"))
    );
    object["metadata"]["name"] = json!(name);
}

/// Creates an object, or prints it for a dry run.
pub(crate) async fn print_or_send(
    session: &Session,
    mut object: Value,
    common: &Common,
    manager: &str,
    said: &str,
) -> Result<(), Error> {
    let format = common.printing.format()?;
    // Like kubectl: the namespace stands in the object only where it was given.
    let of_cluster = || {
        let (group, version) = group_version(&object);
        let row = onggi_machinery::resource::by_kind(group, version, str_at(&object, "kind"));
        row.is_some_and(|row| !row.namespaced())
    };
    if let Some(namespace) =
        session.globals.namespace.as_deref().filter(|n| !n.is_empty() && !of_cluster())
    {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if common.writing.dry_run != DryRun::Client {
        let mapping = session.mapper().await?.of_object(&object, "")?;
        let namespace = session.namespace();
        object = sent(session, object, mapping, &namespace, common, manager).await?;
    }
    show(session, &object, &format, common, said)
}

fn group_version(object: &Value) -> (&str, &str) {
    let api_version = str_at(object, "apiVersion");
    api_version.split_once('/').unwrap_or(("", api_version))
}

async fn sent(
    session: &Session,
    object: Value,
    mapping: &Mapping,
    namespace: &str,
    common: &Common,
    manager: &str,
) -> Result<Value, Error> {
    if common.writing.dry_run == DryRun::Client {
        return Ok(object);
    }
    let mut request = Request::new(Verb::Create, mapping.gvr(), mapping.place(namespace), "");
    common.writing.manager(manager).clone_into(&mut request.write.field_manager);
    request.write.field_validation = validation(&common.validate)?.to_owned();
    request.write.dry_run = common.writing.dry_run == DryRun::Server;
    session.call(request.body(Body::Object(object))).await
}

/// `error: failed to create configmap: …`, as kubectl's generators say it.
fn failed(error: Error, doing: &str) -> Error {
    match error {
        Error::Api(onggi_client::Error::Status(status)) if !doing.is_empty() => {
            Error::new(format!("failed to create {doing} {}", status.message))
        }
        other => other,
    }
}

pub(crate) fn show(
    session: &Session,
    object: &Value,
    format: &Format,
    common: &Common,
    said: &str,
) -> Result<(), Error> {
    if format.is_table() {
        let name = crate::output::format::name_of(object);
        return session.print(&format!("{name} {said}{}\n", common.writing.dry_run.suffix()));
    }
    let mut object = object.clone();
    if !common.printing.show_managed_fields {
        crate::output::format::hide_managed_fields(&mut object);
    }
    session.print_object(format, &object)
}

fn object(api_version: &str, kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name},
    });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
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
