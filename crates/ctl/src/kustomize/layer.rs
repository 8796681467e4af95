//! A folder with a kustomization, and those below it.

use onggi_api::schema::Table;
use onggi_machinery::value::{map_mut, str_at};
use onggi_machinery::yaml;
use serde_json::Value;

use super::config::Config;
use super::file::{Kustomization, NAMES, Patch, Replacement, Var};
use super::patch::Schemas;
use super::resource::Resource;
use super::source::{is_below, normalize, relative};
use super::transform::{self, Namespace, Subjects};
use super::{Error, Source, generate, openapi, patch, plugins, replacement, vars};

/// Layers inside layers; a folder that leads to itself is found before.
const MAX_DEPTH: usize = 64;

/// Which annotations tell where objects come from (`buildMetadata` of the topmost layer).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Metadata {
    pub(super) origins: bool,
    pub(super) transformations: bool,
    pub(super) managed_by: bool,
}

pub(super) struct Builder<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) warnings: Vec<String>,
    pub(super) stack: Vec<String>,
    pub(super) metadata: Metadata,
    /// The schema that the topmost layer names.
    pub(super) schemas: Option<Table>,
}

/// What is gathered on the way up.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) resources: Vec<Resource>,
    pub(super) config: Config,
    pub(super) vars: Vec<Var>,
}

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
    /// What the topmost folder makes, and its kustomization.
    pub(super) fn top(&mut self, dir: &str) -> Result<(Gathered, Layer<'a>), Error> {
        let layer = self.open(dir)?;
        let wants = |name: &str| layer.says.build_metadata.iter().any(|given| given == name);
        self.metadata = Metadata {
            origins: wants("originAnnotations"),
            transformations: wants("transformerAnnotations"),
            managed_by: wants("managedByLabel"),
        };
        if let Some(path) = layer.says.openapi.get("path") {
            let text = layer.text("openapi.path", path)?;
            let table = openapi::table(&text);
            self.schemas = Some(table.map_err(|e| layer.fault(format!("openapi.path: {e}")))?);
        }
        self.warnings.clear();
        let mut gathered = Gathered::default();
        self.enter(dir, &mut gathered, false)?;
        Ok((gathered, layer))
    }

    /// Lays a folder's kustomization over what was gathered: nothing yet for one of its own, all
    /// of the layer above for a component.
    fn enter(&mut self, dir: &str, into: &mut Gathered, as_part: bool) -> Result<(), Error> {
        if self.stack.iter().any(|above| above == dir) || self.stack.len() > MAX_DEPTH {
            let mut way = self.stack.clone();
            way.push(dir.to_owned());
            let problem = format!("cycle detected: {}", way.join(" -> "));
            return Err(Error { file: dir.to_owned(), problem });
        }
        let layer = self.open(dir)?;
        self.stack.push(dir.to_owned());
        if layer.says.is_component() != as_part && self.stack.len() > 1 {
            let wanted =
                if as_part { "expected kind 'Component'" } else { "expected kind != 'Component'" };
            return Err(layer.fault(format!("kind: {wanted} here")));
        }
        self.gather(&layer, into)?;
        configure(&layer, &mut into.config)?;
        generate::all(self, &layer, &mut into.resources)?;
        plugins::generate(self, &layer, &mut into.resources)?;
        self.transform(&layer, into)?;
        plugins::validate(self, &layer, &into.resources)?;
        vars::tie(&layer.says.vars, &mut into.vars, &mut into.resources)
            .map_err(|e| layer.fault(format!("vars: {e}")))?;
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
        let top = self.stack.first().map_or(dir, String::as_str);
        let shown = relative(top, &file);
        Ok(Layer { source: self.source, dir: dir.to_owned(), file, says, shown })
    }

    /// Resources, bases and components.
    fn gather(&mut self, layer: &Layer<'a>, into: &mut Gathered) -> Result<(), Error> {
        if into.config.name_prefix.is_empty() {
            into.config = Config::builtin();
        }
        for entry in layer.says.resources.iter().chain(&layer.says.bases) {
            layer.check_local("resources", entry)?;
            let path = normalize(&layer.dir, entry);
            if self.source.is_dir(&path) {
                let mut found = Gathered::default();
                self.enter(&path, &mut found, false)?;
                let Gathered { resources, config, vars } = found;
                into.config.merge(config).map_err(|e| layer.fault(format!("{entry}: {e}")))?;
                into.vars.extend(vars);
                layer.add(entry, resources, &mut into.resources)?;
                continue;
            }
            let origin = format!("path: {}\n", relative(self.root(), &path));
            let values = layer.objects("resources", entry)?;
            let found = values.into_iter().map(|value| {
                let mut resource = Resource::new(value);
                resource.origin = self.metadata.origins.then(|| origin.clone());
                resource
            });
            layer.add(entry, found.collect(), &mut into.resources)?;
        }
        for entry in &layer.says.components {
            layer.check_local("components", entry)?;
            self.enter(&normalize(&layer.dir, entry), into, true)?;
        }
        Ok(())
    }

    /// The topmost folder.
    pub(super) fn root(&self) -> &str {
        self.stack.first().map_or(".", String::as_str)
    }

    /// Everything that the layer does to all objects, in Kustomize's order.
    fn transform(&mut self, layer: &Layer<'a>, into: &mut Gathered) -> Result<(), Error> {
        let says = &layer.says;
        for (at, entry) in says.patches_strategic_merge.iter().enumerate() {
            let field = format!("patchesStrategicMerge[{at}]");
            let is_inline = entry.contains('\n') || entry.trim_start().starts_with('{');
            let text = if is_inline { entry.clone() } else { layer.text(&field, entry)? };
            let place = if is_inline { field } else { format!("{field}: {entry}") };
            self.step(layer, into, "PatchStrategicMergeTransformer", &place, |rs, schemas, _| {
                patch::documents(&text)?.into_iter().try_for_each(|document| {
                    patch::merge_into_named(document, Default::default(), schemas, rs)
                })
            })?;
        }
        self.patches(layer, into, "patches", &says.patches, "PatchTransformer")?;
        if !says.namespace.is_empty() {
            self.step(layer, into, "NamespaceTransformer", "namespace", |rs, _, config| {
                let name = says.namespace.as_str();
                let specs = &config.namespace;
                let subjects = Subjects::default();
                Namespace { name, specs, unset_only: false, subjects }.apply(rs)
            })?;
        }
        for (kind, field, prefix, suffix) in [
            ("PrefixTransformer", "namePrefix", says.name_prefix.as_str(), ""),
            ("SuffixTransformer", "nameSuffix", "", says.name_suffix.as_str()),
        ] {
            if prefix.is_empty() && suffix.is_empty() {
                continue;
            }
            self.step(layer, into, kind, field, |rs, _, config| {
                let prefixes = &config.name_prefix;
                let specs = if suffix.is_empty() { prefixes } else { &config.name_suffix };
                transform::affix(rs, prefix, suffix, specs)
            })?;
        }
        for labels in &says.labels {
            self.step(layer, into, "LabelTransformer", "labels", |rs, _, config| {
                let specs = transform::label_specs(labels, config)?;
                transform::add_pairs(rs, &labels.pairs, &specs)
            })?;
        }
        if !says.common_labels.is_empty() {
            self.step(layer, into, "LabelTransformer", "commonLabels", |rs, _, config| {
                transform::add_pairs(rs, &says.common_labels, &config.common_labels)
            })?;
        }
        if !says.common_annotations.is_empty() {
            self.step(layer, into, "AnnotationsTransformer", "commonAnnotations", |rs, _, c| {
                transform::add_pairs(rs, &says.common_annotations, &c.common_annotations)
            })?;
        }
        let json = "PatchJson6902Transformer";
        self.patches(layer, into, "patchesJson6902", &says.patches_json, json)?;
        for replicas in &says.replicas {
            self.step(layer, into, "ReplicaCountTransformer", "replicas", |rs, _, config| {
                transform::replicas(rs, replicas, &config.replicas)
            })?;
        }
        for image in says.images.iter().chain(&says.image_tags) {
            self.step(layer, into, "ImageTagTransformer", "images", |rs, _, config| {
                transform::images(rs, image, &config.images)
            })?;
        }
        for (at, entry) in says.replacements.iter().enumerate() {
            for one in layer.replacements(&format!("replacements[{at}]"), entry)? {
                self.step(layer, into, "ReplacementTransformer", "replacements", |rs, _, _| {
                    replacement::apply(&one, rs)
                })?;
            }
        }
        plugins::transform(self, layer, into)
    }

    fn patches(
        &mut self,
        layer: &Layer<'a>,
        into: &mut Gathered,
        field: &str,
        patches: &[Patch],
        kind: &str,
    ) -> Result<(), Error> {
        for (at, one) in patches.iter().enumerate() {
            let place = format!("{field}[{at}]");
            let text = layer.patch_text(&place, one)?;
            self.step(layer, into, kind, &place, |rs, schemas, _| {
                patch::one(one, &text, schemas, rs)
            })?;
        }
        Ok(())
    }

    /// Does one transformation, and notes it on the objects that it changed where that is wanted.
    pub(super) fn step(
        &mut self,
        layer: &Layer<'a>,
        into: &mut Gathered,
        kind: &str,
        place: &str,
        work: impl FnOnce(&mut Vec<Resource>, Schemas<'_>, &Config) -> Result<(), String>,
    ) -> Result<(), Error> {
        let before = self.metadata.transformations.then(|| into.resources.clone());
        let schemas = Schemas { own: self.schemas.as_ref() };
        work(&mut into.resources, schemas, &into.config)
            .map_err(|e| layer.fault(format!("{place}: {e}")))?;
        if let Some(before) = before {
            let note = format!(
                "- configuredIn: {}\n  configuredBy:\n    apiVersion: builtin\n    kind: {kind}\n",
                layer.shown
            );
            for resource in &mut into.resources {
                let same = |old: &Resource| old.value == resource.value;
                if !before.iter().any(same) {
                    resource.transformations.push_str(&note);
                }
            }
        }
        Ok(())
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

/// Adds the fields that files of `configurations` and `crds` name.
fn configure(layer: &Layer<'_>, config: &mut Config) -> Result<(), Error> {
    for entry in &layer.says.configurations {
        let text = layer.text("configurations", entry)?;
        let wrong = |e: String| layer.fault(format!("configurations: {entry}: {e}"));
        let value = yaml::parse(&text).map_err(|e| wrong(e.to_string()))?;
        let more: Config = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        config.merge(more).map_err(wrong)?;
    }
    for entry in &layer.says.crds {
        let text = layer.text("crds", entry)?;
        let wrong = |e: String| layer.fault(format!("crds: {entry}: {e}"));
        config.merge(openapi::references(&text).map_err(wrong)?).map_err(wrong)?;
    }
    Ok(())
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

    /// The file as seen from the topmost layer.
    pub(super) fn shown(&self) -> &str {
        &self.shown
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
    fn add(
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

/// The objects of a text; lists are taken apart.
pub(super) fn objects_of(file: &str, text: &str) -> Result<Vec<Value>, Error> {
    let fault = |problem: String| Error { file: file.to_owned(), problem };
    let mut values = Vec::new();
    for document in yaml::documents_of_kustomize(text).map_err(|e| fault(e.to_string()))? {
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

/// Writes where objects come from into them, as `buildMetadata` wants it.
pub(super) fn annotate(metadata: Metadata, resources: &mut [Resource]) {
    for resource in resources {
        let notes = [
            ("config.kubernetes.io/origin", resource.origin.clone().unwrap_or_default()),
            ("alpha.config.kubernetes.io/transformations", resource.transformations.clone()),
        ];
        for (key, text) in notes.into_iter().filter(|(_, text)| !text.is_empty()) {
            map_mut(&mut resource.value, "metadata.annotations").insert(key.into(), text.into());
        }
        if metadata.managed_by {
            // What kubectl's build of Kustomize calls itself.
            let labels = map_mut(&mut resource.value, "metadata.labels");
            labels.insert("app.kubernetes.io/managed-by".into(), "kustomize-(devel)".into());
        }
    }
}
