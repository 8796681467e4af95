//! The one place where errors become HTTP.

use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::Status;

use super::accept::{Accept, Shape};
use super::{Body, answer, full};

/// A `Status` as an answer, in the format that the client asked for.
pub(crate) fn response(status: &Status, accept: &Accept) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let accept = Accept { shape: Shape::Whole, ..*accept };
    let written = serde_json::to_value(status)
        .map_err(Status::internal)
        .and_then(|value| answer::write(&value, &accept));
    let (body, format) = match written {
        Ok(body) => (body, accept.format),
        Err(_) => (serde_json::to_vec(status).unwrap_or_default().into(), Accept::JSON.format),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if wait > 0 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}
