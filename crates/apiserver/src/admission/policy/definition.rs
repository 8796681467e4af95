//! Policies and bindings, read and compiled once after each change, in the order of their names.

use std::sync::Arc;

use onggi_api::Status;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::Value;

use crate::admission::conditions::Conditions;
use crate::admission::expression::{self, Compiled};
use crate::admission::lookup::Watched;
use crate::admission::matching::Matching;
use crate::registry::Registry;

const GROUP: &str = "admissionregistration.k8s.io";

/// A policy of either kind.
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) matching: Matching,
    /// `apiVersion` and `kind` of what bindings hand over.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) conditions: Conditions,
    pub(super) variables: Arc<Vec<(String, Compiled)>>,
    /// `failurePolicy: Ignore`.
    pub(super) ignores_failure: bool,
    pub(super) rules: Rules,
}

/// What a policy does.
pub(super) enum Rules {
    Validate { validations: Vec<Validation>, annotations: Vec<Annotation> },
    Mutate { mutations: Vec<Mutation>, reinvoke: bool },
}

pub(super) struct Validation {
    pub(super) text: String,
    pub(super) program: Compiled,
    pub(super) message: String,
    pub(super) message_program: Option<Compiled>,
    pub(super) reason: String,
}

pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) text: String,
    pub(super) program: Compiled,
}

pub(super) struct Mutation {
    /// `patchType: JSONPatch`; else an apply configuration.
    pub(super) is_patch: bool,
    pub(super) text: String,
    pub(super) program: Compiled,
}

/// Where a policy counts, and with which parameters.
pub(super) struct Binding {
    pub(super) name: String,
    policy: String,
    pub(super) matching: Option<Matching>,
    /// `paramRef`; `null` where there is none.
    pub(super) params: Value,
    /// `Deny`, `Warn`, `Audit`.
    pub(super) actions: Vec<String>,
}

/// Everything that is configured.
pub(in crate::admission) struct Policies {
    validating: Watched<Vec<Policy>>,
    validating_bindings: Watched<Vec<Binding>>,
    mutating: Watched<Vec<Policy>>,
    mutating_bindings: Watched<Vec<Binding>>,
}

/// Policies and their bindings.
pub(super) struct Bound {
    policies: Arc<Vec<Policy>>,
    bindings: Arc<Vec<Binding>>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            validating: Watched::new(GROUP, "validatingadmissionpolicies"),
            validating_bindings: Watched::new(GROUP, "validatingadmissionpolicybindings"),
            mutating: Watched::new(GROUP, "mutatingadmissionpolicies"),
            mutating_bindings: Watched::new(GROUP, "mutatingadmissionpolicybindings"),
        }
    }
}

impl Policies {
    pub(super) fn validating(&self, registry: &Registry) -> Result<Bound, Status> {
        bound(registry, &self.validating, &self.validating_bindings, validate)
    }

    pub(super) fn mutating(&self, registry: &Registry) -> Result<Bound, Status> {
        bound(registry, &self.mutating, &self.mutating_bindings, mutate)
    }

    /// Whether a policy is bound; those that cannot be read now may be.
    pub(in crate::admission) fn may_count(&self, registry: &Registry) -> bool {
        let all = [self.mutating(registry), self.validating(registry)];
        all.iter().any(|bound| bound.as_ref().map_or(true, |bound| !bound.is_empty()))
    }
}

fn bound(
    registry: &Registry,
    policies: &Watched<Vec<Policy>>,
    bindings: &Watched<Vec<Binding>>,
    rules: fn(&Value) -> Rules,
) -> Result<Bound, Status> {
    let bindings = bindings.get(registry, |all| all.iter().map(binding).collect())?;
    // Without bindings no policy counts, and none need be read.
    if bindings.is_empty() {
        return Ok(Bound { policies: Arc::default(), bindings });
    }
    let policies = policies
        .get(registry, |all| all.iter().map(|value| policy(value, rules(value))).collect())?;
    Ok(Bound { policies, bindings })
}

impl Bound {
    pub(super) fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Each policy that is bound, with its bindings.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Policy, Vec<&Binding>)> {
        self.policies.iter().filter_map(|policy| {
            let bindings = self.bindings.iter().filter(|binding| binding.policy == policy.name);
            let bindings: Vec<&Binding> = bindings.collect();
            (!bindings.is_empty()).then_some((policy, bindings))
        })
    }
}

fn binding(value: &Value) -> Binding {
    let spec = at(value, "spec");
    let matching = at(spec, "matchResources");
    let actions = list_at(spec, "validationActions").iter().filter_map(Value::as_str);
    Binding {
        name: str_at(value, "metadata.name").to_owned(),
        policy: str_at(spec, "policyName").to_owned(),
        matching: matching.is_object().then(|| Matching::read(matching, "resourceRules")),
        params: at(spec, "paramRef").clone(),
        actions: actions.map(str::to_owned).collect(),
    }
}

fn policy(value: &Value, rules: Rules) -> Policy {
    let spec = at(value, "spec");
    let kind = at(spec, "paramKind");
    let ignores_failure = str_at(spec, "failurePolicy") == "Ignore";
    let declarations = expression::of_policies();
    let variables = list_at(spec, "variables").iter().map(|variable| {
        let program = expression::read(str_at(variable, "expression"), &declarations);
        (str_at(variable, "name").to_owned(), program)
    });
    Policy {
        name: str_at(value, "metadata.name").to_owned(),
        matching: Matching::read(at(spec, "matchConstraints"), "resourceRules"),
        param_kind: kind
            .is_object()
            .then(|| (str_at(kind, "apiVersion").to_owned(), str_at(kind, "kind").to_owned())),
        conditions: Conditions::compile(
            list_at(spec, "matchConditions"),
            &declarations,
            ignores_failure,
        ),
        variables: Arc::new(variables.collect()),
        ignores_failure,
        rules,
    }
}

fn validate(value: &Value) -> Rules {
    let declarations = expression::of_policies();
    let read = |text: &str| expression::read(text, &declarations);
    let validations = list_at(value, "spec.validations").iter().map(|validation| {
        let text = str_at(validation, "expression");
        let message = str_at(validation, "messageExpression");
        Validation {
            text: text.to_owned(),
            program: read(text),
            message: str_at(validation, "message").to_owned(),
            message_program: (!message.is_empty()).then(|| read(message)),
            reason: str_at(validation, "reason").to_owned(),
        }
    });
    let annotations = list_at(value, "spec.auditAnnotations").iter().map(|annotation| {
        let text = str_at(annotation, "valueExpression");
        Annotation {
            key: str_at(annotation, "key").to_owned(),
            text: text.to_owned(),
            program: read(text),
        }
    });
    Rules::Validate { validations: validations.collect(), annotations: annotations.collect() }
}

fn mutate(value: &Value) -> Rules {
    let declarations = expression::of_policies();
    let mutations = list_at(value, "spec.mutations").iter().map(|mutation| {
        let is_patch = str_at(mutation, "patchType") == "JSONPatch";
        let field = if is_patch { "jsonPatch.expression" } else { "applyConfiguration.expression" };
        let text = str_at(mutation, field);
        let program = expression::read(text, &declarations);
        Mutation { is_patch, text: text.to_owned(), program }
    });
    let reinvoke = str_at(value, "spec.reinvocationPolicy") == "IfNeeded";
    Rules::Mutate { mutations: mutations.collect(), reinvoke }
}
