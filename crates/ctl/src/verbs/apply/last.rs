//! `apply view-last-applied`, `set-last-applied` and `edit-last-applied`.

use onggi_client::PatchKind;
use serde_json::Value;

use super::{last_applied, not_applied};
use crate::apply::{LAST_APPLIED, annotate};
use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::{InFile, Wanted};
use crate::manifest::Files;
use crate::output::format::{Format, hide_managed_fields};
use crate::output::{json, yaml};
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;
use crate::verbs::edit::{Editing, Mode, form};

/// Who writes the annotation, where no other name is given.
const MANAGER: &str = "kubectl-last-applied";

#[derive(Debug, clap::Subcommand)]
pub(super) enum LastApplied {
    /// Print the manifest of the last apply
    #[command(name = "view-last-applied")]
    View(View),
    /// Keep a manifest as that of the last apply
    #[command(name = "set-last-applied")]
    Set(Set),
    /// Change the manifest of the last apply in an editor
    #[command(name = "edit-last-applied")]
    Edit(Edit),
}

#[derive(Debug, clap::Args)]
pub(super) struct View {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Labels that the objects have
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// yaml or json
    #[arg(long, short, default_value = "yaml")]
    output: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    files: Files,
    /// Where the object keeps none yet, too
    #[arg(long)]
    create_annotation: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
}

#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// yaml, json or kyaml
    #[arg(long, short, default_value = "")]
    output: String,
    /// End the lines as Windows does
    #[arg(long)]
    windows_line_endings: bool,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    field_manager: String,
}

impl LastApplied {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::View(view) => view.run(session).await,
            Self::Set(set) => set.run(session).await,
            Self::Edit(edit) => edit.run(session).await,
        }
    }
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|e| Error::new(format!("annotation {LAST_APPLIED} is no JSON: {e}")))
}

impl View {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let format = match self.output.as_str() {
            "yaml" | "json" => Format::parse(&self.output)?,
            other => {
                return Err(Error::new(format!(
                    "Unexpected -o output mode: {other}, the flag 'output' must be one of \
                     yaml|json\nSee 'onggi apply view-last-applied -h' for help and examples"
                )));
            }
        };
        let selectors = Selectors { selector: self.selector.clone(), field_selector: None };
        let wanted = Wanted::new(&self.args, &self.files, &selectors);
        let found = session.find(&Wanted { all: self.all, ..wanted }).await?;
        for one in &found {
            let text = last_applied(&one.value).ok_or_else(|| {
                Error::new(format!(
                    "no last-applied-configuration annotation found on resource: {}",
                    one.name()
                ))
            })?;
            let manifest = parsed(text)?;
            session.print(&match format {
                Format::Json => json::indented(&manifest, "  "),
                _ => yaml::to_string(&manifest),
            })?;
        }
        Ok(())
    }
}

impl Set {
    async fn run(self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        let format = self.printing.format()?;
        let none = Selectors::default();
        let (found, errors) = session.in_files(&Wanted::new(&[], &self.files, &none)).await?;
        Error::all(errors)?;
        for InFile { target, namespace, manifest } in found {
            let name = target.name.unwrap_or_default();
            let value = session.object(&target.mapping, &namespace, &name).await?;
            if last_applied(&value).is_none() && !self.create_annotation {
                return Err(not_applied(&value));
            }
            let one = Found { mapping: target.mapping, value };
            let mut wanted = manifest.value;
            if one.mapping.namespaced {
                wanted["metadata"]["namespace"] = namespace.into();
            }
            annotate(&mut wanted);
            let manager = self.writing.manager(MANAGER);
            let mut object = keep(session, &one, &wanted, manager, self.writing.dry_run).await?;
            if !self.printing.show_managed_fields {
                hide_managed_fields(&mut object);
            }
            if format.is_table() {
                let suffix = self.writing.dry_run.suffix();
                session.print(&format!("{} configured{suffix}\n", one.label()))?;
            } else {
                session.print_object(&format, &object)?;
            }
        }
        Ok(())
    }
}

/// Writes the annotation that a manifest carries to an object.
async fn keep(
    session: &Session,
    one: &Found,
    manifest: &Value,
    manager: &str,
    dry_run: DryRun,
) -> Result<Value, Error> {
    let text = &manifest["metadata"]["annotations"][LAST_APPLIED];
    let body = serde_json::json!({"metadata": {"annotations": {LAST_APPLIED: text}}});
    if dry_run == DryRun::Client {
        return Ok(one.value.clone());
    }
    session.patch(one, "", PatchKind::Merge, &body, manager, dry_run).await
}

impl Edit {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let none = Selectors::default();
        let wanted = Wanted::new(&self.args, &self.files, &none).whole_kinds(true);
        let mut originals = Vec::new();
        for one in session.find(&wanted).await? {
            if let Some(text) = last_applied(&one.value) {
                let manifest = parsed(text)?;
                originals.push((one, manifest));
            }
        }
        if originals.is_empty() {
            return Err(Error::new(
                "no last-applied-configuration annotation found on resources, to create the \
                 annotation, use command `onggi apply set-last-applied --create-annotation`",
            ));
        }
        let editing = Editing {
            mode: Mode::LastApplied(&self.field_manager),
            originals,
            format: form(&self.output)?,
            windows: self.windows_line_endings,
        };
        editing.run(session).await
    }
}

/// Keeps an edited manifest as that of the last apply.
pub(crate) async fn keep_last(
    session: &Session,
    one: &Found,
    manifest: Value,
    manager: &str,
) -> Result<Value, Error> {
    let mut wanted = manifest.clone();
    annotate(&mut wanted);
    keep(session, one, &wanted, manager, DryRun::None).await?;
    Ok(manifest)
}
