//! `Content-Encoding: gzip` of large answers, as kube-apiserver has it: above 128 KiB, level 1.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};

use super::{Body, full};

/// Smaller answers are sent as they are.
const THRESHOLD: usize = 128 << 10;
/// What takes longer than others should wait for is done beside them.
const ASIDE: usize = 1 << 20;

/// Whether the client takes gzip.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    values.iter().filter_map(|value| value.to_str().ok()).any(|text| {
        text.split(',').any(|coding| coding.split(';').next().unwrap_or_default().trim() == "gzip")
    })
}

/// The bytes, compressed.
fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.into())
}

/// The bytes compressed, where they are many.
pub(crate) fn if_large(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() > THRESHOLD { gzip(bytes).ok() } else { None }
}

/// An answer with these bytes; compressed where the client wants that and it is worth it.
pub(super) async fn response(
    bytes: Bytes,
    content_type: &'static str,
    gzip_wanted: bool,
) -> Response<Body> {
    let mut response = if gzip_wanted && bytes.len() > THRESHOLD {
        let original = bytes.clone();
        let packed = if bytes.len() > ASIDE {
            tokio::task::spawn_blocking(move || gzip(&bytes))
                .await
                .unwrap_or_else(|e| Err(e.into()))
        } else {
            gzip(&bytes)
        };
        match packed {
            Ok(packed) => encoded(packed),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be compressed");
                Response::new(full(original))
            }
        }
    } else {
        Response::new(full(bytes))
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer with bytes that [`gzip`] made.
pub(super) fn encoded(packed: Bytes) -> Response<Body> {
    let mut response = Response::new(full(packed));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}
