//! `generators`, `transformers` and `validators`: Kustomize's own, configured in files of their
//! own. Programs are not run.

use onggi_machinery::value::str_at;
use serde::Deserialize;
use serde_json::Value;

use super::Error;
use super::fieldspec::FieldSpec;
use super::file::{Generator, Image, Patch, PatchOptions, Replacement, Replicas, Target, Texts};
use super::file::{LegacyOrder, SortOptions};
use super::layer::{Builder, Gathered, Layer, objects_of};
use super::resource::Resource;
use super::source::normalize;
use super::transform::{self, Namespace, Subjects};
use super::{generate, names, patch, replacement};

/// Runs the generators that files configure.
pub(super) fn generate<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for (place, config) in configs(builder, layer, "generators", &layer.says.generators)? {
        let kind = match str_at(&config, "kind") {
            "ConfigMapGenerator" => "ConfigMap",
            "SecretGenerator" => "Secret",
            other => return Err(refused(layer, &place, other)),
        };
        let mut one: Generator = parsed(layer, &place, config.clone())?;
        if one.name.is_empty() {
            str_at(&config, "metadata.name").clone_into(&mut one.name);
        }
        if one.namespace.is_empty() {
            str_at(&config, "metadata.namespace").clone_into(&mut one.namespace);
        }
        generate::one(builder, layer, &place, kind, &one, resources)?;
    }
    Ok(())
}

/// Runs the transformers that files configure, behind those of the kustomization.
pub(super) fn transform<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    into: &mut Gathered,
) -> Result<(), Error> {
    for (place, config) in configs(builder, layer, "transformers", &layer.says.transformers)? {
        one(builder, layer, &place, &config, into)?;
    }
    Ok(())
}

/// Runs the validators: they may refuse, and change nothing.
pub(super) fn validate<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    resources: &[Resource],
) -> Result<(), Error> {
    for (place, config) in configs(builder, layer, "validators", &layer.says.validators)? {
        let mut tried = Gathered { resources: resources.to_vec(), ..Gathered::default() };
        one(builder, layer, &place, &config, &mut tried)?;
        let same = resources.iter().zip(&tried.resources).all(|(a, b)| a.value == b.value);
        if !same || resources.len() != tried.resources.len() {
            return Err(
                layer.fault(format!("{place}: a validator shouldn't modify the resource map"))
            );
        }
    }
    Ok(())
}

fn refused(layer: &Layer<'_>, place: &str, kind: &str) -> Error {
    layer.fault(format!(
        "{place}: {kind:?} is none of Kustomize's own: programs are not run as plug-ins"
    ))
}

/// The configurations that a list names: inline, in files, or made by a folder's kustomization.
fn configs<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    field: &str,
    entries: &[String],
) -> Result<Vec<(String, Value)>, Error> {
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let place = format!("{field}[{at}]");
        let values = if entry.contains('\n') || entry.trim_start().starts_with('{') {
            objects_of(&layer.file, entry)
                .map_err(|e| layer.fault(format!("{place}: {}", e.problem)))?
        } else if builder.source.is_dir(&normalize(&layer.dir, entry)) {
            let mut inner = Builder {
                source: builder.source,
                warnings: Vec::new(),
                stack: builder.stack.clone(),
                metadata: Default::default(),
                schemas: None,
            };
            let path = normalize(&layer.dir, entry);
            let (gathered, _) = inner.top(&path)?;
            gathered.resources.into_iter().map(|resource| resource.value).collect()
        } else {
            layer.objects(&place, entry)?
        };
        for value in values {
            if str_at(&value, "apiVersion") != "builtin" {
                return Err(refused(layer, &place, str_at(&value, "kind")));
            }
            found.push((place.clone(), value));
        }
    }
    Ok(found)
}

fn parsed<T: for<'de> Deserialize<'de>>(
    layer: &Layer<'_>,
    place: &str,
    mut config: Value,
) -> Result<T, Error> {
    if let Some(map) = config.as_object_mut() {
        for field in ["apiVersion", "kind", "metadata"] {
            map.remove(field);
        }
    }
    serde_json::from_value(config).map_err(|e| layer.fault(format!("{place}: {e}")))
}

/// What the built-in transformers take; each looks at what is its own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    field_specs: Option<Vec<FieldSpec>>,
    prefix: String,
    suffix: String,
    unset_only: bool,
    set_role_binding_subjects: Subjects,
    labels: Texts,
    annotations: Texts,
    path: String,
    patch: String,
    paths: Vec<String>,
    patches: String,
    json_op: String,
    target: Option<Target>,
    options: PatchOptions,
    image_tag: Image,
    replica: Replicas,
    replacements: Vec<Replacement>,
    sort_options: Option<SortOptions>,
}

fn one<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    place: &str,
    config: &Value,
    into: &mut Gathered,
) -> Result<(), Error> {
    let kind = str_at(config, "kind");
    let says: Settings = parsed(layer, place, config.clone())?;
    let specs = says.field_specs.as_deref().unwrap_or_default();
    match kind {
        "PrefixTransformer" | "SuffixTransformer" => {
            if says.field_specs.is_none() {
                return Err(layer.fault(format!("{place}: fieldSpecs is not expected to be nil")));
            }
            builder.step(layer, into, kind, place, |rs, _, _| {
                transform::affix(rs, &says.prefix, &says.suffix, specs)
            })
        }
        "NamespaceTransformer" => {
            let name = str_at(config, "metadata.namespace");
            if name.is_empty() {
                return Ok(());
            }
            builder.step(layer, into, kind, place, |rs, _, _| {
                let (unset_only, subjects) = (says.unset_only, says.set_role_binding_subjects);
                Namespace { name, specs, unset_only, subjects }.apply(rs)
            })
        }
        "LabelTransformer" => builder.step(layer, into, kind, place, |rs, _, _| {
            transform::add_pairs(rs, &says.labels, specs)
        }),
        "AnnotationsTransformer" => builder.step(layer, into, kind, place, |rs, _, _| {
            transform::add_pairs(rs, &says.annotations, specs)
        }),
        "PatchTransformer" | "PatchJson6902Transformer" => {
            let text = if says.patch.is_empty() { says.json_op } else { says.patch };
            let options = says.options;
            let one = Patch { path: says.path, patch: text, target: says.target, options };
            let text = layer.patch_text(place, &one)?;
            builder.step(layer, into, kind, place, |rs, schemas, _| {
                patch::one(&one, &text, schemas, rs)
            })
        }
        "PatchStrategicMergeTransformer" => {
            let mut texts = Vec::new();
            for path in &says.paths {
                let is_inline = path.contains('\n') || path.trim_start().starts_with('{');
                texts.push(if is_inline { path.clone() } else { layer.text(place, path)? });
            }
            texts.extend(Some(says.patches).filter(|text| !text.is_empty()));
            for text in texts {
                builder.step(layer, into, kind, place, |rs, schemas, _| {
                    patch::documents(&text)?.into_iter().try_for_each(|document| {
                        patch::merge_into_named(document, Default::default(), schemas, rs)
                    })
                })?;
            }
            Ok(())
        }
        "ImageTagTransformer" => builder.step(layer, into, kind, place, |rs, _, _| {
            transform::images(rs, &says.image_tag, specs)
        }),
        "ReplicaCountTransformer" => builder.step(layer, into, kind, place, |rs, _, _| {
            transform::replicas(rs, &says.replica, specs)
        }),
        "ReplacementTransformer" => {
            for entry in &says.replacements {
                for one in layer.replacements(place, entry)? {
                    builder
                        .step(layer, into, kind, place, |rs, _, _| replacement::apply(&one, rs))?;
                }
            }
            Ok(())
        }
        "HashTransformer" => builder.step(layer, into, kind, place, |rs, _, _| {
            names::add_hashes(rs);
            rs.iter_mut().for_each(|resource| resource.hashed = false);
            Ok(())
        }),
        "SortOrderTransformer" | "LegacyOrderTransformer" => {
            builder.step(layer, into, kind, place, |rs, _, _| {
                let order = says.sort_options.and_then(|options| options.legacy_sort_options);
                names::order(rs, &order.unwrap_or_else(LegacyOrder::builtin));
                Ok(())
            })
        }
        other => Err(refused(layer, place, other)),
    }
}
