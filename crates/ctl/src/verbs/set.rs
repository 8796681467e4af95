//! `set image`; the others stand in `env` and `more`.

use onggi_client::PatchKind;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::{Value, json};

use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

mod env;
mod more;

pub(crate) use more::local;

/// Flags of `set`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Images: CONTAINER=IMAGE, *=IMAGE
    Image(Set),
    /// Environment variables: KEY=VALUE, KEY-
    Env(env::Env),
    /// Requests and limits of containers
    Resources(more::Resources),
    /// Which pods a Service selects
    Selector(more::Selector),
    /// The service account of a workload
    #[command(visible_alias = "sa")]
    Serviceaccount(more::ServiceAccount),
    /// Users, groups and service accounts of a binding
    Subject(more::Subject),
}

#[derive(Debug, clap::Args)]
struct Set {
    /// TYPE NAME, or TYPE/NAME, then NAME=VALUE …
    #[arg(value_name = "TYPE[/NAME] | NAME=VALUE")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// Change what the files hold, ask no server
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Sets them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        match self.what {
            What::Image(set) => set.images(session).await,
            What::Env(env) => env.run(session).await,
            What::Resources(resources) => resources.run(session).await,
            What::Selector(selector) => selector.run(session).await,
            What::Serviceaccount(account) => account.run(session).await,
            What::Subject(subject) => subject.run(session).await,
        }
    }
}

/// Where a kind keeps its pod spec.
fn spec_path(kind: &str) -> &'static str {
    match kind {
        "Pod" => "spec",
        "CronJob" => "spec.jobTemplate.spec.template.spec",
        _ => "spec.template.spec",
    }
}

/// A patch that is laid below the maps of a dotted path.
fn below(path: &str, patch: Value) -> Value {
    path.rsplit('.').fold(patch, |patch, key| json!({ key: patch }))
}

impl Set {
    /// Objects, and the arguments that change something.
    async fn found(&self, session: &Session) -> Result<(Vec<Found>, Vec<&str>), Error> {
        // Refused before anything is written.
        self.printing.format()?;
        let is_change = |arg: &&String| arg.contains('=') || arg.ends_with('-');
        let (changes, names): (Vec<_>, Vec<_>) = self.args.iter().partition(is_change);
        let names: Vec<String> = names.into_iter().cloned().collect();
        let is_bare = names.len() == 1 && !names[0].contains('/');
        let needs_name = !self.all && self.selectors.is_empty() && self.files.is_empty();
        if is_bare && needs_name {
            return Err(Error::new(
                "one or more resources must be specified as <resource> <name> or <resource>/<name>",
            ));
        }
        let found = if self.local {
            more::local(session, &self.files)?
        } else {
            let wanted = Wanted::new(&names, &self.files, &self.selectors);
            session.find(&wanted.whole_kinds(self.all)).await?
        };
        Ok((found, changes.into_iter().map(String::as_str).collect()))
    }

    async fn images(&self, session: &Session) -> Result<(), Error> {
        let (found, changes) = self.found(session).await?;
        if changes.is_empty() {
            return Err(Error::new("at least one image update is required"));
        }
        let mut errors = Vec::new();
        for one in &found {
            let path = spec_path(&one.mapping.kind);
            let spec = at(&one.value, path);
            let mut patch = json!({});
            for change in &changes {
                let (name, image) = change.split_once('=').unwrap_or((change, ""));
                let mut hit = false;
                for list in ["initContainers", "containers"] {
                    let fits = |c: &&Value| name == "*" || str_at(c, "name") == name;
                    for container in list_at(spec, list).iter().filter(fits) {
                        hit = true;
                        if str_at(container, "image") != image {
                            let entry = json!({"name": container["name"], "image": image});
                            push(&mut patch, list, entry);
                        }
                    }
                }
                if !hit {
                    errors.push(Error::new(format!("unable to find container named {name:?}")));
                }
            }
            self.send(session, one, path, patch, "image updated").await?;
        }
        Error::all(errors)
    }

    async fn send(
        &self,
        session: &Session,
        one: &Found,
        path: &str,
        patch: Value,
        said: &str,
    ) -> Result<(), Error> {
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(());
        }
        let body = below(path, patch);
        let dry_run = self.writing.dry_run;
        let object = if self.local || dry_run == DryRun::Client {
            let m = &one.mapping;
            let mut object = one.value.clone();
            let schema = onggi_api::schema::of(&m.group, &m.version, &m.kind);
            onggi_machinery::patch::strategic_merge(schema, &mut object, body)
                .map_err(|e| Error::new(e.to_string()))?;
            object
        } else {
            let manager = self.writing.manager("kubectl-set");
            session.patch(one, "", PatchKind::Strategic, &body, manager, dry_run).await?
        };
        let format = self.printing.format()?;
        if format.is_table() {
            return session.print(&format!("{} {said}{}\n", one.label(), dry_run.suffix()));
        }
        let mut object = object;
        if !self.printing.show_managed_fields {
            crate::output::format::hide_managed_fields(&mut object);
        }
        session.print_object(&format, &object)
    }
}

fn push(patch: &mut Value, list: &str, entry: Value) {
    match &mut patch[list] {
        Value::Array(items) => items.push(entry),
        nothing => *nothing = json!([entry]),
    }
}
