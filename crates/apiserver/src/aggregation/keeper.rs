//! Keeps what is said of aggregated servers true: `APIService` objects of custom groups come and go
//! with their definitions, `Available` follows what can be reached, and what the servers say that
//! they serve is asked for again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Limited};
use onggi_api::Status;
use onggi_client::{Body, Request};
use onggi_machinery::kinds::{self, apiservice};
use onggi_machinery::resource::{Resource, Verb};
use onggi_machinery::value::{at, is_set, list_at, str_at};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::availability::{self, Verdict};
use super::discovery::{self, Known};
use super::remote::Remote;
use super::{Aggregation, Route, is_available, proxy};
use crate::ApiServer;
use crate::authn::User;
use crate::cache::{self, Selection};
use crate::http::full;
use crate::registry::Context;

/// How often a server is asked whether it is still there: what nobody can be woken by.
const RESYNC: Duration = Duration::from_secs(30);
/// How soon one is asked again that did not answer; doubled up to [`RESYNC`].
const RETRY: Duration = Duration::from_millis(500);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How large its documents may be.
const LARGEST: usize = 64 << 20;
/// Of objects that stand for custom groups.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// When a server was last asked, and about what.
struct Asked {
    about: String,
    again: Instant,
    failures: u32,
}

/// Works until the shutdown.
pub(crate) async fn run(server: Weak<ApiServer>, shutdown: CancellationToken) {
    let rows: [&'static Resource; 4] = [
        &apiservice::RESOURCE,
        &kinds::customresourcedefinition::RESOURCE,
        &kinds::service::RESOURCE,
        &kinds::endpointslice::RESOURCE,
    ];
    let mut changes = Vec::new();
    if let Some(server) = server.upgrade() {
        let collections = rows.iter().filter_map(|row| server.registry.cache.of(row).ok());
        changes.extend(collections.map(|collection| collection.subscribe()));
    }
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    loop {
        changes.iter_mut().for_each(|change| drop(change.borrow_and_update()));
        let Some(strong) = server.upgrade() else { return };
        let registered = register(&strong).await;
        let mut next = sweep(&strong, &mut asked).await;
        if let Err(status) = registered {
            tracing::warn!(error = %status.message, "APIServices of custom groups");
            let soon = Instant::now() + RETRY;
            next = Some(next.map_or(soon, |next| next.min(soon)));
        }
        drop(strong);
        let changed = changes.iter_mut().map(|changes| Box::pin(changes.changed()));
        let changed = futures::future::select_all(changed);
        tokio::select! {
            () = shutdown.cancelled() => return,
            (changed, ..) = changed => if changed.is_err() { return },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

fn context() -> Context {
    Context::new(User::new("system:apiserver", &["system:masters"]))
}

fn all(server: &ApiServer, row: &'static Resource) -> Result<Vec<Value>, Status> {
    let cache = &server.registry.cache;
    let found = cache.of(row)?.list(&Selection::everything(), cache.applied(), 0);
    found.items.iter().map(|object| object.value().map_err(Status::internal)).collect()
}

/// An `APIService` for each group and version of custom kinds, and none for those that are gone.
async fn register(server: &Arc<ApiServer>) -> Result<(), Status> {
    let snapshot = server.registry.kinds.snapshot();
    let wanted: BTreeSet<(&str, &str)> =
        snapshot.served().map(|version| (version.row.group, version.row.version)).collect();
    let objects = all(server, &apiservice::RESOURCE)?;
    let request = |verb, name: &str| Request::new(verb, apiservice::RESOURCE.gvr(), "", name);
    let known: BTreeSet<&str> = objects.iter().map(|o| str_at(o, "metadata.name")).collect();
    for (group, version) in &wanted {
        if !known.contains(format!("{version}.{group}").as_str()) {
            let create = request(Verb::Create, "");
            let create = create.body(Body::Object(apiservice::custom(group, version)));
            match server.handle(&context(), create).await {
                Err(status) if !status.is_already_exists() => return Err(status),
                _ => {}
            }
        }
    }
    for object in &objects {
        let managed = at(object, "metadata.labels").get(MANAGED).is_some_and(|how| how == "true");
        let place = (str_at(object, "spec.group"), str_at(object, "spec.version"));
        if managed && !wanted.contains(&place) && !is_set(object, "metadata.deletionTimestamp") {
            let delete = request(Verb::Delete, str_at(object, "metadata.name"));
            match server.handle(&context(), delete).await {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Looks at every server that is due; says when the next one is.
async fn sweep(server: &Arc<ApiServer>, asked: &mut BTreeMap<String, Asked>) -> Option<Instant> {
    let aggregation = &server.aggregation;
    let routes = aggregation.routes();
    let names: BTreeSet<&str> = routes.values().map(|route| route.name.as_str()).collect();
    asked.retain(|name, _| names.contains(name.as_str()));
    aggregation.known.lock().retain(|name, _| names.contains(name.as_str()));
    let now = Instant::now();
    let due: Vec<_> = routes
        .values()
        .filter_map(|route| {
            let (verdict, about) = objects(server, route);
            let last = asked.get(&route.name);
            let due = last.is_none_or(|last| last.about != about || last.again <= now);
            due.then_some((route, verdict, about))
        })
        .collect();
    let looks = due.into_iter().map(|(route, verdict, about)| async move {
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => ask(aggregation, &route.remote, &route.group, &route.version).await,
        };
        learn(aggregation, route, verdict.available).await;
        if let Err(status) = tell(server, route, &verdict).await {
            tracing::debug!(service = %route.name, error = %status.message, "Available condition");
        }
        (route.name.clone(), about, verdict.available)
    });
    for (name, about, available) in join_all(looks).await {
        let failures = asked.get(&name).filter(|last| last.about == about);
        let failures = failures.map_or(0, |last| last.failures);
        let failures = if available { 0 } else { failures.saturating_add(1) };
        let pause = match failures {
            0 => RESYNC,
            n => RETRY.saturating_mul(1 << n.min(6)).min(RESYNC),
        };
        asked.insert(name, Asked { about, again: Instant::now() + pause, failures });
    }
    asked.values().map(|asked| asked.again).min()
}

/// What the objects around a server say, and all that they say in one text.
fn objects(server: &ApiServer, route: &Route) -> (Option<Verdict>, String) {
    let place = route.remote.place();
    let cache = &server.registry.cache;
    let row = &kinds::service::RESOURCE;
    let key = cache::key(row, &place.namespace, &place.service);
    let service = cache.of(row).ok().and_then(|services| services.get(&key));
    let row = &kinds::endpointslice::RESOURCE;
    let labels = format!("kubernetes.io/service-name={}", place.service);
    let slices = Selection::parse(row, &place.namespace, &labels, "")
        .ok()
        .and_then(|selection| Some(cache.of(row).ok()?.list(&selection, cache.applied(), 0).items));
    let slices = slices.unwrap_or_default();
    let heads = service.iter().chain(&slices).map(|object| {
        let head = object.head();
        format!("{}@{}", head.uid, head.resource_version)
    });
    let about = format!("{place:?} {}", heads.collect::<Vec<_>>().join(" "));
    let service = service.and_then(|object| object.value().ok());
    let slices: Vec<Value> = slices.iter().filter_map(|slice| slice.value().ok()).collect();
    (availability::objects(place, service.as_ref(), &slices), about)
}

struct Got {
    code: http::StatusCode,
    content_type: String,
    body: Bytes,
}

/// A document of the server, under the name of the aggregator.
async fn get(
    aggregation: &Aggregation,
    remote: &Remote,
    path: &str,
    accept: &'static str,
) -> Result<Got, String> {
    let user = User::new("system:kube-aggregator", &["system:masters"]);
    let exchange = async {
        let mut request = http::Request::new(full(""));
        *request.uri_mut() = remote.uri(path)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        proxy::identify(request.headers_mut(), &user)?;
        let response = remote.send(aggregation, request).await?;
        let code = response.status();
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.to_owned();
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Got { code, content_type, body })
    };
    let late = |_| Err("context deadline exceeded".to_owned());
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(late)
}

/// Whether it answers for its group and version.
async fn ask(aggregation: &Aggregation, remote: &Remote, group: &str, version: &str) -> Verdict {
    let path = format!("/apis/{group}/{version}");
    let url = remote.uri(&path).map_or_else(|problem| problem, |uri| uri.to_string());
    match get(aggregation, remote, &path, "application/json").await {
        Ok(got) if got.code.is_success() => Verdict::passed(),
        Ok(got) => Verdict::failed(format!(
            "failing or missing response from {url}: bad status from {url}: {}",
            got.code.as_u16()
        )),
        Err(problem) => Verdict::failed(format!(
            "failing or missing response from {url}: Get {url:?}: {problem}"
        )),
    }
}

/// Takes up what it says that it serves. What was known stays, and is marked, when it says nothing.
async fn learn(aggregation: &Aggregation, route: &Route, available: bool) {
    let old = aggregation.known.lock().get(&route.name).cloned().unwrap_or_default();
    let stale = Known { stale: true, ..Known::clone(&old) };
    let new = if available {
        read(aggregation, route).await.unwrap_or_else(|problem| {
            tracing::debug!(service = %route.name, problem, "discovery of an aggregated server");
            stale
        })
    } else {
        stale
    };
    if new != *old || old.resources.is_empty() {
        aggregation.known.lock().insert(route.name.clone(), Arc::new(new));
    }
}

async fn read(aggregation: &Aggregation, route: &Route) -> Result<Known, String> {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;\
        as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;\
        as=APIGroupDiscoveryList,application/json";
    let Route { group, version, remote, .. } = route;
    let json =
        |got: &Got| serde_json::from_slice::<Value>(&got.body).map_err(|error| error.to_string());
    let whole = get(aggregation, remote, "/apis", AGGREGATED).await?;
    let listed = match whole.code.is_success() && whole.content_type.contains("APIGroupDiscovery") {
        true => discovery::of_aggregated(&json(&whole)?, group, version),
        false => None,
    };
    let resources = match listed {
        Some(resources) => resources,
        None => {
            let path = format!("/apis/{group}/{version}");
            let old = get(aggregation, remote, &path, "application/json").await?;
            if !old.code.is_success() {
                return Err(format!("{path}: {}", old.code));
            }
            discovery::of_legacy(&json(&old)?, group, version)
        }
    };
    let mut known = Known { resources, ..Known::default() };
    let index = get(aggregation, remote, "/openapi/v3", "application/json").await?;
    if index.code.is_success() {
        let index = json(&index)?;
        let place = format!("apis/{group}/{version}");
        let url = index["paths"][place.as_str()]["serverRelativeURL"].as_str();
        known.openapi_v3 = url.map(str::to_owned);
    }
    let v2 = get(aggregation, remote, "/openapi/v2", "application/json").await?;
    if v2.code.is_success() {
        known.openapi_v2 = Some(Arc::new(json(&v2)?));
    }
    Ok(known)
}

/// Writes the condition, where it is another one.
async fn tell(server: &Arc<ApiServer>, route: &Route, verdict: &Verdict) -> Result<(), Status> {
    let row = &apiservice::RESOURCE;
    let object = server.registry.current(row, "", &route.name).await?;
    let object = object.value().map_err(Status::internal)?;
    if list_at(&object, "status.conditions").is_empty() || is_set(&object, "spec.service") {
        let now = server.registry.clock.rfc3339();
        let Some(new) = availability::with(&object, verdict, &now) else { return Ok(()) };
        if is_available(&object) && !verdict.available {
            let losses = &server.aggregation.losses;
            losses.of((route.name.clone(), verdict.reason)).fetch_add(1, Ordering::Relaxed);
        }
        let update = Request::new(Verb::Update, row.gvr(), "", &route.name);
        let update = update.subresource("status").body(Body::Object(new));
        server.handle(&context(), update).await?;
    }
    Ok(())
}
