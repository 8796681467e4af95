//! Paths and methods that lead nowhere, answered as the routers of kube-apiserver do: those that
//! know a path's beginning with a `Status`, the one behind them with a line of text.

use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::Status;
use onggi_machinery::kinds;
use onggi_machinery::resource::{Resource, Verb};

use super::info::ResourcePlace;
use super::{Body, full};
use crate::server::check_scope;

/// What Go's `http.NotFound` says.
const TEXT: &str = "404 page not found\n";

/// The answer for a path that nobody knows; `None` where the `Status` is the answer.
pub(super) fn plain(status: &Status, path: &str) -> Option<Response<Body>> {
    if *status != Status::no_such_path() || is_routed(path) {
        return None;
    }
    let mut response = Response::new(full(TEXT));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(response)
}

/// Whether a path begins with what has routes of its own: custom kinds have none.
fn is_routed(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("api" | "version") => true,
        Some("apis") => parts.next().is_some_and(|group| {
            !group.is_empty() && kinds::RESOURCES.iter().any(|row| row.group == group)
        }),
        _ => false,
    }
}

/// Whether a resource has a route for this, before anything of the request is read.
pub(super) fn check(row: &Resource, verb: Verb, place: &ResourcePlace) -> Result<(), Status> {
    if !place.subresource.is_empty() {
        return Ok(());
    }
    let fits = match verb {
        Verb::Create => place.name.is_empty(),
        Verb::Update | Verb::Patch => !place.name.is_empty(),
        _ => true,
    };
    check_scope(row, verb, &place.namespace, &place.name)?;
    if fits { Ok(()) } else { Err(Status::method_not_allowed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_beginnings_are_routed() {
        for path in ["/api/v1/nothings", "/api/v9", "/apis/apps/v9/x", "/version/x"] {
            assert!(is_routed(path), "{path}");
        }
        for path in ["/foo", "/", "/apis/none/v1", "/apis/example.com/v1/x", "/apis/", "/apix"] {
            assert!(!is_routed(path), "{path}");
        }
    }
}
