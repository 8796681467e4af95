//! Requests as HTTP: paths, queries, bodies. Pure.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Uri};
use http_body_util::Full;
use onggi_api::{GroupVersionResource, Status};
use onggi_machinery::resource::Verb;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::transport::{Body, Error, ListOptions, PatchKind, Request, WatchSpec, WriteOptions};

/// What stands in a path segment or a query value as it is (RFC 3986, unreserved).
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A query that leaves out what is empty.
#[derive(Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn add(&mut self, key: &str, value: &str) -> &mut Self {
        if !value.is_empty() {
            self.0.push(if self.0.is_empty() { '?' } else { '&' });
            self.0.push_str(key);
            self.0.push('=');
            self.0.extend(utf8_percent_encode(value, KEPT));
        }
        self
    }

    pub(crate) fn flag(&mut self, key: &str, on: bool) -> &mut Self {
        self.add(key, if on { "true" } else { "" })
    }

    pub(crate) fn uri(self, mut path: String) -> Result<Uri, Error> {
        path.push_str(&self.0);
        path.parse().map_err(|e| Error::Decode(format!("path {path:?}: {e}")))
    }
}

/// `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`.
pub(crate) fn path(
    resource: &GroupVersionResource,
    namespace: &str,
    name: &str,
    subresource: &str,
) -> String {
    let mut path = String::from(if resource.group.is_empty() { "/api" } else { "/apis" });
    let namespaces = if namespace.is_empty() { "" } else { "namespaces" };
    let GroupVersionResource { group, version, resource } = resource;
    for segment in [group, version, namespaces, namespace, resource, name, subresource] {
        if !segment.is_empty() {
            path.push('/');
            path.extend(utf8_percent_encode(segment, KEPT));
        }
    }
    path
}

pub(super) fn request(request: Request) -> Result<http::Request<Full<Bytes>>, Error> {
    let Request { verb, resource, namespace, name, subresource, list, write, body } = request;
    if name.is_empty() && matches!(verb, Verb::Get | Verb::Update | Verb::Patch | Verb::Delete) {
        // The path would be that of the collection.
        return Err(Status::bad_request("resource name may not be empty").into());
    }
    let mut query = Query::default();
    let (method, content_type, bytes) = match verb {
        Verb::Get => (Method::GET, None, Bytes::new()),
        Verb::List => {
            select(&mut query, &list);
            (Method::GET, None, Bytes::new())
        }
        Verb::Watch => return Err(Error::Decode("a watch is opened with `watch`".into())),
        Verb::Create | Verb::Update => {
            let method = if verb == Verb::Create { Method::POST } else { Method::PUT };
            writing(&mut query, &write);
            let Body::Object(object) = &body else {
                return Err(Error::Decode(format!("{} of {name} has no object", verb.as_str())));
            };
            (method, Some("application/json"), json_bytes(object)?)
        }
        Verb::Patch => {
            writing(&mut query, &write);
            query.flag("force", write.force);
            let Body::Patch(kind, bytes) = body else {
                return Err(Error::Decode(format!("patch of {name} has no patch")));
            };
            (Method::PATCH, Some(media_type(kind)), bytes)
        }
        Verb::Delete | Verb::DeleteCollection => {
            select(&mut query, &list);
            let options = delete_options(&write, body);
            (Method::DELETE, Some("application/json"), json_bytes(&options)?)
        }
    };
    let uri = query.uri(path(&resource, &namespace, &name, &subresource))?;
    let mut request = http::Request::builder().method(method).uri(uri);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    request.body(Full::new(bytes)).map_err(|e| Error::Decode(e.to_string()))
}

pub(super) fn watch(spec: &WatchSpec) -> Result<http::Request<Full<Bytes>>, Error> {
    let mut query = Query::default();
    query.add("watch", "1");
    query.add("labelSelector", &spec.label_selector).add("fieldSelector", &spec.field_selector);
    query.flag("allowWatchBookmarks", spec.bookmarks);
    match spec.resource_version {
        Some(revision) => {
            query.add("resourceVersion", &revision.to_string());
        }
        None if spec.initial_events => {
            query.flag("sendInitialEvents", true);
            query.add("resourceVersionMatch", "NotOlderThan");
        }
        None => {}
    }
    let uri = query.uri(path(&spec.resource, &spec.namespace, "", ""))?;
    http::Request::get(uri).body(Full::default()).map_err(|e| Error::Decode(e.to_string()))
}

fn select(query: &mut Query, list: &ListOptions) {
    let limit = if list.limit == 0 { String::new() } else { list.limit.to_string() };
    query
        .add("labelSelector", &list.label_selector)
        .add("fieldSelector", &list.field_selector)
        .add("limit", &limit)
        .add("continue", &list.continue_token)
        .add("resourceVersion", &list.resource_version)
        .add("resourceVersionMatch", &list.resource_version_match);
}

fn writing(query: &mut Query, write: &WriteOptions) {
    query
        .add("dryRun", if write.dry_run { "All" } else { "" })
        .add("fieldManager", &write.field_manager)
        .add("fieldValidation", &write.field_validation);
}

fn media_type(kind: PatchKind) -> &'static str {
    match kind {
        PatchKind::Json => "application/json-patch+json",
        PatchKind::Merge => "application/merge-patch+json",
        PatchKind::Strategic => "application/strategic-merge-patch+json",
        PatchKind::Apply => "application/apply-patch+yaml",
    }
}

/// `meta/v1 DeleteOptions`: those of the body, where there is one, and the options over them.
fn delete_options(write: &WriteOptions, body: Body) -> Value {
    let mut options = match body {
        Body::Object(Value::Object(options)) => options,
        _ => Map::new(),
    };
    let mut put = |key: &str, value: Value| drop(options.insert(key.to_owned(), value));
    put("apiVersion", "v1".into());
    put("kind", "DeleteOptions".into());
    if let Some(seconds) = write.grace_period_seconds {
        put("gracePeriodSeconds", seconds.into());
    }
    if !write.propagation_policy.is_empty() {
        put("propagationPolicy", write.propagation_policy.as_str().into());
    }
    if write.dry_run {
        put("dryRun", json!(["All"]));
    }
    let mut preconditions = Map::new();
    if let Some(uid) = &write.precondition_uid {
        preconditions.insert("uid".into(), uid.as_str().into());
    }
    if let Some(version) = &write.precondition_resource_version {
        preconditions.insert("resourceVersion".into(), version.as_str().into());
    }
    if !preconditions.is_empty() {
        put("preconditions", preconditions.into());
    }
    options.into()
}

fn json_bytes(value: &Value) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| Error::Decode(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries() {
        let pods = GroupVersionResource::new("", "v1", "pods");
        let sets = GroupVersionResource::new("apps", "v1", "replicasets");
        let spaces = GroupVersionResource::new("", "v1", "namespaces");
        let mut selected = Request::new(Verb::List, sets.clone(), "", "");
        selected.list.label_selector = "a in (b, c)".into();
        selected.list.limit = 5;
        let mut forced = Request::new(Verb::Patch, pods.clone(), "d", "p").subresource("status");
        forced.body = Body::Patch(PatchKind::Apply, Bytes::new());
        forced.write =
            WriteOptions { force: true, field_manager: "me".into(), ..WriteOptions::default() };
        let cases = [
            (Request::new(Verb::Get, pods, "d", "p"), "GET /api/v1/namespaces/d/pods/p"),
            (Request::new(Verb::Get, spaces, "", "d"), "GET /api/v1/namespaces/d"),
            (
                selected,
                "GET /apis/apps/v1/replicasets?labelSelector=a%20in%20%28b%2C%20c%29&limit=5",
            ),
            (forced, "PATCH /api/v1/namespaces/d/pods/p/status?fieldManager=me&force=true"),
        ];
        for (given, expected) in cases {
            let encoded = request(given).unwrap();
            assert_eq!(format!("{} {}", encoded.method(), encoded.uri()), expected);
        }
        let uri = watch(&WatchSpec::all(sets)).unwrap().uri().to_string();
        let query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true\
                     &resourceVersionMatch=NotOlderThan";
        assert_eq!(uri, format!("/apis/apps/v1/replicasets?{query}"));
    }

    #[test]
    fn one_object_has_a_name() {
        for verb in [Verb::Get, Verb::Update, Verb::Patch, Verb::Delete] {
            let pods = GroupVersionResource::new("", "v1", "pods");
            let refused = request(Request::new(verb, pods, "d", "")).unwrap_err();
            assert!(refused.to_string().contains("resource name may not be empty"));
        }
    }

    #[test]
    fn a_delete_carries_its_options() {
        let write = WriteOptions {
            grace_period_seconds: Some(0),
            propagation_policy: "Orphan".into(),
            precondition_uid: Some("u".into()),
            ..WriteOptions::default()
        };
        let expected = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "propagationPolicy": "Orphan", "preconditions": {"uid": "u"},
        });
        assert_eq!(delete_options(&write, Body::None), expected);
    }
}
