//! Kustomizations (`kustomize.config.k8s.io`): files in, objects out, as `kubectl kustomize` makes
//! them. Pure but for the [`Source`] that files are read from.
//!
//! A [`folder`] is a layer: [`layer`] gathers its resources, its bases below it and what its
//! [`generate`]rs make, then [`transform`]s and [`patch`]es all of them. When the topmost one is
//! through, [`names`] adds hashes and mends references, and [`vars`] are put in. Which fields the
//! transformers work on says [`config`]; [`plugins`] are the same transformers with other fields.
//! Not there, and refused by name: remote resources, helm charts, programs as plug-ins.

mod config;
mod fieldspec;
mod file;
mod folder;
mod generate;
mod id;
mod keys;
mod layer;
mod names;
mod openapi;
mod patch;
mod patterns;
mod plugins;
mod reading;
mod replacement;
mod resource;
mod source;
mod structured;
mod transform;
mod value_add;
mod vars;

use serde_json::Value;

use file::LegacyOrder;
use resource::Resource;

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

/// Objects with this annotation are for other objects of the build alone.
const LOCAL: &str = "config.kubernetes.io/local-config";

/// Builds the kustomization of a folder.
pub fn build(source: &dyn Source, path: &str) -> Result<Built, Error> {
    if folder::is_remote(path) && !source.exists(path) {
        let problem = "nothing is fetched from the network; fetch it, and name its folder";
        return Err(Error { file: path.to_owned(), problem: problem.to_owned() });
    }
    let mut builder = layer::Builder {
        source,
        warnings: Vec::new(),
        stack: Vec::new(),
        metadata: layer::Metadata::default(),
        schemas: openapi::Definitions::default(),
        has_objects: false,
    };
    let (gathered, top) = builder.top(&source::normalize("", path))?;
    let (mut warnings, metadata) = (builder.warnings, builder.metadata);
    let layer::Gathered { mut resources, config, vars } = gathered;
    names::add_hashes(&mut resources);
    names::mend(&mut resources, &config).map_err(|e| top.fault(e))?;
    let unused = vars::resolve(&vars, &mut resources, &config)
        .map_err(|e| top.fault(format!("vars: {e}")))?;
    if !unused.is_empty() {
        let text = format!(
            "{}: well-defined vars that were never replaced: {}",
            top.file,
            unused.join(",")
        );
        warnings.push(text);
    }
    resources.retain(|resource| !is_local(resource));
    layer::annotate(metadata, &mut resources);
    match &top.says.sort_options {
        None => names::order(&mut resources, &LegacyOrder::builtin()),
        Some(options) => match (options.order.as_str(), &options.legacy_sort_options) {
            ("legacy", None) => names::order(&mut resources, &LegacyOrder::builtin()),
            ("legacy", Some(order)) => names::order(&mut resources, order),
            ("fifo", None) => {}
            ("fifo", Some(_)) => {
                return Err(top.fault(
                    "the field 'sortOptions.legacySortOptions' is set but the selected sort order \
                     is 'fifo', not 'legacy'",
                ));
            }
            _ => {
                let problem = "the field 'sortOptions.order' must be one of [fifo, legacy]";
                return Err(top.fault(problem));
            }
        },
    }
    let mut objects: Vec<Value> = resources.into_iter().map(|resource| resource.value).collect();
    objects.iter_mut().for_each(as_texts);
    Ok(Built { objects, warnings })
}

fn is_local(resource: &Resource) -> bool {
    let annotation = resource.value["metadata"]["annotations"].get(LOCAL);
    annotation.is_some_and(|value| value != "false")
}

/// Annotations are texts, whatever was put there, and none at all are left out.
fn as_texts(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(Value::Object(map)) = metadata.get_mut("annotations") else { return };
    for value in map.values_mut() {
        match value {
            Value::Number(_) | Value::Bool(_) => *value = value.to_string().into(),
            Value::Null => *value = "".into(),
            _ => {}
        }
    }
    if map.is_empty() {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests;
