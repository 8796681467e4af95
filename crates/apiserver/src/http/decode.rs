//! HTTP requests to [`Request`]s.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use onggi_api::{FieldError, FieldPath, Status};
use onggi_client::{Body, ListOptions, PatchKind, Request, WriteOptions};
use onggi_machinery::resource::Verb;
use onggi_machinery::schema;

use super::Incomings;
use super::info::{Info, ResourcePlace};
use super::query::Query;
use crate::ApiServer;
use crate::registry::{invalid_list_options, problem_status};

/// The largest body (`MaxRequestBodyBytes`).
const MAX_BODY: usize = 3 << 20;

const PATCH_TYPES: &str = "application/json-patch+json, application/merge-patch+json, \
    application/strategic-merge-patch+json";

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
            let kind = patch_kind(&parts.headers)?;
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
        write: write_options(query)?,
        body,
    };
    Ok(Decoded { request, duplicates })
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn patch_kind(headers: &HeaderMap) -> Result<PatchKind, Status> {
    match content_type(headers).split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        _ => Err(Status::unsupported_media_type(PATCH_TYPES)),
    }
}

async fn read(body: hyper::body::Incoming) -> Result<Bytes, Status> {
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
    Ok(ListOptions {
        label_selector: query.get("labelSelector").into(),
        field_selector: query.get("fieldSelector").into(),
        limit: query.number::<i64>("limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
        continue_token: query.get("continue").into(),
        resource_version: query.get("resourceVersion").into(),
        resource_version_match: query.get("resourceVersionMatch").into(),
    })
}

fn write_options(query: &Query) -> Result<WriteOptions, Status> {
    let dry_run = query.all("dryRun").try_fold(false, |_, value| match value {
        "All" => Ok(true),
        other => Err(Status::bad_request(format!(
            "dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))),
    })?;
    Ok(WriteOptions {
        dry_run,
        field_manager: query.get("fieldManager").into(),
        field_validation: query.get("fieldValidation").into(),
        force: query.flag("force"),
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation_policy: query.get("propagationPolicy").into(),
        precondition_uid: None,
        precondition_resource_version: None,
    })
}
