//! Calls and watches over whatever carries HTTP: for servers that are reached in another way than
//! by an address, and that may be older ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use onggi_api::{GroupVersionResource, Object};
use onggi_machinery::resource::Verb;
use serde_json::json;

use super::decode::{self, Context, body_stream, failure};
use super::{encode, lines};
use crate::transport::{
    Error, EventStream, EventType, ListOptions, Request, Response, WatchEvent, WatchSpec,
};

/// Objects of a page: what kube-controller-manager's pager asks for.
const PAGE: usize = 500;

/// The largest answer that is read.
const LARGEST: usize = 64 << 20;

/// Carries HTTP to a server.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Sends a request, whose URI is a path with a query; whatever is answered comes back.
    async fn carry(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error>;

    /// Who an error names as the server.
    fn server(&self) -> String;
}

/// Any verb but watch; `within` this time.
pub async fn call(
    carrier: &dyn Carrier,
    request: Request,
    within: Duration,
) -> Result<Response, Error> {
    let context = Context::of(&request);
    let encoded = encode::request(request)?;
    let exchange = async {
        let (parts, body) = carrier.carry(encoded).await?.into_parts();
        Ok((parts, whole(carrier, body).await?))
    };
    let (parts, body) = tokio::time::timeout(within, exchange)
        .await
        .unwrap_or_else(|_| Err(late(carrier, within)))?;
    if !parts.status.is_success() {
        return Err(failure(parts.status, &body).into());
    }
    decode::response(&context, &parts, &body)
}

/// A watch, which begins `within` this time. Where it is to begin with the present state, that is
/// listed first, page by page, each within it too: servers before v1.32 begin no watch with it.
pub async fn watch(
    carrier: &dyn Carrier,
    mut spec: WatchSpec,
    within: Duration,
) -> Result<EventStream, Error> {
    let mut first = VecDeque::new();
    if spec.resource_version.is_none() && spec.initial_events {
        let revision = present(carrier, &spec, within, &mut first).await?;
        first.push_back(WatchEvent {
            kind: EventType::Bookmark,
            object: Arc::new(bookmark(&spec.resource, revision)?),
            initial_events_end: true,
        });
        spec.resource_version = Some(revision);
    }
    let fields = decode::fields_of(&spec.resource);
    let request = encode::watch(&spec)?;
    let open = async {
        let response = carrier.carry(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(failure(status, &whole(carrier, response.into_body()).await?).into())
    };
    let opened = tokio::time::timeout(within, open).await;
    let response = opened.unwrap_or_else(|_| Err(late(carrier, within)))?;
    let server = carrier.server();
    let parts = body_stream(response.into_body())
        .map(move |part| part.map_err(|message| super::connection(&server, message)))
        .boxed();
    let changes = lines::lines(parts).map(move |line| decode::event(&line?, fields));
    Ok(Box::pin(stream::iter(first).map(Ok).chain(changes)))
}

/// Lists all there is; says as of which revision.
async fn present(
    carrier: &dyn Carrier,
    spec: &WatchSpec,
    within: Duration,
    found: &mut VecDeque<WatchEvent>,
) -> Result<u64, Error> {
    let mut list = ListOptions {
        label_selector: spec.label_selector.clone(),
        field_selector: spec.field_selector.clone(),
        limit: PAGE,
        ..ListOptions::default()
    };
    loop {
        let mut request = Request::new(Verb::List, spec.resource.clone(), &spec.namespace, "");
        request.list = list.clone();
        let Response::List { meta, items, .. } = call(carrier, request, within).await? else {
            return Err(Error::Decode(format!("{}: no list", spec.resource)));
        };
        found.extend(items.into_iter().map(|object| WatchEvent {
            kind: EventType::Added,
            object,
            initial_events_end: false,
        }));
        if meta.continue_token.is_empty() {
            return Ok(meta.resource_version);
        }
        if meta.continue_token == list.continue_token {
            return Err(Error::Decode(format!("{}: a list without end", spec.resource)));
        }
        list.continue_token = meta.continue_token;
    }
}

/// A whole body, within bounds: the server is somebody else's.
async fn whole(carrier: &dyn Carrier, body: Incoming) -> Result<Bytes, Error> {
    let body = Limited::new(body, LARGEST).collect().await;
    Ok(body.map_err(|error| broken(carrier, error.to_string()))?.to_bytes())
}

fn bookmark(resource: &GroupVersionResource, revision: u64) -> Result<Object, Error> {
    let version = if resource.group.is_empty() {
        resource.version.clone()
    } else {
        format!("{}/{}", resource.group, resource.version)
    };
    let object = json!({
        "apiVersion": version, "kind": "Bookmark",
        "metadata": {"resourceVersion": revision.to_string()},
    });
    Ok(Object::from_value(&object, &[])?)
}

fn late(carrier: &dyn Carrier, within: Duration) -> Error {
    broken(carrier, format!("no answer within {} s", within.as_secs()))
}

fn broken(carrier: &dyn Carrier, message: String) -> Error {
    super::connection(&carrier.server(), message)
}
