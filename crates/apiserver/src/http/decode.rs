//! HTTP requests to [`Request`]s.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use onggi_api::status::{Details, reason};
use onggi_api::{FieldError, FieldPath, Status};
use onggi_client::{Body, ListOptions, PatchKind, Request, WriteOptions};
use onggi_machinery::managedfields;
use onggi_machinery::patch::PatchType;
use onggi_machinery::resource::{Resource, Verb};
use onggi_machinery::schema;

use super::info::{Info, ResourcePlace};
use super::query::Query;
use super::{Incomings, has_protobuf};
use crate::ApiServer;
use crate::registry::{invalid_list_options, problem_status};

/// The largest body (`MaxRequestBodyBytes`).
const MAX_BODY: usize = 3 << 20;
/// What objects without a form in protobuf are read from.
const TEXT_FORMATS: &str = "application/json, application/yaml";

pub(super) struct Decoded {
    pub(super) request: Request,
    /// Fields that stand twice in the body.
    pub(super) duplicates: Vec<String>,
}

pub(super) async fn request(
    server: &ApiServer,
    info: &Info,
    place: &ResourcePlace,
    http: Incomings,
) -> Result<Decoded, Status> {
    let row = server.row(&place.resource)?;
    let (parts, body) = http.into_parts();
    let query = &info.query;
    let mut duplicates = Vec::new();
    let body = match info.verb {
        Verb::Patch => {
            may_patch(row, place)?;
            let kind = patch_kind(row, &parts.headers)?;
            Body::Patch(kind, read(body).await?)
        }
        Verb::Create | Verb::Update | Verb::Delete | Verb::DeleteCollection => {
            let bytes = read(body).await?;
            let deletes = matches!(info.verb, Verb::Delete | Verb::DeleteCollection);
            let expected = match row.subresource(&place.subresource) {
                _ if deletes => "DeleteOptions",
                Some(part) => part.kind.2,
                None => row.kind,
            };
            if deletes && bytes.is_empty() {
                Body::None
            } else {
                let content_type = content_type(&parts.headers);
                // Nobody knows the numbers of its fields; clients come again with JSON.
                if !deletes && is_protobuf(content_type) && !has_protobuf(row, place) {
                    return Err(Status::unsupported_media_type(TEXT_FORMATS));
                }
                let parsed = schema::parse(&bytes, content_type, expected)
                    .map_err(|problem| problem_status(&problem))?;
                duplicates = parsed.duplicates;
                Body::Object(parsed.value)
            }
        }
        Verb::Get | Verb::List | Verb::Watch => Body::None,
    };
    let request = Request {
        verb: info.verb,
        resource: place.resource.clone(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        subresource: place.subresource.clone(),
        list: list_options(query)?,
        write: write_options(info.verb, &body, query)?,
        body,
    };
    Ok(Decoded { request, duplicates })
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_protobuf(content_type: &str) -> bool {
    schema::MediaType::parse(content_type) == Some(schema::MediaType::Protobuf)
}

/// Whether the part that is named can be patched at all.
fn may_patch(row: &Resource, place: &ResourcePlace) -> Result<(), Status> {
    if place.subresource.is_empty() {
        return Ok(());
    }
    let part = row.subresource(&place.subresource).ok_or_else(Status::no_such_path)?;
    if part.verbs.contains(&Verb::Patch) { Ok(()) } else { Err(Status::method_not_allowed()) }
}

fn patch_kind(row: &Resource, headers: &HeaderMap) -> Result<PatchKind, Status> {
    let custom = onggi_api::schema::of(row.group, row.version, row.kind).is_none();
    match PatchType::parse(content_type(headers)) {
        Some(PatchType::Json) => Ok(PatchKind::Json),
        Some(PatchType::Merge) => Ok(PatchKind::Merge),
        Some(PatchType::Apply) => Ok(PatchKind::Apply),
        Some(PatchType::Strategic) if !custom => Ok(PatchKind::Strategic),
        _ if custom => Err(Status::unsupported_media_type(PatchType::ACCEPTED_FOR_CUSTOM)),
        // The router of kube-apiserver says it, before anybody else looks at the request.
        _ => {
            let text = "415: Unsupported Media Type";
            let status = Status::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, text);
            Err(Status { details: Some(Details::default()), ..status })
        }
    }
}

async fn read(body: hyper::body::Incoming) -> Result<Bytes, Status> {
    // Where the client says how long it is, nothing of it has to come.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Status::too_large(MAX_BODY));
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY)),
        Err(error) => Err(Status::bad_request(format!("the body cannot be read: {error}"))),
    }
}

fn list_options(query: &Query) -> Result<ListOptions, Status> {
    if !query.get("sendInitialEvents").is_empty() {
        let path = FieldPath::new("sendInitialEvents");
        let error = FieldError::forbidden(&path, "sendInitialEvents is forbidden for list");
        return Err(invalid_list_options(&[error]));
    }
    query.number::<i64>("timeoutSeconds")?;
    Ok(ListOptions {
        label_selector: query.get("labelSelector").into(),
        field_selector: query.get("fieldSelector").into(),
        limit: query.number::<i64>("limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        continue_token: query.get("continue").into(),
        resource_version: query.get("resourceVersion").into(),
        resource_version_match: query.get("resourceVersionMatch").into(),
    })
}

/// `CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions` of a query.
fn write_options(verb: Verb, body: &Body, query: &Query) -> Result<WriteOptions, Status> {
    let mut errors = Vec::new();
    let path = FieldPath::new;
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if dry_run.iter().any(|value| *value != "All") {
        let found: Vec<_> = dry_run.iter().map(|value| serde_json::Value::from(*value)).collect();
        errors.push(FieldError::not_supported(&path("dryRun"), found, &["All"]));
    }
    let field_manager = query.get("fieldManager");
    let force = query.get("force");
    let kind = match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        _ => "DeleteOptions",
    };
    let field_validation = query.get("fieldValidation");
    if matches!(verb, Verb::Create | Verb::Update | Verb::Patch) {
        if verb == Verb::Patch {
            let applies = matches!(body, Body::Patch(PatchKind::Apply, _));
            if applies && field_manager.is_empty() {
                let why = "is required for apply patch";
                errors.push(FieldError::required(&path("fieldManager"), why));
            }
            if !applies && query.all("force").next().is_some() {
                let why = "may not be specified for non-apply patch";
                errors.push(FieldError::forbidden(&path("force"), why));
            }
        }
        errors.extend(managedfields::validate_manager(field_manager, &path("fieldManager")));
        let known = ["", "Ignore", "Strict", "Warn"];
        if !known.contains(&field_validation) {
            let place = path("fieldValidation");
            errors.push(FieldError::not_supported(&place, field_validation, &known));
        }
    }
    let mut propagation = query.get("propagationPolicy").to_owned();
    if matches!(verb, Verb::Delete | Verb::DeleteCollection) && query.has("orphanDependents") {
        if !propagation.is_empty() && matches!(body, Body::None) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(&path("propagationPolicy"), propagation.clone(), why));
        }
        let orphan = query.flag("orphanDependents");
        propagation = if orphan { "Orphan" } else { "Background" }.to_owned();
    }
    if !errors.is_empty() {
        return Err(Status::invalid(&format!("{kind}.meta.k8s.io"), "", &errors));
    }
    Ok(WriteOptions {
        dry_run: !dry_run.is_empty(),
        field_manager: field_manager.into(),
        field_validation: field_validation.into(),
        force: !matches!(force, "" | "false" | "0"),
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation_policy: propagation,
        precondition_uid: None,
        precondition_resource_version: None,
    })
}
