//! Objects from files, folders, the standard input and kustomizations.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use onggi_machinery::value::{list_at, str_at};
use onggi_machinery::yaml;
use serde_json::Value;

use crate::error::Error;
use crate::kustomize;
use crate::session::Session;

/// Where objects come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Files {
    /// File or folder with the objects; - for the standard input
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Folder with a kustomization
    #[arg(long, short = 'k', value_name = "DIR")]
    pub kustomize: Option<PathBuf>,
    /// Go through the folders in a folder too
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file, or `STDIN`; empty for a kustomization.
    pub source: String,
    /// The object.
    pub value: Value,
}

impl Files {
    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty() && self.kustomize.is_none()
    }

    /// Reads everything; lists are taken apart.
    pub fn read(&self, session: &Session) -> Result<Vec<Manifest>, Error> {
        let mut found = Vec::new();
        if let Some(path) = &self.kustomize {
            if !self.filename.is_empty() {
                return Err(Error::new("only one of -f or -k can be specified"));
            }
            let built = kustomize::build(&kustomize::Disk, &path.to_string_lossy())?;
            session.warn(&built.warnings)?;
            for value in built.objects {
                flatten(String::new(), value, &mut found)?;
            }
            return Ok(found);
        }
        for name in &self.filename {
            if name == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                parse("STDIN", &text, &mut found)?;
            } else if name.contains("://") {
                let text = format!(
                    "{name}: manifests are not fetched from the network; save the file and name it"
                );
                return Err(Error::new(text));
            } else {
                let path = Path::new(name);
                let mut files = Vec::new();
                self.collect(path, true, &mut files)?;
                for file in files {
                    read_file(&file, &mut found)?;
                }
            }
        }
        if found.is_empty() {
            return Err(Error::new("no objects passed to apply").named(&self.filename));
        }
        Ok(found)
    }

    /// The files below a path, by name.
    fn collect(&self, path: &Path, top: bool, into: &mut Vec<PathBuf>) -> Result<(), Error> {
        let missing = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(format!("the path {:?} does not exist", path.display().to_string()))
            }
            _ => Error::new(format!("{}: {e}", path.display())),
        };
        if !fs::metadata(path).map_err(missing)?.is_dir() {
            let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
            if top || known {
                into.push(path.to_owned());
            }
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(missing)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()
            .map_err(missing)?;
        paths.sort();
        for inner in paths {
            if !inner.is_dir() || self.recursive {
                self.collect(&inner, false, into)?;
            }
        }
        Ok(())
    }
}

impl Error {
    fn named(self, names: &[String]) -> Self {
        Self::new(format!("{self} in {}", names.join(", ")))
    }
}

fn read_file(path: &Path, into: &mut Vec<Manifest>) -> Result<(), Error> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|e| Error::new(format!("{name}: {e}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(format!("{name}: is no text (UTF-8), so no manifest")))?;
    parse(&name, &text, into)
}

/// Reads a stream of documents.
pub(crate) fn parse(source: &str, text: &str, into: &mut Vec<Manifest>) -> Result<(), Error> {
    let documents =
        yaml::documents(text).map_err(|e| Error::new(format!("error parsing {source}: {e}")))?;
    for document in documents {
        let (api_version, kind) =
            (str_at(&document.value, "apiVersion"), str_at(&document.value, "kind"));
        for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
            if value.is_empty() {
                return Err(Error::new(format!(
                    "error validating {source:?}: line {}: {field} not set: this is no Kubernetes \
                     object",
                    document.line
                )));
            }
        }
        flatten(source.to_owned(), document.value, into)?;
    }
    Ok(())
}

fn flatten(source: String, value: Value, into: &mut Vec<Manifest>) -> Result<(), Error> {
    let is_list = str_at(&value, "kind").ends_with("List") && value.get("items").is_some();
    if !is_list {
        into.push(Manifest { source, value });
        return Ok(());
    }
    for item in list_at(&value, "items") {
        flatten(source.clone(), item.clone(), into)?;
    }
    Ok(())
}
