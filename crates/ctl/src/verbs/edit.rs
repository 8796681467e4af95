//! `edit`.

use std::io::Write;

use bytes::Bytes;
use onggi_api::schema;
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::patch::two_way_merge;
use onggi_machinery::resource::Verb;
use onggi_machinery::yaml as reader;
use serde_json::Value;

use super::apply::validation;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::{Files, Manifest};
use crate::output::format::hide_managed_fields;
use crate::output::{json, yaml};
use crate::select::{Found, Selectors};
use crate::session::Session;

const ADVICE: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Flags of `edit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// yaml or json
    #[arg(long, short, default_value = "", value_parser = ["", "yaml", "json"])]
    output: String,
    /// Print the patch that is sent
    #[arg(long)]
    output_patch: bool,
    /// Part of the object: status
    #[arg(long, default_value = "")]
    subresource: String,
    /// Show the managers of fields too
    #[arg(long)]
    show_managed_fields: bool,
    /// Keep the manifest for a later `apply`
    #[arg(long)]
    save_config: bool,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = "kubectl-edit")]
    field_manager: String,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
}

impl Args {
    /// Opens each in the editor of `KUBE_EDITOR` or `EDITOR`, and sends what changed.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let none = Selectors::default();
        let wanted = Wanted::new(&self.args, &self.files, &none).whole_kinds(true);
        for one in session.find(&wanted).await? {
            self.edit(session, &one).await?;
        }
        Ok(())
    }

    fn written(&self, object: &Value) -> String {
        if self.output == "json" { json::pretty(object) } else { yaml::to_string(object) }
    }

    async fn edit(&self, session: &Session, one: &Found) -> Result<(), Error> {
        let mut before = one.value.clone();
        if !self.show_managed_fields {
            hide_managed_fields(&mut before);
        }
        let original = self.written(&before);
        let mut text = ADVICE.to_owned() + &original;
        let mut failed_before = false;
        loop {
            let edited = editor(&text).await?;
            let bare = without_remarks(&edited);
            if bare == original {
                session.print_error("Edit cancelled, no changes made.\n")?;
                return Ok(());
            }
            let name = format!("{} {:?}", one.mapping.group_resource(), one.name());
            if bare.trim().is_empty() {
                session.print_error(&format!("error: {name} is invalid\n"))?;
                return cancelled(session, &edited);
            }
            if failed_before && bare == without_remarks(&text) {
                // The same mistake again: what was written is not lost.
                return cancelled(session, &edited);
            }
            let why = match reader::parse(&bare) {
                Err(error) => format!("The edited file failed validation: {error}"),
                Ok(after) => match self.send(session, one, &before, after).await {
                    Ok(()) => return Ok(()),
                    Err(error @ Error::Api(_)) if is_invalid(&error) => {
                        session.print_error(&format!("error: {name} is invalid\n"))?;
                        format!("{name} was not valid:\n{}", error.report().trim_end())
                    }
                    Err(error @ Error::Api(_)) => {
                        let kept = kept_copy(&edited)?;
                        session.print_error(&format!(
                            "error: {name} could not be patched: {error}\nYou can run `onggi \
                             replace -f {kept}` to try this update again.\n"
                        ))?;
                        return Err(Error::Exit(1));
                    }
                    Err(error) => error.report().trim_end().to_owned(),
                },
            };
            let why: String = why.lines().map(|line| format!("# {line}\n")).collect();
            text = format!("{ADVICE}{why}#\n{bare}");
            failed_before = true;
        }
    }

    async fn send(
        &self,
        session: &Session,
        one: &Found,
        before: &Value,
        mut after: Value,
    ) -> Result<(), Error> {
        let m = &one.mapping;
        let same = ["apiVersion", "kind"].iter().all(|field| after[*field] == before[*field])
            && after["metadata"]["name"] == before["metadata"]["name"];
        if !same {
            return Err(Error::new("At least one of apiVersion, kind and name was changed"));
        }
        if self.save_config {
            crate::apply::annotate(&mut after);
        }
        let schema = schema::of(&m.group, &m.version, &m.kind);
        let kind = if schema.is_some() { PatchKind::Strategic } else { PatchKind::Merge };
        let patch = two_way_merge(schema, before, &after).map_err(|e| Error::new(e.to_string()))?;
        if self.output_patch {
            session.print(&format!("Patch: {patch}\n"))?;
        }
        let part = self.subresource.as_str();
        let place = m.place(one.namespace());
        let mut request = Request::new(Verb::Patch, m.gvr(), place, one.name())
            .subresource(part)
            .body(Body::Patch(kind, Bytes::from(patch.to_string())));
        request.write.field_validation = validation(&self.validate)?.to_owned();
        self.field_manager.clone_into(&mut request.write.field_manager);
        session.call(request).await?;
        session.print(&format!("{} edited\n", one.label()))
    }
}

/// `create --edit`: the manifests as they come out of the editor.
pub(crate) async fn manifests(manifests: Vec<Manifest>) -> Result<Vec<Manifest>, Error> {
    let texts: Vec<String> = manifests.iter().map(|one| yaml::to_string(&one.value)).collect();
    let edited = editor(&(ADVICE.to_owned() + &texts.join("---\n"))).await?;
    let mut found = Vec::new();
    crate::manifest::parse("edited file", &without_remarks(&edited), &mut found)?;
    Ok(found)
}

/// Whether another text may be right where this one was not.
fn is_invalid(error: &Error) -> bool {
    let Error::Api(error) = error else { return false };
    error.status().is_some_and(|status| matches!(status.reason.as_str(), "Invalid" | "BadRequest"))
}

fn cancelled(session: &Session, text: &str) -> Result<(), Error> {
    let kept = kept_copy(text)?;
    session.print_error(&format!(
        "A copy of your changes has been stored to {kept:?}\nerror: Edit cancelled, no valid \
         changes were saved.\n"
    ))?;
    Err(Error::Exit(1))
}

fn without_remarks(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

fn kept_copy(text: &str) -> Result<String, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let unique = format!("onggi-edit-kept-{}-{}.yaml", std::process::id(), super::unique());
    let path = std::env::temp_dir().join(unique);
    let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(path.display().to_string())
}

pub(crate) async fn editor(text: &str) -> Result<String, Error> {
    let program = ["KUBE_EDITOR", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let program = program.unwrap_or_else(|| "vi".to_owned());
    let directory = std::env::temp_dir();
    let unique = format!("onggi-edit-{}-{}.yaml", std::process::id(), super::unique());
    let path = directory.join(unique);
    let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    // A Secret may stand in it.
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let written = file.write_all(text.as_bytes());
    drop(file);
    let result = async {
        written.map_err(failed)?;
        // The variable may hold flags: `code --wait`.
        let status = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(format!("{program} \"$1\""))
            .arg("edit")
            .arg(&path)
            .status()
            .await
            .map_err(|e| {
                Error::new(format!("there was a problem with the editor {program:?}: {e}"))
            })?;
        if !status.success() {
            return Err(Error::new(format!("there was a problem with the editor {program:?}")));
        }
        std::fs::read_to_string(&path).map_err(failed)
    }
    .await;
    let removed = std::fs::remove_file(&path);
    let text = result?;
    removed.map_err(failed)?;
    Ok(text)
}
