//! The versions of a kind beside the stored one (`machinery::conversion`): at this boundary a
//! request becomes one for the stored version, and what is answered, or told to a watcher, becomes
//! the version that was asked for. Only patches are done in the version of the request
//! ([`Context::version`]), and the cells of a table come from the stored one.

use std::sync::Arc;

use futures::StreamExt;
use onggi_api::{GroupVersionResource, Object, Status};
use onggi_client::{Body, EventStream, Request, Response, WatchEvent};
use onggi_machinery::conversion::{self, Version};
use onggi_machinery::resource::Verb;
use serde_json::Value;

use crate::metrics::Deprecated;
use crate::registry::{Context, problem_status, validation};

/// The versions whose stored one is served.
pub(crate) fn served() -> impl Iterator<Item = &'static Version> {
    conversion::all().iter().filter(|version| version.resource().is_some())
}

/// The version that a path names, where it is not the stored one.
pub(crate) fn find(resource: &GroupVersionResource) -> Option<&'static Version> {
    conversion::version(&resource.group, &resource.version, &resource.resource)
        .filter(|version| version.resource().is_some())
}

/// What is counted of a request for a version that is no more.
pub(crate) fn gone(version: &'static Version, subresource: &str) -> Option<Deprecated> {
    let (_, removed) = version.removed?;
    let part = version.resource()?.subresource(subresource).map_or("", |part| part.name);
    Some((version.group, version.version, version.plural, part, removed))
}

/// Makes the request one for the stored version; gives the context for it and the warnings.
pub(crate) fn enter(
    version: &'static Version,
    context: &Context,
    request: &mut Request,
) -> Result<(Context, Vec<String>), Status> {
    let (group, stored) = version.current;
    request.resource = GroupVersionResource::new(group, stored, version.plural);
    request.list.field_selector = field_selector(version, &request.list.field_selector)?;
    let mut context = Context { version: Some(version), ..context.clone() };
    let checks = validation(request)?;
    let whole = sends_object(version, request);
    let warnings = match &mut request.body {
        Body::Object(value) if whole => {
            let found = value["apiVersion"].as_str().unwrap_or_default();
            if !found.is_empty() && found != version.api_version() {
                return Err(Status::bad_request(format!(
                    "the API version in the data ({found}) does not match the expected API version \
                     ({})",
                    version.api_version()
                )));
            }
            let duplicates = std::mem::take(&mut context.duplicates);
            version.admit(value, checks, duplicates).map_err(|problem| problem_status(&problem))?
        }
        _ => {
            if let Some(advice) = version.advice() {
                context.notes.warn(advice);
            }
            Vec::new()
        }
    };
    Ok((context, warnings))
}

/// Whether the body is an object of the kind, not a `Scale` or the options of a delete.
fn sends_object(version: &Version, request: &Request) -> bool {
    let part = version.resource().and_then(|row| row.subresource(&request.subresource));
    matches!(request.verb, Verb::Create | Verb::Update)
        && part.is_none_or(|part| part.kind.2 == version.kind)
}

/// A field selector in the names of the row.
pub(crate) fn field_selector(version: &Version, text: &str) -> Result<String, Status> {
    version.field_selector(text).map_err(|error| Status::bad_request(error.to_string()))
}

/// An object in the version that was asked for.
fn show(version: &Version, value: &mut Value) {
    if value["kind"] == version.kind {
        version.from_current(value);
    }
}

fn shown(version: &Version, object: &Object) -> Result<Arc<Object>, Status> {
    let mut value = object.value().map_err(Status::internal)?;
    show(version, &mut value);
    let fields = version.resource().map_or(&[][..], |row| row.fields);
    Object::from_value(&value, fields).map(Arc::new).map_err(Status::internal)
}

/// The answer in the version that was asked for.
pub(crate) fn leave(
    version: &Version,
    response: Response,
    mut more: Vec<String>,
) -> Result<Response, Status> {
    Ok(match response {
        Response::Object { object, created, warnings } => {
            more.extend(warnings);
            let mut value = object.value().map_err(Status::internal)?;
            show(version, &mut value);
            Response::Document { value, created, warnings: more }
        }
        Response::Document { mut value, created, warnings } => {
            more.extend(warnings);
            show(version, &mut value);
            Response::Document { value, created, warnings: more }
        }
        Response::List { meta, items, warnings } => {
            more.extend(warnings);
            let items = items.iter().map(|object| shown(version, object));
            Response::List { meta, items: items.collect::<Result<_, _>>()?, warnings: more }
        }
        Response::Status(status) => Response::Status(status),
    })
}

/// The events of a watch in the version that was asked for.
pub(crate) fn watch(version: &'static Version, events: EventStream) -> EventStream {
    Box::pin(events.map(move |event| {
        let event = event?;
        let object = shown(version, &event.object)?;
        Ok(WatchEvent { object, ..event })
    }))
}
