//! Answers of an API server taken apart: objects, lists, events, failures. Pure but for the body
//! stream.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyStream;
use hyper::body::Incoming;
use onggi_api::status::reason;
use onggi_api::{GroupVersionResource, Object, Status};
use onggi_machinery::resource::{Verb, by_gvr};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::transport::{Error, EventType, ListMeta, Request, Response, WatchEvent};

/// What of a request its answer depends on.
pub(super) struct Context {
    verb: Verb,
    /// Whether the answer is the stored object, and no other document.
    is_object: bool,
    fields: &'static [&'static str],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Meta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continue_token: String,
    remaining_item_count: Option<u64>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Marked {
    metadata: Annotated,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotated {
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kind {
    kind: String,
}

impl Context {
    pub(super) fn of(request: &Request) -> Self {
        let stored = matches!(request.subresource.as_str(), "" | "status");
        Self {
            verb: request.verb,
            is_object: stored && !request.write.dry_run,
            fields: fields_of(&request.resource),
        }
    }
}

pub(super) fn fields_of(resource: &GroupVersionResource) -> &'static [&'static str] {
    by_gvr(&resource.group, &resource.version, &resource.resource).map_or(&[], |row| row.fields)
}

pub(super) fn response(context: &Context, parts: &Parts, body: &Bytes) -> Result<Response, Error> {
    let created = parts.status == StatusCode::CREATED;
    if matches!(context.verb, Verb::List) {
        return list(context, &parts.headers, body);
    }
    let kind = json::<Kind>(body)?.kind;
    if kind == "Status" {
        return Ok(Response::Status(json(body)?));
    }
    if context.verb == Verb::DeleteCollection {
        return list(context, &parts.headers, body);
    }
    let warnings = warnings(&parts.headers);
    if context.is_object {
        let object = Arc::new(Object::from_bytes(body.clone(), context.fields)?);
        return Ok(Response::Object { object, created, warnings });
    }
    Ok(Response::Document { value: json(body)?, created, warnings })
}

fn list(context: &Context, headers: &HeaderMap, body: &Bytes) -> Result<Response, Error> {
    let List { api_version, kind, metadata, items } = json(body)?;
    let kind = kind.strip_suffix("List").unwrap_or(&kind);
    let items = items.unwrap_or_default().into_iter().map(|item| {
        let object = Object::from_bytes(typed(item, &api_version, kind)?, context.fields)?;
        Ok(Arc::new(object))
    });
    let meta = ListMeta {
        resource_version: metadata.resource_version.parse().unwrap_or(0),
        continue_token: metadata.continue_token,
        remaining: metadata.remaining_item_count,
    };
    let items = items.collect::<Result<_, Error>>()?;
    Ok(Response::List { meta, items, warnings: warnings(headers) })
}

/// Items of a list need not say their type, which is the list's. A copy, so that one object does
/// not keep the whole list in memory.
fn typed(item: &RawValue, api_version: &str, kind: &str) -> Result<Bytes, Error> {
    let text = item.get();
    if !json::<Kind>(text.as_bytes())?.kind.is_empty() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let rest = text.strip_prefix('{').unwrap_or(text).trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    let (version, kind) = (serde_json::json!(api_version), serde_json::json!(kind));
    Ok(format!(r#"{{"apiVersion":{version},"kind":{kind}{comma}{rest}"#).into())
}

/// One line of a watch.
pub(super) fn event(line: &[u8], fields: &[&str]) -> Result<WatchEvent, Error> {
    let Line { kind, object } = json(line)?;
    let kind = match kind.as_str() {
        "ADDED" => EventType::Added,
        "MODIFIED" => EventType::Modified,
        "DELETED" => EventType::Deleted,
        "BOOKMARK" => EventType::Bookmark,
        "ERROR" => return Err(json::<Status>(object.get().as_bytes())?.into()),
        other => return Err(Error::Decode(format!("watch event of type {other:?}"))),
    };
    let bytes = Bytes::copy_from_slice(object.get().as_bytes());
    let initial_events_end = kind == EventType::Bookmark && {
        let marked: Marked = json(&bytes)?;
        marked.metadata.annotations.get("k8s.io/initial-events-end").is_some_and(|v| v == "true")
    };
    let fields = if kind == EventType::Bookmark { &[] } else { fields };
    let object = Arc::new(Object::from_bytes(bytes, fields)?);
    Ok(WatchEvent { kind, object, initial_events_end })
}

/// What the server says went wrong; made up from the code where it says nothing of its own.
pub fn failure(code: StatusCode, body: &[u8]) -> Status {
    if let Ok(status) = serde_json::from_slice::<Status>(body)
        && status.kind == "Status"
        && status.status == "Failure"
    {
        return status;
    }
    // What kube-apiserver says of a path that nobody knows.
    if code == StatusCode::NOT_FOUND && body.trim_ascii_end() == b"404 page not found" {
        return Status::no_such_path();
    }
    let reason = match code.as_u16() {
        400 => reason::BAD_REQUEST,
        401 => reason::UNAUTHORIZED,
        403 => reason::FORBIDDEN,
        404 => reason::NOT_FOUND,
        405 => reason::METHOD_NOT_ALLOWED,
        406 => reason::NOT_ACCEPTABLE,
        409 => reason::CONFLICT,
        410 => reason::GONE,
        413 => reason::REQUEST_ENTITY_TOO_LARGE,
        415 => reason::UNSUPPORTED_MEDIA_TYPE,
        422 => reason::INVALID,
        429 => reason::TOO_MANY_REQUESTS,
        503 => reason::SERVICE_UNAVAILABLE,
        504 => reason::TIMEOUT,
        _ => reason::INTERNAL_ERROR,
    };
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let message = if text.is_empty() { code.to_string() } else { text.to_owned() };
    Status::failure(code.as_u16(), reason, message)
}

/// The parts of a body as they come; an error is told in words.
pub fn body_stream(body: Incoming) -> impl Stream<Item = Result<Bytes, String>> + Send {
    BodyStream::new(body).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(super::causes(&error))),
        }
    })
}

/// Advice of the server: `Warning: 299 - "text"` (RFC 7234).
pub fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(http::header::WARNING).iter();
    all.filter_map(|value| {
        let text = value.to_str().ok()?;
        let quoted = text.split_once('"')?.1.rsplit_once('"')?.0;
        Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
    })
    .collect()
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Decode(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_get_the_type_of_their_list() {
        let context = Context { verb: Verb::List, is_object: true, fields: &["spec.nodeName"] };
        let body = json!({
            "apiVersion": "v1", "kind": "PodList",
            "metadata": {"resourceVersion": "9", "continue": "c", "remainingItemCount": 3},
            "items": [{"metadata": {"name": "a"}, "spec": {"nodeName": "n"}}, {}],
        });
        let mut headers = HeaderMap::new();
        headers.insert(http::header::WARNING, "299 - \"old\"".parse().unwrap());
        let Response::List { meta, items, warnings } =
            list(&context, &headers, &Bytes::from(body.to_string())).unwrap()
        else {
            panic!("no list")
        };
        assert_eq!(warnings, ["old"]);
        assert_eq!((meta.resource_version, meta.remaining), (9, Some(3)));
        assert_eq!(items[0].head().kind, "Pod");
        assert_eq!(items[0].head().fields, ["n"]);
        assert_eq!(items[1].value().unwrap(), json!({"apiVersion": "v1", "kind": "Pod"}));
    }

    #[test]
    fn events_and_their_errors() {
        let line = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7",
            "annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        let bookmark = event(line, &[]).unwrap();
        assert!(bookmark.initial_events_end);
        assert_eq!(bookmark.object.head().resource_version, 7);
        let status = Status::expired("too old resource version: 1 (5)");
        let line = json!({"type": "ERROR", "object": status}).to_string();
        assert!(event(line.as_bytes(), &[]).unwrap_err().is_expired());
        assert!(matches!(event(b"{", &[]), Err(Error::Decode(_))));
    }

    #[test]
    fn failures_without_a_status() {
        let status = failure(StatusCode::BAD_GATEWAY, b"bad gateway\n");
        assert_eq!((status.code, status.message.as_str()), (502, "bad gateway"));
        let status = failure(StatusCode::NOT_FOUND, b"");
        assert!(status.is_not_found());
        assert_eq!(status.message, "404 Not Found");
    }
}
