//! `rollout`.

use std::time::Duration;

use onggi_client::PatchKind;
use onggi_machinery::value::{at, str_at};
use serde_json::{Value, json};

use crate::describe;
use crate::error::Error;
use crate::flags::Printing;
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::output::format::hide_managed_fields;
use crate::output::tabwriter::{DESCRIBE, align};
use crate::rollout::{self, CHANGE_CAUSE, Progress, controller_revisions, replica_sets, revision};
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

/// Flags of `rollout`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Follow it until it is through
    Status(Status),
    /// Print the revisions
    History(History),
    /// Go back to a revision
    Undo(Undo),
    /// Replace all pods
    Restart(Which),
    /// Hold it
    Pause(Which),
    /// Let it go on
    Resume(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// TYPE NAME, or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    #[command(flatten)]
    printing: Printing,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = "kubectl-rollout")]
    field_manager: String,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    which: Which,
    /// Wait for the end
    #[arg(long, short, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    watch: bool,
    /// How long at most; 0 for as long as it takes
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Of this revision; fails when another takes its place
    #[arg(long, default_value_t = 0)]
    revision: i64,
}

#[derive(Debug, clap::Args)]
struct History {
    #[command(flatten)]
    which: Which,
    /// All of this one
    #[arg(long, default_value_t = 0)]
    revision: i64,
}

#[derive(Debug, clap::Args)]
struct Undo {
    #[command(flatten)]
    which: Which,
    /// To this one; 0 for the one before
    #[arg(long, default_value_t = 0)]
    to_revision: i64,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
}

impl Args {
    /// Does it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        match self.action {
            Action::Status(status) => status.run(session).await,
            Action::History(history) => history.run(session).await,
            Action::Undo(undo) => undo.run(session).await,
            Action::Restart(which) => {
                let now = jiff::Timestamp::now();
                let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
                let annotation = json!({"kubectl.kubernetes.io/restartedAt": now});
                let template = json!({"metadata": {"annotations": annotation}});
                let patch = json!({"spec": {"template": template}});
                let kinds = ["Deployment", "DaemonSet", "StatefulSet"];
                let refuses = |d: &Value| {
                    let fits = kinds.contains(&str_at(d, "kind"));
                    if !fits {
                        return Some("restarting is not supported");
                    }
                    let paused = d["spec"]["paused"] == true;
                    paused.then_some("can't restart paused deployment (run rollout resume first)")
                };
                which.patch(session, "restarted", &patch, refuses).await
            }
            Action::Pause(which) => {
                let patch = json!({"spec": {"paused": true}});
                let is_paused = |d: &Value| match str_at(d, "kind") {
                    "Deployment" => (d["spec"]["paused"] == true).then_some("is already paused"),
                    _ => Some("pausing is not supported"),
                };
                which.patch(session, "paused", &patch, is_paused).await
            }
            Action::Resume(which) => {
                let patch = json!({"spec": {"paused": null}});
                let is_running = |d: &Value| match str_at(d, "kind") {
                    "Deployment" => (d["spec"]["paused"] != true).then_some("is not paused"),
                    _ => Some("resuming is not supported"),
                };
                which.patch(session, "resumed", &patch, is_running).await
            }
        }
    }
}

impl Which {
    /// What was done, or the object where a format is asked for.
    fn show(
        &self,
        session: &Session,
        one: &Found,
        object: &Value,
        done: &str,
    ) -> Result<(), Error> {
        let format = self.printing.format()?;
        if format.is_table() {
            return session.print(&format!("{} {done}\n", one.label()));
        }
        let mut object = object.clone();
        if !self.printing.show_managed_fields {
            hide_managed_fields(&mut object);
        }
        session.print_object(&format, &object)
    }

    async fn found(&self, session: &Session) -> Result<(Vec<Found>, Vec<Error>), Error> {
        // Refused before anything is written.
        self.printing.format()?;
        let wanted = Wanted::new(&self.args, &self.files, &self.selectors).whole_kinds(true);
        let Gathered { found, errors } = session.gather(&wanted).await?;
        if found.is_empty() && errors.is_empty() {
            let text = format!("No resources found in {} namespace.\n", session.namespace());
            session.print_error(&text)?;
        }
        Ok((found, errors))
    }

    async fn patch(
        &self,
        session: &Session,
        done: &str,
        patch: &Value,
        refuses: impl Fn(&Value) -> Option<&'static str>,
    ) -> Result<(), Error> {
        let (found, mut errors) = self.found(session).await?;
        for one in found {
            if let Some(why) = refuses(&one.value) {
                let (resource, name) = (one.mapping.group_resource(), one.name());
                errors.push(Error::new(format!("{resource} {name:?} {why}")));
                continue;
            }
            let kind = PatchKind::Strategic;
            let manager = self.field_manager.as_str();
            let sent = session.patch(&one, "", kind, patch, manager, DryRun::None).await;
            match sent {
                Ok(object) => self.show(session, &one, &object, done)?,
                Err(error) => Error::note(&mut errors, error)?,
            }
        }
        Error::all(errors)
    }
}

impl Status {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let (found, mut errors) = self.which.found(session).await?;
        for one in found {
            let follow = self.follow(session, &one);
            let followed = match self.timeout.filter(|limit| !limit.is_zero()) {
                Some(limit) => tokio::time::timeout(limit, follow)
                    .await
                    .unwrap_or_else(|_| Err(Error::new("timed out waiting for the condition"))),
                None => follow.await,
            };
            if let Err(error) = followed {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn follow(&self, session: &Session, one: &Found) -> Result<(), Error> {
        let mut said = String::new();
        let enough = |value: Option<&Value>| {
            let Some(value) = value else {
                return Err(Error::new("object has been deleted"));
            };
            if self.revision > 0 && revision(value) != self.revision {
                return Err(Error::new(format!(
                    "desired revision ({}) is different from the running revision ({})",
                    self.revision,
                    revision(value)
                )));
            }
            let (text, ended) = match rollout::progress(value)? {
                Progress::Waiting(text) => (text, false),
                Progress::Done(text) => (text, true),
                Progress::Failed(text) => return Err(Error::new(text)),
            };
            if text != said {
                session.print(&format!("{text}\n"))?;
                said = text;
            }
            Ok(ended || !self.watch)
        };
        session.until(&one.mapping, one.namespace(), one.name(), enough).await
    }
}

/// The revisions of a workload, the newest last.
async fn revisions(session: &Session, one: &Found) -> Result<Vec<Value>, Error> {
    let mut sets = match one.mapping.kind.as_str() {
        "Deployment" => replica_sets(session, &one.value).await?,
        "StatefulSet" | "DaemonSet" => controller_revisions(session, &one.value).await?,
        _ => {
            return Err(Error::new(format!(
                "no history viewer has been implemented for {:?}",
                one.mapping.group_resource()
            )));
        }
    };
    sets.sort_by_key(revision);
    Ok(sets)
}

impl History {
    async fn run(self, session: &Session) -> Result<(), Error> {
        if self.revision < 0 {
            return Err(Error::new(format!(
                "revision must be a positive integer: {}",
                self.revision
            )));
        }
        let (found, mut errors) = self.which.found(session).await?;
        for one in found {
            let shown = self.show(session, &one).await;
            if let Err(error) = shown {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn show(&self, session: &Session, one: &Found) -> Result<(), Error> {
        let mut sets = revisions(session, one).await?;
        let format = self.which.printing.format()?;
        if !format.is_table() {
            sets.retain(|set| self.revision == 0 || revision(set) == self.revision);
            if sets.is_empty() && self.revision > 0 {
                return Err(Error::new("unable to find the specified revision"));
            }
            return sets.iter().try_for_each(|set| self.which.show(session, one, set, ""));
        }
        let text = if self.revision > 0 {
            let set = sets.iter().find(|set| revision(set) == self.revision);
            let set = set.ok_or_else(|| Error::new("unable to find the specified revision"))?;
            let detail = describe::template(at(set, "spec.template"), cause(set));
            format!("with revision #{}\n{detail}", self.revision)
        } else if sets.is_empty() {
            "\nNo rollout history found.".to_owned()
        } else {
            let mut text = "REVISION\tCHANGE-CAUSE\n".to_owned();
            for set in sets.iter().filter(|set| revision(set) > 0) {
                text += &format!("{}\t{}\n", revision(set), cause(set).unwrap_or("<none>"));
            }
            format!("\n{}", align(&text, DESCRIBE))
        };
        session.print(&format!("{} {text}\n", one.label()))
    }
}

fn cause(set: &Value) -> Option<&str> {
    at(set, "metadata.annotations").get(CHANGE_CAUSE).and_then(Value::as_str)
}

impl Undo {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let (found, mut errors) = self.which.found(session).await?;
        for one in found {
            let undone = self.one(session, &one).await;
            if let Err(error) = undone {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(&self, session: &Session, one: &Found) -> Result<(), Error> {
        if one.value["spec"]["paused"] == true {
            return Err(Error::new(format!(
                "you cannot rollback a paused deployment; resume it first with 'onggi rollout \
                 resume {}' and try again",
                one.label()
            )));
        }
        let sets = revisions(session, one).await?;
        let Some(set) = rollout::target(&sets, self.to_revision) else {
            return Err(Error::new(match self.to_revision {
                0 => format!(
                    "no rollout history found for {} {:?}",
                    one.mapping.singular,
                    one.name()
                ),
                to => format!("unable to find specified revision {to} in history"),
            }));
        };
        let template = rollout::template(set);
        if template == rollout::template(&one.value) {
            session.print(&format!(
                "{} skipped rollback (current template already matches revision {})\n",
                one.label(),
                revision(set)
            ))?;
            return Ok(());
        }
        let is_revision = !set["data"].is_null();
        if self.dry_run != DryRun::Client && is_revision {
            let kind = PatchKind::Strategic;
            let data = &set["data"];
            session.patch(one, "", kind, data, "kubectl-rollout", self.dry_run).await?;
        }
        if self.dry_run != DryRun::Client && !is_revision {
            // The whole template, and with it why it was made.
            let mut patch =
                vec![json!({"op": "replace", "path": "/spec/template", "value": template})];
            let mut annotations = at(&one.value, "metadata.annotations").clone();
            if let Some(map) = annotations.as_object_mut() {
                match cause(set) {
                    Some(cause) => map.insert(CHANGE_CAUSE.to_owned(), cause.into()),
                    None => map.remove(CHANGE_CAUSE),
                };
                patch.push(json!({
                    "op": "replace", "path": "/metadata/annotations", "value": annotations
                }));
            }
            let body = Value::Array(patch);
            let kind = PatchKind::Json;
            session.patch(one, "", kind, &body, "kubectl-rollout", self.dry_run).await?;
        }
        session.print(&format!("{} rolled back{}\n", one.label(), self.dry_run.suffix()))
    }
}

/// For the demonstration: waits until all Deployments of a namespace are through.
pub async fn all_through(session: &Session, namespace: &str) -> Result<(), Error> {
    let mapping = session.mapper().await?.by_name("deployments.apps")?;
    for value in session.list(mapping, namespace, &Selectors::default()).await? {
        let name = str_at(&value, "metadata.name");
        let through = |value: Option<&Value>| match value.map(rollout::deployment) {
            Some(Progress::Waiting(_)) | None => Ok(false),
            Some(Progress::Done(_)) => Ok(true),
            Some(Progress::Failed(text)) => Err(Error::new(text)),
        };
        session.until(mapping, namespace, name, through).await?;
    }
    Ok(())
}
