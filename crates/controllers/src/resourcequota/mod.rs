//! Resource quotas: what is used is counted anew when a quota changes and when something that is
//! counted goes. What comes is charged by admission.

mod plan;

use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::{GroupVersionResource, Object};
use onggi_client::informer::Whole;
use onggi_client::{Cache, Change, ListOptions, Next, ObjectKey, Source};
use onggi_machinery::admission::amounts;
use onggi_machinery::admission::quota::recount;
use onggi_machinery::resource::{self, Resource, Verb};
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Dependent, Pod};

/// Kinds that come with definitions have no watch here: they are counted again after this time
/// (`--resource-quota-sync-period`).
const RESYNC: Duration = Duration::from_secs(300);

struct Quotas {
    context: Context,
    resource: GroupVersionResource,
}

fn core(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

/// Kinds whose objects can be counted.
fn counted() -> impl Iterator<Item = &'static Resource> {
    let countable = |row: &&'static Resource| {
        row.namespaced() && row.verbs.contains(&Verb::List) && row.verbs.contains(&Verb::Watch)
    };
    resource::all().iter().copied().filter(countable).filter(|row| row.plural != "events")
}

/// Keys are quotas.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let resource = core("resourcequotas");
    let quotas: Cache<Whole> = context.cache(Source::all(resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&quotas, |change| {
        let value = |object: &Object| object.value().unwrap_or_default();
        let asks = change.after().is_some_and(|after| {
            plan::asks(change.before().map(|before| value(before)).as_ref(), &value(after))
        });
        asks.then(|| change.key().clone()).into_iter().collect()
    });
    for row in counted() {
        let objects: Cache<Dependent> = context.cache(Source::all(row.gvr()));
        let quotas = quotas.clone();
        // Services and claims may come to use less by a change, too.
        let changing =
            row.group.is_empty() && matches!(row.plural, "services" | "persistentvolumeclaims");
        // Admission has charged for it even if nobody here has seen it.
        harness.watch_all_ends(&objects, move |change| {
            let changed = changing && change.before().is_some();
            if change.after().is_none() || changed {
                counting(&quotas, &change.key().namespace, row.group, row.plural)
            } else {
                Vec::new()
            }
        });
    }
    let pods: Cache<Pod> = context.cache(Source::all(core("pods")));
    harness.watch(&pods, move |change: &Change<Pod>| {
        let finished = |pod: &std::sync::Arc<Pod>| pod.finished();
        let ended = change.after().is_some_and(finished)
            && change.before().is_none_or(|before| !before.finished());
        if ended { counting(&quotas, &change.key().namespace, "", "pods") } else { Vec::new() }
    });
    harness.run(Quotas { context, resource })
}

/// The quotas of a namespace that count a kind.
fn counting(quotas: &Cache<Whole>, namespace: &str, group: &str, plural: &str) -> Vec<ObjectKey> {
    let counts = |quota: &std::sync::Arc<Whole>| {
        let value = quota.value().unwrap_or_default();
        plan::kinds(&value).iter().any(|(g, p)| g == group && p == plural)
    };
    let found = quotas.list_in(namespace).into_iter().filter(counts);
    found.map(|quota| ObjectKey::of(quota.head())).collect()
}

#[async_trait]
impl Controller for Quotas {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // Read before the objects: whoever charges it meanwhile makes the write below fail.
        let client = &self.context.client;
        let quota = match client.get(&self.resource, &key.namespace, &key.name).await {
            Ok(quota) => quota.value()?,
            Err(error) if error.is_not_found() => return Ok(Next::Done),
            Err(error) => return Err(error.into()),
        };
        let mut objects = Vec::new();
        let mut watched = true;
        for (group, plural) in plan::kinds(&quota) {
            let (values, known) = self.objects(&key.namespace, &group, &plural).await?;
            watched &= known;
            objects.push((group, plural, values));
        }
        let now = self.context.now().as_second();
        let used = recount(&quota, now, |group, plural| {
            let found = objects.iter().find(|(g, p, _)| g == group && p == plural);
            found.map_or(&[][..], |(_, _, values)| values.as_slice())
        });
        if let Some(new) = plan::status(&quota, &used) {
            match client.update_status(&self.resource, new).await {
                Err(error) if error.is_not_found() => return Ok(Next::Done),
                written => drop(written?),
            }
        }
        tracing::trace!(quota = %key, used = amounts::pretty(&used), "counted");
        Ok(if watched { Next::Done } else { Next::After(RESYNC) })
    }
}

impl Quotas {
    /// The objects of a kind in a namespace, and whether a watch tells of their end. Only those
    /// whose content counts are decoded.
    async fn objects(
        &self,
        namespace: &str,
        group: &str,
        plural: &str,
    ) -> Result<(Vec<Value>, bool), Error> {
        let known = counted().find(|row| (row.group, row.plural) == (group, plural));
        let resource = match known {
            Some(row) => Some(row.gvr()),
            None => self.custom(group, plural).await?,
        };
        let Some(resource) = resource else { return Ok((Vec::new(), false)) };
        let client = &self.context.client;
        let found = match client.list(&resource, namespace, ListOptions::default()).await {
            Ok((_, found)) => found,
            Err(error) if error.is_not_found() => return Ok((Vec::new(), false)),
            Err(error) => return Err(error.into()),
        };
        let telling =
            group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims");
        let values: Result<Vec<Value>, _> = found
            .iter()
            .map(|object| if telling { object.value() } else { Ok(Value::Null) })
            .collect();
        Ok((values?, known.is_some()))
    }

    /// Where a kind that somebody has defined is served.
    async fn custom(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<GroupVersionResource>, Error> {
        let definitions =
            GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let name = format!("{plural}.{group}");
        let definition = match self.context.client.get(&definitions, "", &name).await {
            Ok(definition) => definition.value()?,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if str_at(&definition, "spec.scope") != "Namespaced" {
            return Ok(None);
        }
        let versions = list_at(&definition, "spec.versions");
        let served = versions.iter().find(|version| at(version, "served") == true);
        Ok(served.map(|v| GroupVersionResource::new(group, str_at(v, "name"), plural)))
    }
}
