//! Responses to bytes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::{Object, Status};
use onggi_client::{ListMeta, Response as Answer};
use onggi_machinery::resource::Resource;
use onggi_machinery::yaml;
use serde_json::{Value, json};

use super::accept::{Accept, Format, Shape};
use super::info::ResourcePlace;
use super::query::Query;
use super::table::{Include, partial, table};
use super::{Body, full, status};
use crate::{ApiServer, server};

/// An answer in the format and shape that the client asked for.
pub(super) fn encode(
    server: &ApiServer,
    place: &ResourcePlace,
    query: &Query,
    accept: &Accept,
    answer: Answer,
) -> Result<Response<Body>, Status> {
    let row = server::row(&place.resource)?;
    let now = server.registry.clock.seconds();
    let (bytes, created, warnings) = match answer {
        Answer::Status(done) => {
            let mut response = status::response(&done);
            *response.status_mut() =
                StatusCode::from_u16(done.code.max(200)).unwrap_or(StatusCode::OK);
            return Ok(response);
        }
        Answer::Object { object, created, warnings } => {
            let bytes = match (accept.shape, accept.format) {
                (Shape::Whole, Format::Json) => object.bytes().clone(),
                _ => {
                    let value = object.value().map_err(Status::internal)?;
                    shaped(row, value, query, accept, now)?
                }
            };
            (bytes, created, warnings)
        }
        Answer::Document { value, created, warnings } => {
            // A document of a subresource is of another kind than the row.
            let whole = Accept { shape: Shape::Whole, ..*accept };
            let accept = if place.subresource.is_empty() { accept } else { &whole };
            (shaped(row, value, query, accept, now)?, created, warnings)
        }
        Answer::List { meta, items } => {
            (list(row, place, &meta, &items, query, accept, now)?, false, Vec::new())
        }
    };
    let mut response = Response::new(full(bytes));
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(accept.format)));
    warn(&mut response, &warnings);
    Ok(response)
}

/// Adds `Warning` headers.
pub(super) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let values = warnings.iter().filter_map(|warning| warning_header(warning));
    response.headers_mut().extend(values.map(|value| (header::WARNING, value)));
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    }
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

fn shaped(
    row: &Resource,
    value: Value,
    query: &Query,
    accept: &Accept,
    now: i64,
) -> Result<Bytes, Status> {
    let value = match accept.shape {
        Shape::Whole => value,
        Shape::Metadata => partial(&value),
        Shape::Table => {
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            table(row, vec![value], metadata, Include::parse(query)?, now)
        }
    };
    write(&value, accept.format)
}

fn write(value: &Value, format: Format) -> Result<Bytes, Status> {
    match format {
        Format::Json => serde_json::to_vec(value).map(Bytes::from).map_err(Status::internal),
        Format::Yaml => Ok(yaml::to_string(value).into()),
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

fn list(
    row: &Resource,
    place: &ResourcePlace,
    meta: &ListMeta,
    items: &[Arc<Object>],
    query: &Query,
    accept: &Accept,
    now: i64,
) -> Result<Bytes, Status> {
    let meta = list_meta(meta);
    if (accept.shape, accept.format) == (Shape::Whole, Format::Json) {
        return list_bytes(row, place, &meta, items);
    }
    let values = items.iter().map(|object| object.value().map_err(Status::internal));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let value = match accept.shape {
        Shape::Whole => json!({
            "kind": format!("{}List", row.kind),
            "apiVersion": place.resource.api_version(),
            "metadata": meta,
            "items": values,
        }),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
            "items": values.iter().map(partial).collect::<Vec<_>>(),
        }),
        Shape::Table => table(row, values, meta, Include::parse(query)?, now),
    };
    write(&value, accept.format)
}

/// Objects are not encoded again: their bytes are put one behind the other.
fn list_bytes(
    row: &Resource,
    place: &ResourcePlace,
    meta: &Value,
    items: &[Arc<Object>],
) -> Result<Bytes, Status> {
    let head = json!({
        "kind": format!("{}List", row.kind),
        "apiVersion": place.resource.api_version(),
        "metadata": meta,
    });
    let head = serde_json::to_vec(&head).map_err(Status::internal)?;
    let size: usize = items.iter().map(|object| object.bytes().len() + 1).sum();
    let mut out = BytesMut::with_capacity(head.len() + size + 16);
    out.put_slice(head.strip_suffix(b"}").unwrap_or(&head));
    out.put_slice(b",\"items\":[");
    for (index, object) in items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(object.bytes());
    }
    out.put_slice(b"]}");
    Ok(out.freeze())
}
