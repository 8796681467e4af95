//! The configurations, read once after each change: in the order of their names, then of the hooks
//! in them.

use std::sync::Arc;

use onggi_api::Status;
use onggi_machinery::value::{at, i64_at, list_at, str_at};
use serde_json::Value;

use crate::admission::conditions::Conditions;
use crate::admission::expression;
use crate::admission::lookup::Watched;
use crate::admission::matching::Matching;
use crate::registry::Registry;

const GROUP: &str = "admissionregistration.k8s.io";
/// Seconds, where the configuration says nothing.
const TIMEOUT: i64 = 10;

/// One webhook, ready to be matched.
pub(super) struct Hook {
    /// Configuration, name and number: no two are the same.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) configuration: String,
    pub(super) matching: Matching,
    pub(super) conditions: Conditions,
    /// `failurePolicy: Ignore`.
    pub(super) ignores_failure: bool,
    /// In seconds.
    pub(super) timeout: u64,
    /// Whether it cannot be asked about a dry run.
    pub(super) has_side_effects: bool,
    /// `reinvocationPolicy: IfNeeded`.
    pub(super) reinvoke: bool,
    /// Of the review that it is sent; the first one that it names and we know.
    pub(super) version: &'static str,
    pub(super) client_config: Value,
}

/// Both kinds.
pub(in crate::admission) struct Configurations {
    mutating: Watched<Vec<Hook>>,
    validating: Watched<Vec<Hook>>,
}

impl Default for Configurations {
    fn default() -> Self {
        Self {
            mutating: Watched::new(GROUP, "mutatingwebhookconfigurations"),
            validating: Watched::new(GROUP, "validatingwebhookconfigurations"),
        }
    }
}

impl Configurations {
    pub(super) fn mutating(&self, registry: &Registry) -> Result<Arc<Vec<Hook>>, Status> {
        self.mutating.get(registry, |objects| objects.iter().flat_map(hooks).collect())
    }

    pub(super) fn validating(&self, registry: &Registry) -> Result<Arc<Vec<Hook>>, Status> {
        self.validating.get(registry, |objects| objects.iter().flat_map(hooks).collect())
    }

    /// Whether there is a hook; those that cannot be read now may be there.
    pub(in crate::admission) fn may_count(&self, registry: &Registry) -> bool {
        let all = [self.mutating(registry), self.validating(registry)];
        all.iter().any(|hooks| hooks.as_ref().map_or(true, |hooks| !hooks.is_empty()))
    }
}

fn hooks(configuration: &Value) -> Vec<Hook> {
    let name = str_at(configuration, "metadata.name");
    let all = list_at(configuration, "webhooks").iter().enumerate();
    all.map(|(index, hook)| read(name, index, hook)).collect()
}

fn read(configuration: &str, index: usize, hook: &Value) -> Hook {
    let name = str_at(hook, "name").to_owned();
    let version = list_at(hook, "admissionReviewVersions")
        .iter()
        .find_map(|version| ["v1", "v1beta1"].into_iter().find(|known| version == known));
    let ignores_failure = str_at(hook, "failurePolicy") == "Ignore";
    Hook {
        id: format!("{configuration}/{name}/{index}"),
        configuration: configuration.to_owned(),
        matching: Matching::read(hook, "rules"),
        conditions: Conditions::compile(
            list_at(hook, "matchConditions"),
            &expression::of_webhooks(),
            ignores_failure,
        ),
        ignores_failure,
        timeout: u64::try_from(i64_at(hook, "timeoutSeconds").unwrap_or(TIMEOUT)).unwrap_or(1),
        has_side_effects: !matches!(str_at(hook, "sideEffects"), "None" | "NoneOnDryRun"),
        reinvoke: str_at(hook, "reinvocationPolicy") == "IfNeeded",
        version: version.unwrap_or("v1"),
        client_config: at(hook, "clientConfig").clone(),
        name,
    }
}
