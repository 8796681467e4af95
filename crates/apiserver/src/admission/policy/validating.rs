//! ValidatingAdmissionPolicy: refuses, warns and notes down by the bindings' actions.

use std::collections::BTreeMap;

use onggi_api::Status;
use onggi_api::status::{Cause, reason};
use onggi_machinery::cel::{Budget, Value as Cel};
use serde_json::{Value, json};

use super::definition::{Annotation, Binding, Policy, Rules, Validation};
use super::{evaluation, namespace_object, params};
use crate::admission::expression::Scope;
use crate::admission::{Attributes, matching, versions, webhook};
use crate::registry::Registry;

/// The longest message that an expression may make.
const MAX_MESSAGE: usize = 5 << 10;
/// The longest value of an annotation.
const MAX_ANNOTATION: usize = 10 << 10;
/// How many failures are noted down.
const MAX_FAILURES: usize = 50;

/// Why a request is refused.
struct Denial {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: String,
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    denials: Vec<Denial>,
    /// For the audit log.
    failures: Vec<Value>,
}

/// What one policy with one parameter says.
#[derive(Default)]
struct Verdict {
    /// Message and reason of each validation that does not hold, and its place.
    failures: Vec<(usize, String, String)>,
    annotations: Vec<(String, String)>,
    /// Annotations that could not be made: they refuse the request by themselves.
    broken: Vec<String>,
}

/// Whether the request may be.
pub(in crate::admission) async fn validate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    let bound = registry.admission.policies.validating(registry)?;
    if bound.is_empty() || webhook::is_exempt(attributes) {
        return Ok(());
    }
    let mut findings = Findings::default();
    for (policy, bindings) in bound.iter() {
        let row = match policy.matching.row(registry, attributes, object).await {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(status) => {
                findings.misconfigured(policy, None, &status.message);
                continue;
            }
        };
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            let counts = match &binding.matching {
                Some(matching) => matching.row(registry, attributes, object).await,
                None => Ok(Some(row)),
            };
            match counts {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(status) => {
                    findings.misconfigured(policy, Some(binding), &status.message);
                    continue;
                }
            }
            let params = match params::collect(registry, attributes, policy, binding).await {
                Ok(params) => params,
                Err(why) => {
                    findings.misconfigured(policy, Some(binding), &why);
                    continue;
                }
            };
            let none = Value::Null;
            let from = attributes.row;
            let shown = versions::convert(registry, from, row, object.clone()).await?;
            let old = attributes.old.unwrap_or(&none).clone();
            let old = versions::convert(registry, from, row, old).await?;
            let request = matching::request(attributes, row);
            let namespace = namespace_object(registry, attributes).await?;
            for params in &params {
                let scope = Scope {
                    object: &shown,
                    old: &old,
                    request: &request,
                    params,
                    namespace: &namespace,
                    authorizer: Scope::authorizer(registry, attributes),
                };
                let verdict = judge(policy, &scope);
                findings.take(attributes, policy, binding, &verdict);
                for (key, value) in verdict.annotations {
                    let values = annotations.entry(key).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
            }
        }
        for (key, values) in annotations {
            let key = format!("{}/{key}", policy.name);
            attributes.context.notes.annotate(key, values.join(", "));
        }
    }
    findings.end(attributes, object)
}

/// Runs the expressions of a policy.
fn judge(policy: &Policy, scope: &Scope<'_>) -> Verdict {
    let Rules::Validate { validations, annotations } = &policy.rules else {
        return Verdict::default();
    };
    let mut verdict = Verdict::default();
    let fail = |verdict: &mut Verdict, at: usize, why: String| {
        if !policy.ignores_failure {
            verdict.failures.push((at, why, String::new()));
        }
    };
    let variables = evaluation::variables(scope, &policy.variables);
    match policy.conditions.hold(&variables) {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(why) => {
            fail(&mut verdict, 0, why);
            return verdict;
        }
    }
    let mut budget = Budget::new(Budget::TOTAL);
    for (at, validation) in validations.iter().enumerate() {
        let Validation { text, program, reason, .. } = validation;
        match evaluation::run(text, program, &variables, &mut budget) {
            Err(why) => fail(&mut verdict, at, why),
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(_) => {
                let message = message(validation, &variables, &mut budget);
                verdict.failures.push((at, message, reason.clone()));
            }
        }
    }
    let mut budget = Budget::new(Budget::TOTAL);
    for Annotation { key, text, program } in annotations {
        match evaluation::run(text, program, &variables, &mut budget) {
            Ok(Cel::Null) => {}
            Ok(value) => match value.as_text() {
                Some(made) if made.trim().is_empty() => {}
                Some(made) => {
                    verdict.annotations.push((key.clone(), shortened(made.trim()).to_owned()));
                }
                None => verdict.broken.push(format!(
                    "valueExpression '{text}' resulted in unsupported return type: {}. Return type \
                     must be either string or null.",
                    value.type_name()
                )),
            },
            Err(why) if !policy.ignores_failure => verdict.broken.push(why),
            Err(_) => {}
        }
    }
    verdict
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_ANNOTATION);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What is said of a validation that does not hold: by its expression, by its text, or by itself.
fn message(
    validation: &Validation,
    variables: &onggi_machinery::cel::Variables<'_>,
    budget: &mut Budget,
) -> String {
    if let Some(program) = &validation.message_program
        && let Ok(value) = evaluation::run("", program, variables, budget)
        && let Some(made) = value.as_text().map(str::trim)
        && !made.is_empty()
        && made.len() <= MAX_MESSAGE
        && !made.contains('\n')
    {
        return made.to_owned();
    }
    match validation.message.trim() {
        "" => format!("failed expression: {}", validation.text.trim()),
        message => message.to_owned(),
    }
}

impl Findings {
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if policy.ignores_failure {
            return;
        }
        let what = if binding.is_some() { "binding" } else { "policy" };
        self.denials.push(Denial {
            policy: policy.name.clone(),
            binding: binding.map(|binding| binding.name.clone()),
            message: format!("failed to configure {what}: {why}"),
            reason: String::new(),
        });
    }

    /// Does with a verdict what the binding says.
    fn take(
        &mut self,
        attributes: &Attributes<'_>,
        policy: &Policy,
        binding: &Binding,
        verdict: &Verdict,
    ) {
        let denial = |message: &str, reason: &str| Denial {
            policy: policy.name.clone(),
            binding: Some(binding.name.clone()),
            message: message.to_owned(),
            reason: reason.to_owned(),
        };
        for (at, message, reason) in &verdict.failures {
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.denials.push(denial(message, reason)),
                    "Warn" => attributes.context.notes.warn(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': \
                         {message}",
                        policy.name, binding.name
                    )),
                    "Audit" => self.failures.push(json!({
                        "message": message,
                        "policy": policy.name,
                        "binding": binding.name,
                        "expressionIndex": at,
                        "validationActions": binding.actions,
                    })),
                    _ => {}
                }
            }
        }
        self.denials.extend(verdict.broken.iter().map(|why| denial(why, "")));
    }

    fn end(mut self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
        if !self.failures.is_empty() {
            self.failures.truncate(MAX_FAILURES);
            let key = "validation.policy.admission.k8s.io/validation_failure";
            attributes.context.notes.annotate(key, Value::Array(self.failures).to_string());
        }
        let Some(Denial { policy, binding, message, reason }) = self.denials.into_iter().next()
        else {
            return Ok(());
        };
        let by = binding.map(|name| format!(" with binding '{name}'")).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {message}");
        let mut status = attributes.forbidden(object, &message);
        let (code, reason) = code(&reason);
        status.code = code;
        status.reason = reason.to_owned();
        let cause = Cause { message, ..Cause::default() };
        status.details.get_or_insert_default().causes.push(cause);
        Err(status)
    }
}

/// The code of a reason that a policy may give.
fn code(given: &str) -> (u16, &'static str) {
    match given {
        reason::UNAUTHORIZED => (401, reason::UNAUTHORIZED),
        reason::FORBIDDEN => (403, reason::FORBIDDEN),
        reason::REQUEST_ENTITY_TOO_LARGE => (413, reason::REQUEST_ENTITY_TOO_LARGE),
        _ => (422, reason::INVALID),
    }
}
