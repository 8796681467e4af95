//! A folder with its kustomization file, and the files that it names.

use std::collections::VecDeque;
use std::io::ErrorKind;

use onggi_machinery::value::str_at;
use onggi_machinery::yaml::{self, Twice};
use serde_json::Value;

use super::file::{Kustomization, NAMES, Patch, Replacement};
use super::layer::Builder;
use super::resource::Resource;
use super::source::{is_below, normalize, relative};
use super::{Error, Source, keys, patch, reading};

/// A folder, its file, and what it says.
pub(super) struct Layer<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) dir: String,
    pub(super) file: String,
    pub(super) says: Kustomization,
    /// The file as seen from the topmost layer.
    shown: String,
}

impl<'a> Builder<'a> {
    pub(super) fn open(&mut self, dir: &str) -> Result<Layer<'a>, Error> {
        let paths = NAMES.iter().map(|name| normalize(dir, name));
        let mut found = Vec::new();
        for path in paths {
            match self.source.read(&path) {
                Ok(bytes) => found.push((path, bytes)),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(Error { file: path, problem: error.to_string() }),
            }
        }
        let fault = |problem: String| Error { file: dir.to_owned(), problem };
        if found.len() > 1 {
            return Err(fault("found multiple kustomization files".to_owned()));
        }
        let Some((file, bytes)) = found.pop() else {
            if dir != "." && !self.source.is_dir(dir) {
                return Err(fault("no such directory".to_owned()));
            }
            let names = NAMES.join("', '");
            return Err(fault(format!("unable to find one of '{names}' in this directory")));
        };
        let fault = |problem: String| Error { file: file.clone(), problem };
        let text = String::from_utf8(bytes).map_err(|_| fault("is no text (UTF-8)".to_owned()))?;
        let (mut value, twice) = kustomization(&text).map_err(fault)?;
        keys::fold(&mut value);
        if keys::is_empty(&value) {
            return Err(fault("kustomization.yaml is empty".to_owned()));
        }
        let says: Kustomization = serde_json::from_value(value)
            .map_err(|e| fault(format!("invalid Kustomization: {e}")))?;
        check(&says).map_err(fault)?;
        let deprecated = [
            (!says.bases.is_empty(), "bases", "resources"),
            (!says.image_tags.is_empty(), "imageTags", "images"),
            (!says.patches_strategic_merge.is_empty(), "patchesStrategicMerge", "patches"),
            (!says.patches_json.is_empty(), "patchesJson6902", "patches"),
            (!says.common_labels.is_empty(), "commonLabels", "labels"),
            (!says.vars.is_empty(), "vars", "replacements"),
        ];
        for (_, old, new) in deprecated.iter().filter(|(used, _, _)| *used) {
            let text = format!("{file}: '{old}' is deprecated. Please use '{new}' instead.");
            self.warnings.push(text);
        }
        if let Some(Twice { line, key }) = twice {
            self.warnings.push(format!(
                "{file}: line {line}: the key {key:?} stands twice in this mapping; the last \
                 one counts"
            ));
        }
        let top = self.stack.first().map_or(dir, String::as_str);
        let shown = relative(top, &file);
        Ok(Layer { source: self.source, dir: dir.to_owned(), file, says, shown })
    }
}

/// The one document of a text. Of keys that stand twice the last counts, as for Kustomize.
fn kustomization(text: &str) -> Result<(Value, Option<Twice>), String> {
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(error) => return yaml::parse_lenient(text).map_err(|_| error.to_string()),
    };
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (None, _) => Err("kustomization.yaml is empty".to_owned()),
        (Some(document), None) => Ok((document.value, None)),
        (_, Some(second)) => Err(format!("line {}: there is a second document", second.line)),
    }
}

/// What the file says must go together.
fn check(says: &Kustomization) -> Result<(), String> {
    let (version, kind) = (says.api_version.as_str(), says.kind.as_str());
    if !["", "Kustomization", "Component"].contains(&kind) {
        return Err(format!("kind should be Kustomization or Component, not {kind:?}"));
    }
    let wanted = if kind == "Component" {
        "kustomize.config.k8s.io/v1alpha1"
    } else {
        "kustomize.config.k8s.io/v1beta1"
    };
    if !version.is_empty() && version != wanted {
        let kind = if kind.is_empty() { "Kustomization" } else { kind };
        return Err(format!("apiVersion for {kind} should be {wanted}, not {version:?}"));
    }
    let uses_helm = !says.helm_charts.is_empty()
        || says.helm_globals.is_some()
        || !says.helm_chart_inflation_generator.is_empty();
    if uses_helm {
        return Err("helmCharts: charts are not rendered here: run `helm template` and list its \
                    output in resources"
            .to_owned());
    }
    Ok(())
}

/// What Kustomize would fetch.
pub(super) fn is_remote(entry: &str) -> bool {
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

    /// The file as seen from the topmost layer.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What a transformer or generator of this file leaves on objects.
    pub(super) fn configured(&self, kind: &str) -> String {
        configured(&self.shown, kind, "", "")
    }

    pub(super) fn check_local(&self, field: &str, entry: &str) -> Result<(), Error> {
        if is_remote(entry) {
            return Err(self.fault(format!(
                "{field}: {entry}: nothing is fetched from the network; put it beside this file"
            )));
        }
        Ok(())
    }

    /// Puts objects behind those that are there; two may not have one name.
    pub(super) fn add(
        &self,
        entry: &str,
        found: Vec<Resource>,
        into: &mut Vec<Resource>,
    ) -> Result<(), Error> {
        for resource in found {
            let id = resource.id();
            if into.iter().any(|other| other.id().equals(&id)) {
                return Err(self.fault(format!(
                    "resources: {entry}: may not add resource with an already registered id: {id}"
                )));
            }
            into.push(resource);
        }
        Ok(())
    }

    /// A file of this layer; it lies in its folder, as Kustomize wants it.
    pub(super) fn read(&self, field: &str, entry: &str) -> Result<Vec<u8>, Error> {
        self.check_local(field, entry)?;
        let path = normalize(&self.dir, entry);
        if !self.source.exists(&path) {
            return Err(self.fault(format!("{field}: {entry}: no such file or directory")));
        }
        let (dir, real) = (self.source.real(&self.dir), self.source.real(&path));
        if !is_below(&self.dir, &path) || !is_below(&dir, &real) {
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

    /// The text of a patch, from its file or from here.
    pub(super) fn patch_text(&self, place: &str, patch: &Patch) -> Result<String, Error> {
        match (patch.path.is_empty(), patch.patch.is_empty()) {
            (false, true) => self.text(place, &patch.path),
            (true, false) => Ok(patch.patch.clone()),
            _ => Err(self.fault(format!("{place}: must have exactly one of path and patch"))),
        }
    }

    /// An entry of strategic merges, from its file or from here, with its place.
    pub(super) fn merge_patches(
        &self,
        mut place: String,
        entry: &str,
    ) -> Result<(String, Vec<Value>), Error> {
        let is_inline = entry.contains('\n') || entry.trim_start().starts_with('{');
        let documents = if is_inline {
            patch::documents(entry)
        } else {
            let text = self.text(&place, entry)?;
            place = format!("{place}: {entry}");
            patch::documents(&text)
        };
        let documents = documents.map_err(|e| self.fault(format!("{place}: {e}")))?;
        Ok((place, documents))
    }

    /// A replacement, or those of the file that it names.
    pub(super) fn replacements(
        &self,
        place: &str,
        entry: &Replacement,
    ) -> Result<Vec<Replacement>, Error> {
        if entry.path.is_empty() {
            return Ok(vec![entry.clone()]);
        }
        let text = self.text(place, &entry.path)?;
        let wrong = |e: String| self.fault(format!("{place}: {}: {e}", entry.path));
        let value = yaml::parse(&text).map_err(|e| wrong(e.to_string()))?;
        if value.is_array() {
            return serde_json::from_value(value).map_err(|e| wrong(e.to_string()));
        }
        Ok(vec![serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?])
    }

    /// The objects of a file of this layer.
    pub(super) fn objects(&self, field: &str, entry: &str) -> Result<Vec<Value>, Error> {
        let text = self.text(field, entry)?;
        let file = normalize(&self.dir, entry);
        objects_of(&file, &text)
    }
}

/// The objects of a text. Lists are taken apart, and their items come behind all others.
pub(super) fn objects_of(file: &str, text: &str) -> Result<Vec<Value>, Error> {
    let fault = |problem: String| Error { file: file.to_owned(), problem };
    let documents = reading::documents(text).map_err(|e| fault(e.to_string()))?;
    let mut left: VecDeque<_> = documents.into_iter().map(|d| (d.line, d.value)).collect();
    let mut values = Vec::new();
    while let Some((line, mut value)) = left.pop_front() {
        let kind = str_at(&value, "kind");
        let is_list = kind.ends_with("List");
        let missing = match (kind, str_at(&value, "metadata.name")) {
            ("", _) => "kind",
            (_, "") if !is_list => "metadata.name",
            _ => "",
        };
        if !missing.is_empty() {
            return Err(fault(format!("line {line}: {missing} is missing in the object")));
        }
        match value.get_mut("items").filter(|_| is_list).map(Value::take) {
            None => values.push(value),
            Some(Value::Null) => {}
            Some(Value::Array(items)) => left.extend(items.into_iter().map(|item| (line, item))),
            Some(_) => return Err(fault(format!("line {line}: items is no list"))),
        }
    }
    Ok(values)
}

/// How Kustomize says what configures a transformer or generator.
pub(super) fn configured(file: &str, kind: &str, name: &str, namespace: &str) -> String {
    let mut text = String::new();
    if !file.is_empty() {
        text += &format!("configuredIn: {file}\n");
    }
    text += &format!("configuredBy:\n  apiVersion: builtin\n  kind: {kind}\n");
    for (field, value) in [("name", name), ("namespace", namespace)] {
        if !value.is_empty() {
            text += &format!("  {field}: {value}\n");
        }
    }
    text
}
