//! `kustomize`.

use std::path::{Path, PathBuf};

use onggi_machinery::value::str_at;
use serde_json::Value;

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
    /// Write there instead: a file, or a folder with a file for each object
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// LoadRestrictionsRootOnly; LoadRestrictionsNone is refused
    #[arg(long, default_value = "LoadRestrictionsRootOnly", value_parser = ["LoadRestrictionsRootOnly", "LoadRestrictionsNone"])]
    load_restrictor: String,
}

impl Args {
    /// Prints what it makes.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        if self.load_restrictor == "LoadRestrictionsNone" {
            return Err(Error::new(
                "--load-restrictor LoadRestrictionsNone is not supported: a kustomization takes \
                 files from its own folder only",
            ));
        }
        let built = build(&Disk, &self.dir)?;
        session.warn(&built.warnings)?;
        let documents: Vec<String> = built.objects.iter().map(yaml::to_string).collect();
        let Some(output) = self.output else { return session.print(&documents.join("---\n")) };
        let failed = |path: &Path, e| Error::new(format!("{}: {e}", path.display()));
        if !output.is_dir() {
            return std::fs::write(&output, documents.join("---\n"))
                .map_err(|e| failed(&output, e));
        }
        let namespaces: std::collections::BTreeSet<&str> =
            built.objects.iter().map(|object| str_at(object, "metadata.namespace")).collect();
        for (object, text) in built.objects.iter().zip(&documents) {
            let path = output.join(file_name(object, namespaces.len() > 1));
            std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
        }
        Ok(())
    }
}

/// `apps_v1_deployment_web.yaml`; where there are several namespaces, with its own in front.
fn file_name(object: &Value, with_namespace: bool) -> String {
    let text = |path: &str| str_at(object, path).to_ascii_lowercase();
    let version = text("apiVersion").replace('/', "_");
    let namespace = match str_at(object, "metadata.namespace") {
        namespace if with_namespace && !namespace.is_empty() => format!("{namespace}_"),
        _ => String::new(),
    };
    format!("{namespace}{version}_{}_{}.yaml", text("kind"), text("metadata.name"))
}
