//! Delete: at once, or marked for those who must act first (finalizers, a pod's kubelet).

use std::borrow::Cow;
use std::sync::Arc;

use futures::{StreamExt, stream};
use onggi_api::object::metadata_mut;
use onggi_api::status::Details;
use onggi_api::{FieldError, FieldPath, GroupVersionKind, Object, Status};
use onggi_base::clock::rfc3339;
use onggi_client::{Body, Request, Response, WriteOptions};
use onggi_machinery::resource::Resource;
use onggi_machinery::schema;
use onggi_machinery::value::is_set;
use onggi_store::{Error as StoreError, Expect, Txn};
use serde_json::{Map, Value, json};

use super::{ATTEMPTS, Context, MODIFIED, Registry, problem_status, store_status, text};
use crate::admission::{self, Attributes, Operation, Options};
use crate::cache;
use crate::rest::{self, Hooks};

/// `DeleteOptions`, from the body, or from the query where there is none.
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
    /// It would be, were this no dry run.
    WouldWait(Value),
}

/// What to do.
#[derive(Debug, PartialEq)]
enum Plan {
    Remove,
    Mark(Value),
    /// It is marked already.
    Nothing,
}

/// How many objects of a collection are deleted at the same time.
const AT_ONCE: usize = 32;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

fn options_kind() -> GroupVersionKind {
    GroupVersionKind { group: String::new(), version: "v1".into(), kind: "DeleteOptions".into() }
}

impl DeleteOptions {
    pub(crate) fn read(options: &WriteOptions, body: &Body) -> Result<Self, Status> {
        let Body::Object(body) = body else {
            let read = Self {
                dry_run: options.dry_run,
                grace: options.grace_period_seconds,
                propagation: options.propagation_policy.clone(),
                uid: options.precondition_uid.clone(),
                resource_version: options.precondition_resource_version.clone(),
            };
            return read.checked(Vec::new());
        };
        let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            return Err(Status::bad_request("decoded object cannot be converted to DeleteOptions"));
        }
        let mut body = body.clone();
        schema::fit(&mut body, &options_kind()).map_err(|problem| problem_status(&problem))?;
        let owned = |pointer| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut errors = Vec::new();
        let dry_run = body["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
        if dry_run.iter().any(|value| value != "All") {
            let path = FieldPath::new("dryRun");
            errors.push(FieldError::not_supported(&path, dry_run.to_vec(), &["All"]));
        }
        let mut propagation = owned("/propagationPolicy").unwrap_or_default();
        if let Some(orphan) = body["orphanDependents"].as_bool() {
            if body["propagationPolicy"].is_string() {
                let path = FieldPath::new("propagationPolicy");
                let why = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid(&path, propagation.clone(), why));
            }
            propagation = if orphan { "Orphan".into() } else { "Background".into() };
        }
        let unsafe_option = "ignoreStoreReadErrorWithClusterBreakingPotential";
        if body[unsafe_option] == true {
            let why = "objects that cannot be read are not deleted by this server";
            errors.push(FieldError::forbidden(&FieldPath::new(unsafe_option), why));
        }
        let read = Self {
            dry_run: !dry_run.is_empty(),
            grace: body["gracePeriodSeconds"].as_i64(),
            propagation,
            uid: owned("/preconditions/uid"),
            resource_version: owned("/preconditions/resourceVersion"),
        };
        read.checked(errors)
    }

    /// With the policy of the kind, where neither the request nor the object says one.
    fn of_kind(&self, row: &Resource, old: &Value) -> Cow<'_, Self> {
        let said = || {
            let finalizers = old["metadata"]["finalizers"].as_array();
            finalizers.into_iter().flatten().any(|name| name == ORPHAN || name == FOREGROUND)
        };
        if !row.orphans || !self.propagation.is_empty() || said() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self { propagation: "Orphan".into(), ..self.clone() })
    }

    fn checked(self, mut errors: Vec<FieldError>) -> Result<Self, Status> {
        let policies = ["Foreground", "Background", "Orphan", "nil"];
        if !matches!(self.propagation.as_str(), "" | "Background" | "Foreground" | "Orphan") {
            let path = FieldPath::new("propagationPolicy");
            let found = self.propagation.clone();
            errors.push(FieldError::not_supported(&path, found, &policies));
        }
        if errors.is_empty() {
            return Ok(self);
        }
        Err(Status::invalid("DeleteOptions.meta.k8s.io", "", &errors))
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
            Deleted::Gone(mut value) if row.answers_deleted => {
                let marked = is_set(&value, "metadata.deletionTimestamp");
                let metadata = metadata_mut(&mut value);
                // A pod is shown as it would have been marked.
                if !marked && row.kind == "Pod" {
                    metadata.insert("deletionTimestamp".into(), self.clock.rfc3339().into());
                    count(metadata);
                }
                if marked || row.kind == "Pod" {
                    metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
                }
                Ok(Response::Document { value, created: false, warnings: Vec::new() })
            }
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
            Deleted::WouldWait(value) => {
                Ok(Response::Document { value, created: false, warnings: Vec::new() })
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
        let Response::List { meta, items, .. } = self.list(row, request).await? else {
            return Err(Status::internal("a list was expected"));
        };
        // Several at once: what waits for the disk is written together.
        let options = &options;
        let mut removals = stream::iter(items.iter().map(Arc::clone))
            .map(|object| async move {
                let head = object.head();
                // A name that was taken anew meanwhile is not what was selected.
                let only = DeleteOptions { uid: Some(head.uid.clone()), ..options.clone() };
                self.remove(context, row, &head.namespace, &head.name, &only).await
            })
            .buffer_unordered(AT_ONCE);
        while let Some(removed) = removals.next().await {
            match removed {
                Err(status) if !status.is_not_found() && !status.is_conflict() => {
                    return Err(status);
                }
                _ => {}
            }
        }
        drop(removals);
        Ok(Response::List { meta, items, warnings: Vec::new() })
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
            check_preconditions(row, name, &old, options)?;
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
            let options = &*options.of_kind(row, &old);
            let (txn, bytes) = match plan(&old, options, hooks, self.clock.now()) {
                Plan::Nothing => return Ok(Deleted::Waiting(current)),
                Plan::Remove if options.dry_run => return Ok(Deleted::Gone(old)),
                Plan::Mark(new) if options.dry_run => return Ok(Deleted::WouldWait(new)),
                Plan::Remove => (Txn::delete(key.clone(), expect), None),
                Plan::Mark(new) => {
                    let bytes = self.encoded(row, &new).await?;
                    (Txn::put(key.clone(), expect, bytes.clone()), Some(bytes))
                }
            };
            match (self.store.txn(txn).await, bytes) {
                (Ok(committed), None) => {
                    // A binding that is gone gives nothing any more once that is answered. It is
                    // gone also where the cache is late.
                    if let Err(status) = self.cache.wait_for(committed.revision).await {
                        tracing::warn!(error = %status.message, "the cache is behind a deletion");
                    }
                    return Ok(Deleted::Gone(old));
                }
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
    row: &Resource,
    name: &str,
    old: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    for (what, asked, pointer, happened) in [
        ("UID", &options.uid, "/metadata/uid", "deleted and then recreated"),
        ("ResourceVersion", &options.resource_version, "/metadata/resourceVersion", "modified"),
    ] {
        let actual = text(old, pointer);
        if let Some(asked) = asked
            && asked != actual
        {
            let why = format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record \
                 ({actual}). The object might have been {happened}"
            );
            return Err(Status::conflict(&row.group_kind(), name, &why));
        }
    }
    Ok(())
}

fn plan(old: &Value, options: &DeleteOptions, hooks: &dyn Hooks, now: jiff::Timestamp) -> Plan {
    let grace = hooks.grace(old, options.grace);
    let marked = old["metadata"]["deletionTimestamp"].is_string();
    let earlier = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    // Who must stop it knows already, and has not less time than before.
    if marked && earlier > 0 && grace >= earlier {
        return Plan::Nothing;
    }
    let finalizers = finalizers(old, &options.propagation);
    if finalizers.is_empty() && grace == 0 && !hooks.holds(old) {
        return Plan::Remove;
    }
    let mut new = old.clone();
    let metadata = metadata_mut(&mut new);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
    if !marked || earlier > 0 {
        let seconds = jiff::SignedDuration::from_secs;
        let begun = text(old, "/metadata/deletionTimestamp")
            .parse::<jiff::Timestamp>()
            .ok()
            .and_then(|end| end.checked_sub(seconds(earlier)).ok())
            .unwrap_or(now);
        // Whoever asks for more than there is time gets the end of time.
        let until = begun.checked_add(seconds(grace)).unwrap_or(jiff::Timestamp::MAX);
        // A shorter time that is over already ends now, and is still for its kubelet to end.
        let (until, grace) = if until < now { (now, grace.min(1)) } else { (until, grace) };
        metadata.insert("deletionTimestamp".into(), rfc3339(until).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
        if !marked {
            count(metadata);
        }
        hooks.marked(&mut new);
    }
    if &new == old { Plan::Nothing } else { Plan::Mark(new) }
}

/// A deletion is a change of what is desired.
fn count(metadata: &mut Map<String, Value>) {
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
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
        let options = options.of_kind(by_any_name(kind).unwrap(), &object);
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

        // Before there was a garbage collector, nothing of these was deleted with them.
        check("rc", json!({"metadata": {}}), none(), "orphan 0 0");
        check("jobs", json!({"metadata": {}}), policy("Background"), "remove");

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
        check("ns", space, none(), " null 0");
        check("ns", json!({"metadata": {}, "spec": {}}), none(), "remove");
    }
}
