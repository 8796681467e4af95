//! Old versions of the API: their paths are served, their objects are read as the current version
//! and shown under the old name. Only the name is turned back: every field of the old versions is a
//! field of the new ones.

use std::sync::Arc;

use onggi_api::{GroupVersionResource, Object, Status};
use onggi_client::{Body, Request, Response};
use onggi_machinery::conversion::{self, Legacy};
use serde_json::Value;

/// The old versions whose current one is served.
pub(crate) fn served() -> impl Iterator<Item = &'static Legacy> {
    conversion::all().iter().filter(|legacy| legacy.resource().is_some())
}

/// The old version that a path names.
pub(crate) fn find(resource: &GroupVersionResource) -> Option<&'static Legacy> {
    conversion::legacy(&resource.group, &resource.version, &resource.resource)
        .filter(|legacy| legacy.resource().is_some())
}

/// Makes the request one of the current version; gives the warnings.
pub(crate) fn to_current(legacy: &Legacy, request: &mut Request) -> Result<Vec<String>, Status> {
    let (group, version) = legacy.current;
    request.resource = GroupVersionResource::new(group, version, legacy.plural);
    match &mut request.body {
        Body::Object(value) if value["kind"] == legacy.kind || value["kind"].is_null() => {
            let found = value["apiVersion"].as_str().unwrap_or_default();
            if !found.is_empty() && found != legacy.api_version() {
                return Err(Status::bad_request(format!(
                    "the API version in the data ({found}) does not match the expected API version \
                     ({})",
                    legacy.api_version()
                )));
            }
            Ok(legacy.to_current(value))
        }
        _ => Ok(Vec::new()),
    }
}

/// An object under its old name.
pub(crate) fn rename(legacy: &Legacy, value: &mut Value) {
    if value["kind"] == legacy.kind {
        value["apiVersion"] = legacy.api_version().into();
    }
}

/// The answer under the old name.
pub(crate) fn relabel(
    legacy: &Legacy,
    response: Response,
    mut more: Vec<String>,
) -> Result<Response, Status> {
    let renamed = |object: &Object| {
        let mut value = object.value().map_err(Status::internal)?;
        rename(legacy, &mut value);
        Ok::<_, Status>(value)
    };
    Ok(match response {
        Response::Object { object, created, warnings } => {
            more.extend(warnings);
            Response::Document { value: renamed(&object)?, created, warnings: more }
        }
        Response::Document { mut value, created, warnings } => {
            more.extend(warnings);
            rename(legacy, &mut value);
            Response::Document { value, created, warnings: more }
        }
        Response::List { meta, items } => {
            let fields = legacy.resource().map_or(&[][..], |row| row.fields);
            let items = items
                .iter()
                .map(|object| {
                    let value = renamed(object)?;
                    Object::from_value(&value, fields).map(Arc::new).map_err(Status::internal)
                })
                .collect::<Result<_, _>>()?;
            Response::List { meta, items }
        }
        Response::Status(status) => Response::Status(status),
    })
}
