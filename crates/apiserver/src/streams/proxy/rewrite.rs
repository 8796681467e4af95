//! An answer of a program, so that its links lead through the proxy
//! (`k8s.io/apimachinery/pkg/util/proxy`, `Transport`).

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};
use futures::stream;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};

use super::page::{Links, Page};
use crate::http::Body;

/// Who may read the answer is ours to say.
const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];
/// Compressed bytes taken at once: they may be a thousand times as many.
const STEP: usize = 4 << 10;

/// The answer as the client gets it.
pub(super) fn response(mut response: Response<Incoming>, links: Links) -> Response<Body> {
    let headers = response.headers_mut();
    CORS.iter().for_each(|name| drop(headers.remove(name)));
    let sends_on = headers.contains_key(header::LOCATION);
    if sends_on {
        location(headers, &links);
    }
    let filter = match filter(headers, links) {
        Some(filter) if !sends_on && !response.body().is_end_stream() => filter,
        _ => return response.map(|body| body.map_err(io::Error::other).boxed_unsync()),
    };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.map(|body| through(body, filter))
}

/// Where the program sends the client to a path of its own, the client must come through here.
fn location(headers: &mut HeaderMap, links: &Links) {
    let to = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(Ok(to)) = to.and_then(|to| links.through(to)).map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, to);
    }
}

/// What rewrites the answer, when it is a page in a coding that we know.
fn filter(headers: &HeaderMap, links: Links) -> Option<Filter> {
    let text = |name| headers.get(name).map_or(Some(""), |value| value.to_str().ok());
    if text(header::CONTENT_TYPE)?.split(';').next()?.trim() != "text/html" {
        return None;
    }
    let gzip = match text(header::CONTENT_ENCODING)? {
        "" => None,
        "gzip" => Some(Gzip {
            decoder: GzDecoder::new(Vec::new()),
            encoder: GzEncoder::new(Vec::new(), Compression::fast()),
        }),
        _ => return None,
    };
    Some(Filter { page: Page::new(links), gzip })
}

fn through(body: Incoming, filter: Filter) -> Body {
    let frames = stream::try_unfold((body, Some(filter)), |(mut body, filter)| async move {
        let Some(mut filter) = filter else { return Ok(None) };
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            let out = filter.feed(&data)?;
            if !out.is_empty() {
                return Ok(Some((Frame::data(Bytes::from(out)), (body, Some(filter)))));
            }
        }
        let last = Bytes::from(filter.finish()?);
        Ok::<_, io::Error>(Some((Frame::data(last), (body, None))))
    });
    StreamBody::new(frames).boxed_unsync()
}

struct Filter {
    page: Page,
    gzip: Option<Gzip>,
}

/// Out of the coding, and into it again.
struct Gzip {
    decoder: GzDecoder<Vec<u8>>,
    encoder: GzEncoder<Vec<u8>>,
}

impl Filter {
    fn feed(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let Some(Gzip { decoder, encoder }) = &mut self.gzip else {
            self.page.feed(bytes, &mut out);
            return Ok(out);
        };
        for part in bytes.chunks(STEP) {
            decoder.write_all(part)?;
            decoder.flush()?;
            self.page.feed(&std::mem::take(decoder.get_mut()), &mut out);
            encoder.write_all(&out)?;
            out.clear();
        }
        // What the program has sent by now, the client gets by now.
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()))
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let Some(Gzip { decoder, mut encoder }) = self.gzip else {
            self.page.finish(&mut out);
            return Ok(out);
        };
        self.page.feed(&decoder.finish()?, &mut out);
        self.page.finish(&mut out);
        encoder.write_all(&out)?;
        encoder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links { prefix: "/PRE".into(), hosts: vec!["10.0.0.1:80".into()] }
    }

    #[test]
    fn locations_come_through_here() {
        for (to, expected) in [
            ("/login?x=1", "/PRE/login?x=1"),
            ("http://10.0.0.1:80/a", "/PRE/a"),
            ("http://elsewhere/a", "http://elsewhere/a"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(to));
            location(&mut headers, &links());
            assert_eq!(headers[header::LOCATION], expected);
        }
    }

    #[test]
    fn pages_of_known_codings_are_rewritten() {
        for (kind, coding, expected) in [
            ("text/html; charset=utf-8", "", true),
            ("text/html", "gzip", true),
            ("text/html", "br", false),
            ("text/plain", "", false),
            ("", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if !coding.is_empty() {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(filter(&headers, links()).is_some(), expected, "{kind} {coding}");
        }
    }

    #[test]
    fn a_compressed_page_stays_compressed() {
        let packed = |page: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(page.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut filter = filter(&headers, links()).unwrap();
        let mut out = Vec::new();
        for part in packed("<a href='/x'>").chunks(7) {
            out.extend(filter.feed(part).unwrap());
        }
        out.extend(filter.finish().unwrap());
        let mut decoder = GzDecoder::new(Vec::new());
        decoder.write_all(&out).unwrap();
        assert_eq!(decoder.finish().unwrap(), b"<a href='/PRE/x'>");
    }
}
