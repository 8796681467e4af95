//! `patch`.

use onggi_client::PatchKind;
use onggi_machinery::patch::{PatchType, apply};
use onggi_machinery::value::str_at;
use onggi_machinery::yaml;
use serde_json::Value;

use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

/// Flags of `patch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The patch, JSON or YAML
    #[arg(long, short, value_name = "PATCH", required_unless_present = "patch_file")]
    patch: Option<String>,
    /// File with the patch
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    patch_file: Option<String>,
    /// strategic, merge or json
    #[arg(long = "type", default_value = "strategic", value_parser = ["strategic", "merge", "json"])]
    kind: String,
    /// Part of the object: status, scale
    #[arg(long, default_value = "")]
    subresource: String,
    /// Change what the files hold, ask no server
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Changes it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let format = self.printing.format()?;
        let text = match (&self.patch, &self.patch_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => {
                std::fs::read_to_string(path).map_err(|e| Error::new(format!("{path}: {e}")))?
            }
            (None, None) => String::new(),
        };
        let body =
            yaml::parse(&text).map_err(|e| Error::new(format!("unable to parse {text:?}: {e}")))?;
        let kind = match self.kind.as_str() {
            "merge" => PatchKind::Merge,
            "json" => PatchKind::Json,
            _ => PatchKind::Strategic,
        };
        let none = Selectors::default();
        let Gathered { found, mut errors } = if self.local {
            Gathered { found: super::set::local(session, &self.files)?, errors: Vec::new() }
        } else {
            session.gather(&Wanted::new(&self.args, &self.files, &none)).await?
        };
        for one in &found {
            if let Err(error) = self.one(session, one, kind, &body, &format).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(
        &self,
        session: &Session,
        one: &Found,
        kind: PatchKind,
        body: &Value,
        format: &Format,
    ) -> Result<(), Error> {
        let dry_run = self.writing.dry_run;
        let mut object = if self.local || dry_run == DryRun::Client {
            tried(one, kind, body)?
        } else {
            let (part, manager) = (&self.subresource, self.writing.manager("kubectl-patch"));
            session.patch(one, part, kind, body, manager, dry_run).await?
        };
        if !format.is_table() {
            if !self.printing.show_managed_fields {
                hide_managed_fields(&mut object);
            }
            return session.print_object(format, &object);
        }
        let version = "metadata.resourceVersion";
        let tries = self.local || dry_run == DryRun::Client;
        let same = if tries {
            object == one.value
        } else {
            str_at(&object, version) == str_at(&one.value, version)
        };
        let said = if same {
            "patched (no change)".to_owned()
        } else {
            format!("patched{}", dry_run.suffix())
        };
        session.print(&format!("{} {said}\n", one.label()))
    }
}

/// The object with the patch, as it would be.
fn tried(one: &Found, kind: PatchKind, body: &Value) -> Result<Value, Error> {
    let kind = match kind {
        PatchKind::Json => PatchType::Json,
        PatchKind::Merge => PatchType::Merge,
        _ => PatchType::Strategic,
    };
    let m = &one.mapping;
    let schema = onggi_api::schema::of(&m.group, &m.version, &m.kind);
    let mut object = one.value.clone();
    apply(kind, schema, &mut object, body.to_string().as_bytes())
        .map_err(|e| Error::new(e.to_string()))?;
    Ok(object)
}
