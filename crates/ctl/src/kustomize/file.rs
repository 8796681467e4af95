//! The kustomization file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fieldspec::FieldSpec;
use super::id::Wanted;

/// Names that it may have.
pub(super) const NAMES: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// `kustomize.config.k8s.io/v1beta1 Kustomization`, and `v1alpha1 Component`. Fields that are not
/// here are refused by name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Kustomization {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(rename = "metadata")]
    _metadata: Option<Value>,
    pub(super) openapi: BTreeMap<String, String>,
    pub(super) resources: Vec<String>,
    pub(super) bases: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) crds: Vec<String>,
    pub(super) namespace: String,
    pub(super) name_prefix: String,
    pub(super) name_suffix: String,
    pub(super) common_labels: Texts,
    pub(super) labels: Vec<Labels>,
    pub(super) common_annotations: Texts,
    pub(super) patches_strategic_merge: Vec<String>,
    #[serde(rename = "patchesJson6902")]
    pub(super) patches_json: Vec<Patch>,
    pub(super) patches: Vec<Patch>,
    pub(super) images: Vec<Image>,
    pub(super) image_tags: Vec<Image>,
    pub(super) replicas: Vec<Replicas>,
    pub(super) replacements: Vec<Replacement>,
    pub(super) vars: Vec<Var>,
    pub(super) config_map_generator: Vec<Generator>,
    pub(super) secret_generator: Vec<Generator>,
    pub(super) generator_options: Options,
    pub(super) configurations: Vec<String>,
    pub(super) generators: Vec<String>,
    pub(super) transformers: Vec<String>,
    pub(super) validators: Vec<String>,
    pub(super) build_metadata: Vec<String>,
    pub(super) sort_options: Option<SortOptions>,
    pub(super) helm_charts: Vec<Value>,
    pub(super) helm_globals: Option<Value>,
    pub(super) helm_chart_inflation_generator: Vec<Value>,
}

/// Labels, annotations.
pub(super) type Texts = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SortOptions {
    pub(super) order: String,
    pub(super) legacy_sort_options: Option<LegacyOrder>,
}

/// Kinds that come first and last.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LegacyOrder {
    pub(super) order_first: Vec<String>,
    pub(super) order_last: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Labels {
    pub(super) pairs: Texts,
    pub(super) include_selectors: bool,
    pub(super) include_templates: bool,
    pub(super) fields: Vec<FieldSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Patch {
    pub(super) path: String,
    pub(super) patch: String,
    pub(super) target: Option<Target>,
    pub(super) options: PatchOptions,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PatchOptions {
    pub(super) allow_name_change: bool,
    pub(super) allow_kind_change: bool,
}

/// Which objects a patch is for; texts are regular expressions that fit the whole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Target {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) label_selector: String,
    pub(super) annotation_selector: String,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) new_name: String,
    pub(super) new_tag: String,
    pub(super) tag_suffix: String,
    pub(super) digest: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Replicas {
    pub(super) name: String,
    pub(super) count: i64,
}

/// A replacement, or the file of several.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Replacement {
    pub(super) path: String,
    pub(super) source: Option<ReplacementSource>,
    pub(super) source_value: Option<String>,
    pub(super) targets: Option<Vec<ReplacementTarget>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReplacementSource {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    pub(super) field_path: String,
    pub(super) options: FieldOptions,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ReplacementTarget {
    pub(super) select: Option<Selected>,
    pub(super) reject: Vec<Selected>,
    pub(super) field_paths: Vec<String>,
    pub(super) options: FieldOptions,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selected {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    pub(super) label_selector: String,
    pub(super) annotation_selector: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FieldOptions {
    pub(super) delimiter: String,
    pub(super) index: i64,
    pub(super) create: bool,
    #[serde(rename = "encoding")]
    _encoding: String,
}

impl FieldOptions {
    /// The same for a value that is not divided.
    pub(super) fn undivided(&self) -> Self {
        Self { create: self.create, ..Self::default() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) objref: Wanted,
    pub(super) fieldref: FieldRef,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FieldRef {
    #[serde(alias = "fieldPath")]
    pub(super) fieldpath: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Generator {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) behavior: String,
    pub(super) files: Vec<String>,
    pub(super) literals: Vec<String>,
    pub(super) envs: Vec<String>,
    pub(super) env: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) options: Options,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Options {
    pub(super) labels: Texts,
    pub(super) annotations: Texts,
    pub(super) disable_name_suffix_hash: bool,
    pub(super) immutable: bool,
}

impl Kustomization {
    /// Whether it is laid over what is there, and not beside it.
    pub(super) fn is_component(&self) -> bool {
        self.kind == "Component"
    }
}

/// Texts as a map of values.
pub(super) fn values(texts: &Texts) -> Map<String, Value> {
    texts.iter().map(|(key, text)| (key.clone(), text.as_str().into())).collect()
}
