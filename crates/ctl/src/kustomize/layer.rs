//! A folder with a kustomization, and those below it.

use onggi_machinery::value::str_at;
use onggi_machinery::yaml;
use serde_json::Value;

use super::file::{Kustomization, NAMES};
use super::source::{is_below, normalize};
use super::{Error, Source, generate, names, patch, transform};

/// An object on its way through the layers.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) value: Value,
    /// The names that it had: references may still say them.
    pub(super) before: Vec<String>,
    /// Whether a hash of what it holds goes behind its name.
    pub(super) hashed: bool,
}

/// Layers inside layers; a folder that leads to itself is found before.
const MAX_DEPTH: usize = 64;

pub(super) struct Builder<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) warnings: Vec<String>,
    pub(super) stack: Vec<String>,
}

/// A folder, its file, and what it says.
pub(super) struct Layer<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) dir: String,
    pub(super) file: String,
    pub(super) says: Kustomization,
}

impl Resource {
    pub(super) fn new(value: Value) -> Self {
        Self { value, before: Vec::new(), hashed: false }
    }

    pub(super) fn kind(&self) -> &str {
        str_at(&self.value, "kind")
    }

    pub(super) fn name(&self) -> &str {
        str_at(&self.value, "metadata.name")
    }

    /// Whether it has the name, or had it in a layer below.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name() == name || self.before.iter().any(|before| before == name)
    }

    pub(super) fn rename(&mut self, name: String) {
        let before = self.name().to_owned();
        if before != name {
            self.before.push(before);
            onggi_machinery::value::set(&mut self.value, "metadata.name", name);
        }
    }

    /// Group, kind, namespace and name: two of a build may not have the same.
    fn id(&self) -> (String, String, String, String) {
        let api_version = str_at(&self.value, "apiVersion");
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let namespace = match str_at(&self.value, "metadata.namespace") {
            "" => "default",
            namespace => namespace,
        };
        let texts = [group, self.kind(), namespace, self.name()].map(str::to_owned);
        texts.into()
    }
}

impl<'a> Builder<'a> {
    /// The objects of a folder's kustomization.
    pub(super) fn layer(&mut self, dir: &str) -> Result<Vec<Resource>, Error> {
        let mut resources = Vec::new();
        self.enter(dir, &mut resources)?;
        Ok(resources)
    }

    /// Lays a folder's kustomization over the resources: those of a layer below are none yet, a
    /// component works on what is there.
    fn enter(&mut self, dir: &str, resources: &mut Vec<Resource>) -> Result<(), Error> {
        if self.stack.iter().any(|above| above == dir) || self.stack.len() > MAX_DEPTH {
            let mut way = self.stack.clone();
            way.push(dir.to_owned());
            let problem = format!("cycle detected: {}", way.join(" -> "));
            return Err(Error { file: dir.to_owned(), problem });
        }
        self.stack.push(dir.to_owned());
        let layer = self.open(dir)?;
        self.gather(&layer, resources)?;
        generate::all(&layer, resources)?;
        patch::strategic(&layer, resources)?;
        patch::all(&layer, "patches", &layer.says.patches, resources)?;
        transform::all(&layer, resources);
        patch::all(&layer, "patchesJson6902", &layer.says.patches_json, resources)?;
        transform::replicas(&layer, resources)?;
        transform::images(&layer, resources);
        names::mend(resources);
        self.stack.pop();
        Ok(())
    }

    fn open(&mut self, dir: &str) -> Result<Layer<'a>, Error> {
        let paths = NAMES.iter().map(|name| normalize(dir, name));
        let mut found = Vec::new();
        for path in paths {
            match self.source.read(&path) {
                Ok(bytes) => found.push((path, bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error { file: path, problem: error.to_string() }),
            }
        }
        let fault = |problem: String| Error { file: dir.to_owned(), problem };
        if found.len() > 1 {
            return Err(fault("found multiple kustomization files".to_owned()));
        }
        let Some((file, bytes)) = found.pop() else {
            let names = NAMES.join("', '");
            return Err(fault(format!("unable to find one of '{names}' in this directory")));
        };
        let fault = |problem: String| Error { file: file.clone(), problem };
        let text = String::from_utf8(bytes).map_err(|_| fault("is no text (UTF-8)".to_owned()))?;
        let mut documents = yaml::documents(&text).map_err(|e| fault(e.to_string()))?.into_iter();
        let says: Kustomization = match (documents.next(), documents.next()) {
            (None, _) => return Err(fault("kustomization.yaml is empty".to_owned())),
            (Some(document), None) => serde_json::from_value(document.value)
                .map_err(|e| fault(format!("invalid Kustomization: {e}")))?,
            (_, Some(second)) => {
                return Err(fault(format!("line {}: there is a second document", second.line)));
            }
        };
        let deprecated = [
            (!says.bases.is_empty(), "bases", "resources"),
            (!says.patches_strategic_merge.is_empty(), "patchesStrategicMerge", "patches"),
            (!says.patches_json.is_empty(), "patchesJson6902", "patches"),
            (!says.common_labels.is_empty(), "commonLabels", "labels"),
        ];
        for (_, old, new) in deprecated.iter().filter(|(used, _, _)| *used) {
            let text = format!("{file}: '{old}' is deprecated. Please use '{new}' instead.");
            self.warnings.push(text);
        }
        Ok(Layer { source: self.source, dir: dir.to_owned(), file, says })
    }

    /// Resources, bases and components.
    fn gather(&mut self, layer: &Layer<'a>, into: &mut Vec<Resource>) -> Result<(), Error> {
        for entry in layer.says.resources.iter().chain(&layer.says.bases) {
            if is_remote(entry) {
                return Err(layer.fault(format!(
                    "resources: {entry}: nothing is fetched from the network; put it beside this \
                     file"
                )));
            }
            let path = normalize(&layer.dir, entry);
            let found = if self.source.is_dir(&path) {
                self.layer(&path)?
            } else {
                let values = layer.objects("resources", entry)?;
                values.into_iter().map(Resource::new).collect()
            };
            for resource in found {
                if into.iter().any(|other| other.id() == resource.id()) {
                    let (group, kind, namespace, name) = resource.id();
                    return Err(layer.fault(format!(
                        "resources: {entry}: may not add resource with an already registered id: \
                         {kind}.{group}/{name}.{namespace}"
                    )));
                }
                into.push(resource);
            }
        }
        for entry in &layer.says.components {
            self.enter(&normalize(&layer.dir, entry), into)?;
        }
        Ok(())
    }
}

/// What Kustomize would fetch.
fn is_remote(entry: &str) -> bool {
    let hosts = ["github.com/", "gitlab.com/", "bitbucket.org/"];
    entry.contains("://")
        || entry.contains("?ref=")
        || entry.starts_with("git@")
        || hosts.iter().any(|host| entry.starts_with(host))
}

impl Layer<'_> {
    pub(super) fn fault(&self, problem: impl Into<String>) -> Error {
        Error { file: self.file.clone(), problem: problem.into() }
    }

    /// A file of this layer; it lies in its folder, as Kustomize wants it.
    pub(super) fn read(&self, field: &str, entry: &str) -> Result<Vec<u8>, Error> {
        let path = normalize(&self.dir, entry);
        if !is_below(&self.dir, &path) {
            return Err(self.fault(format!(
                "{field}: {entry}: file is not in or below {:?}: a kustomization stands on its own",
                self.dir
            )));
        }
        self.source.read(&path).map_err(|e| self.fault(format!("{field}: {entry}: {e}")))
    }

    pub(super) fn text(&self, field: &str, entry: &str) -> Result<String, Error> {
        String::from_utf8(self.read(field, entry)?)
            .map_err(|_| self.fault(format!("{field}: {entry}: is no text (UTF-8)")))
    }

    /// The objects of a file of this layer.
    fn objects(&self, field: &str, entry: &str) -> Result<Vec<Value>, Error> {
        let text = self.text(field, entry)?;
        let file = normalize(&self.dir, entry);
        let fault = |problem: String| Error { file: file.clone(), problem };
        let mut values = Vec::new();
        for document in yaml::documents_of_kustomize(&text).map_err(|e| fault(e.to_string()))? {
            let kind = str_at(&document.value, "kind");
            if kind.ends_with("List")
                && let Some(items) = document.value["items"].as_array()
            {
                values.extend(items.iter().cloned());
                continue;
            }
            for path in ["apiVersion", "kind", "metadata.name"] {
                if str_at(&document.value, path).is_empty() {
                    let line = document.line;
                    return Err(fault(format!("line {line}: {path} is missing in the object")));
                }
            }
            values.push(document.value);
        }
        Ok(values)
    }
}
