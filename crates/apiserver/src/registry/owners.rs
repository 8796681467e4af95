//! Who owns which fields of what is written (`metadata.managedFields`).

use std::borrow::Cow;
use std::sync::Arc;

use onggi_api::Status;
use onggi_api::status::{Cause, Details, reason};
use onggi_client::Request;
use onggi_machinery::conversion::Version;
use onggi_machinery::managedfields::{
    self, ApplyError, Entry, FieldSet, Id, Managed, Sent, Type, Writer, scale,
};
use onggi_machinery::resource::{self, Resource};
use serde_json::Value;

use super::structural::Versions;
use super::{Context, Registry};

/// What a writer says of the owners.
pub(crate) enum Ownership {
    /// What changed belongs to the writer; entries may have come with the object.
    Changes(Sent),
    /// Server-side apply has found them already.
    Applied(Managed),
}

/// The writer of a request.
pub(crate) struct Owner {
    manager: String,
    api_version: String,
    subresource: String,
    now: String,
    ty: Type<'static>,
    /// The schemas of a custom kind.
    custom: Option<Arc<Versions>>,
    /// The version of the request, where it is not the stored one: fields are owned in it.
    version: Option<&'static Version>,
    group: &'static str,
    reset: FieldSet,
}

impl Owner {
    pub(super) fn of(
        registry: &Registry,
        context: &Context,
        row: &'static Resource,
        request: &Request,
        subresource: &str,
    ) -> Self {
        let stored = || Type::of(row.group, row.version, row.kind);
        let (api_version, ty) = match context.version {
            None => (row.api_version(), stored()),
            Some(v) => match Type::of(v.group, v.version, v.kind) {
                Type::Deduced => (v.api_version(), stored()),
                known => (v.api_version(), known),
            },
        };
        Self {
            manager: managedfields::manager_of(&request.write.field_manager, &context.user_agent),
            api_version,
            subresource: subresource.to_owned(),
            now: registry.clock.rfc3339(),
            ty,
            custom: registry.structurals.of(&registry.cache, row),
            version: context.version,
            group: row.group,
            reset: managedfields::reset_fields(row, subresource),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Writer<'_>) -> T) -> T {
        let is_served = |version: &str| self.is_served(version);
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        let custom = self.custom.as_ref().and_then(|custom| custom.schema(version));
        work(&Writer {
            manager: &self.manager,
            api_version: &self.api_version,
            subresource: &self.subresource,
            now: &self.now,
            ty: custom.map_or(self.ty, Type::Custom),
            reset: &self.reset,
            is_served: &is_served,
        })
    }

    /// Entries of versions that the group never had cannot be understood. Those of old versions can:
    /// their fields have the names of the present one.
    fn is_served(&self, version: &str) -> bool {
        version == self.api_version || {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            group != self.group
                || self.custom.as_ref().is_some_and(|custom| custom.schema(version).is_some())
                || resource::all().iter().any(|row| row.group == group && row.version == version)
                || onggi_machinery::conversion::all()
                    .iter()
                    .any(|old| old.api_version() == format!("{group}/{version}"))
        }
    }

    /// The object in the version of the request.
    fn seen<'v>(&self, object: &'v Value) -> Cow<'v, Value> {
        match self.version {
            None => Cow::Borrowed(object),
            Some(version) => {
                let mut object = object.clone();
                version.from_current(&mut object);
                Cow::Owned(object)
            }
        }
    }

    /// The list of a new object.
    pub(super) fn created(&self, object: &Value, ownership: Ownership) -> Option<Value> {
        let object = &*self.seen(object);
        let managed = match ownership {
            Ownership::Applied(managed) => managed,
            Ownership::Changes(sent) => self.with(|writer| writer.created(object, sent)),
        };
        managed.write()
    }

    /// The list of a changed object. Neither object has its list in it; `list` is the old one.
    pub(super) fn changed(
        &self,
        old: &Value,
        new: &Value,
        list: Option<&Value>,
        ownership: Ownership,
    ) -> Option<Value> {
        match ownership {
            Ownership::Applied(managed) => managed.write(),
            // Lists that come through a part are not looked at.
            Ownership::Changes(sent) => {
                let sent = if self.subresource.is_empty() { sent } else { Sent::Nothing };
                let (old, new) = (self.seen(old), self.seen(new));
                self.with(|writer| writer.updated_list(&old, &new, list, sent))
            }
        }
    }

    /// What a configuration makes of an object, in the version of the request; of nothing, it makes
    /// a new one.
    pub(super) fn apply(
        &self,
        row: &Resource,
        old: &Value,
        config: &Value,
        force: bool,
    ) -> Result<(Value, Ownership), Status> {
        let mut live = self.seen(old).into_owned();
        let managed = Managed::of(old);
        managedfields::take(&mut live);
        let kind = (self.api_version.as_str(), row.kind);
        let applied = self
            .with(|writer| writer.applied(kind, &live, managed, config, force))
            .map_err(apply_status)?;
        Ok((applied.object, Ownership::Applied(applied.managed)))
    }
}

/// Whether the list of an object that others have changed can be read.
pub(super) fn check(object: &Value) -> Result<(), String> {
    match object.pointer("/metadata/managedFields") {
        Some(list) => Managed::read(list).map(drop),
        None => Ok(()),
    }
}

/// The warning where it cannot.
pub(super) fn spoiled(problem: &str) -> String {
    format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an \
         outdated mutating admission controller; please fix your requests: {problem}"
    )
}

// === Scale ===

/// Where the replicas of an object are: custom kinds say it.
fn replicas_of(row: &Resource) -> Vec<String> {
    let custom = row.custom.and_then(|shape| shape.scale.as_ref());
    let path = custom.map_or("spec.replicas", |paths| paths.replicas.as_str());
    path.split('.').filter(|part| !part.is_empty()).map(|part| format!("f:{part}")).collect()
}

/// Who writes a `Scale`, and the owners of the replicas as it shows them.
pub(crate) struct ScaleOwners {
    owner: Owner,
    api_version: String,
    managed: Managed,
    before: Vec<(Id, Entry)>,
    replicas: Vec<String>,
}

impl ScaleOwners {
    /// Of an object that is to be scaled.
    pub(crate) fn of(
        registry: &Registry,
        context: &Context,
        row: &'static Resource,
        request: &Request,
        old: &Value,
    ) -> Self {
        let mut owner = Owner::of(registry, context, row, request, "scale");
        owner.ty = Type::of("autoscaling", "v1", "Scale");
        owner.custom = None;
        let api_version = std::mem::replace(&mut owner.api_version, scale::VERSION.to_owned());
        let managed = Managed::of(old);
        let replicas = replicas_of(row);
        let path: Vec<&str> = replicas.iter().map(String::as_str).collect();
        let before = scale::to_scale(&managed, &path);
        Self { owner, api_version, managed, before, replicas }
    }

    fn entries(&self) -> Managed {
        Managed(self.before.iter().map(|(_, entry)| entry.clone()).collect())
    }

    fn after(self, after: &Managed) -> Ownership {
        let Self { api_version, managed, before, replicas, .. } = self;
        let path: Vec<&str> = replicas.iter().map(String::as_str).collect();
        Ownership::Applied(scale::to_object(managed, &path, &api_version, &before, after))
    }

    /// After a write that made one scale of the other.
    pub(crate) fn changed(self, old: &Value, new: &Value) -> Ownership {
        let entries = self.entries();
        let after = self.owner.with(|writer| writer.updated(old, new, entries));
        self.after(&after)
    }

    /// Server-side apply; gives the scale.
    pub(crate) fn apply(
        self,
        old: &Value,
        config: &Value,
        force: bool,
    ) -> Result<(Value, Ownership), Status> {
        let kind = (scale::VERSION, "Scale");
        let entries = self.entries();
        let applied = self
            .owner
            .with(|writer| writer.applied(kind, old, entries, config, force))
            .map_err(apply_status)?;
        Ok((applied.object, self.after(&applied.managed)))
    }
}

/// A configuration that cannot be applied.
fn apply_status(error: ApplyError) -> Status {
    match error {
        ApplyError::BadRequest(text) => Status::bad_request(text),
        ApplyError::Unfit(text) => Status::failure(500, "", text),
        ApplyError::Conflicts { message, conflicts } => {
            let causes = conflicts.into_iter().map(|conflict| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", conflict.manager),
                field: conflict.path,
            });
            let details = Details { causes: causes.collect(), ..Details::default() };
            Status { details: Some(details), ..Status::failure(409, reason::CONFLICT, message) }
        }
    }
}
