//! A small registry: pull, push, tags and catalog of the OCI distribution specification v1.1, over a
//! directory. No login of its own: whoever serves it decides who gets in.

mod disk;

use std::io;
use std::path::Path;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use crate::body::{self, Body};
use crate::reference::{is_component, is_tag};
use crate::spec::MAX_DOCUMENT;
use crate::{Digest, Result};
use disk::Disk;

const CONTENT_DIGEST: &str = "docker-content-digest";

/// A registry over a directory.
#[derive(Clone)]
pub struct Registry {
    disk: Disk,
}

/// An answer of the specification's error table.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

fn refuse(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

impl From<io::Error> for Refusal {
    fn from(e: io::Error) -> Self {
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", e.to_string())
    }
}

/// What a path names.
enum Target<'a> {
    Root,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str),
    Uploads(&'a str),
    Upload(&'a str, &'a str),
}

fn target(path: &str) -> Option<Target<'_>> {
    let rest = path.strip_prefix("/v2")?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Some(Target::Root);
    }
    if rest == "_catalog" {
        return Some(Target::Catalog);
    }
    let named =
        |name: &str| !name.is_empty() && name.len() <= 255 && name.split('/').all(is_component);
    let found = if let Some(name) = rest.strip_suffix("/tags/list") {
        (name, Target::Tags(name))
    } else if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/") {
        (name, if id.is_empty() { Target::Uploads(name) } else { Target::Upload(name, id) })
    } else if let Some(name) = rest.strip_suffix("/blobs/uploads") {
        (name, Target::Uploads(name))
    } else if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
        (name, Target::Blob(digest))
    } else {
        let (name, reference) = rest.rsplit_once("/manifests/")?;
        (name, Target::Manifest(name, reference))
    };
    named(found.0).then_some(found.1)
}

impl Registry {
    /// Over a directory, made where needed.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { disk: Disk::open(root)? })
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        self.answer(request).await.unwrap_or_else(|refusal| {
            let error = json!({"code": refusal.code, "message": refusal.message});
            body::json(refusal.status, &json!({"errors": [error]}))
        })
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Refusal>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        let (head, content) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query = body::query(&head.uri);
        let target = target(&path)
            .ok_or_else(|| refuse(StatusCode::NOT_FOUND, "NAME_INVALID", "no such path"))?;
        let method = &head.method;
        match (target, method) {
            (Target::Root, &Method::GET | &Method::HEAD) => {
                Ok(body::json(StatusCode::OK, &json!({})))
            }
            (Target::Catalog, &Method::GET) => {
                Ok(body::json(StatusCode::OK, &json!({"repositories": self.disk.catalog().await?})))
            }
            (Target::Tags(name), &Method::GET) => match self.disk.tags(name).await? {
                Some(tags) => Ok(body::json(StatusCode::OK, &json!({"name": name, "tags": tags}))),
                None => Err(refuse(
                    StatusCode::NOT_FOUND,
                    "NAME_UNKNOWN",
                    format!("no repository {name}"),
                )),
            },
            (Target::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
                self.get_manifest(name, reference, method).await
            }
            (Target::Manifest(name, reference), &Method::PUT) => {
                let bytes = collect(content).await?;
                let kind = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
                self.put_manifest(name, reference, kind, bytes).await
            }
            (Target::Manifest(name, reference), &Method::DELETE) => {
                if !self.disk.delete_manifest(name, reference).await? {
                    return Err(unknown_manifest(name, reference));
                }
                Ok(empty(StatusCode::ACCEPTED))
            }
            (Target::Blob(digest), &Method::GET | &Method::HEAD) => {
                let digest = parse_digest(digest)?;
                let Some((content, size)) = self.disk.blob(&digest).await? else {
                    return Err(refuse(
                        StatusCode::NOT_FOUND,
                        "BLOB_UNKNOWN",
                        format!("no blob {digest}"),
                    ));
                };
                let content = if method == Method::HEAD { body::empty() } else { content };
                let mut response = Response::new(content);
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, size.into());
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                insert(headers, CONTENT_DIGEST, digest.as_str());
                Ok(response)
            }
            (Target::Uploads(name), &Method::POST) => {
                // Blobs are shared by all repositories: a mount is a look.
                if let Some(digest) = body::first(&query, "mount")
                    && let digest = parse_digest(digest)?
                    && self.disk.blob(&digest).await?.is_some()
                {
                    return Ok(created(name, &digest));
                }
                let id = self.disk.begin_upload().await?;
                if let Some(digest) = body::first(&query, "digest") {
                    self.disk.append(&id, content).await?;
                    return self.finish(name, &id, digest).await;
                }
                Ok(uploading(StatusCode::ACCEPTED, name, &id, 0))
            }
            (Target::Upload(name, id), &Method::PATCH) => {
                self.check_range(id, head.headers.get("content-range")).await?;
                let size = self.disk.append(id, content).await?;
                Ok(uploading(StatusCode::ACCEPTED, name, id, size))
            }
            (Target::Upload(name, id), &Method::PUT) => {
                let digest = body::first(&query, "digest").ok_or_else(|| {
                    refuse(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the query has no digest")
                })?;
                self.disk.append(id, content).await?;
                self.finish(name, id, digest).await
            }
            (Target::Upload(name, id), &Method::GET) => {
                let size = self.disk.upload_size(id).await?;
                Ok(uploading(StatusCode::NO_CONTENT, name, id, size))
            }
            (Target::Upload(_, id), &Method::DELETE) => {
                self.disk.cancel(id).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                format!("{method} is not possible here"),
            )),
        }
    }

    async fn get_manifest(
        &self,
        name: &str,
        reference: &str,
        method: &Method,
    ) -> Result<Response<Body>, Refusal> {
        let Some((digest, kind, bytes)) = self.disk.manifest(name, reference).await? else {
            return Err(unknown_manifest(name, reference));
        };
        let size = bytes.len();
        let content = if method == Method::HEAD { body::empty() } else { body::full(bytes) };
        let mut response = Response::new(content);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, size.into());
        insert(headers, "content-type", &kind);
        insert(headers, CONTENT_DIGEST, digest.as_str());
        Ok(response)
    }

    async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        kind: Option<&str>,
        bytes: Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let invalid =
            |message: String| refuse(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let digest = Digest::of(&bytes);
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        let kind = kind
            .or_else(|| value["mediaType"].as_str())
            .ok_or_else(|| invalid("it has no Content-Type".to_owned()))?
            .to_owned();
        if reference.contains(':') {
            if parse_digest(reference)? != digest {
                return Err(refuse(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    format!("its digest is {digest}"),
                ));
            }
        } else if !is_tag(reference) {
            return Err(invalid(format!("{reference:?} is no tag")));
        }
        // What it is made of comes first.
        for blob in value["layers"].as_array().into_iter().flatten().chain(value.get("config")) {
            let part = parse_digest(blob["digest"].as_str().unwrap_or_default())?;
            if self.disk.blob(&part).await?.is_none() {
                return Err(refuse(
                    StatusCode::NOT_FOUND,
                    "MANIFEST_BLOB_UNKNOWN",
                    format!("no blob {part}"),
                ));
            }
        }
        self.disk.put_manifest(name, reference, &digest, &kind, bytes).await?;
        let mut response = empty(StatusCode::CREATED);
        insert(
            response.headers_mut(),
            LOCATION.as_str(),
            &format!("/v2/{name}/manifests/{digest}"),
        );
        insert(response.headers_mut(), CONTENT_DIGEST, digest.as_str());
        Ok(response)
    }

    async fn check_range(&self, id: &str, range: Option<&HeaderValue>) -> Result<(), Refusal> {
        let have = self.disk.upload_size(id).await?;
        let start = range.and_then(|v| v.to_str().ok()?.split('-').next()?.parse::<u64>().ok());
        match start {
            Some(start) if start != have => Err(refuse(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                format!("{have} bytes are here, not {start}"),
            )),
            _ => Ok(()),
        }
    }

    async fn finish(&self, name: &str, id: &str, digest: &str) -> Result<Response<Body>, Refusal> {
        let digest = parse_digest(digest)?;
        if !self.disk.finish(id, &digest).await? {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "the content has another digest",
            ));
        }
        Ok(created(name, &digest))
    }
}

fn unknown_manifest(name: &str, reference: &str) -> Refusal {
    refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("no manifest {name}:{reference}"))
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|e: crate::Error| refuse(StatusCode::BAD_REQUEST, "DIGEST_INVALID", e.to_string()))
}

async fn collect<B>(body: B) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let limited =
        http_body_util::Limited::new(body.map_err(|e| e.to_string()), MAX_DOCUMENT as usize);
    match limited.collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(e) => Err(refuse(StatusCode::BAD_REQUEST, "SIZE_INVALID", e.to_string())),
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

fn created(name: &str, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    insert(response.headers_mut(), LOCATION.as_str(), &format!("/v2/{name}/blobs/{digest}"));
    insert(response.headers_mut(), CONTENT_DIGEST, digest.as_str());
    response
}

fn uploading(status: StatusCode, name: &str, id: &str, size: u64) -> Response<Body> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    insert(headers, LOCATION.as_str(), &format!("/v2/{name}/blobs/uploads/{id}"));
    insert(headers, RANGE.as_str(), &format!("0-{}", size.saturating_sub(1)));
    insert(headers, "docker-upload-uuid", id);
    response
}

/// Values are our own: names, digests, media types that came as a header.
fn insert(headers: &mut http::HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
