//! Server-side apply: a configuration is merged into an object, its fields become the manager's,
//! and what the manager gave before and gives no more is removed.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::compare::compare;
use super::element::show;
use super::entries::{Entry, Id, Managed, Operation, Sent};
use super::fields::{mentioned, with_named_fields};
use super::merge::{drop_nulls, merge, metadata, remove};
use super::set::FieldSet;
use super::types::Type;
use super::update::{Writer, lose, unowned};
use super::validate::faults;

/// The annotation of client-side apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that takes over what client-side apply owned.
const KUBECTL: &str = "kubectl";
/// The manager of what was there when the first configuration came.
const BEFORE: &str = "before-first-apply";
/// As validation of annotations bounds them.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// What came of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object without its managed fields; neither defaulted nor in canonical form.
    pub object: Value,
    /// The owners.
    pub managed: Managed,
}

/// A field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub path: String,
}

/// A configuration cannot be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplyError {
    /// 400.
    BadRequest(String),
    /// 500 without a reason: it does not fit the schema.
    Unfit(String),
    /// 409, one cause a conflict.
    Conflicts {
        /// All conflicts by manager.
        message: String,
        /// One by one.
        conflicts: Vec<Conflict>,
    },
}

struct Outcome {
    object: Value,
    managed: Managed,
}

/// The conflicting fields of each manager.
type Conflicts = Vec<(Id, FieldSet)>;

impl Writer<'_> {
    /// Applies a configuration to an object, which comes without its list; to an empty object where
    /// there is none yet. `kind` is what the path names: `(apps/v1, Deployment)`.
    pub fn applied(
        &self,
        kind: (&str, &str),
        live: &Value,
        managed: Managed,
        config: &Value,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        self.check(kind, config)?;
        let creates = metadata(live).is_none_or(|metadata| !metadata.contains_key("uid"));
        let managed = self.known(managed, live, creates);
        let mut outcome = self.merged(live, managed.clone(), config, force, creates);
        if let Err(conflicts) = &mut outcome
            && self.manager == KUBECTL
            && let Some(owned) = last_applied_fields(self.ty, self.api_version, live)
        {
            // What client-side apply set belongs to kubectl as well.
            for (_, fields) in conflicts.iter_mut() {
                fields.subtract(&owned);
            }
            conflicts.retain(|(_, fields)| !fields.is_empty());
            if conflicts.is_empty() {
                outcome = self.merged(live, managed, config, true, creates);
            }
        }
        let Outcome { mut object, managed } = outcome.map_err(told)?;
        if self.manager == KUBECTL {
            sync_last_applied(&mut object, config);
        }
        Ok(Applied { object, managed })
    }

    fn check(&self, (version, kind): (&str, &str), config: &Value) -> Result<(), ApplyError> {
        check_kind((version, kind), config)?;
        let meta = metadata(config);
        let of = |name: &str| meta.and_then(|meta| meta.get(name));
        if of("managedFields").is_some_and(|list| !list.is_null()) {
            return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
        }
        if let Some(problem) = faults(self.ty, config) {
            let place = |name: &str| of(name).and_then(Value::as_str).unwrap_or_default();
            return Err(ApplyError::Unfit(format!(
                "failed to create typed patch object ({}/{}; {}): {problem}",
                place("namespace"),
                place("name"),
                gvk(version, kind)
            )));
        }
        Ok(())
    }

    /// The entries that count. What was there before anybody is known belongs to a manager too.
    fn known(&self, mut managed: Managed, live: &Value, creates: bool) -> Managed {
        managed.0.retain(|entry| self.versions.is_served(&entry.api_version));
        self.reconcile(&mut managed);
        if managed.0.is_empty() && !creates {
            let before = Self { manager: BEFORE, ..*self };
            managed = before.created(live, Sent::Nothing);
        }
        managed
    }

    fn merged(
        &self,
        live: &Value,
        mut managed: Managed,
        config: &Value,
        force: bool,
        creates: bool,
    ) -> Result<Outcome, Conflicts> {
        let id = self.id(Operation::Apply);
        let mut object = if creates { config.clone() } else { merge(self.ty, live, config) };
        let last = managed.take(&id);
        let mut set = mentioned(self.ty, config);
        set.subtract_all(self.reset);
        if let Some(last) = last.as_ref().filter(|last| !last.fields.is_empty()) {
            let mut owned = vec![(self.api_version.to_owned(), set.clone())];
            for entry in &managed.0 {
                match owned.iter_mut().find(|(version, _)| *version == entry.api_version) {
                    Some((_, fields)) => fields.unite(entry.fields.clone()),
                    None => owned.push((entry.api_version.clone(), entry.fields.clone())),
                }
            }
            self.prune(&mut object, last, owned);
        }
        let comparison = compare(self.ty, live, &object);
        let comparisons =
            self.comparisons(Some(live).filter(|_| !creates), &object, comparison, &managed);
        if !creates {
            let changed = |version: &str| comparisons.of(version).clone().into_set();
            let mut conflicts: Conflicts = managed
                .0
                .iter()
                .map(|entry| (entry.id(), entry.fields.intersect(&changed(&entry.api_version))))
                .filter(|(_, fields)| !fields.is_empty())
                .collect();
            if !conflicts.is_empty() && !force {
                conflicts.sort_by(|a, b| a.0.cmp(&b.0));
                return Err(conflicts);
            }
        }
        lose(&mut managed, &comparisons);
        set.subtract(unowned());
        drop_nulls(self.ty, &mut object);
        if !set.is_empty() {
            let mut entry = self.entry(Operation::Apply, set);
            let changes = creates || &object != live;
            entry.time =
                if changes { Some(self.now.to_owned()) } else { last.and_then(|last| last.time) };
            managed.0.push(entry);
        }
        Ok(Outcome { object, managed })
    }

    /// Removes what the manager owned and nobody owns now. Everything is looked at in the version in
    /// which it is owned: what the manager had in that of its last configuration, what others have
    /// in theirs.
    fn prune(&self, object: &mut Value, last: &Entry, mut owned: Vec<(String, FieldSet)>) {
        let fields = |ty: Type<'_>, value: &Value| with_named_fields(ty, &mentioned(ty, value));
        let (merged, ty) = self.seen(object, &last.api_version);
        let last_fields = with_named_fields(ty, &last.fields);
        let mut pruned = merged.clone().into_owned();
        remove(ty, &mut pruned, &last_fields);
        // What somebody owns comes back; first what is owned in the same version, so that what a
        // conversion needs is there.
        owned.sort_by_key(|(version, _)| *version != last.api_version);
        for (version, set) in owned {
            let (whole, ty) = self.seen(&merged, &version);
            let mut kept = fields(ty, &self.seen(&pruned, &version).0);
            kept.unite(with_named_fields(ty, &set));
            let mut gone = fields(ty, &whole);
            gone.subtract(&kept);
            pruned = whole.into_owned();
            remove(ty, &mut pruned, &gone);
        }
        // And what was not the manager's own.
        let mut gone = fields(ty, &merged);
        gone.subtract(&fields(ty, &self.seen(&pruned, &last.api_version).0));
        let mut merged = merged.into_owned();
        remove(ty, &mut merged, &gone.intersect(&last_fields));
        let back = match self.seen(&merged, self.api_version).0 {
            Cow::Owned(converted) => Some(converted),
            Cow::Borrowed(_) => None,
        };
        *object = back.unwrap_or(merged);
    }
}

/// Whether a configuration is one of what the path names: `(apps/v1, Deployment)`.
pub fn check_kind(kind: (&str, &str), config: &Value) -> Result<(), ApplyError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let found = (text("apiVersion"), text("kind"));
    if found == kind {
        return Ok(());
    }
    let shown = gvk(found.0, found.1);
    Err(ApplyError::BadRequest(format!("invalid object type: {shown}")))
}

/// `apps/v1, Kind=Deployment`.
fn gvk(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

fn told(conflicts: Conflicts) -> ApplyError {
    let all: Vec<Conflict> = conflicts
        .iter()
        .flat_map(|(id, fields)| {
            fields
                .paths()
                .into_iter()
                .map(|path| Conflict { manager: id.show(), path: show(&path) })
        })
        .collect();
    let message = match all.as_slice() {
        [one] => {
            format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.path)
        }
        many => {
            let mut lines = Vec::new();
            let mut manager = "";
            for conflict in many {
                if conflict.manager != manager {
                    manager = &conflict.manager;
                    lines.push(format!("conflicts with {manager}:"));
                }
                lines.push(format!("- {}", conflict.path));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    ApplyError::Conflicts { message, conflicts: all }
}

/// The fields that client-side apply set last and that nobody has changed since.
fn last_applied_fields(ty: Type<'_>, api_version: &str, live: &Value) -> Option<FieldSet> {
    let text = metadata(live)?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.get("apiVersion")? != api_version || faults(ty, &last).is_some() {
        return None;
    }
    let mut fields = mentioned(ty, &last);
    let comparison = compare(ty, &last, live);
    for changed in [&comparison.modified, &comparison.added, &comparison.removed] {
        fields.subtract(changed);
    }
    Some(fields)
}

/// Keeps the annotation of client-side apply true for those who go on with it.
fn sync_last_applied(object: &mut Value, config: &Value) {
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else {
        return;
    };
    let has = annotations.get(LAST_APPLIED).and_then(Value::as_str).is_some_and(|t| !t.is_empty());
    if !has {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(own)) = config.pointer_mut("/metadata/annotations") {
        own.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
    if size(annotations) > ANNOTATIONS_MAX {
        annotations.insert(LAST_APPLIED.to_owned(), "".into());
    }
}

fn size(annotations: &Map<String, Value>) -> usize {
    let each = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    annotations.iter().map(each).sum()
}
