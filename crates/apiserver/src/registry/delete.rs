//! Delete: at once, or marked for those who must act first (finalizers, a pod's kubelet).

use std::sync::Arc;

use onggi_api::object::metadata_mut;
use onggi_api::status::Details;
use onggi_api::{Object, Status};
use onggi_base::clock::rfc3339;
use onggi_client::{Body, Request, Response, WriteOptions};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, Expect, Txn};
use serde_json::{Value, json};

use super::{ATTEMPTS, Context, MODIFIED, Registry, store_status, text};
use crate::admission::{self, Attributes, Operation, Options};
use crate::cache;
use crate::rest::{self, Hooks};

/// `DeleteOptions`, from the query and the body (the body wins).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DeleteOptions {
    pub(crate) dry_run: bool,
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: String,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// What came of a delete.
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Value),
    /// It is there until those who hold it let go.
    Waiting(Arc<Object>),
}

/// What to do.
#[derive(Debug, PartialEq)]
enum Plan {
    Remove,
    Mark(Value),
    /// It is marked already.
    Nothing,
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

impl DeleteOptions {
    pub(crate) fn read(options: &WriteOptions, body: &Body) -> Result<Self, Status> {
        let mut read = Self {
            dry_run: options.dry_run,
            grace: options.grace_period_seconds,
            propagation: options.propagation_policy.clone(),
            uid: options.precondition_uid.clone(),
            resource_version: options.precondition_resource_version.clone(),
        };
        let Body::Object(body) = body else { return read.checked() };
        let owned = |pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        read.dry_run |= body["dryRun"].as_array().is_some_and(|all| !all.is_empty());
        read.grace = body["gracePeriodSeconds"].as_i64().or(read.grace);
        read.propagation = owned("/propagationPolicy").unwrap_or(read.propagation);
        if body["orphanDependents"] == true && read.propagation.is_empty() {
            read.propagation = "Orphan".into();
        }
        read.uid = owned("/preconditions/uid").or(read.uid);
        read.resource_version = owned("/preconditions/resourceVersion").or(read.resource_version);
        read.checked()
    }

    fn checked(self) -> Result<Self, Status> {
        match self.propagation.as_str() {
            "" | "Background" | "Foreground" | "Orphan" => Ok(self),
            other => Err(Status::bad_request(format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \
                 \"Foreground\", \"Background\", \"Orphan\""
            ))),
        }
    }
}

impl Registry {
    /// DELETE of an object.
    pub(crate) async fn delete(
        &self,
        context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let options = DeleteOptions::read(&request.write, &request.body)?;
        match self.remove(context, row, &request.namespace, &request.name, &options).await? {
            Deleted::Gone(object) => Ok(Response::Status(Status::success(Details {
                name: request.name.clone(),
                group: row.group.into(),
                kind: row.plural.into(),
                uid: text(&object, "/metadata/uid").into(),
                ..Details::default()
            }))),
            Deleted::Waiting(object) => {
                Ok(Response::Object { object, created: false, warnings: Vec::new() })
            }
        }
    }

    /// DELETE of a collection.
    pub(crate) async fn delete_collection(
        &self,
        context: &Context,
        row: &'static Resource,
        request: &Request,
    ) -> Result<Response, Status> {
        let options = DeleteOptions::read(&request.write, &request.body)?;
        let Response::List { meta, items } = self.list(row, request).await? else {
            return Err(Status::internal("a list was expected"));
        };
        for object in &items {
            let head = object.head();
            // A name that was taken anew meanwhile is not what was selected.
            let only = DeleteOptions { uid: Some(head.uid.clone()), ..options.clone() };
            match self.remove(context, row, &head.namespace, &head.name, &only).await {
                Err(status) if !status.is_not_found() && !status.is_conflict() => {
                    return Err(status);
                }
                _ => {}
            }
        }
        Ok(Response::List { meta, items })
    }

    /// Deletes or marks.
    pub(crate) async fn remove(
        &self,
        context: &Context,
        row: &'static Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let resource = row.group_resource();
        let key = cache::key(row, namespace, name);
        let hooks = rest::hooks(row);
        hooks.may_delete(name)?;
        for _ in 0..ATTEMPTS {
            let current = self.current(row, namespace, name).await?;
            let old = current.value().map_err(Status::internal)?;
            check_preconditions(&resource, name, &old, options)?;
            let attributes = Attributes {
                context,
                row,
                namespace,
                name,
                subresource: "",
                operation: Operation::Delete,
                options: Options::Delete(options),
                old: Some(&old),
            };
            admission::mutate(self, &attributes, &mut Value::Null).await?;
            admission::validate(self, &attributes, &Value::Null).await?.done();
            let expect = Expect::Revision(current.head().resource_version);
            let (txn, bytes) = match plan(&old, options, hooks, self.clock.now()) {
                Plan::Nothing => return Ok(Deleted::Waiting(current)),
                _ if options.dry_run => return Ok(Deleted::Waiting(current)),
                Plan::Remove => (Txn::delete(key.clone(), expect), None),
                Plan::Mark(new) => {
                    let bytes = self.encoded(row, &new).await?;
                    (Txn::put(key.clone(), expect, bytes.clone()), Some(bytes))
                }
            };
            match (self.store.txn(txn).await, bytes) {
                (Ok(_), None) => return Ok(Deleted::Gone(old)),
                (Ok(committed), Some(bytes)) => {
                    let object = self.written(row, &key, &bytes, committed.revision).await?;
                    return Ok(Deleted::Waiting(object));
                }
                (Err(StoreError::Conflict { .. }), _) => {}
                (Err(error), _) => return Err(store_status(error)),
            }
        }
        Err(Status::conflict(&resource, name, MODIFIED))
    }
}

fn check_preconditions(
    resource: &str,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    for (what, asked, pointer) in [
        ("UID", &options.uid, "/metadata/uid"),
        ("ResourceVersion", &options.resource_version, "/metadata/resourceVersion"),
    ] {
        let actual = text(old, pointer);
        if let Some(asked) = asked
            && asked != actual
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {asked}, {what} in object meta: {actual}"
            );
            return Err(Status::conflict(resource, name, &why));
        }
    }
    Ok(())
}

fn plan(old: &Value, options: &DeleteOptions, hooks: &dyn Hooks, now: jiff::Timestamp) -> Plan {
    let mut new = old.clone();
    let finalizers = finalizers(old, &options.propagation);
    let grace = hooks.grace(old, options.grace);
    let marked = old["metadata"]["deletionTimestamp"].is_string();
    if finalizers.is_empty() && grace == 0 && !hooks.holds(old) {
        return Plan::Remove;
    }
    let metadata = metadata_mut(&mut new);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
    let earlier = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    // A second delete may only shorten the time.
    if !marked || earlier.is_some_and(|earlier| grace < earlier) {
        let seconds = jiff::SignedDuration::from_secs;
        let begun = text(old, "/metadata/deletionTimestamp")
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|end| end.checked_sub(seconds(earlier.unwrap_or(0))).ok())
            .unwrap_or(now);
        // Whoever asks for more than there is time gets the end of time.
        let until = begun.checked_add(seconds(grace)).unwrap_or(jiff::Timestamp::MAX);
        metadata.insert("deletionTimestamp".into(), rfc3339(until).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".into(), (generation + 1).into());
        }
        hooks.marked(&mut new);
    }
    if &new == old { Plan::Nothing } else { Plan::Mark(new) }
}

/// The finalizers that the propagation policy asks for.
fn finalizers(old: &Value, propagation: &str) -> Vec<String> {
    let present = old["metadata"]["finalizers"].as_array().into_iter().flatten();
    let mut all: Vec<String> = present.filter_map(Value::as_str).map(str::to_owned).collect();
    // Without a policy of the request the finalizers say what was wanted before.
    if propagation.is_empty() {
        return all;
    }
    all.retain(|name| name != ORPHAN && name != FOREGROUND);
    match propagation {
        "Orphan" => all.push(ORPHAN.into()),
        "Foreground" => all.push(FOREGROUND.into()),
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_machinery::resource::by_any_name;

    const NOW: i64 = 1_000_000;

    /// `expected` is `remove`, `nothing`, or finalizers, grace and seconds until the end.
    fn check(kind: &str, object: Value, options: DeleteOptions, expected: &str) {
        let hooks = rest::hooks(by_any_name(kind).unwrap());
        let now = jiff::Timestamp::from_second(NOW).unwrap();
        let found = match plan(&object, &options, hooks, now) {
            Plan::Remove => "remove".to_owned(),
            Plan::Nothing => "nothing".to_owned(),
            Plan::Mark(new) => {
                let metadata = &new["metadata"];
                let names = metadata["finalizers"].as_array().into_iter().flatten();
                let names: Vec<&str> = names.filter_map(Value::as_str).collect();
                let end: jiff::Timestamp =
                    metadata["deletionTimestamp"].as_str().unwrap().parse().unwrap();
                let grace = &metadata["deletionGracePeriodSeconds"];
                format!("{} {grace} {}", names.join("+"), end.as_second() - NOW)
            }
        };
        assert_eq!(found, expected, "{object} {options:?}");
    }

    #[test]
    fn what_a_delete_does() {
        let none = DeleteOptions::default;
        let grace = |seconds| DeleteOptions { grace: Some(seconds), ..none() };
        let policy = |text: &str| DeleteOptions { propagation: text.into(), ..none() };
        let held = json!({"metadata": {"finalizers": ["a/b"]}});
        check("cm", json!({"metadata": {}}), none(), "remove");
        check("cm", held.clone(), none(), "a/b 0 0");
        check("cm", held, policy("Orphan"), "a/b+orphan 0 0");
        check("cm", json!({"metadata": {}}), policy("Foreground"), "foregroundDeletion 0 0");
        let foreground = json!({"metadata": {"finalizers": ["foregroundDeletion"]}});
        check("cm", foreground.clone(), policy("Background"), "remove");
        check("cm", foreground, none(), "foregroundDeletion 0 0");

        let pod = |spec: Value| json!({"metadata": {}, "spec": spec});
        let bound = pod(json!({"nodeName": "n", "terminationGracePeriodSeconds": 5}));
        check("pods", pod(json!({})), none(), "remove");
        check("pods", pod(json!({"nodeName": "n"})), none(), " 30 30");
        check("pods", bound.clone(), none(), " 5 5");
        check("pods", bound.clone(), grace(60), " 60 60");
        check("pods", bound.clone(), grace(-1), " 1 1");
        let end = jiff::Timestamp::MAX.as_second() - NOW;
        check("pods", bound.clone(), grace(i64::MAX), &format!(" {} {end}", i64::MAX));
        check("pods", bound, grace(0), "remove");
        let ended =
            json!({"metadata": {}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        check("pods", ended, none(), "remove");
        // Begun ten seconds ago with thirty: only a shorter time changes it.
        let end = rfc3339(jiff::Timestamp::from_second(NOW + 20).unwrap());
        let ending = json!({
            "metadata": {"deletionTimestamp": end, "deletionGracePeriodSeconds": 30},
            "spec": {"nodeName": "n"},
        });
        check("pods", ending.clone(), none(), "nothing");
        check("pods", ending.clone(), grace(60), "nothing");
        check("pods", ending.clone(), grace(15), " 15 5");
        check("pods", ending, grace(0), "remove");

        let space = json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}});
        check("ns", space, none(), " 0 0");
        check("ns", json!({"metadata": {}, "spec": {}}), none(), "remove");
    }
}
