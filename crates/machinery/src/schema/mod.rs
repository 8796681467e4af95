//! Bodies to objects: parse, compare with the schema, bring into canonical form.
//!
//! [`decode`] is the one door for JSON and YAML; protobuf goes through [`crate::protobuf`] and then
//! [`admit`], as do the results of patches.
//!
//! Canonical means: no empty lists, maps, texts and zeros where Go leaves them out, and those that
//! it writes where it does not; nulls there alone; quantities and times as Kubernetes writes them.
//! So defaulting may ask whether a field is there.

mod check;
mod go;
pub mod json;
mod restore;
pub(crate) mod union;
mod zero;

use onggi_api::{GroupVersion, GroupVersionKind};
use serde_json::Value;

use crate::yaml::{self, YamlError};
use check::Check;
pub use json::Parsed;
pub use restore::unrestorable;
pub use zero::{complete, complete_status};

/// The query parameter `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are dropped silently.
    Ignore,
    /// They are dropped, and the answer carries warnings. What is done when nothing is asked.
    #[default]
    Warn,
    /// They are errors.
    Strict,
}

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`, and what a client that says nothing sends.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// An object that fits its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// With `apiVersion` and `kind`.
    pub value: Value,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// A body cannot be taken. `Display` is the message of the `Status`, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeProblem {
    /// 415: not one of the media types.
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )]
    MediaType,
    /// 400: no JSON, YAML or protobuf.
    #[error("the object provided is unrecognized (must be of type {kind}): {problem}")]
    Syntax {
        /// What was expected.
        kind: String,
        /// What the parser says, with the place.
        problem: String,
    },
    /// 400: the body's `apiVersion` is not the path's.
    #[error(
        "the API version in the data ({found}) does not match the expected API version ({expected})"
    )]
    ApiVersion {
        /// The body's.
        found: String,
        /// The path's.
        expected: String,
    },
    /// 400: a wrong type, or with strict validation an unknown or duplicate field.
    #[error("{found} in version {version:?} cannot be handled as a {kind}: {problem}")]
    Unfit {
        /// The body's kind.
        found: String,
        /// The body's version, without the group.
        version: String,
        /// What was expected.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// 422: the body of a custom kind says another kind.
    #[error("kind: Invalid value: {found:?}: must be {expected}")]
    CustomKind {
        /// The group of the custom kind.
        group: String,
        /// The body's kind.
        found: String,
        /// The name of the object.
        name: String,
        /// The custom kind.
        expected: String,
    },
}

impl FieldValidation {
    /// Reads the parameter; anything else is refused by the caller with a 400.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "Warn" | "" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

impl MediaType {
    /// Reads a `Content-Type`.
    pub fn parse(content_type: &str) -> Option<Self> {
        let given = content_type.split(';').next().unwrap_or_default().trim();
        if given.is_empty() {
            return Some(Self::Json);
        }
        let known = [
            ("application/json", Self::Json),
            ("application/yaml", Self::Yaml),
            ("application/vnd.kubernetes.protobuf", Self::Protobuf),
        ];
        known.into_iter().find(|(name, _)| given.eq_ignore_ascii_case(name)).map(|(_, kind)| kind)
    }
}

/// Reads a body that must be an object of the kind. `apiVersion` and `kind` may be left out.
pub fn decode(
    body: &[u8],
    content_type: &str,
    kind: &GroupVersionKind,
    validation: FieldValidation,
) -> Result<Decoded, DecodeProblem> {
    let Parsed { mut value, duplicates } = parse(body, content_type, &kind.kind)?;
    let warnings = admit_with(&mut value, kind, validation, duplicates)?;
    Ok(Decoded { value, warnings })
}

/// Reads a body without a look at its schema: for kinds of old versions, and where the kind stands
/// in the body. `expected` is only for the error's text.
pub fn parse(body: &[u8], content_type: &str, expected: &str) -> Result<Parsed, DecodeProblem> {
    let syntax = |problem: String| DecodeProblem::Syntax { kind: expected.to_owned(), problem };
    match MediaType::parse(content_type).ok_or(DecodeProblem::MediaType)? {
        MediaType::Json => json::parse(body).map_err(|error| {
            syntax(format!("couldn't get version/kind; json parse error: {error}"))
        }),
        MediaType::Yaml => {
            let text = str::from_utf8(body).map_err(|error| syntax(error.to_string()))?;
            let value = yaml::parse(text).map_err(|error: YamlError| {
                syntax(format!("error converting YAML to JSON: {error}"))
            })?;
            Ok(Parsed { value, duplicates: Vec::new() })
        }
        MediaType::Protobuf => {
            let value = crate::protobuf::decode(body).map_err(|error| syntax(error.to_string()))?;
            Ok(Parsed { value, duplicates: Vec::new() })
        }
    }
}

/// Brings a value that did not come as text (protobuf, the result of a patch) into canonical form
/// and checks it as [`decode`] does; gives the warnings.
pub fn admit(
    value: &mut Value,
    kind: &GroupVersionKind,
    validation: FieldValidation,
) -> Result<Vec<String>, DecodeProblem> {
    admit_with(value, kind, validation, Vec::new())
}

/// [`admit`], with the duplicates that [`parse`] found.
pub fn admit_with(
    value: &mut Value,
    kind: &GroupVersionKind,
    validation: FieldValidation,
    duplicates: Vec<String>,
) -> Result<Vec<String>, DecodeProblem> {
    admit_custom(value, kind, validation, duplicates, |_| Vec::new())
}

/// [`admit_with`] for a kind that may be custom: `prune` takes away what its schema does not know
/// and gives the paths.
pub fn admit_custom(
    value: &mut Value,
    kind: &GroupVersionKind,
    validation: FieldValidation,
    duplicates: Vec<String>,
    prune: impl FnOnce(&mut Value) -> Vec<String>,
) -> Result<Vec<String>, DecodeProblem> {
    if is_too_deep(value) {
        let problem = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(DecodeProblem::Syntax { kind: kind.kind.clone(), problem });
    }
    let built_in = onggi_api::schema::of(&kind.group, &kind.version, &kind.kind);
    settle_kind(value, kind, built_in.is_some())?;
    let unfit = |problem: String| DecodeProblem::Unfit {
        found: kind.kind.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        problem,
    };
    let mut check = Check::default();
    match built_in {
        Some(schema) => check.object(schema, value).map_err(unfit)?,
        None => {
            crate::value::settle_numbers(value);
            let meta = onggi_api::schema::table()
                .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
            if let (Some(meta), Some(metadata)) = (meta, value.get_mut("metadata")) {
                check.object(meta, metadata).map_err(unfit)?;
            }
            check.unknown.iter_mut().for_each(|path| path.insert_str(0, "metadata."));
        }
    }
    check.unknown.extend(prune(value));
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let unknown = check.unknown.iter().map(|path| format!("unknown field {path:?}"));
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    // Custom kinds are parsed first and compared with their schema later.
    let faults: Vec<String> = match built_in {
        Some(_) => unknown.chain(duplicates).collect(),
        None => duplicates.chain(unknown).collect(),
    };
    if validation == FieldValidation::Strict && !faults.is_empty() {
        return Err(unfit(format!("strict decoding error: {}", faults.join(", "))));
    }
    Ok(faults)
}

/// Checks a value against the schema of a kind that is not stored, such as `DeleteOptions`, whatever
/// version it says that it is of; what the schema does not know goes.
pub fn fit(value: &mut Value, kind: &GroupVersionKind) -> Result<(), DecodeProblem> {
    let Some(schema) = onggi_api::schema::of(&kind.group, &kind.version, &kind.kind) else {
        return Ok(());
    };
    Check::default().object(schema, value).map_err(|problem| DecodeProblem::Unfit {
        found: kind.kind.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        problem,
    })
}

/// Levels of nesting that an object may have. Text is refused earlier by its parsers; patches and
/// protobuf can build deeper ones, which could then be stored and never be read again.
const MAX_DEPTH: usize = 120;

/// Whether a value is nested deeper than an object may be.
pub fn is_too_deep(value: &Value) -> bool {
    fn within(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|v| within(v, levels - 1)),
            Value::Object(map) => levels > 0 && map.values().all(|v| within(v, levels - 1)),
            _ => true,
        }
    }
    !within(value, MAX_DEPTH)
}

/// Where kube-apiserver's own kinds are registered, as its errors name it.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";

/// Whether there is, or was, such a kind.
fn is_known(GroupVersion { group, version }: &GroupVersion, kind: &str) -> bool {
    onggi_api::schema::of(group, version, kind).is_some()
        || crate::conversion::version_of(group, version, kind).is_some()
}

/// Fills in `apiVersion` and `kind`; they must be those of the kind.
fn settle_kind(
    value: &mut Value,
    kind: &GroupVersionKind,
    built_in: bool,
) -> Result<(), DecodeProblem> {
    let syntax = |problem: &str| DecodeProblem::Syntax {
        kind: kind.kind.clone(),
        problem: problem.to_owned(),
    };
    let Value::Object(map) = value else {
        return Err(syntax(
            "couldn't get version/kind; json parse error: the body is not an object",
        ));
    };
    let text = |field: &str| match map.get(field) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(syntax(&format!(
            "couldn't get version/kind; json parse error: {field} is not a string"
        ))),
    };
    let (version, found) = (text("apiVersion")?, text("kind")?);
    if found.is_empty() && !built_in {
        return Err(DecodeProblem::Unfit {
            found: kind.kind.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            problem: format!("Object 'Kind' is missing in '{value}'"),
        });
    }
    let expected = kind.api_version();
    let same_version = version.is_empty() || version == expected;
    let same_kind = found.is_empty() || found == kind.kind;
    if same_version && same_kind {
        map.insert("apiVersion".to_owned(), expected.into());
        map.insert("kind".to_owned(), kind.kind.clone().into());
        return Ok(());
    }
    let version = if version.is_empty() { expected.as_str() } else { version };
    let Some(parsed) = GroupVersion::parse(version) else {
        return Err(syntax(&format!("unexpected GroupVersion string: {version}")));
    };
    let known = is_known(&parsed, if found.is_empty() { &kind.kind } else { found });
    let unfit = |problem: String| DecodeProblem::Unfit {
        found: if found.is_empty() { kind.kind.clone() } else { found.to_owned() },
        version: parsed.version.clone(),
        kind: kind.kind.clone(),
        problem,
    };
    Err(match (built_in, same_version) {
        (false, true) => DecodeProblem::CustomKind {
            group: kind.group.clone(),
            found: found.to_owned(),
            name: crate::value::str_at(value, "metadata.name").to_owned(),
            expected: kind.kind.clone(),
        },
        (true, _) if !known => {
            let found = if found.is_empty() { &kind.kind } else { found };
            unfit(format!(
                "no kind {found:?} is registered for version {version:?} in scheme {SCHEME:?}"
            ))
        }
        (true, _) if !same_kind => {
            let package = match kind.group.split('.').next() {
                None | Some("") => "core",
                Some(package) => package,
            };
            unfit(format!(
                "converting ({}.{found}) to ({package}.{}): unknown conversion",
                parsed.version, kind.kind
            ))
        }
        _ => DecodeProblem::ApiVersion { found: version.to_owned(), expected },
    })
}

#[cfg(test)]
mod tests;
