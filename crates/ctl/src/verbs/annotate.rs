//! `annotate`, and what it shares with `label`.

use onggi_client::PatchKind;
use onggi_machinery::value::{at, entries_at, map_mut};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::manifest::Files;
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
fn changes(args: &[String]) -> Map<String, Value> {
    let change = |arg: &String| match arg.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.into()),
        None => (arg.trim_end_matches('-').to_owned(), Value::Null),
    };
    args.iter().map(change).collect()
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
        let changes = changes(&pairs.into_iter().cloned().collect::<Vec<_>>());
        let names: Vec<String> = names.into_iter().cloned().collect();
        if changes.is_empty() && !self.list {
            return Err(Error::new(format!("at least one {word} update is required")));
        }
        let is_bare = names.len() == 1 && !names[0].contains('/');
        if is_bare && !self.all && self.selectors.is_empty() && self.files.is_empty() {
            return Err(Error::new(
                "one or more objects must be specified as <resource> <name>, <resource>/<name>, or \
                 chosen with -l or --all",
            ));
        }
        if !self.resource_version.is_empty() && (self.all || !self.selectors.is_empty()) {
            return Err(Error::new("--resource-version may only be used with a single resource"));
        }
        let found = if self.local {
            super::set::local(session, &self.files)?
        } else {
            session.find(&names, &self.files, &self.selectors, self.all_namespaces).await?
        };
        if self.list {
            return print_all(session, &found, field);
        }
        let mut errors = Vec::new();
        for one in &found {
            let before = at(&one.value, "metadata").get(field).cloned().unwrap_or(Value::Null);
            if let Some(error) = self.clash(&before, &changes, word) {
                errors.push(error);
                continue;
            }
            let differs =
                |(key, value): (&String, &Value)| before.get(key).unwrap_or(&Value::Null) != value;
            let changed = changes.iter().any(differs);
            for (key, value) in &changes {
                if value.is_null() && before.get(key).is_none() {
                    session.print_error(&format!("{word} {key:?} not found.\n"))?;
                }
            }
            let mut object = one.value.clone();
            let is_local = self.local || self.writing.dry_run == DryRun::Client;
            if changed && is_local {
                let map = map_mut(&mut object, &format!("metadata.{field}"));
                for (key, value) in &changes {
                    match value {
                        Value::Null => map.remove(key),
                        value => map.insert(key.clone(), value.clone()),
                    };
                }
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
                session.print(&format.print(&object, false)?)?;
                continue;
            }
            let removes = changes.values().all(Value::is_null);
            let said = match (word, changed) {
                ("label", true) if removes => "unlabeled",
                ("label", true) => "labeled",
                ("label", false) => "not labeled",
                _ => "annotated",
            };
            session.print(&format!("{} {said}{}\n", one.label(), self.writing.dry_run.suffix()))?;
        }
        Error::all(errors)
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
