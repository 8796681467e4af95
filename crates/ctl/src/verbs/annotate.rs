//! `annotate`, and what it shares with `label`.

use onggi_client::PatchKind;
use onggi_machinery::value::{at, entries_at, map_mut};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

/// Flags of `annotate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    metadata: Metadata,
}

/// Flags of `annotate` and `label`.
#[derive(Debug, clap::Args)]
pub(crate) struct Metadata {
    /// TYPE NAME … KEY=VALUE … KEY-
    #[arg(value_name = "TYPE[/NAME] | KEY=VALUE | KEY-")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Replace other values
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    overwrite: bool,
    /// Print what there is
    #[arg(long)]
    list: bool,
    /// Only where this is the version
    #[arg(long, default_value = "", value_name = "VERSION")]
    resource_version: String,
    /// Change what the files hold, ask no server
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Sets and removes them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        self.metadata.run(session, "annotations", "annotation").await
    }
}

/// `KEY=VALUE` sets, `KEY-` removes.
fn changes(args: &[&String], word: &str) -> Result<Map<String, Value>, Error> {
    let mut changes: Map<String, Value> = Map::new();
    for arg in args {
        let (key, value) = match arg.split_once('=') {
            Some((key, value)) => (key, Value::from(value)),
            None => (arg.strip_suffix('-').unwrap_or(arg), Value::Null),
        };
        let other = changes.insert(key.to_owned(), value.clone());
        if other.is_some_and(|other| other.is_null() != value.is_null()) {
            return Err(Error::new(if word == "label" {
                "can not both modify and remove a label in the same command".to_owned()
            } else {
                "can not both modify and remove the following annotation(s) in the same command: "
                    .to_owned()
                    + key
            }));
        }
    }
    Ok(changes)
}

/// `key=value` lines, below the name of the object where there are several.
fn print_all(session: &Session, found: &[Found], field: &str) -> Result<(), Error> {
    for one in found {
        let mut text = String::new();
        if found.len() > 1 {
            text += &format!("Listing {field} for {}/{}:\n", one.mapping.kind, one.name());
        }
        for (key, value) in entries_at(at(&one.value, "metadata"), field) {
            text += &format!("{key}={}\n", value.as_str().unwrap_or_default());
        }
        session.print(&text)?;
    }
    Ok(())
}

/// Makes the changes in an object itself.
fn change(object: &mut Value, field: &str, changes: &Map<String, Value>) {
    if changes.is_empty() {
        return;
    }
    let map = map_mut(object, &format!("metadata.{field}"));
    for (key, value) in changes {
        match value {
            Value::Null => map.remove(key),
            value => map.insert(key.clone(), value.clone()),
        };
    }
}

impl Metadata {
    pub(crate) async fn run(
        &self,
        session: &Session,
        field: &'static str,
        word: &str,
    ) -> Result<(), Error> {
        let format = self.printing.format()?;
        let is_change = |arg: &&String| arg.contains('=') || arg.ends_with('-');
        let (pairs, names): (Vec<_>, Vec<_>) = self.args.iter().partition(is_change);
        let changes = changes(&pairs, word)?;
        let names: Vec<String> = names.into_iter().cloned().collect();
        if changes.is_empty() && !self.list {
            return Err(Error::new(format!("at least one {word} update is required")));
        }
        self.check(&names)?;
        let Gathered { mut found, mut errors } = if self.local {
            Gathered { found: super::set::local(session, &self.files)?, errors: Vec::new() }
        } else {
            let wanted = Wanted::new(&names, &self.files, &self.selectors);
            let whole_kinds = self.all || self.list;
            let wanted = wanted.whole_kinds(whole_kinds).in_all_namespaces(self.all_namespaces);
            session.gather(&wanted).await?
        };
        if self.list {
            // As they would be: what is listed is not sent.
            for one in &mut found {
                let before = at(&one.value, "metadata").get(field).cloned().unwrap_or(Value::Null);
                match self.clash(&before, &changes, word) {
                    Some(error) => errors.push(error),
                    None => change(&mut one.value, field, &changes),
                }
            }
            print_all(session, &found, field)?;
            return Error::all(errors);
        }
        for one in &found {
            if let Err(error) = self.one(session, one, &changes, field, word, &format).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    fn check(&self, names: &[String]) -> Result<(), Error> {
        let is_bare = names.len() == 1 && names.iter().all(|name| !name.contains('/'));
        if is_bare && !self.all && self.selectors.is_empty() && self.files.is_empty() {
            return Err(Error::new(
                "one or more objects must be specified as <resource> <name>, <resource>/<name>, or \
                 chosen with -l or --all",
            ));
        }
        if self.all && self.selectors.selector.is_some() {
            return Err(Error::new("cannot set --all and --selector at the same time"));
        }
        if self.all && self.selectors.field_selector.is_some() {
            return Err(Error::new("cannot set --all and --field-selector at the same time"));
        }
        if !self.resource_version.is_empty() && (self.all || !self.selectors.is_empty()) {
            return Err(Error::new("--resource-version may only be used with a single resource"));
        }
        Ok(())
    }

    async fn one(
        &self,
        session: &Session,
        one: &Found,
        changes: &Map<String, Value>,
        field: &str,
        word: &str,
        format: &Format,
    ) -> Result<(), Error> {
        let before = at(&one.value, "metadata").get(field).cloned().unwrap_or(Value::Null);
        if let Some(error) = self.clash(&before, changes, word) {
            return Err(error);
        }
        let differs =
            |(key, value): (&String, &Value)| before.get(key).unwrap_or(&Value::Null) != value;
        let changed = changes.iter().any(differs);
        for (key, value) in changes {
            if value.is_null() && before.get(key).is_none() {
                session.print_error(&format!("{word} {key:?} not found.\n"))?;
            }
        }
        let mut object = one.value.clone();
        let is_local = self.local || self.writing.dry_run == DryRun::Client;
        if changed && is_local {
            change(&mut object, field, changes);
        }
        if changed && !is_local {
            let mut body = json!({"metadata": {field: changes}});
            if !self.resource_version.is_empty() {
                body["metadata"]["resourceVersion"] = json!(self.resource_version);
            }
            let own = if word == "label" { "kubectl-label" } else { "kubectl-annotate" };
            let (manager, dry_run) = (self.writing.manager(own), self.writing.dry_run);
            let patch = session.patch(one, "", PatchKind::Merge, &body, manager, dry_run);
            object = patch.await?;
        }
        if !format.is_table() {
            if !self.printing.show_managed_fields {
                hide_managed_fields(&mut object);
            }
            return session.print_object(format, &object);
        }
        let removes = changes.values().all(Value::is_null);
        let said = match (word, changed) {
            ("label", true) if removes => "unlabeled",
            ("label", true) => "labeled",
            ("label", false) => "not labeled",
            _ => "annotated",
        };
        session.print(&format!("{} {said}{}\n", one.label(), self.writing.dry_run.suffix()))
    }

    fn clash(&self, before: &Value, changes: &Map<String, Value>, word: &str) -> Option<Error> {
        if self.overwrite {
            return None;
        }
        changes.iter().find_map(|(key, new)| {
            let old = before.get(key).and_then(Value::as_str)?;
            (!new.is_null() && new != old).then(|| {
                Error::new(if word == "label" {
                    format!("'{key}' already has a value ({old}), and --overwrite is false")
                } else {
                    format!(
                        "--overwrite is false but found the following declared annotation(s): \
                         '{key}' already has a value ({old})"
                    )
                })
            })
        })
    }
}
