//! Update and patch: read, change, check, compare-and-set, again when another was faster.

use std::sync::Arc;

use onggi_api::{Object, Status};
use onggi_client::{Request, Response};
use onggi_machinery::managedfields::{self, Sent};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, Expect, Txn};
use serde_json::Value;

use super::owners::{Owner, Ownership};
use super::{ATTEMPTS, Context, MODIFIED, Registry, decode, meta, owners, store_status, text};
use crate::admission::{self, Attributes, Operation, Options};
use crate::authz::check_escalation;
use crate::{cache, rest};

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status alone.
    Status,
    /// Whatever the hook of this subresource has changed.
    Whole(&'static str),
}

/// What came of a write.
pub(crate) enum Written {
    /// Stored, or as it was before.
    Stored(Arc<Object>),
    /// A dry run, or the object went with its last finalizer.
    Value(Value),
}

impl Part {
    fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Whole(name) => name,
        }
    }

    /// Whether who writes through it owns what changes, and changes what is desired. A binding is
    /// the server's own doing, as are the end of a namespace and what an eviction says of its pod.
    fn is_tracked(self) -> bool {
        !matches!(self, Self::Whole("binding" | "eviction" | "finalize"))
    }
}

impl Written {
    pub(crate) fn response(self, warnings: Vec<String>) -> Response {
        match self {
            Self::Stored(object) => Response::Object { object, created: false, warnings },
            Self::Value(value) => Response::Document { value, created: false, warnings },
        }
    }

    pub(crate) fn value(self) -> Result<Value, Status> {
        match self {
            Self::Stored(object) => object.value().map_err(Status::internal),
            Self::Value(value) => Ok(value),
        }
    }
}

impl Registry {
    /// PUT.
    pub(crate) async fn update(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        mut request: Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let kind = self.kind(row)?;
        let (new, sent) = decode::object(context, row, &kind, &mut request, &mut warnings)?;
        meta::check_place(row, &request, &new)?;
        let written = self
            .change_owned(context, row, part, &request, &mut warnings, |old, _, _| {
                meta::check_uid(row, old, &new)?;
                Ok((new.clone(), Ownership::Changes(sent.clone())))
            })
            .await?;
        Ok(written.response(warnings))
    }

    /// PATCH.
    pub(crate) async fn patch(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        request: &Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let kind = self.kind(row)?;
        let written = self
            .change_owned(context, row, part, request, &mut warnings, |old, _, warnings| {
                let (new, sent) = decode::patched(context, row, &kind, request, old, warnings)?;
                meta::check_place(row, request, &new)?;
                Ok((new, Ownership::Changes(sent)))
            })
            .await?;
        Ok(written.response(warnings))
    }

    /// Server-side apply to an object that is there.
    pub(crate) async fn apply(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        request: &Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let config = decode::configuration(request, &mut warnings)?;
        let (context, config) = &owners::configured(context, config)?;
        let kind = self.kind(row)?;
        let written = self
            .change_owned(context, row, part, request, &mut warnings, |old, owner, _| {
                let (mut new, ownership) = owner.apply(row, old, config, request.write.force)?;
                decode::applied(context, row, &kind, &mut new)?;
                meta::check_place(row, request, &new)?;
                Ok((new, ownership))
            })
            .await?;
        Ok(written.response(warnings))
    }

    /// Server-side apply where there is no object yet.
    pub(crate) async fn create_by_apply(
        &self,
        context: &Context,
        row: &'static Resource,
        request: Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let config = decode::configuration(&request, &mut warnings)?;
        let (context, config) = &owners::configured(context, config)?;
        let kind = self.kind(row)?;
        let owner = self.owner(context, row, Part::Main, &request);
        let nothing = Value::Object(serde_json::Map::new());
        let (mut object, ownership) = loop {
            let applied = owner.apply(row, &nothing, config, request.write.force);
            if !owner.settle(self).await? {
                break applied?;
            }
        };
        decode::applied(context, row, &kind, &mut object)?;
        meta::check_place(row, &request, &object)?;
        let uid = text(&object, "/metadata/uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(&row.group_resource(), &request.name, &why));
        }
        self.create_object(context, row, &request, object, ownership, warnings).await
    }

    /// PUT of an object that is not there, of a kind that is made that way.
    pub(crate) async fn create_by_update(
        &self,
        context: &Context,
        row: &'static Resource,
        mut request: Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let kind = self.kind(row)?;
        let (object, sent) = decode::object(context, row, &kind, &mut request, &mut warnings)?;
        meta::check_place(row, &request, &object)?;
        meta::check_uid(row, &Value::Null, &object)?;
        let ownership = Ownership::Changes(sent);
        self.create_object(context, row, &request, object, ownership, warnings).await
    }

    fn owner(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        request: &Request,
    ) -> Owner {
        Owner::of(self, context, row, request, part.subresource())
    }

    /// Changes an object by a function of its present state, which may be called again.
    pub(crate) async fn change(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        request: &Request,
        warnings: &mut Vec<String>,
        change: impl Fn(&Value, &mut Vec<String>) -> Result<Value, Status>,
    ) -> Result<Written, Status> {
        self.change_owned(context, row, part, request, warnings, |old, _, warnings| {
            Ok((change(old, warnings)?, Ownership::Changes(Sent::Nothing)))
        })
        .await
    }

    /// [`Self::change`], where the function knows more of the owners.
    pub(crate) async fn change_owned(
        &self,
        context: &Context,
        row: &'static Resource,
        part: Part,
        request: &Request,
        warnings: &mut Vec<String>,
        change: impl Fn(&Value, &Owner, &mut Vec<String>) -> Result<(Value, Ownership), Status>,
    ) -> Result<Written, Status> {
        let resource = row.group_resource();
        let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
        let key = cache::key(row, namespace, name);
        let hooks = rest::hooks(row);
        let kind = self.kind(row)?;
        let before = warnings.len();
        for _ in 0..ATTEMPTS {
            warnings.truncate(before);
            let current = self.current(row, namespace, name).await?;
            let mut old = current.value().map_err(Status::internal)?;
            kind.complete(&mut old);
            let owner = self.owner(context, row, part, request);
            let (mut new, ownership) = loop {
                let changed = change(&old, &owner, warnings);
                if !owner.settle(self).await? {
                    break changed?;
                }
                warnings.truncate(before);
            };
            meta::check_version(row, &old, &new)?;
            meta::begin_update(&mut new, &old);
            warnings.extend(meta::drop_same_owners(&mut new));
            restrict(row, part, &mut new, &old);
            kind.default(&mut new);
            let list = managedfields::take(&mut old);
            managedfields::take(&mut new);
            let after = if part.is_tracked() {
                owner.changed(self, &old, &new, list.as_ref(), ownership).await?
            } else {
                list.clone()
            };
            managedfields::put(&mut new, after);
            managedfields::put(&mut old, list);
            let old = old;
            if !matches!(part, Part::Whole(_)) {
                (row.prepare_update)(&mut new, &old);
            }
            if part != Part::Main {
                hooks.prepare_part(part.subresource(), &mut new, &old, &self.clock.rfc3339());
            }
            let attributes = Attributes {
                context,
                row,
                namespace,
                name,
                subresource: part.subresource(),
                operation: Operation::Update,
                options: Options::Write(&request.write),
                old: Some(&old),
            };
            if admission::mutate(self, &attributes, &mut new).await? {
                kind.prune(&mut new);
                meta::begin_update(&mut new, &old);
                restrict(row, part, &mut new, &old);
                kind.default(&mut new);
                if let Err(problem) = owners::check(&new) {
                    warnings.push(owners::spoiled(&problem));
                    let list = old.pointer("/metadata/managedFields").cloned();
                    managedfields::put(&mut new, list);
                }
            }
            check_escalation(&self.authorizers, &context.user, row, &new, Some(&old))?;
            let counts = row.has_generation && part.is_tracked() && part != Part::Status;
            if counts && meta::desired_changed(row, &new, &old) {
                meta::next_generation(&mut new);
            }
            let _claim = match part {
                Part::Main => Some(hooks.before_update(self, &mut new, &old).await?),
                _ => None,
            };
            let is_part = matches!(part, Part::Whole(_));
            let mut errors = kind.validate_update(&new, &old, context, !is_part);
            if is_part {
                errors.extend(hooks.validate_part(part.subresource(), &new, &old));
            }
            if !errors.is_empty() {
                return Err(Status::invalid(&row.group_kind(), name, &errors));
            }
            let admitted = admission::validate(self, &attributes, &new).await?;
            // Who writes the status hears nothing of the rest.
            if part != Part::Status {
                warnings.extend(kind.warnings(&new));
            }
            let gone = meta::is_finished(&new) && !hooks.holds(&new);
            if request.write.dry_run {
                is_same(&mut new, &old);
                return Ok(Written::Value(new));
            }
            if !gone && is_same(&mut new, &old) && !self.is_stale(row, &key).await? {
                return Ok(Written::Stored(current));
            }
            let expect = Expect::Revision(current.head().resource_version);
            let bytes = self.encoded(row, &new).await?;
            let _announced = self.cache.announce(row, &new, &bytes);
            let txn = if gone {
                Txn::delete(key.clone(), expect)
            } else {
                Txn::put(key.clone(), expect, bytes.clone())
            };
            match self.store.txn(txn).await {
                Ok(_) if gone => return Ok(Written::Value(new)),
                Ok(committed) => {
                    admitted.done();
                    let object = self.written(row, &key, &bytes, committed.revision).await?;
                    return Ok(Written::Stored(object));
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(store_status(error)),
            }
        }
        Err(Status::conflict(&resource, name, MODIFIED))
    }
}

/// Whether nothing is to be written. Times of owners that alone would change stay as they were.
fn is_same(new: &mut Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    let list = |object: &Value| object.pointer("/metadata/managedFields").cloned();
    let (before, after) = (list(old), list(new));
    if before == after || !managedfields::same_but_times(before.as_ref(), after.as_ref()) {
        return false;
    }
    managedfields::put(new, before);
    let same = new == old;
    if !same {
        managedfields::put(new, after);
    }
    same
}

/// Puts back what a write through this part may not change.
fn restrict(row: &Resource, part: Part, new: &mut Value, old: &Value) {
    let (Some(fields), Some(old_fields)) = (new.as_object_mut(), old.as_object()) else { return };
    match part {
        Part::Main if row.has_status => match old_fields.get("status") {
            Some(status) => {
                fields.insert("status".into(), status.clone());
            }
            None => {
                fields.remove("status");
            }
        },
        Part::Status => {
            let (status, metadata) = (fields.remove("status"), fields.remove("metadata"));
            fields.clone_from(old_fields);
            match status {
                Some(status) => fields.insert("status".into(), status),
                None => fields.remove("status"),
            };
            // Custom kinds keep their metadata; labels, annotations and finalizers of the others
            // may come with the status.
            if let Some(mut metadata) = metadata
                && onggi_api::schema::of(row.group, row.version, row.kind).is_some()
            {
                for field in managedfields::status_keeps(row) {
                    match old["metadata"].get(field) {
                        Some(value) => metadata[field] = value.clone(),
                        None => {
                            metadata.as_object_mut().map(|map| map.remove(field));
                        }
                    }
                }
                fields.insert("metadata".into(), metadata);
            }
        }
        Part::Main | Part::Whole(_) => {}
    }
}
