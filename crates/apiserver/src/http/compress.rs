//! `Content-Encoding: gzip` of large answers, as kube-apiserver has it: above 128 KiB, level 1.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{Body, full};

/// Smaller answers are sent as they are.
const THRESHOLD: usize = 128 << 10;

/// Whether the client takes gzip.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    let takes_gzip = |coding: &str| match coding.split_once(';') {
        // RFC 9110, section 12.4.2: a weight of nothing refuses.
        Some((name, weight)) => name.trim() == "gzip" && !is_zero(weight),
        None => coding.trim() == "gzip",
    };
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.split(',').any(takes_gzip))
}

fn is_zero(weight: &str) -> bool {
    let number = weight.trim().strip_prefix("q=").map(str::parse::<f64>);
    number.is_some_and(|number| number == Ok(0.0))
}

/// The bytes, compressed.
fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// The bytes, compressed to be kept.
pub(crate) fn pack(bytes: &[u8]) -> Option<Bytes> {
    gzip(bytes).ok()
}

/// What [`pack`] made, as it was.
pub(crate) fn unpack(packed: &[u8]) -> Option<Bytes> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}

/// The bytes compressed, where they are many.
pub(crate) fn if_large(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() > THRESHOLD { gzip(bytes).ok() } else { None }
}

/// Bytes as they are sent.
pub(super) enum Packed {
    Plain(Bytes),
    Gzip(Bytes),
}

impl Packed {
    /// Compressed where the client wants that and it is worth it.
    pub(super) fn of(bytes: Bytes, gzip_wanted: bool) -> Self {
        if !gzip_wanted || bytes.len() <= THRESHOLD {
            return Self::Plain(bytes);
        }
        match gzip(&bytes) {
            Ok(packed) => Self::Gzip(packed),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be compressed");
                Self::Plain(bytes)
            }
        }
    }

    pub(super) fn response(self, content_type: &'static str) -> Response<Body> {
        let mut response = match self {
            Self::Plain(bytes) => Response::new(full(bytes)),
            Self::Gzip(packed) => encoded(packed),
        };
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

/// An answer with bytes that [`gzip`] made.
pub(super) fn encoded(packed: Bytes) -> Response<Body> {
    let mut response = Response::new(full(packed));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_gzip() {
        for (value, wants) in [
            ("gzip", true),
            ("br, gzip", true),
            ("gzip;q=0.5", true),
            ("gzip;q=0, identity", false),
            ("gzip; q=0.0", false),
            ("xgzip", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(wanted(&headers), wants, "{value}");
        }
    }
}
