//! Kustomizations (`kustomize.config.k8s.io`): files in, objects out, as `kubectl kustomize` makes
//! them. Pure but for the [`Source`] that files are read from.
//!
//! A folder is a layer: [`layer`] gathers its resources, its bases below it and what its
//! [`generate`]rs make, then [`transform`]s and [`patch`]es all of them and mends [`names`].
//! Not there: remote resources, helm charts, plug-ins, replacements, vars.

mod file;
mod generate;
mod layer;
mod names;
mod patch;
mod source;
mod transform;

use serde_json::Value;

pub(crate) use names::hash;
pub use source::{Disk, Embedded, Source};

/// A kustomization cannot be built. Each error names the file, and the field where it is one's
/// fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Error {
    /// The file, or the folder.
    pub file: String,
    /// What is wrong, with the field before it.
    pub problem: String,
}

/// What a kustomization makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The objects, in the order in which they can be created.
    pub objects: Vec<Value>,
    /// What should be written otherwise.
    pub warnings: Vec<String>,
}

/// Builds the kustomization of a folder.
pub fn build(source: &dyn Source, path: &str) -> Result<Built, Error> {
    let mut builder = layer::Builder { source, warnings: Vec::new(), stack: Vec::new() };
    let mut resources = builder.layer(&source::normalize("", path))?;
    let warnings = builder.warnings;
    names::add_hashes(&mut resources);
    names::mend(&mut resources);
    let mut objects: Vec<Value> = resources.into_iter().map(|resource| resource.value).collect();
    names::order(&mut objects);
    Ok(Built { objects, warnings })
}

#[cfg(test)]
mod tests;
