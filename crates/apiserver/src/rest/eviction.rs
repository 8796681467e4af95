//! `POST pods/NAME/eviction`: a delete that asks the disruption budgets first.

use onggi_api::Status;
use onggi_api::status::Cause;
use onggi_client::{Body, Request, Response, WriteOptions};
use onggi_machinery::kinds::pod;
use onggi_machinery::resource::{self, Resource, Verb};
use onggi_machinery::selector::LabelSelector;
use serde_json::{Value, json};

use crate::cache::Selection;
use crate::registry::{Context, DeleteOptions, Part, Registry, text};

/// How many pods a budget may wait for at once (`MaxDisruptedPodSize`).
const DISRUPTED_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

pub(super) async fn evict(
    registry: &Registry,
    context: &Context,
    row: &'static Resource,
    request: &Request,
    eviction: &Value,
) -> Result<Response, Status> {
    let named = text(eviction, "/metadata/name");
    if named != request.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let body = match eviction.get("deleteOptions") {
        Some(options) => Body::Object(options.clone()),
        None => Body::None,
    };
    let query = WriteOptions { dry_run: request.write.dry_run, ..WriteOptions::default() };
    let mut options = DeleteOptions::read(&query, &body)?;
    let current = registry.current(row, &request.namespace, &request.name).await?;
    let pod = current.value().map_err(Status::internal)?;
    if !needs_no_budget(&pod) {
        let budgets = budgets_of(registry, &request.namespace, &pod)?;
        match budgets.as_slice() {
            [] => {}
            [(budget_row, budget)] => {
                if !unhealthy_may_go(&pod, budget) {
                    take(registry, context, budget_row, budget, request, options.dry_run).await?;
                }
                // What the budget was asked about is what is deleted.
                options.uid.get_or_insert_with(|| text(&pod, "/metadata/uid").to_owned());
            }
            _ => {
                return Err(Status::failure(
                    500,
                    "",
                    "This pod has more than one PodDisruptionBudget, which the eviction \
                     subresource does not support.",
                ));
            }
        }
    }
    if !options.dry_run {
        say_why(registry, context, row, request, &mut options).await?;
    }
    registry.remove(context, row, &request.namespace, &request.name, &options).await?;
    let mut status = Status::success(onggi_api::status::Details::default());
    status.details = None;
    status.code = 201;
    Ok(Response::Status(status))
}

/// Tells in the pod's conditions why it goes. What was looked at is what is deleted.
async fn say_why(
    registry: &Registry,
    context: &Context,
    row: &'static Resource,
    request: &Request,
    options: &mut DeleteOptions,
) -> Result<(), Status> {
    let write = Request::new(Verb::Update, row.gvr(), &request.namespace, &request.name);
    let now = registry.clock.rfc3339();
    let asked = options.resource_version.take();
    let written = registry
        .change(context, row, Part::Whole("eviction"), &write, &mut Vec::new(), |old, _| {
            let mut new = old.clone();
            if let Some(version) = &asked {
                new["metadata"]["resourceVersion"] = version.as_str().into();
            }
            disrupt(&mut new, &now);
            Ok(new)
        })
        .await?
        .value()?;
    options.uid.get_or_insert_with(|| text(&written, "/metadata/uid").to_owned());
    Ok(())
}

fn disrupt(pod: &mut Value, now: &str) {
    const KIND: &str = "DisruptionTarget";
    let status = &mut pod["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let before = conditions.iter().position(|condition| condition["type"] == KIND);
    let since = before.map(|at| conditions.remove(at)).filter(|told| told["status"] == "True");
    let since = since.and_then(|told| told["lastTransitionTime"].as_str().map(str::to_owned));
    conditions.push(json!({
        "type": KIND, "status": "True", "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| now.to_owned()),
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    }));
}

/// Pods that have ended, not begun, or are going already disturb nobody.
fn needs_no_budget(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed" | "Pending")
        || pod["metadata"]["deletionTimestamp"].is_string()
}

fn budgets_of(
    registry: &Registry,
    namespace: &str,
    pod: &Value,
) -> Result<Vec<(&'static Resource, Value)>, Status> {
    let Some(row) = resource::by_gvr("policy", "v1", "poddisruptionbudgets") else {
        return Ok(Vec::new());
    };
    let everything = Selection::in_namespace(namespace);
    let all = registry.cache.of(row)?.list(&everything, registry.cache.applied(), 0);
    let mut found = Vec::new();
    for object in &all.items {
        let budget = object.value().map_err(Status::internal)?;
        let selector = &budget["spec"]["selector"];
        // None selects nothing, an empty one everything.
        let selects = !selector.is_null()
            && LabelSelector::from_object(selector)
                .is_ok_and(|selector| selector.matches_value(&pod["metadata"]["labels"]));
        if selects {
            found.push((row, budget));
        }
    }
    Ok(found)
}

/// Whether a pod that does not serve anyway may go without a place in the budget.
fn unhealthy_may_go(pod: &Value, budget: &Value) -> bool {
    if pod::is_ready(pod) {
        return false;
    }
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
    match text(budget, "/spec/unhealthyPodEvictionPolicy") {
        "AlwaysAllow" => true,
        _ => wanted > 0 && healthy >= wanted,
    }
}

/// Takes one disruption out of the budget, or says why there is none.
async fn take(
    registry: &Registry,
    context: &Context,
    row: &'static Resource,
    budget: &Value,
    request: &Request,
    dry_run: bool,
) -> Result<(), Status> {
    let name = text(budget, "/metadata/name");
    let mut write = Request::new(Verb::Update, row.gvr(), &request.namespace, name);
    write.write.dry_run = dry_run;
    let now = registry.clock.rfc3339();
    let pod = request.name.as_str();
    registry
        .change(context, row, Part::Status, &write, &mut Vec::new(), |old, _| {
            let mut new = old.clone();
            decrement(&mut new, pod, &now)?;
            Ok(new)
        })
        .await?;
    Ok(())
}

fn decrement(budget: &mut Value, pod: &str, now: &str) -> Result<(), Status> {
    let name = text(budget, "/metadata/name").to_owned();
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let status = &budget["status"];
    if number(&status["observedGeneration"]) < number(&budget["metadata"]["generation"]) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(why, 10));
    }
    let allowed = number(&status["disruptionsAllowed"]);
    let forbidden = |why: &str| Status::forbidden("poddisruptionbudgets.policy", &name, why);
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"].as_object().is_some_and(|all| all.len() > DISRUPTED_MAX) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(forbidden(why));
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number(&status["desiredHealthy"]),
            number(&status["currentHealthy"]),
        );
        return Err(refused(why, 0));
    }
    if !budget["status"]["disruptedPods"].is_object() {
        budget["status"]["disruptedPods"] = json!({});
    }
    budget["status"]["disruptedPods"][pod] = now.into();
    budget["status"]["disruptionsAllowed"] = (allowed - 1).into();
    if allowed == 1 {
        exhausted(budget, now);
    }
    Ok(())
}

fn refused(why: String, retry_after_seconds: u32) -> Status {
    let mut status = Status::too_many_requests(REFUSED, retry_after_seconds);
    let cause = Cause { reason: "DisruptionBudget".into(), message: why, ..Cause::default() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

/// The condition `DisruptionAllowed` becomes false.
fn exhausted(budget: &mut Value, now: &str) {
    let condition = json!({
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "observedGeneration": budget["status"]["observedGeneration"],
        "lastTransitionTime": now,
    });
    if !budget["status"]["conditions"].is_array() {
        budget["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = budget["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|c| c["type"] == "DisruptionAllowed") {
        Some(old) if old["status"] == "False" => {}
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up() {
        let mut budget = json!({
            "metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 2,
                       "currentHealthy": 3},
        });
        decrement(&mut budget, "p", "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(budget["status"]["disruptionsAllowed"], 0);
        assert_eq!(budget["status"]["disruptedPods"], json!({"p": "2026-01-01T00:00:00Z"}));
        assert_eq!(budget["status"]["conditions"][0]["status"], "False");
        let status = decrement(&mut budget, "q", "").unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (429, REFUSED));
        assert_eq!(
            status.details.unwrap().causes[0].message,
            "The disruption budget b needs 2 healthy pods and has 3 currently"
        );
        budget["metadata"]["generation"] = 2.into();
        let status = decrement(&mut budget, "q", "").unwrap_err();
        assert_eq!(status.details.unwrap().retry_after_seconds, 10);
    }
}
