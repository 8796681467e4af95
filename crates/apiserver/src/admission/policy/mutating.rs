//! MutatingAdmissionPolicy: changes what is written, by an apply configuration or a JSON patch that
//! an expression makes.

use onggi_api::Status;
use onggi_api::status::{Cause, reason};
use onggi_machinery::cel::{Budget, Variables};
use onggi_machinery::managedfields::{self, Type};
use onggi_machinery::patch::{self, PatchError, PatchType};
use serde_json::Value;

use super::definition::{Binding, Mutation, Policy, Rules};
use super::{evaluation, namespace_object, params};
use crate::admission::expression::Scope;
use crate::admission::rounds::Rounds;
use crate::admission::{Attributes, matching, versions, webhook};
use crate::registry::Registry;

/// Why a policy fails.
struct Failure {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: &'static str,
}

/// The mutating policies, in order.
pub(in crate::admission) async fn mutate(
    registry: &Registry,
    attributes: &Attributes<'_>,
    object: &mut Value,
    rounds: &mut Rounds,
) -> Result<(), Status> {
    let bound = registry.admission.policies.mutating(registry)?;
    if bound.is_empty() || webhook::is_exempt(attributes) {
        return Ok(());
    }
    let number = rounds.number;
    rounds.policies.begin(number, object);
    let mut failures = Vec::new();
    for (policy, bindings) in bound.iter() {
        let mut fail = |binding: Option<&Binding>, message: String, reason: &'static str| {
            if !policy.ignores_failure {
                failures.push(Failure {
                    policy: policy.name.clone(),
                    binding: binding.map(|binding| binding.name.clone()),
                    message,
                    reason,
                });
            }
        };
        let row = match policy.matching.row(registry, attributes, object).await {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(status) => {
                let why = format!("failed to configure policy: {}", status.message);
                fail(None, why, reason::FORBIDDEN);
                continue;
            }
        };
        for binding in bindings {
            let counts = match &binding.matching {
                Some(matching) => matching.row(registry, attributes, object).await,
                None => Ok(Some(row)),
            };
            let collected = match counts {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(registry, attributes, policy, binding).await,
                Err(status) => Err(status.message),
            };
            let collected = match collected {
                Ok(collected) => collected,
                Err(why) => {
                    let why = format!("failed to configure binding: {why}");
                    fail(Some(binding), why, reason::FORBIDDEN);
                    continue;
                }
            };
            for (index, params) in collected.iter().enumerate() {
                let id = format!("{}/{}/{index}", policy.name, binding.name);
                if !rounds.policies.admits(number, &id) {
                    continue;
                }
                let place = Place { registry, attributes, row, params };
                let applied = place.apply(policy, object).await?;
                for why in applied.failures {
                    fail(Some(binding), why, reason::INVALID);
                }
                if applied.changed {
                    rounds.policies.ask_again();
                    rounds.changed = true;
                }
                let again = matches!(policy.rules, Rules::Mutate { reinvoke: true, .. });
                if applied.counts && again {
                    rounds.policies.asked(&id);
                }
            }
        }
    }
    rounds.policies.end(object);
    refuse(attributes, object, &failures)
}

/// 403 with the first failure as its text and all as causes.
fn refuse(attributes: &Attributes<'_>, object: &Value, failures: &[Failure]) -> Result<(), Status> {
    let text = |failure: &Failure| match &failure.binding {
        Some(binding) => format!(
            "policy '{}' with binding '{binding}' denied request: {}",
            failure.policy, failure.message
        ),
        None => format!("policy {:?} denied request: {}", failure.policy, failure.message),
    };
    let Some(first) = failures.first() else { return Ok(()) };
    let mut status = attributes.forbidden(object, "admission request denied by policy");
    status.message = text(first);
    status.reason = first.reason.to_owned();
    let causes = failures.iter().map(|f| Cause { message: text(f), ..Cause::default() });
    status.details.get_or_insert_default().causes.extend(causes);
    Err(status)
}

/// What became of an object under one policy.
#[derive(Default)]
struct Applied {
    /// Whether the policy's conditions hold.
    counts: bool,
    changed: bool,
    failures: Vec<String>,
}

/// One policy with one parameter on one request.
struct Place<'p> {
    registry: &'p Registry,
    attributes: &'p Attributes<'p>,
    /// The version that the policy has matched.
    row: &'static onggi_machinery::resource::Resource,
    params: &'p Value,
}

impl Place<'_> {
    /// Applies the mutations in order. One that fails leaves the object as it was, and the next
    /// is tried all the same.
    async fn apply(&self, policy: &Policy, object: &mut Value) -> Result<Applied, Status> {
        let mut applied = Applied::default();
        let Rules::Mutate { mutations, .. } = &policy.rules else { return Ok(applied) };
        let (registry, attributes, none) = (self.registry, self.attributes, Value::Null);
        let from = attributes.row;
        let old = attributes.old.unwrap_or(&none).clone();
        let old = versions::convert(registry, from, self.row, old).await?;
        let request = matching::request(attributes, self.row);
        let namespace = namespace_object(registry, attributes).await?;
        for mutation in mutations {
            let shown = versions::convert(registry, from, self.row, object.clone()).await?;
            let patched = {
                let scope = Scope {
                    object: &shown,
                    old: &old,
                    request: &request,
                    params: self.params,
                    namespace: &namespace,
                    authorizer: Scope::authorizer(registry, attributes),
                };
                let variables = evaluation::variables(&scope, &policy.variables);
                if !applied.counts {
                    match policy.conditions.hold(&variables) {
                        Ok(holds) => applied.counts = holds,
                        Err(why) => applied.failures.push(why),
                    }
                }
                // There is nothing to change where something goes.
                if !applied.counts || object.is_null() {
                    return Ok(applied);
                }
                self.patched(mutation, &variables, &shown)
            };
            let changed = match patched {
                Ok(patched) => {
                    let back = versions::convert(registry, self.row, from, patched).await?;
                    versions::readmit(registry, attributes, back).map_err(|status| status.message)
                }
                Err(why) => Err(why),
            };
            match changed {
                Ok(changed) => {
                    applied.changed |= changed != *object;
                    *object = changed;
                }
                Err(why) => applied.failures.push(why),
            }
        }
        Ok(applied)
    }

    /// What one mutation makes of an object.
    fn patched(
        &self,
        mutation: &Mutation,
        variables: &Variables<'_>,
        object: &Value,
    ) -> Result<Value, String> {
        let Mutation { is_patch, text, program } = mutation;
        let mut budget = Budget::new(Budget::TOTAL);
        let made = evaluation::run(text, program, variables, &mut budget)?;
        if !is_patch {
            made.check_message("Object")?;
        }
        let made = made.to_json().map_err(|error| error.to_string())?;
        if *is_patch {
            return json_patch(object, made);
        }
        let registry = self.registry;
        let custom = registry.structurals.of(&registry.cache, self.row);
        let custom = custom.as_ref().and_then(|c| c.schema(self.row.version));
        let ty = custom.map_or_else(
            || Type::of(self.row.group, self.row.version, self.row.kind),
            Type::Custom,
        );
        configuration(ty, object, made)
    }
}

fn json_patch(object: &Value, operations: Value) -> Result<Value, String> {
    let mut patched = object.clone();
    let bytes = serde_json::to_vec(&operations).map_err(|error| error.to_string())?;
    match patch::apply(PatchType::Json, None, &mut patched, &bytes) {
        Ok(_) => Ok(patched),
        // A test that does not hold keeps the rest of the patch away, and is no fault.
        Err(PatchError::Test(_)) => Ok(object.clone()),
        Err(error) => Err(format!("JSON Patch: {}", error.reason())),
    }
}

/// What names the object; a configuration may not.
const IDENTITY: [&str; 4] = ["name", "namespace", "uid", "generateName"];

fn configuration(ty: Type<'_>, object: &Value, mut configuration: Value) -> Result<Value, String> {
    for field in IDENTITY {
        let given = configuration["metadata"][field].as_str();
        if given.is_some_and(|given| object["metadata"][field] != given) {
            return Err(format!("applyConfiguration may not change metadata.{field}"));
        }
    }
    let Value::Object(fields) = &mut configuration else {
        return Err("applyConfiguration is no object".to_owned());
    };
    for field in ["apiVersion", "kind"] {
        fields.insert(field.to_owned(), object[field].clone());
    }
    managedfields::merged(ty, object, &configuration)
        .map_err(|error| format!("error applying patch: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn configurations_are_merged_by_key() {
        let ty = Type::of("", "v1", "Pod");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a", "image": "i"}]},
        });
        let given = json!({"spec": {"containers": [{"name": "a", "tty": true}, {"name": "b"}]}});
        let merged = configuration(ty, &pod, given).unwrap();
        let containers = merged["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        let a = containers.iter().find(|c| c["name"] == "a").unwrap();
        assert_eq!((&a["image"], &a["tty"]), (&json!("i"), &json!(true)));
        assert!(configuration(ty, &pod, json!({"metadata": {"name": "q"}})).is_err());
        assert_eq!(
            configuration(
                ty,
                &pod,
                json!({"spec": {"containers": [{"name": "a", "args": ["x"]}]}})
            ),
            Err("error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, \
                 maps or structs: .spec.containers[0].args"
                .to_owned())
        );
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
        assert_eq!(json_patch(&pod, patch).unwrap()["metadata"]["labels"]["a"], "b");
        let patch = json!([
            {"op": "test", "path": "/spec/nodeName", "value": "n"},
            {"op": "remove", "path": "/spec"},
        ]);
        assert_eq!(json_patch(&pod, patch), Ok(pod.clone()));
        let patch = json!([{"op": "replace", "path": "/spec/nodeName", "value": "n"}]);
        assert_eq!(
            json_patch(&pod, patch),
            Err("JSON Patch: replace operation does not apply: doc is missing key: \
                 /spec/nodeName: missing value"
                .to_owned())
        );
    }
}
