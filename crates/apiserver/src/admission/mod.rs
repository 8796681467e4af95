//! Admission: what may enter beyond what validation knows, and what is put in on the way.
//!
//! ```text
//!  mutate:   plugins ▸ mutating policies ▸ mutating webhooks, a second round where these changed it
//!  validate: plugins ▸ validating policies ▸ validating webhooks ▸ quota
//! ```
//!
//! A plugin is a file here and a line in [`plugins`]; what it decides stands as pure functions in
//! [`onggi_machinery::admission`] wherever it is more than a few lines.

mod access;
mod attributes;
mod conditions;
mod connect;
mod expression;
mod lookup;
mod matching;
mod metrics;
mod plugins;
mod policy;
mod rounds;
mod versions;
mod webhook;

mod always;
mod certificates;
mod default_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod node_taint;
mod node_token;
mod owner_references;
mod pod_security;
mod pod_topology_labels;
mod priority;
mod quota;
mod restrictions;
mod runtime_class;
mod service_account;
mod storage_in_use;
mod tolerations;
mod volume_resize;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::Status;
use serde_json::Value;

use crate::ApiServer;
use crate::registry::Registry;

pub(crate) use attributes::{Attributes, Notes, Operation, Options};
use metrics::Step;
use plugins::Stage;
pub use plugins::{Plugins, UnknownPlugin};
use rounds::Rounds;
pub(crate) use service_account::TOKEN_SECONDS;

/// A plugin. The two questions are asked of every write and must be cheap; only who says yes is
/// called.
#[async_trait]
pub(crate) trait Plugin: Send + Sync {
    /// Whether it may change such a request.
    fn mutates(&self, _: &Attributes<'_>) -> bool {
        false
    }

    /// Whether it may refuse such a request at its end.
    fn validates(&self, _: &Attributes<'_>) -> bool {
        false
    }

    /// Changes what is written (`null` for a delete), or refuses it early.
    async fn mutate(&self, _: &Registry, _: &Attributes<'_>, _: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses; the object is `null` for a delete.
    async fn validate(&self, _: &Registry, _: &Attributes<'_>, _: &Value) -> Result<(), Status> {
        Ok(())
    }
}

/// Which plugins are on, and what they keep between requests.
pub(crate) struct Admission {
    plugins: Plugins,
    quotas: quota::Quotas,
    configurations: webhook::Configurations,
    policies: policy::Policies,
    default_priority: priority::DefaultClass,
    metrics: metrics::Metrics,
    server: OnceLock<Weak<ApiServer>>,
}

/// Held until the write is done.
#[must_use = "what was charged is given back when this goes without `done`"]
pub(crate) struct Admitted(Option<quota::Charged>);

impl Admitted {
    /// The object is stored.
    pub(crate) fn done(self) {
        if let Some(charged) = self.0 {
            charged.keep();
        }
    }
}

impl Admission {
    pub(crate) fn new(plugins: Plugins) -> Self {
        Self {
            metrics: metrics::Metrics::new(plugins.names_of_ours().iter().copied()),
            plugins,
            quotas: quota::Quotas::default(),
            configurations: webhook::Configurations::default(),
            policies: policy::Policies::default(),
            default_priority: priority::DefaultClass::default(),
            server: OnceLock::new(),
        }
    }

    /// The server that this is part of, for who must ask it something; told once at its start.
    pub(crate) fn attach(&self, server: &Arc<ApiServer>) {
        let _ = self.server.set(Arc::downgrade(server));
    }

    /// What is counted, in the text format of Prometheus.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        self.metrics.write(out);
    }

    pub(crate) fn weak_server(&self) -> Weak<ApiServer> {
        self.server.get().cloned().unwrap_or_default()
    }
}

/// Whether a policy or webhook of the user's may look at what is written.
pub(crate) fn is_watched(registry: &Registry) -> bool {
    let Admission { policies, configurations, .. } = &registry.admission;
    policies.may_count(registry) || configurations.may_count(registry)
}

/// What the plugins, policies and webhooks make of a new or changed object. Says whether one that
/// is not ours changed it: then what a client may not choose must be put right again.
pub(crate) fn mutate<'a>(
    registry: &'a Registry,
    attributes: &'a Attributes<'_>,
    object: &'a mut Value,
) -> BoxFuture<'a, Result<bool, Status>> {
    Box::pin(async move {
        if attributes.is_within() {
            return Ok(false);
        }
        let Some(mut part) = attributes.part_of(object) else {
            return mutate_whole(registry, attributes, object).await;
        };
        let old = attributes.old.and_then(|old| attributes.part_of(old));
        let attributes = Attributes { old: old.as_ref(), ..*attributes };
        let changed = mutate_whole(registry, &attributes, &mut part).await?;
        attributes.put_part(object, &part)?;
        Ok(changed)
    })
}

async fn mutate_whole(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &mut Value,
) -> Result<bool, Status> {
    let began = Instant::now();
    let changed = mutate_in_rounds(registry, attributes, object).await;
    registry.admission.metrics.step(Step::Admit, attributes, changed.is_err(), began);
    changed
}

async fn mutate_in_rounds(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &mut Value,
) -> Result<bool, Status> {
    let Admission { plugins, metrics, .. } = &registry.admission;
    let mut rounds = Rounds::default();
    for number in 0..2 {
        rounds.number = number;
        let mut began = Instant::now();
        for (at, plugin) in plugins.ours().iter().enumerate() {
            if plugin.mutates(attributes) {
                let done = plugin.mutate(registry, attributes, object).await;
                began = metrics.plugin((at, Step::Admit), attributes, done.is_err(), began);
                done?;
            }
        }
        if plugins.has(Stage::MutatingPolicies) {
            policy::mutate(registry, attributes, object, &mut rounds).await?;
        }
        if plugins.has(Stage::MutatingWebhooks) {
            webhook::mutate(registry, attributes, object, &mut rounds).await?;
        }
        if !rounds.changed {
            break;
        }
    }
    Ok(rounds.changed)
}

/// Whether the object as it is to be stored may be. Charges quotas, last of all.
pub(crate) fn validate<'a>(
    registry: &'a Registry,
    attributes: &'a Attributes<'_>,
    object: &'a Value,
) -> BoxFuture<'a, Result<Admitted, Status>> {
    Box::pin(async move {
        if attributes.is_within() {
            return Ok(Admitted(None));
        }
        let Some(part) = attributes.part_of(object) else {
            return validate_whole(registry, attributes, object).await;
        };
        let old = attributes.old.and_then(|old| attributes.part_of(old));
        validate_whole(registry, &Attributes { old: old.as_ref(), ..*attributes }, &part).await
    })
}

async fn validate_whole(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<Admitted, Status> {
    let began = Instant::now();
    let admitted = ask_all(registry, attributes, object).await;
    registry.admission.metrics.step(Step::Validate, attributes, admitted.is_err(), began);
    admitted
}

async fn ask_all(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<Admitted, Status> {
    let admission = &registry.admission;
    let mut began = Instant::now();
    for (at, plugin) in admission.plugins.ours().iter().enumerate() {
        if plugin.validates(attributes) {
            let done = plugin.validate(registry, attributes, object).await;
            let how = (at, Step::Validate);
            began = admission.metrics.plugin(how, attributes, done.is_err(), began);
            done?;
        }
    }
    if admission.plugins.has(Stage::ValidatingPolicies) {
        policy::validate(registry, attributes, object).await?;
    }
    if admission.plugins.has(Stage::ValidatingWebhooks) {
        webhook::validate(registry, attributes, object).await?;
    }
    let charged = match admission.plugins.has(Stage::Quota) {
        true => quota::charge(registry, attributes, object).await?,
        false => None,
    };
    Ok(Admitted(charged))
}

pub(crate) use connect::connect;
