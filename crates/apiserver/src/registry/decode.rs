//! Bodies to objects that fit their schema.

use bytes::Bytes;
use onggi_api::{FieldError, FieldPath, GroupVersionKind, Status, schema as schemas};
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::managedfields::{self, Sent};
use onggi_machinery::patch::{self, PatchError, PatchType};
use onggi_machinery::resource::Resource;
use onggi_machinery::schema::{self, DecodeProblem, FieldValidation};
use onggi_machinery::value;
use serde_json::Value;

use super::Context;
use super::kind::Kind;

/// Takes the object of a create or update out of its request, and the list of owners out of it.
pub(super) fn object(
    context: &Context,
    row: &Resource,
    kind: &Kind,
    request: &mut Request,
    warnings: &mut Vec<String>,
) -> Result<(Value, Sent), Status> {
    let Body::Object(mut value) = std::mem::take(&mut request.body) else {
        return Err(Status::bad_request("the request has no object in its body"));
    };
    let reset = Sent::is_reset(&value);
    warnings.extend(admit(row, kind, &mut value, request, context.duplicates.clone())?);
    let sent = Sent::take(&mut value, reset);
    settle(row, &mut value);
    Ok((value, sent))
}

/// What Kubernetes' own form of a kind does not have is settled before anybody owns it.
fn settle(row: &Resource, value: &mut Value) {
    if (row.group, row.kind) == ("", "Secret") {
        (row.prepare_create)(value);
    }
}

/// Checks the value against the schema of its kind; gives the warnings.
fn admit(
    row: &Resource,
    kind: &Kind,
    value: &mut Value,
    request: &Request,
    duplicates: Vec<String>,
) -> Result<Vec<String>, Status> {
    let prune = |value: &mut Value| kind.custom().map_or(Vec::new(), |custom| custom.prune(value));
    schema::admit_custom(value, &row.gvk(), validation(request)?, duplicates, prune)
        .map_err(|problem| problem_status(&problem))
}

/// The object that a patch makes of the present one. It is done in the version of the request.
pub(super) fn patched(
    context: &Context,
    row: &Resource,
    kind: &Kind,
    request: &Request,
    old: &Value,
    warnings: &mut Vec<String>,
) -> Result<(Value, Sent), Status> {
    let Body::Patch(patch, body) = &request.body else {
        return Err(Status::bad_request("the request has no patch in its body"));
    };
    let mut new = old.clone();
    let stored = schemas::of(row.group, row.version, row.kind);
    let schema = match context.version {
        None => stored,
        Some(version) => {
            version.from_current(&mut new);
            schemas::of(version.group, version.version, version.kind).or(stored)
        }
    };
    if *patch == PatchKind::Strategic && schema.is_none() {
        return Err(Status::unsupported_media_type(PatchType::ACCEPTED_FOR_CUSTOM));
    }
    let duplicates = patch::apply(patch_type(*patch), schema, &mut new, body)
        .map_err(|error| patch_status(&error))?;
    let sent = if new.pointer("/metadata/managedFields") == old.pointer("/metadata/managedFields") {
        managedfields::take(&mut new);
        Sent::Nothing
    } else if Sent::is_reset(&new) {
        Sent::Reset
    } else {
        new.pointer("/metadata/managedFields").cloned().map_or(Sent::Nothing, Sent::List)
    };
    let checks = validation(request)?;
    let found = match context.version {
        None => schema::admit_custom(&mut new, &row.gvk(), checks, duplicates, |value| {
            kind.custom().map_or(Vec::new(), |custom| custom.prune(value))
        }),
        Some(version) => version.admit(&mut new, checks, duplicates),
    };
    let found = found.map_err(|problem| {
        if matches!(problem, DecodeProblem::CustomKind { .. }) {
            return problem_status(&problem);
        }
        let mut made = old.clone();
        if let Some(version) = context.version {
            version.from_current(&mut made);
        }
        // It could be applied before.
        let _ = patch::apply(patch_type(*patch), schema, &mut made, body);
        let of_types = schema.filter(|_| *patch == PatchKind::Strategic);
        let of_types = of_types.and_then(|schema| schema::unrestorable(schema, &made));
        unfit_patch(*patch, body, &made, of_types.unwrap_or_else(|| unfit_text(&problem)))
    })?;
    warnings.extend(found);
    managedfields::take(&mut new);
    settle(row, &mut new);
    Ok((new, sent))
}

/// What a patch has made does not fit the schema: 422, as the real server says it.
fn unfit_patch(kind: PatchKind, patch: &[u8], made: &Value, problem: String) -> Status {
    let shown = match (kind, serde_json::from_slice::<Value>(patch)) {
        (PatchKind::Strategic, Ok(patch)) => value::go_text(&patch),
        _ => made.to_string(),
    };
    let error = FieldError::invalid(&FieldPath::new("patch"), shown, problem);
    Status::invalid("", "", &[error])
}

fn unfit_text(problem: &DecodeProblem) -> String {
    match problem {
        DecodeProblem::Unfit { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}

/// The configuration of a server-side apply. Keys that stand twice are told as YAML's parser does.
pub(crate) fn configuration(
    request: &Request,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Body::Patch(PatchKind::Apply, body) = &request.body else {
        return Err(Status::bad_request("the request has no configuration in its body"));
    };
    let bad = |problem: String| Status::bad_request(format!("error decoding patch: {problem}"));
    // Clients send JSON, which takes less time to read; YAML may begin like it and go on otherwise.
    let is_json = body.trim_ascii_start().starts_with(b"{");
    let parsed = is_json.then(|| schema::json::parse(body).ok()).flatten();
    let (mut value, twice) = if let Some(parsed) = parsed {
        let twice = parsed
            .duplicates
            .iter()
            .map(|path| (1, path.rsplit('.').next().unwrap_or(path).to_owned()));
        (parsed.value, twice.collect::<Vec<_>>())
    } else {
        let text = str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
        let (value, twice) =
            onggi_machinery::yaml::parse_lenient(text).map_err(|error| bad(error.to_string()))?;
        (value, twice.map(|twice| (twice.line, twice.key)).into_iter().collect())
    };
    if !value.is_object() {
        return Err(bad("it is not an object".to_owned()));
    }
    if schema::is_too_deep(&value) {
        return Err(bad("it is nested too deeply".to_owned()));
    }
    value::settle_numbers(&mut value);
    let twice: Vec<String> = twice
        .iter()
        .map(|(line, key)| format!("line {line}: key {key:?} already set in map"))
        .collect();
    match validation(request)? {
        FieldValidation::Strict if !twice.is_empty() => Err(Status::bad_request(format!(
            "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            twice.join("\n  ")
        ))),
        FieldValidation::Warn => {
            warnings.extend(twice);
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// What a configuration has made, in canonical form and in the stored version. It fitted the schema
/// before.
pub(super) fn applied(
    context: &Context,
    row: &Resource,
    kind: &Kind,
    object: &mut Value,
) -> Result<(), Status> {
    let ignore = FieldValidation::Ignore;
    let admitted = match context.version {
        None => schema::admit_custom(object, &row.gvk(), ignore, Vec::new(), |value| {
            kind.custom().map_or(Vec::new(), |custom| custom.prune(value))
        }),
        Some(version) => version.admit(object, ignore, Vec::new()),
    };
    admitted.map(drop).map_err(|problem| Status::failure(500, "", problem.to_string()))
}

/// A patch of a document that is not stored, such as a `Scale`, which must fit its schema.
pub(crate) fn apply_plain_patch(
    kind: PatchKind,
    body: &Bytes,
    document: &Value,
) -> Result<Value, Status> {
    let given = kind;
    // Strategic merge is merge where nothing is known about lists.
    let kind = if kind == PatchKind::Strategic { PatchKind::Merge } else { kind };
    let mut new = document.clone();
    patch::apply(patch_type(kind), None, &mut new, body).map_err(|error| patch_status(&error))?;
    let made = new.clone();
    let text = |field: &str| document[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let gvk = GroupVersionKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: text("kind").to_owned(),
    };
    schema::fit(&mut new, &gvk)
        .map_err(|problem| unfit_patch(given, body, &made, unfit_text(&problem)))?;
    Ok(new)
}

fn patch_type(kind: PatchKind) -> PatchType {
    match kind {
        PatchKind::Json => PatchType::Json,
        PatchKind::Merge => PatchType::Merge,
        PatchKind::Strategic => PatchType::Strategic,
        PatchKind::Apply => PatchType::Apply,
    }
}

/// How strictly the fields of a body are looked at.
pub(crate) fn validation(request: &Request) -> Result<FieldValidation, Status> {
    let text = &request.write.field_validation;
    FieldValidation::parse(text).ok_or_else(|| {
        Status::bad_request(format!(
            "fieldValidation: Unsupported value: {text:?}: supported values: \"Ignore\", \"Strict\", \
             \"Warn\""
        ))
    })
}

/// A body that cannot be taken.
pub(crate) fn problem_status(problem: &DecodeProblem) -> Status {
    use onggi_api::status::reason;
    match problem {
        DecodeProblem::MediaType => {
            Status::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, problem.to_string())
        }
        DecodeProblem::CustomKind { group, found, name, expected } => {
            let error = FieldError::invalid(
                &FieldPath::new("kind"),
                found.clone(),
                format!("must be {expected}"),
            );
            Status::invalid(&format!("{found}.{group}"), name, &[error])
        }
        _ => Status::bad_request(problem.to_string()),
    }
}

fn patch_status(error: &PatchError) -> Status {
    use onggi_api::status::{Details, reason};
    let reason = match error.code() {
        400 => reason::BAD_REQUEST,
        413 => reason::REQUEST_ENTITY_TOO_LARGE,
        422 => reason::INVALID,
        _ => "",
    };
    let status = Status::failure(error.code(), reason, error.to_string());
    match error.code() {
        422 => Status { details: Some(Details::default()), ..status },
        _ => status,
    }
}
