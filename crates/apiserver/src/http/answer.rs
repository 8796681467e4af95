//! Responses to bytes.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use onggi_api::object::opening;
use onggi_api::{Object, Status};
use onggi_client::{ListMeta, Response as Answer};
use onggi_machinery::protobuf::{self, Part, ProtobufError};
use onggi_machinery::resource::Resource;
use onggi_machinery::yaml;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::accept::{Accept, Format, Shape};
use super::compress::Packed;
use super::info::ResourcePlace;
use super::list_body::ListBody;
use super::query::Query;
use super::table::{Include, partial, table};
use super::{Body, aside, pretty, status};
use crate::ApiServer;

/// How a request is to be answered.
pub(super) struct Asked<'a> {
    pub(super) place: &'a ResourcePlace,
    pub(super) query: &'a Query,
    pub(super) accept: Accept,
    /// Whether the client takes gzip.
    pub(super) gzip: bool,
    /// Where large answers are made.
    pub(super) lane: Arc<Semaphore>,
}

/// An answer in the format and shape that the client asked for.
pub(super) async fn encode(
    server: &ApiServer,
    asked: &Asked<'_>,
    answer: Answer,
) -> Result<Response<Body>, Status> {
    let Asked { place, accept, .. } = asked;
    let row = server.row(&place.resource)?;
    let now = server.registry.clock.seconds();
    let (bytes, created, warnings) = match answer {
        Answer::Status(done) => {
            let mut response = status::response(&done, accept);
            *response.status_mut() =
                StatusCode::from_u16(done.code.max(200)).unwrap_or(StatusCode::OK);
            return Ok(response);
        }
        Answer::Object { object, created, warnings } => {
            (one(row, asked, &object, now)?, created, warnings)
        }
        Answer::Document { value, created, warnings } => {
            // A document of a subresource is of another kind than the row.
            let bytes = match accept.shape {
                Shape::Table if !place.subresource.is_empty() => {
                    write(&value, &Accept { shape: Shape::Whole, ..*accept })?
                }
                _ => shaped(row, asked, value, now)?,
            };
            (bytes, created, warnings)
        }
        Answer::List { meta, items, warnings } => {
            let mut response = list(row, asked, list_meta(&meta), items, now).await?;
            advise(&mut response, row, &warnings);
            return Ok(response);
        }
    };
    let mut response = Packed::of(bytes, asked.gzip).response(accept.format.content_type());
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    advise(&mut response, row, &warnings);
    Ok(response)
}

/// The advice of an answer, and that of a version that its definition calls deprecated.
fn advise(response: &mut Response<Body>, row: &Resource, warnings: &[String]) {
    warn(response, warnings);
    if let Some(text) = row.custom.and_then(|shape| shape.warning.as_ref()) {
        warn(response, std::slice::from_ref(text));
    }
}

/// What an answer warns of, before it is brought into bounds.
#[derive(Clone, Default)]
struct Warnings(Vec<String>);

/// Adds `Warning` headers.
pub(super) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    let mut all: Warnings = response.extensions_mut().remove().unwrap_or_default();
    all.0.extend_from_slice(warnings);
    let texts = bounded(&all.0);
    let values = texts.iter().filter_map(|text| warning_header(text));
    let headers = response.headers_mut();
    headers.remove(header::WARNING);
    headers.extend(values.map(|value| (header::WARNING, value)));
    response.extensions_mut().insert(all);
}

/// How many characters all warnings of an answer may have together
/// (`apiserver/pkg/endpoints/filters/warning.go`).
const WARNINGS_MAX: usize = 4096;
/// How many one has where they would have more.
const WARNING_MAX: usize = 256;

/// Each once; shortened where there are too many, and no more than clients take.
fn bounded(warnings: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let texts = warnings.iter().filter(|text| !text.is_empty() && seen.insert(text.as_str()));
    let texts: Vec<&String> = texts.collect();
    if texts.iter().map(|text| text.chars().count()).sum::<usize>() <= WARNINGS_MAX {
        return texts.into_iter().cloned().collect();
    }
    let mut written = 0;
    let mut short = Vec::new();
    for text in texts {
        if written >= WARNINGS_MAX {
            break;
        }
        let text: String = text.chars().take(WARNING_MAX).collect();
        written += text.chars().count();
        short.push(text);
    }
    short
}

/// `299 - "text"` (RFC 7234, 5.5).
fn warning_header(text: &str) -> Option<HeaderValue> {
    let clean: String = text
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect();
    HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()).ok()
}

/// A stored object.
fn one(row: &Resource, asked: &Asked<'_>, object: &Object, now: i64) -> Result<Bytes, Status> {
    let accept = &asked.accept;
    match (accept.shape, accept.format) {
        (Shape::Whole, Format::Json) if !accept.pretty => Ok(object.json()),
        (Shape::Whole | Shape::Metadata, Format::Protobuf) => protobuf_object(object, accept),
        _ => shaped(row, asked, object.value().map_err(Status::internal)?, now),
    }
}

/// An object as a protobuf body.
pub(super) fn protobuf_object(object: &Object, accept: &Accept) -> Result<Bytes, Status> {
    let head = object.head();
    let bytes = match accept.shape {
        Shape::Whole => {
            protobuf::encode_json(&head.api_version, &head.kind, &object.json(), Part::Whole)
        }
        _ => {
            let version = format!("meta.k8s.io/{}", accept.version);
            protobuf::encode_json(&version, "PartialObjectMetadata", &object.json(), Part::Metadata)
        }
    };
    bytes.map(Bytes::from).map_err(unwritable)
}

fn unwritable(error: ProtobufError) -> Status {
    tracing::error!(%error, "an object could not be written as protobuf");
    Status::internal(error)
}

fn shaped(row: &Resource, asked: &Asked<'_>, value: Value, now: i64) -> Result<Bytes, Status> {
    let accept = &asked.accept;
    let value = match accept.shape {
        Shape::Whole => value,
        Shape::Metadata => partial(&value, accept.version),
        Shape::MetadataList => {
            return Err(other_shape("PartialObjectMetadataList", "not a list", row, ""));
        }
        Shape::Table => {
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            let include = Include::parse(asked.query)?;
            table(row, vec![value], metadata, include, now, (accept.version, true))
        }
    };
    write(&value, accept)
}

/// 406 of who wants one and gets many, or many and gets one.
fn other_shape(wanted: &str, found: &str, row: &Resource, suffix: &str) -> Status {
    let package = row.group.split('.').next().filter(|name| !name.is_empty()).unwrap_or("core");
    let text = format!(
        "you requested {wanted}, but the requested object is {found} (*{package}.{}{suffix})",
        row.kind
    );
    Status::failure(406, onggi_api::status::reason::NOT_ACCEPTABLE, text)
}

/// A document as bytes.
pub(super) fn write(value: &Value, accept: &Accept) -> Result<Bytes, Status> {
    match accept.format {
        Format::Json => {
            let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
            Ok(if accept.pretty { pretty::indent(&bytes) } else { bytes }.into())
        }
        Format::Yaml => Ok(yaml::to_string(value).into()),
        Format::Protobuf if accept.shape == Shape::Metadata => {
            let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
            let version = format!("meta.k8s.io/{}", accept.version);
            protobuf::encode_json(&version, "PartialObjectMetadata", &bytes, Part::Metadata)
                .map(Bytes::from)
                .map_err(unwritable)
        }
        Format::Protobuf => protobuf::encode(value).map(Bytes::from).map_err(unwritable),
    }
}

fn list_meta(meta: &ListMeta) -> Value {
    let mut value = json!({"resourceVersion": meta.resource_version.to_string()});
    if !meta.continue_token.is_empty() {
        value["continue"] = meta.continue_token.clone().into();
    }
    if let Some(remaining) = meta.remaining {
        value["remainingItemCount"] = remaining.into();
    }
    value
}

async fn list(
    row: &'static Resource,
    asked: &Asked<'_>,
    meta: Value,
    items: Vec<Arc<Object>>,
    now: i64,
) -> Result<Response<Body>, Status> {
    let Accept { shape, format, pretty, .. } = asked.accept;
    let gzip = asked.gzip;
    let content_type = format.content_type();
    let size: usize = items.iter().map(|object| object.json_len()).sum();
    let is_large = size > aside::LARGE;
    let packed = if (shape, format, pretty) == (Shape::Whole, Format::Json, false) {
        let body = ListBody::new(head(row, asked, &meta), items);
        if is_large && !gzip {
            let mut response = Response::new(body.boxed_unsync());
            let kind = HeaderValue::from_static(content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(response);
        }
        let work = move || Packed::of(body.whole(), gzip);
        if is_large { aside::run(Arc::clone(&asked.lane), work).await? } else { work() }
    } else {
        let list = List {
            row,
            api_version: asked.place.resource.api_version(),
            accept: asked.accept,
            include: match shape {
                Shape::Table => Include::parse(asked.query)?,
                _ => Include::None,
            },
            meta,
            now,
        };
        let work = move || Ok(Packed::of(list.write(&items)?, gzip));
        if is_large { aside::run(Arc::clone(&asked.lane), work).await?? } else { work()? }
    };
    Ok(packed.response(content_type))
}

/// What stands before the objects of a list that are shown as they are: they are not encoded again,
/// their bytes are put one behind the other.
fn head(row: &Resource, asked: &Asked<'_>, meta: &Value) -> Bytes {
    let api_version = asked.place.resource.api_version();
    let what = json!({"kind": row.list_kind(), "apiVersion": api_version});
    let [first, second] = opening(&api_version);
    let text = format!(
        "{{\"{first}\":{},\"{second}\":{},\"metadata\":{meta},\"items\":[",
        what[first], what[second]
    );
    text.into()
}

/// A list that is to be written otherwise than it is stored.
struct List {
    row: &'static Resource,
    api_version: String,
    accept: Accept,
    include: Include,
    meta: Value,
    now: i64,
}

impl List {
    fn write(self, items: &[Arc<Object>]) -> Result<Bytes, Status> {
        let Self { row, api_version, accept, include, meta, now } = self;
        match (accept.shape, accept.format) {
            (Shape::Metadata, _) => {
                return Err(other_shape("PartialObjectMetadata", "a list", row, "List"));
            }
            (_, Format::Protobuf) => {
                let bodies = items.iter().map(|object| object.json());
                let item = (api_version.as_str(), row.kind);
                let written = if accept.shape == Shape::Whole {
                    let kind = format!("{}List", row.kind);
                    protobuf::encode_list((&api_version, &kind), &meta, item, bodies, Part::Whole)
                } else {
                    let version = format!("meta.k8s.io/{}", accept.version);
                    let list = (version.as_str(), "PartialObjectMetadataList");
                    protobuf::encode_list(list, &meta, item, bodies, Part::Metadata)
                };
                return written.map(Bytes::from).map_err(unwritable);
            }
            _ => {}
        }
        let values = items.iter().map(|object| object.value().map_err(Status::internal));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let value = match accept.shape {
            Shape::Table => table(row, values, meta, include, now, (accept.version, true)),
            Shape::MetadataList => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{}", accept.version),
                "metadata": meta,
                "items": values.iter().map(|v| partial(v, accept.version)).collect::<Vec<_>>(),
            }),
            Shape::Whole | Shape::Metadata => json!({
                "kind": row.list_kind(),
                "apiVersion": api_version,
                "metadata": meta,
                "items": values,
            }),
        };
        write(&value, &accept)
    }
}
