//! `apply`.

use crate::apply::{self, Options};
use crate::error::Error;
use crate::manifest::Files;
use crate::output::format::{Format, list_of};
use crate::select::DryRun;
use crate::session::Session;

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
    /// The server merges, by the managers of fields
    #[arg(long)]
    server_side: bool,
    /// Take fields from their managers
    #[arg(long, requires = "server_side")]
    force_conflicts: bool,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = "")]
    field_manager: String,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
    /// json, yaml, name …
    #[arg(long, short, default_value = "")]
    output: String,
    /// Only objects with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Option<String>,
}

impl Args {
    /// Applies all; errors of one object do not keep the others back.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        let format = Format::parse(&self.output)?;
        let selector = self.selector.as_deref().map(labels).transpose()?;
        let manifests = self.files.read(session)?;
        let options = Options {
            namespace: session.namespace(),
            dry_run: self.dry_run,
            server_side: self.server_side,
            force_conflicts: self.force_conflicts,
            field_manager: self.field_manager,
            validation: validation(&self.validate)?.to_owned(),
        };
        let (client, mapper) = (session.client()?, session.mapper().await?);
        let mut errors = Vec::new();
        let mut printed = Vec::new();
        for manifest in manifests {
            if selector.as_ref().is_some_and(|wanted| !wanted.fits(&manifest.value)) {
                continue;
            }
            let source = manifest.source.as_str();
            let applied =
                match apply::object(client, mapper, &options, manifest.value, source).await {
                    Ok(applied) => applied,
                    Err(error) => {
                        errors.push(error);
                        continue;
                    }
                };
            session.warn(&applied.warnings)?;
            match format {
                Format::Table => session.print(&format!(
                    "{}/{} {}{}\n",
                    applied.kind,
                    applied.name,
                    applied.outcome.as_str(),
                    self.dry_run.suffix()
                ))?,
                _ => printed.push(applied.object),
            }
        }
        match printed.len() {
            0 => {}
            1 => session.print(&format.print(&printed.remove(0), false)?)?,
            _ => session.print(&format.print(&list_of(printed), false)?)?,
        }
        Error::all(errors)
    }
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
