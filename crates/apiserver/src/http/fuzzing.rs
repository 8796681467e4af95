//! Doors for fuzzing.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::accept::{Accept, Offer};
use super::duration;
use super::info::Info;

/// Reads what a request is about, and what it wants to be answered in.
pub fn request(method: &str, uri: &str, accept: &str) -> Option<String> {
    let (method, uri): (Method, Uri) = (method.parse().ok()?, uri.parse().ok()?);
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::try_from(accept).ok()?);
    let offer = Offer { protobuf: &|| true, table: true, stream: false };
    let accept = Accept::parse(&headers, uri.query().unwrap_or(""), offer);
    let _ = Accept::of_status(&headers, uri.query().unwrap_or(""));
    let info = Info::parse(&method, &uri).ok()?;
    let _ = (duration::parse(info.query.get("timeout")), info.query.flag("watch"));
    Some(format!("{info:?} {accept:?}"))
}
