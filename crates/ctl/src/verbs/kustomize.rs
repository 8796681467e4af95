//! `kustomize`.

use crate::error::Error;
use crate::kustomize::{Disk, build};
use crate::output::yaml;
use crate::session::Session;

/// Flags of `kustomize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with a kustomization
    #[arg(default_value = ".")]
    dir: String,
}

impl Args {
    /// Prints what it makes.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        let built = build(&Disk, &self.dir)?;
        session.warn(&built.warnings)?;
        let documents: Vec<String> = built.objects.iter().map(yaml::to_string).collect();
        session.print(&documents.join("---\n"))
    }
}
