//! `apply`.

use onggi_machinery::value::{at, str_at};
use serde_json::Value;

use crate::apply::{self, LAST_APPLIED, Options};
use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::manifest::{Files, Read};
use crate::output::Format;
use crate::output::format::{hide_managed_fields, name_of};
use crate::select::{DryRun, Selectors};
use crate::session::Session;

mod applyset;
mod last;
pub(super) mod prune;

pub(crate) use last::keep_last;

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    last: Option<last::LastApplied>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
    /// The server merges, by the managers of fields
    #[arg(long)]
    server_side: bool,
    /// Take fields from their managers
    #[arg(long)]
    force_conflicts: bool,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
    /// Only objects with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// With --prune: whatever labels the objects have
    #[arg(long)]
    all: bool,
    /// Part of the object: status, scale
    #[arg(long, default_value = "")]
    subresource: String,
    /// Values of the file win over those that others changed meanwhile
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    overwrite: bool,
    /// Delete and create anew what cannot be changed
    #[arg(long)]
    force: bool,
    /// Seconds to end in for what is deleted; -1 for what it says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// What becomes of the objects that deleted ones own
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "background", default_missing_value = "background", value_parser = ["background", "foreground", "orphan", "true", "false"])]
    cascade: String,
    /// How long to wait for the end of what is deleted
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Option<std::time::Duration>,
    /// Wait for the end of what is deleted
    #[arg(long)]
    wait: bool,
    /// Take patch keys from the server's OpenAPI
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    openapi_patch: bool,
    #[command(flatten)]
    prune: prune::Flags,
}

impl Args {
    /// Applies all; errors of one object do not keep the others back.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if let Some(last) = self.last {
            return last.run(session).await;
        }
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        let mut set = match self.prune.applyset.as_str() {
            "" => None,
            reference => Some(applyset::ApplySet::parse(session, reference).await?),
        };
        self.check()?;
        if let Some(set) = &set {
            if !self.prune.prune {
                return Err(Error::new("--applyset requires --prune"));
            }
            set.check(session).await?;
        }
        self.prune.check(session, &self).await?;
        let format = self.printing.format()?;
        let selector = self.selector.as_deref().map(labels).transpose()?;
        let Read { mut manifests, mut errors } = self.files.read_each(session)?;
        manifests.retain(|one| selector.as_ref().is_none_or(|wanted| wanted.fits(&one.value)));
        let options = Options {
            namespace: session.namespace(),
            dry_run: self.writing.dry_run,
            server_side: self.server_side,
            force_conflicts: self.force_conflicts,
            field_manager: self.writing.field_manager.clone().unwrap_or_default(),
            validation: validation(&self.validate)?.to_owned(),
            subresource: self.subresource.clone(),
            recreate: self.force,
            compare: false,
        };
        let (client, mapper) = (session.client()?, session.mapper().await?);
        let mut printed = Vec::new();
        let mut seen = Vec::new();
        if manifests.is_empty() && errors.is_empty() {
            return Err(Error::new("no objects passed to apply"));
        }
        let keeping = applyset::Keeping {
            namespace: &options.namespace,
            dry_run: options.dry_run,
            validation: &options.validation,
        };
        if let Some(set) = &mut set {
            set.label_all(&mut manifests)?;
            set.begin(session, &manifests, &keeping).await?;
        }
        for manifest in manifests {
            let source = manifest.source.as_str();
            let applied =
                match apply::object(client, mapper, &options, manifest.value, source).await {
                    Ok(applied) => applied,
                    Err(error) => {
                        Error::note(&mut errors, conflicting(error))?;
                        continue;
                    }
                };
            session.warn(&applied.warnings)?;
            let mapping = mapper.of_object(&applied.object, source);
            let is_placed = mapping.is_ok_and(|mapping| mapping.namespaced);
            let namespace = is_placed.then_some(options.namespace.as_str());
            seen.push(prune::Seen::of(&applied.object, namespace));
            match format {
                Format::Table => session.print(&format!(
                    "{}/{} {}{}\n",
                    applied.kind,
                    applied.name,
                    applied.outcome.as_str(),
                    self.writing.dry_run.suffix()
                ))?,
                _ => {
                    let mut object = applied.object;
                    if !self.printing.show_managed_fields {
                        hide_managed_fields(&mut object);
                    }
                    printed.push(object);
                }
            }
        }
        match printed.len() {
            0 => {}
            1 => session.print(&format.print(&printed.remove(0), false)?)?,
            _ => session.print(&format.print_list(printed)?)?,
        }
        if self.prune.prune && errors.is_empty() {
            let pruning = prune::Pruning {
                selectors: Selectors { selector: self.selector.clone(), field_selector: None },
                grace_period: self.grace_period,
                cascade: &self.cascade,
                dry_run: self.writing.dry_run,
                says: format.is_table(),
            };
            match &set {
                Some(set) => set.prune(session, &pruning, &keeping, &seen).await?,
                None => errors.extend(self.prune.run(session, &pruning, &seen).await?),
            }
        }
        Error::all(errors)
    }

    /// Refuses what contradicts itself.
    fn check(&self) -> Result<(), Error> {
        let dry_run = self.writing.dry_run;
        let wrong = if self.force_conflicts && !self.server_side {
            "--force-conflicts only works with --server-side"
        } else if self.server_side && dry_run == DryRun::Client {
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server \
             instead?)"
        } else if self.server_side && self.force {
            "--force cannot be used with --server-side"
        } else if dry_run == DryRun::Server && self.force {
            "--dry-run=server cannot be used with --force"
        } else if self.all && self.selector.is_some() {
            "cannot set --all and --selector at the same time"
        } else if !self.subresource.is_empty() && !self.server_side {
            "--subresource can only be specified for --server-side"
        } else if self.server_side && self.writing.field_manager.as_deref() == Some("") {
            return Err(Error::Bare(
                "The PatchOptions \"\" is invalid: fieldManager: Required value: is required for \
                 apply patch"
                    .to_owned(),
            ));
        } else {
            return Ok(());
        };
        Err(Error::new(wrong))
    }
}

/// What kubectl says below a conflict between managers.
fn conflicting(error: Error) -> Error {
    match error {
        Error::Api(onggi_client::Error::Status(status))
            if status.reason == "Conflict"
                && status.message.contains("conflict")
                && status.details.as_ref().is_some_and(|d| {
                    d.causes.iter().any(|c| c.reason == "FieldManagerConflict")
                }) =>
        {
            Error::new(format!(
                "{}\nPlease review the fields above--they currently have other managers. Here\n\
                 are the ways you can resolve this warning:\n\
                 * If you intend to manage all of these fields, please re-run the apply\n  \
                 command with the `--force-conflicts` flag.\n\
                 * If you do not intend to manage all of the fields, please edit your\n  \
                 manifest to remove references to the fields that should keep their\n  \
                 current managers.\n\
                 * You may co-own fields by updating your manifest to match the existing\n  \
                 value; in this case, you'll become the manager if the other manager(s)\n  \
                 stop managing the field (remove it from their configuration).\n\
                 See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts",
                status.message
            ))
        }
        other => other,
    }
}

/// The manifest of the last `apply`, where the object keeps one.
fn last_applied(object: &Value) -> Option<&str> {
    at(object, "metadata.annotations").get(LAST_APPLIED).and_then(Value::as_str)
}

/// `no last-applied-configuration annotation …`, in kubectl's words.
fn not_applied(object: &Value) -> Error {
    let name = name_of(object);
    let _kind = str_at(object, "kind");
    Error::new(format!("no last-applied-configuration annotation found on resource: {name}"))
}

/// The value of `--validate` as the server's `fieldValidation`.
pub(crate) fn validation(flag: &str) -> Result<&'static str, Error> {
    match flag {
        "strict" | "true" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "ignore" | "false" => Ok("Ignore"),
        other => Err(Error::new(format!(
            "invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore \
             (or false)"
        ))),
    }
}

/// A label selector on manifests.
pub(crate) struct Labels(onggi_machinery::selector::LabelSelector);

pub(crate) fn labels(text: &str) -> Result<Labels, Error> {
    onggi_machinery::selector::LabelSelector::parse(text)
        .map(Labels)
        .map_err(|e| Error::new(e.to_string()))
}

impl Labels {
    pub(crate) fn fits(&self, object: &serde_json::Value) -> bool {
        let labels = onggi_machinery::value::entries_at(object, "metadata.labels")
            .map(|(key, value)| (key.to_owned(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        self.0.matches(&labels)
    }
}
