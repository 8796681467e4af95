//! `patch`.

use onggi_client::PatchKind;
use onggi_machinery::value::str_at;
use onggi_machinery::yaml;

use crate::error::Error;
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::select::{DryRun, Selectors};
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
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
    /// yaml, json, name …
    #[arg(long, short, default_value = "")]
    output: String,
}

impl Args {
    /// Changes it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let format = Format::parse(&self.output)?;
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
        let found = session.find(&self.args, &self.files, &Selectors::default(), false).await?;
        for one in &found {
            let object = match self.dry_run {
                DryRun::Client => one.value.clone(),
                dry_run => {
                    let part = &self.subresource;
                    session.patch(one, part, kind, &body, "kubectl-patch", dry_run).await?
                }
            };
            if !format.is_table() {
                let mut object = object;
                hide_managed_fields(&mut object);
                session.print(&format.print(&object, false)?)?;
                continue;
            }
            let version = "metadata.resourceVersion";
            let same = str_at(&object, version) == str_at(&one.value, version);
            let said = if same { "patched (no change)" } else { "patched" };
            session.print(&format!("{} {said}{}\n", one.label(), self.dry_run.suffix()))?;
        }
        Ok(())
    }
}
