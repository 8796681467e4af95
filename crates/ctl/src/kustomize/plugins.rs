//! `generators`, `transformers` and `validators`: Kustomize's own, configured in files of their
//! own. Programs are not run.

use onggi_machinery::value::{set, str_at};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use super::fieldspec::FieldSpec;
use super::file::{Generator, Image, Patch, PatchOptions, Replacement, Replicas, Target, Texts};
use super::folder::{Layer, configured, objects_of};
use super::layer::{Builder, Gathered};
use super::resource::Resource;
use super::source::{normalize, relative};
use super::transform::{self, Namespace, Subjects};
use super::value_add::ValueAdd;
use super::{generate, names, patch, replacement};

/// What a list of plug-ins leads to.
struct Plugin {
    /// Where it is listed.
    place: String,
    config: Value,
    /// What it leaves on objects.
    note: Option<String>,
}

impl Plugin {
    fn kind(&self) -> &str {
        str_at(&self.config, "kind")
    }

    /// What it is told; fields that it does not have are nothing to it.
    fn parsed<T: for<'de> Deserialize<'de>>(
        &self,
        layer: &Layer<'_>,
        fields: &[&str],
    ) -> Result<T, Error> {
        let mut says = self.config.clone();
        if let Some(map) = says.as_object_mut() {
            map.retain(|field, _| fields.contains(&field.as_str()));
        }
        serde_json::from_value(says).map_err(|e| layer.fault(format!("{}: {e}", self.place)))
    }
}

/// Runs the generators that files configure.
pub(super) fn generate<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    resources: &mut Vec<Resource>,
) -> Result<(), Error> {
    for plugin in configs(builder, layer, "generators", &layer.says.generators)? {
        let kind = match plugin.kind() {
            "ConfigMapGenerator" => "ConfigMap",
            "SecretGenerator" => "Secret",
            "IAMPolicyGenerator" => {
                let mut made = Resource::new(account(layer, &plugin)?);
                made.origin.clone_from(&plugin.note);
                layer.add(&plugin.place, vec![made], resources)?;
                continue;
            }
            other => return Err(refused(layer, &plugin.place, other)),
        };
        let mut one: Generator = plugin.parsed(layer, GENERATOR)?;
        if one.name.is_empty() {
            str_at(&plugin.config, "metadata.name").clone_into(&mut one.name);
        }
        if one.namespace.is_empty() {
            str_at(&plugin.config, "metadata.namespace").clone_into(&mut one.namespace);
        }
        generate::one(layer, plugin.note, &plugin.place, kind, &one, resources)?;
    }
    Ok(())
}

const GENERATOR: &[&str] =
    &["name", "namespace", "behavior", "files", "literals", "envs", "type", "options"];

/// `IAMPolicyGenerator`: the service account of a cluster for one of Google's cloud.
fn account(layer: &Layer<'_>, plugin: &Plugin) -> Result<Value, Error> {
    let of = |path: &str| str_at(&plugin.config, path);
    if of("cloud") != "gke" {
        let problem = format!("cloud provider {} not supported yet", of("cloud"));
        return Err(layer.fault(format!("{}: {problem}", plugin.place)));
    }
    let cloud = format!(
        "{}@{}.iam.gserviceaccount.com",
        of("serviceAccount.name"),
        of("serviceAccount.projectId")
    );
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": of("kubernetesService.name"),
            "annotations": {"iam.gke.io/gcp-service-account": cloud},
        },
    });
    let namespace = of("kubernetesService.namespace");
    if !namespace.is_empty() {
        set(&mut object, "metadata.namespace", namespace);
    }
    Ok(object)
}

/// Runs the transformers that files configure, behind those of the kustomization.
pub(super) fn transform<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    into: &mut Gathered,
) -> Result<(), Error> {
    for plugin in configs(builder, layer, "transformers", &layer.says.transformers)? {
        one(builder, layer, &plugin, into)?;
    }
    Ok(())
}

/// Runs the validators: they may refuse, and change nothing.
pub(super) fn validate<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    resources: &[Resource],
) -> Result<(), Error> {
    for mut plugin in configs(builder, layer, "validators", &layer.says.validators)? {
        let mut tried = Gathered { resources: resources.to_vec(), ..Gathered::default() };
        plugin.note = None;
        one(builder, layer, &plugin, &mut tried)?;
        let same = resources.iter().zip(&tried.resources).all(|(a, b)| a.value == b.value);
        if !same || resources.len() != tried.resources.len() {
            let place = plugin.place;
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
) -> Result<Vec<Plugin>, Error> {
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let place = format!("{field}[{at}]");
        let path = normalize(&layer.dir, entry);
        let with = |file: &str, values: Vec<Value>| -> Vec<(String, Value)> {
            values.into_iter().map(|value| (file.to_owned(), value)).collect()
        };
        let values = if entry.contains('\n') || entry.trim_start().starts_with('{') {
            let values = objects_of(&layer.file, entry)
                .map_err(|e| layer.fault(format!("{place}: {}", e.problem)))?;
            with(layer.shown(), values)
        } else if builder.source.is_dir(&path) {
            let mut gathered = Gathered::default();
            builder.enter(&path, &mut gathered, false)?;
            let from = |resource: &Resource| {
                let origin = resource.origin.as_deref().unwrap_or_default();
                let path = origin.strip_prefix("path: ").unwrap_or_default();
                path.trim().to_owned()
            };
            gathered.resources.into_iter().map(|r| (from(&r), r.value)).collect()
        } else {
            with(&relative(builder.root(), &path), layer.objects(&place, entry)?)
        };
        for (file, config) in values {
            if str_at(&config, "apiVersion") != "builtin" {
                return Err(refused(layer, &place, str_at(&config, "kind")));
            }
            let of = |path: &str| str_at(&config, path);
            let note = builder.metadata.is_tracked.then(|| {
                configured(&file, of("kind"), of("metadata.name"), of("metadata.namespace"))
            });
            found.push(Plugin { place: place.clone(), config, note });
        }
    }
    Ok(found)
}

/// What the built-in transformers take; each looks at what is its own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
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
}

const SETTINGS: &[&str] = &[
    "fieldSpecs",
    "prefix",
    "suffix",
    "unsetOnly",
    "setRoleBindingSubjects",
    "labels",
    "annotations",
    "path",
    "patch",
    "paths",
    "patches",
    "jsonOp",
    "target",
    "options",
    "imageTag",
    "replica",
    "replacements",
];

fn one<'a>(
    builder: &mut Builder<'a>,
    layer: &Layer<'a>,
    plugin: &Plugin,
    into: &mut Gathered,
) -> Result<(), Error> {
    let (kind, place) = (plugin.kind(), plugin.place.as_str());
    let note = plugin.note.as_deref();
    let says: Settings = plugin.parsed(layer, SETTINGS)?;
    let specs = says.field_specs.as_deref().unwrap_or_default();
    match kind {
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            if says.field_specs.is_none() {
                return Err(layer.fault(format!("{place}: fieldSpecs is not expected to be nil")));
            }
            builder.noted(layer, into, note, place, |rs, _, _| {
                if kind != "SuffixTransformer" {
                    transform::affix(rs, &says.prefix, "", specs)?;
                }
                if kind != "PrefixTransformer" {
                    transform::affix(rs, "", &says.suffix, specs)?;
                }
                Ok(())
            })
        }
        "NamespaceTransformer" => {
            let name = str_at(&plugin.config, "metadata.namespace");
            builder.noted(layer, into, note, place, |rs, _, _| {
                if name.is_empty() {
                    return Ok(());
                }
                let (unset_only, subjects) = (says.unset_only, says.set_role_binding_subjects);
                Namespace { name, specs, unset_only, subjects }.apply(rs)
            })
        }
        "LabelTransformer" => builder.noted(layer, into, note, place, |rs, _, _| {
            transform::add_pairs(rs, &says.labels, specs)
        }),
        "AnnotationsTransformer" => builder.noted(layer, into, note, place, |rs, _, _| {
            transform::add_pairs(rs, &says.annotations, specs)
        }),
        "PatchTransformer" | "PatchJson6902Transformer" => {
            let text = if says.patch.is_empty() { says.json_op } else { says.patch };
            let options = says.options;
            let one = Patch { path: says.path, patch: text, target: says.target, options };
            let text = layer.patch_text(place, &one)?;
            builder.noted(layer, into, note, place, |rs, schemas, _| {
                patch::one(&one, &text, schemas, rs)
            })
        }
        "PatchStrategicMergeTransformer" => {
            let paths = says.paths.iter();
            let mut patches = paths
                .map(|path| layer.merge_patches(place.to_owned(), path))
                .collect::<Result<Vec<_>, _>>()?;
            let inline = patch::documents(&says.patches);
            let inline = inline.map_err(|e| layer.fault(format!("{place}: {e}")))?;
            patches.push((place.to_owned(), inline));
            if patches.iter().all(|(_, documents)| documents.is_empty()) {
                return Err(layer.fault(format!("{place}: patch appears to be empty")));
            }
            builder.noted(layer, into, note, "", |rs, schemas, _| {
                patch::merge_all(patches, schemas, rs)
            })
        }
        "ImageTagTransformer" => builder.noted(layer, into, note, place, |rs, _, _| {
            transform::images(rs, &says.image_tag, specs)
        }),
        "ReplicaCountTransformer" => builder.noted(layer, into, note, place, |rs, _, _| {
            transform::replicas(rs, &says.replica, specs)
        }),
        "ReplacementTransformer" => {
            let entries = says.replacements.iter();
            let all = entries
                .map(|entry| layer.replacements(place, entry))
                .collect::<Result<Vec<_>, _>>()?;
            builder.noted(layer, into, note, place, |rs, _, _| {
                all.iter().flatten().try_for_each(|one| replacement::apply(one, rs))
            })
        }
        "ValueAddTransformer" => {
            let mut add: ValueAdd =
                plugin.parsed(layer, &["value", "targets", "targetFilePath"])?;
            add.value = add.value.trim().to_owned();
            if add.value.is_empty() {
                add.value = layer.dir.rsplit('/').next().unwrap_or_default().to_owned();
            }
            // Kustomize takes the name of the folder, which a relative path need not tell.
            if matches!(add.value.as_str(), "" | "." | "..") {
                return Err(layer.fault(format!("{place}: value is missing")));
            }
            if !add.target_file_path.is_empty() {
                let text = layer.text(place, &add.target_file_path)?;
                let more = onggi_machinery::yaml::parse(&text).map_err(|e| e.to_string());
                let more = more.and_then(|v| serde_json::from_value(v).map_err(|e| e.to_string()));
                add.add(more.map_err(|e| layer.fault(format!("{place}: {e}")))?);
            }
            builder.noted(layer, into, note, place, |rs, _, _| add.apply(rs))
        }
        "HashTransformer" => builder.noted(layer, into, note, place, |rs, _, _| {
            names::add_hashes(rs);
            rs.iter_mut().for_each(|resource| resource.hashed = false);
            Ok(())
        }),
        other => Err(refused(layer, place, other)),
    }
}
