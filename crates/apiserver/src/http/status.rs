//! The one place where errors become HTTP.

use http::{HeaderValue, Response, StatusCode, header};
use onggi_api::Status;

use super::accept::{Accept, Format, Shape};
use super::{Body, answer, full, pretty};

/// A `Status` as an answer, in the format that the client asked for.
pub(crate) fn response(status: &Status, accept: &Accept) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let accept = Accept { shape: Shape::Whole, ..*accept };
    let written = match accept.format {
        Format::Json => None,
        _ => {
            serde_json::to_value(status).ok().and_then(|value| answer::write(&value, &accept).ok())
        }
    };
    let (body, format) = match written {
        Some(body) => (body, accept.format),
        None => (json(status, accept.pretty).into(), Format::Json),
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

/// In the order of Kubernetes' fields and with the line feed at the end: texts that people compare.
fn json(status: &Status, indented: bool) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(status).unwrap_or_default();
    if indented {
        return pretty::indent(&bytes);
    }
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_kubernetes_order() {
        let status = Status::failure(404, "NotFound", "none");
        let text = String::from_utf8(json(&status, false)).unwrap();
        let expected = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
                        \"message\":\"none\",\"reason\":\"NotFound\",\"code\":404}\n";
        assert_eq!(text, expected);
        assert!(String::from_utf8(json(&status, true)).unwrap().starts_with("{\n  \"kind\""));
    }
}
