//! A folder with a kustomization, and those below it.

use onggi_machinery::value::map_mut;
use onggi_machinery::yaml;
use serde_json::Value;

use super::config::Config;
use super::file::{Patch, Var};
use super::folder::Layer;
use super::openapi::Definitions;
use super::patch::Schemas;
use super::resource::Resource;
use super::source::{normalize, relative};
use super::transform::{self, Namespace, Subjects};
use super::{Error, Source, generate, openapi, patch, plugins, replacement, vars};

/// Layers inside layers; a folder that leads to itself is found before.
const MAX_DEPTH: usize = 64;
/// The version that is followed: kubectl's own.
const FOLLOWED: &str = "kustomize-v5.8.1";
const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// Which annotations tell where objects come from (`buildMetadata` of the topmost layer).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Metadata {
    /// Whether any is wanted.
    pub(super) is_tracked: bool,
    pub(super) origins: bool,
    pub(super) transformations: bool,
    pub(super) managed_by: bool,
}

pub(super) struct Builder<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) warnings: Vec<String>,
    pub(super) stack: Vec<String>,
    pub(super) metadata: Metadata,
    /// The schemas that the first layer that names some brings.
    pub(super) schemas: Definitions,
    /// Whether a file of objects was read.
    pub(super) has_objects: bool,
}

/// What is gathered on the way up.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) resources: Vec<Resource>,
    pub(super) config: Config,
    pub(super) vars: Vec<Var>,
}

impl<'a> Builder<'a> {
    /// What the topmost folder makes, and its kustomization.
    pub(super) fn top(&mut self, dir: &str) -> Result<(Gathered, Layer<'a>), Error> {
        let layer = self.open(dir)?;
        let wants = |name: &str| layer.says.build_metadata.iter().any(|given| given == name);
        self.metadata = Metadata {
            is_tracked: !layer.says.build_metadata.is_empty(),
            origins: wants("originAnnotations"),
            transformations: wants("transformerAnnotations"),
            managed_by: wants("managedByLabel"),
        };
        self.warnings.clear();
        let mut gathered = Gathered::default();
        self.enter(dir, &mut gathered, false)?;
        Ok((gathered, layer))
    }

    /// Lays a folder's kustomization over what was gathered: nothing yet for one of its own, all
    /// of the layer above for a component.
    pub(super) fn enter(
        &mut self,
        dir: &str,
        into: &mut Gathered,
        as_part: bool,
    ) -> Result<(), Error> {
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
        self.describe(&layer)?;
        self.gather(&layer, into)?;
        configure(&layer, &mut into.config)?;
        generate::all(self, &layer, &mut into.resources)?;
        plugins::generate(self, &layer, &mut into.resources)?;
        for entry in &layer.says.components {
            layer.check_local("components", entry)?;
            self.enter(&normalize(&layer.dir, entry), into, true)?;
        }
        self.transform(&layer, into)?;
        plugins::validate(self, &layer, &into.resources)?;
        vars::tie(&layer.says.vars, &mut into.vars, &mut into.resources)
            .map_err(|e| layer.fault(format!("vars: {e}")))?;
        self.stack.pop();
        Ok(())
    }

    /// Takes the schemas that a layer names; the first that names some is heard.
    fn describe(&mut self, layer: &Layer<'a>) -> Result<(), Error> {
        let field = |name: &str| layer.says.openapi.get(name);
        let (path, version) = (field("path"), field("version").map(String::as_str));
        let text = path.map(|path| layer.text("openapi.path", path)).transpose()?;
        if self.schemas.is_set {
            return Ok(());
        }
        match (text, version) {
            (Some(_), Some(_)) => {
                let problem =
                    "openapi: builtin version and custom schema provided, cannot use both";
                return Err(layer.fault(problem));
            }
            (Some(text), None) => {
                // Where objects were read before, Kustomize knows the built-in kinds as well.
                self.schemas = Definitions::read(&text, self.has_objects)
                    .map_err(|e| layer.fault(format!("openapi.path: {e}")))?;
            }
            (None, Some(openapi::BUILTIN)) => self.schemas.is_set = true,
            (None, None | Some("")) => {}
            (None, Some(other)) => {
                return Err(layer.fault(format!(
                    "openapi.version: {other}: the specified OpenAPI version is not built in"
                )));
            }
        }
        Ok(())
    }

    /// Resources and bases.
    fn gather(&mut self, layer: &Layer<'a>, into: &mut Gathered) -> Result<(), Error> {
        for entry in layer.says.resources.iter().chain(&layer.says.bases) {
            layer.check_local("resources", entry)?;
            let path = normalize(&layer.dir, entry);
            if self.source.is_dir(&path) {
                let mut found = Gathered::default();
                self.enter(&path, &mut found, false)?;
                let Gathered { resources, config, vars } = found;
                let wrong = |e: String| layer.fault(format!("resources: {entry}: {e}"));
                layer.add(entry, resources, &mut into.resources)?;
                into.config.merge(config).map_err(wrong)?;
                for var in vars {
                    vars::add(var, &mut into.vars).map_err(wrong)?;
                }
                continue;
            }
            let origin = format!("path: {}\n", relative(self.root(), &path));
            let values = layer.objects("resources", entry)?;
            self.has_objects = true;
            let found = values.into_iter().map(|value| {
                let mut resource = Resource::new(value);
                resource.origin = self.metadata.is_tracked.then(|| origin.clone());
                resource
            });
            layer.add(entry, found.collect(), &mut into.resources)?;
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
        if !says.patches_strategic_merge.is_empty() {
            let entries = says.patches_strategic_merge.iter().enumerate();
            let placed = |(at, entry): (usize, &String)| {
                layer.merge_patches(format!("patchesStrategicMerge[{at}]"), entry)
            };
            let patches = entries.map(placed).collect::<Result<Vec<_>, _>>()?;
            if patches.iter().all(|(_, documents)| documents.is_empty()) {
                return Err(layer.fault("patchesStrategicMerge: patch appears to be empty"));
            }
            self.step(layer, into, "PatchStrategicMergeTransformer", "", |rs, schemas, _| {
                patch::merge_all(patches, schemas, rs)
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
        // Kustomize takes this step with `labels` alone too, and notes it.
        if !says.common_labels.is_empty() || !says.labels.is_empty() {
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
        if !says.replacements.is_empty() {
            let entries = says.replacements.iter().enumerate();
            let placed = |(at, entry)| layer.replacements(&format!("replacements[{at}]"), entry);
            let all = entries.map(placed).collect::<Result<Vec<_>, _>>()?;
            self.step(layer, into, "ReplacementTransformer", "replacements", |rs, _, _| {
                all.iter().flatten().try_for_each(|one| replacement::apply(one, rs))
            })?;
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

    /// Does one of the layer's own transformations.
    fn step(
        &mut self,
        layer: &Layer<'a>,
        into: &mut Gathered,
        kind: &str,
        place: &str,
        work: impl FnOnce(&mut Vec<Resource>, Schemas<'_>, &Config) -> Result<(), String>,
    ) -> Result<(), Error> {
        self.noted(layer, into, Some(&layer.configured(kind)), place, work)
    }

    /// Does one transformation, and notes on all objects what did it where that is wanted: one
    /// that comes from nowhere is made by it. Errors bear the place where one is given.
    pub(super) fn noted(
        &mut self,
        layer: &Layer<'a>,
        into: &mut Gathered,
        note: Option<&str>,
        place: &str,
        work: impl FnOnce(&mut Vec<Resource>, Schemas<'_>, &Config) -> Result<(), String>,
    ) -> Result<(), Error> {
        work(&mut into.resources, &self.schemas, &into.config)
            .map_err(|e| layer.fault(if place.is_empty() { e } else { format!("{place}: {e}") }))?;
        let Some(note) = note.filter(|_| self.metadata.is_tracked) else { return Ok(()) };
        for resource in &mut into.resources {
            if resource.origin.is_none() {
                resource.origin = Some(note.to_owned());
                continue;
            }
            for (at, line) in note.lines().enumerate() {
                let lead = if at == 0 { "- " } else { "  " };
                resource.transformations.extend([lead, line, "\n"]);
            }
        }
        Ok(())
    }
}

/// Adds Kustomize's own fields, and those that files of `configurations` and `crds` name.
fn configure(layer: &Layer<'_>, config: &mut Config) -> Result<(), Error> {
    let mut given = Config::default();
    for entry in &layer.says.configurations {
        let text = layer.text("configurations", entry)?;
        let wrong = |e: String| layer.fault(format!("configurations: {entry}: {e}"));
        let value = yaml::parse(&text).map_err(|e| wrong(e.to_string()))?;
        let more: Config = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        given.merge(more).map_err(wrong)?;
    }
    let mut own = Config::builtin();
    let wrong = |e: String| layer.fault(format!("configurations: {e}"));
    if !layer.says.configurations.is_empty() {
        own.merge(given).map_err(wrong)?;
    }
    config.merge(own).map_err(wrong)?;
    for entry in &layer.says.crds {
        let text = layer.text("crds", entry)?;
        let wrong = |e: String| layer.fault(format!("crds: {entry}: {e}"));
        config.merge(openapi::references(&text).map_err(wrong)?).map_err(wrong)?;
    }
    Ok(())
}

/// Writes where objects come from into them, as `buildMetadata` wants it. What they say of it
/// themselves goes.
pub(super) fn annotate(metadata: Metadata, resources: &mut [Resource]) {
    for resource in resources {
        let origin = resource.origin.take().filter(|_| metadata.origins);
        let transformations = std::mem::take(&mut resource.transformations);
        let transformations = Some(transformations).filter(|_| metadata.transformations);
        for (key, text) in [(ORIGIN, origin), (TRANSFORMATIONS, transformations)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                let annotations = map_mut(&mut resource.value, "metadata.annotations");
                annotations.insert(key.into(), text.into());
                continue;
            }
            let metadata = resource.value.get_mut("metadata");
            if let Some(Value::Object(map)) = metadata.and_then(|m| m.get_mut("annotations")) {
                map.remove(key);
            }
        }
        if metadata.managed_by {
            let labels = map_mut(&mut resource.value, "metadata.labels");
            labels.insert("app.kubernetes.io/managed-by".into(), FOLLOWED.into());
        }
    }
}
