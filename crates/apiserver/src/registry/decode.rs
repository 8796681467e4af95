//! Bodies to objects that fit their schema.

use bytes::Bytes;
use onggi_api::{Status, schema as schemas};
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::patch::{self, PatchError, PatchType};
use onggi_machinery::resource::Resource;
use onggi_machinery::schema::{self, DecodeProblem, FieldValidation};
use serde_json::Value;

use super::Context;
use super::kind::Kind;

/// Takes the object of a create or update out of its request.
pub(super) fn object(
    context: &Context,
    row: &Resource,
    kind: &Kind,
    request: &mut Request,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Body::Object(mut value) = std::mem::take(&mut request.body) else {
        return Err(Status::bad_request("the request has no object in its body"));
    };
    warnings.extend(admit(row, kind, &mut value, request, context.duplicates.clone())?);
    Ok(value)
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
) -> Result<Value, Status> {
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
    let duplicates = patch::apply(patch_type(*patch), schema, &mut new, body)
        .map_err(|error| patch_status(&error))?;
    let checks = validation(request)?;
    let found = match context.version {
        None => schema::admit_custom(&mut new, &row.gvk(), checks, duplicates, |value| {
            kind.custom().map_or(Vec::new(), |custom| custom.prune(value))
        }),
        Some(version) => version.admit(&mut new, checks, duplicates),
    }
    .map_err(|problem| problem_status(&problem))?;
    warnings.extend(found);
    Ok(new)
}

/// A patch of a document that is not stored, such as a `Scale`.
pub(crate) fn apply_plain_patch(
    kind: PatchKind,
    body: &Bytes,
    document: &Value,
) -> Result<Value, Status> {
    // Strategic merge is merge where nothing is known about lists.
    let kind = if kind == PatchKind::Strategic { PatchKind::Merge } else { kind };
    let mut new = document.clone();
    patch::apply(patch_type(kind), None, &mut new, body).map_err(|error| patch_status(&error))?;
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
        _ => Status::bad_request(problem.to_string()),
    }
}

fn patch_status(error: &PatchError) -> Status {
    use onggi_api::status::reason;
    let reason = match error.code() {
        413 => reason::REQUEST_ENTITY_TOO_LARGE,
        422 => reason::INVALID,
        _ => reason::BAD_REQUEST,
    };
    Status::failure(error.code(), reason, error.to_string())
}
