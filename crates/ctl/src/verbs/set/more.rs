//! `set resources`, `set selector`, `set serviceaccount` and `set subject`.

use onggi_client::PatchKind;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::{Map, Value, json};

use super::{below, push, spec_path};
use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;
use crate::verbs::create::{key_values, same_subject};

/// What is changed, for all four.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
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

#[derive(Debug, clap::Args)]
pub(super) struct Resources {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Only of these containers
    #[arg(long, short, default_value = "*")]
    containers: String,
    /// cpu=200m,memory=512Mi
    #[arg(long, default_value = "")]
    limits: String,
    /// cpu=100m,memory=256Mi
    #[arg(long, default_value = "")]
    requests: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Selector {
    /// TYPE NAME EXPRESSION
    #[arg(value_name = "TYPE[/NAME] | KEY=VALUE,…")]
    args: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Only where this is the version
    #[arg(long, default_value = "")]
    resource_version: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ServiceAccount {
    /// TYPE NAME ACCOUNT
    #[arg(value_name = "TYPE[/NAME] ACCOUNT")]
    args: Vec<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub(super) struct Subject {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// A user
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// A group
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// A service account: NAMESPACE:NAME
    #[arg(long, value_name = "NAMESPACE:NAME")]
    serviceaccount: Vec<String>,
}

/// The objects of files, as they stand there.
pub(crate) fn local(session: &Session, files: &Files) -> Result<Vec<Found>, Error> {
    let mapper = crate::discovery::Mapper::builtin();
    let found = files.read(session)?.into_iter().map(|manifest| {
        let mapping = mapper.of_object(&manifest.value, &manifest.source)?.clone();
        Ok(Found { mapping, value: manifest.value })
    });
    found.collect()
}

impl Which {
    async fn found(&self, session: &Session, args: &[String]) -> Result<Vec<Found>, Error> {
        if self.local {
            return local(session, &self.files);
        }
        let is_bare = args.len() == 1 && !args[0].contains('/');
        if is_bare && !self.all && self.selectors.is_empty() && self.files.is_empty() {
            return Err(Error::new(
                "one or more resources must be specified as <resource> <name> or <resource>/<name>",
            ));
        }
        let wanted = Wanted::new(args, &self.files, &self.selectors);
        session.find(&wanted.whole_kinds(self.all)).await
    }

    /// Sends a merge of maps and lists by key, and says what was done.
    async fn send(
        &self,
        session: &Session,
        one: &Found,
        kind: PatchKind,
        patch: &Value,
        said: &str,
    ) -> Result<(), Error> {
        let format = self.printing.format()?;
        let dry_run = self.writing.dry_run;
        let object = if self.local || dry_run == DryRun::Client {
            let m = &one.mapping;
            let mut object = one.value.clone();
            let schema = onggi_api::schema::of(&m.group, &m.version, &m.kind);
            onggi_machinery::patch::strategic_merge(schema, &mut object, patch.clone())
                .map_err(|e| Error::new(e.to_string()))?;
            object
        } else {
            session
                .patch(one, "", kind, patch, self.writing.manager("kubectl-set"), dry_run)
                .await?
        };
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

/// `cpu=1,memory=2Gi`; `0` takes a bound away.
fn amounts(text: &str) -> Result<Option<Map<String, Value>>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut map = Map::new();
    for pair in text.split(',') {
        let (name, amount) = pair.split_once('=').ok_or_else(|| {
            Error::new(format!("Invalid argument syntax {pair}, expected <resource>=<value>"))
        })?;
        map.insert(name.to_owned(), amount.into());
    }
    Ok(Some(map))
}

impl Resources {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let (limits, requests) = (amounts(&self.limits)?, amounts(&self.requests)?);
        if limits.is_none() && requests.is_none() {
            return Err(Error::new(
                "you must specify an update to requests or limits (in the form of --requests/--limits)",
            ));
        }
        let mut errors = Vec::new();
        for one in self.which.found(session, &self.args).await? {
            let path = spec_path(&one.mapping.kind);
            let mut patch = json!({});
            let fits = |c: &&Value| self.containers == "*" || str_at(c, "name") == self.containers;
            for container in list_at(at(&one.value, path), "containers").iter().filter(fits) {
                let mut resources = json!({});
                for (field, map) in [("limits", &limits), ("requests", &requests)] {
                    if let Some(map) = map {
                        resources[field] = Value::Object(map.clone());
                    }
                }
                let entry = json!({"name": container["name"], "resources": resources});
                push(&mut patch, "containers", entry);
            }
            if patch.as_object().is_none_or(Map::is_empty) {
                let text = format!("unable to find container named {}", self.containers);
                errors.push(Error::new(text));
                continue;
            }
            let (body, kind) = (below(path, patch), PatchKind::Strategic);
            let said = "resource requirements updated";
            self.which.send(session, &one, kind, &body, said).await?;
        }
        Error::all(errors)
    }
}

impl Selector {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let Some((expression, args)) = self.args.split_last() else {
            return Err(Error::new("a selector must be given"));
        };
        let pairs: Vec<String> = expression.split(',').map(str::to_owned).collect();
        let selector = key_values(&pairs)?;
        for one in self.which.found(session, args).await? {
            if one.mapping.kind != "Service" {
                return Err(Error::new("setting a selector is only supported for Services"));
            }
            // Labels that are no longer meant go.
            let mut body = Map::new();
            for key in at(&one.value, "spec.selector").as_object().into_iter().flat_map(Map::keys) {
                body.insert(key.clone(), Value::Null);
            }
            body.extend(selector.clone());
            let mut patch = json!({"spec": {"selector": body}});
            if !self.resource_version.is_empty() {
                patch["metadata"] = json!({"resourceVersion": self.resource_version});
            }
            let kind = PatchKind::Merge;
            self.which.send(session, &one, kind, &patch, "selector updated").await?;
        }
        Ok(())
    }
}

impl ServiceAccount {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let Some((account, args)) = self.args.split_last() else {
            return Err(Error::new("serviceaccount is required"));
        };
        for one in self.which.found(session, args).await? {
            let path = spec_path(&one.mapping.kind);
            let patch = below(path, json!({"serviceAccountName": account}));
            let kind = PatchKind::Strategic;
            self.which.send(session, &one, kind, &patch, "serviceaccount updated").await?;
        }
        Ok(())
    }
}

impl Subject {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        session.users_are_others();
        let new = crate::verbs::create::subjects(&self.user, &self.group, &self.serviceaccount)?;
        if new.is_empty() {
            return Err(Error::new(
                "you must specify at least one value of user, group or serviceaccount",
            ));
        }
        for one in self.which.found(session, &self.args).await? {
            if !one.mapping.kind.ends_with("RoleBinding") {
                return Err(Error::new(
                    "setting subjects is only supported for RoleBinding/ClusterRoleBinding",
                ));
            }
            let mut subjects = list_at(&one.value, "subjects").to_vec();
            for subject in &new {
                if !subjects.iter().any(|known| same_subject(known, subject)) {
                    subjects.push(subject.clone());
                }
            }
            if subjects == list_at(&one.value, "subjects") {
                session.print(&format!("{} subjects not changed\n", one.label()))?;
                continue;
            }
            let (kind, patch) = (PatchKind::Merge, json!({"subjects": subjects}));
            self.which.send(session, &one, kind, &patch, "subjects updated").await?;
        }
        Ok(())
    }
}
