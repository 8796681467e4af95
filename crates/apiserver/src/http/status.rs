//! The one place where errors become HTTP.

use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::Status;

use super::{Body, full};

/// A `Status` as an answer.
pub(crate) fn response(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(status).unwrap_or_default();
    let mut response = Response::new(full(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if wait > 0 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}
