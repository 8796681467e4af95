//! `edit`.

use std::io::Write;

use onggi_api::schema;
use onggi_client::PatchKind;
use onggi_machinery::patch::two_way_merge;
use onggi_machinery::yaml as reader;

use crate::error::Error;
use crate::manifest::Files;
use crate::output::format::hide_managed_fields;
use crate::output::yaml;
use crate::select::{DryRun, Selectors};
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
}

impl Args {
    /// Opens each in the editor of `KUBE_EDITOR` or `EDITOR`, and sends what changed.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        for one in session.find(&self.args, &self.files, &Selectors::default(), false).await? {
            let mut before = one.value.clone();
            hide_managed_fields(&mut before);
            let mut text = ADVICE.to_owned() + &yaml::to_string(&before);
            loop {
                let edited = editor(&text).await?;
                let bare = edited.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
                if edited == text || bare.iter().all(|line| line.trim().is_empty()) {
                    session.print("Edit cancelled, no changes made.\n")?;
                    break;
                }
                let failed = match reader::parse(&edited) {
                    Err(error) => error.to_string(),
                    Ok(after) => {
                        let m = &one.mapping;
                        let schema = schema::of(&m.group, &m.version, &m.kind);
                        let kind =
                            if schema.is_some() { PatchKind::Strategic } else { PatchKind::Merge };
                        let patch = two_way_merge(schema, &before, &after)
                            .map_err(|e| Error::new(e.to_string()))?;
                        let sent =
                            session.patch(&one, "", kind, &patch, "kubectl-edit", DryRun::None);
                        match sent.await {
                            Ok(_) => {
                                session.print(&format!("{} edited\n", one.label()))?;
                                break;
                            }
                            Err(error) => error.report(),
                        }
                    }
                };
                let why: String = failed.lines().map(|line| format!("# {line}\n")).collect();
                text = format!("{ADVICE}{why}#\n{}\n", bare.join("\n"));
            }
        }
        Ok(())
    }
}

async fn editor(text: &str) -> Result<String, Error> {
    let program = ["KUBE_EDITOR", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let program = program.unwrap_or_else(|| "vi".to_owned());
    let directory = std::env::temp_dir();
    let unique = format!("onggi-edit-{}-{}.yaml", std::process::id(), text.len());
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
