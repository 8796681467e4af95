//! Who owns which fields of what is written (`metadata.managedFields`).

use std::borrow::Cow;
use std::sync::Arc;

use onggi_api::Status;
use onggi_api::status::{Cause, Details, reason};
use onggi_client::Request;
use onggi_machinery::conversion::{self, Version};
use onggi_machinery::managedfields::{
    self, ApplyError, Entry, FieldSet, Id, Managed, Sent, Type, Writer, scale,
};
use onggi_machinery::resource::{self, Resource};
use serde_json::Value;

use super::conversions::Conversions;
use super::structural::Versions;
use super::{Context, Registry};

/// What a writer says of the owners.
#[derive(Clone)]
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
    /// The version of the request, where it is a current one and not the stored one: fields are
    /// owned in it. What is owned in a removed version nobody could read.
    version: Option<&'static Version>,
    row: &'static Resource,
    conversions: Conversions,
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
        let version = context.version.filter(|version| version.removed.is_none());
        let (api_version, ty) = match version {
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
            version,
            row,
            conversions: Conversions::default(),
            reset: managedfields::reset_fields(row, subresource),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Writer<'_>) -> T) -> T {
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        let custom = self.custom.as_ref().and_then(|custom| custom.schema(version));
        work(&Writer {
            manager: &self.manager,
            api_version: &self.api_version,
            subresource: &self.subresource,
            now: &self.now,
            ty: custom.map_or(self.ty, Type::Custom),
            reset: &self.reset,
            versions: self,
        })
    }

    /// Finds out what a decision wanted to know of other versions; whether it is to be made again.
    pub(super) async fn settle(&self, registry: &Registry) -> Result<bool, Status> {
        self.conversions.fetch(registry, self.row).await
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
    pub(super) async fn created(
        &self,
        registry: &Registry,
        object: &Value,
        ownership: Ownership,
    ) -> Result<Option<Value>, Status> {
        let sent = match ownership {
            Ownership::Applied(managed) => return Ok(managed.write()),
            Ownership::Changes(sent) => sent,
        };
        let object = &*self.seen(object);
        loop {
            let managed = self.with(|writer| writer.created(object, sent.clone()));
            if !self.settle(registry).await? {
                return Ok(managed.write());
            }
        }
    }

    /// The list of a new object as it is stored, where it can be told without values.
    pub(super) fn created_text(&self, object: &Value, ownership: &Ownership) -> Option<Vec<u8>> {
        let is_plain = matches!(ownership, Ownership::Changes(Sent::Nothing | Sent::Reset));
        if !is_plain || self.version.is_some() || self.row.custom.is_some() {
            return None;
        }
        self.with(|writer| writer.created_text(object))
    }

    /// The list of a changed object. Neither object has its list in it; `list` is the old one.
    pub(super) async fn changed(
        &self,
        registry: &Registry,
        old: &Value,
        new: &Value,
        list: Option<&Value>,
        ownership: Ownership,
    ) -> Result<Option<Value>, Status> {
        let sent = match ownership {
            Ownership::Applied(managed) => return Ok(managed.write()),
            // Lists that come through a part are not looked at.
            Ownership::Changes(_) if !self.subresource.is_empty() => Sent::Nothing,
            Ownership::Changes(sent) => sent,
        };
        let (old, new) = (self.seen(old), self.seen(new));
        loop {
            let after = self.with(|writer| writer.updated_list(&old, &new, list, sent.clone()));
            if !self.settle(registry).await? {
                return Ok(after);
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

/// The configuration of a server-side apply, and the context to apply it in: one of a removed
/// version is applied in the stored version.
pub(super) fn configured(context: &Context, config: Value) -> Result<(Context, Value), Status> {
    let Some(version) = context.version.filter(|version| version.removed.is_some()) else {
        return Ok((context.clone(), config));
    };
    managedfields::check_kind((&version.api_version(), version.kind), &config)
        .map_err(apply_status)?;
    if let Some(made) = version.reshaped(&config) {
        return Ok((Context { version: None, ..context.clone() }, made));
    }
    let mut config = config;
    config["apiVersion"] = version.current_kind().api_version().into();
    Ok((context.clone(), config))
}

impl managedfields::Versions for Owner {
    /// Entries of versions that the group never had cannot be understood.
    fn is_served(&self, api_version: &str) -> bool {
        api_version == self.api_version || {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            group != self.row.group
                || self.custom.as_ref().is_some_and(|custom| custom.schema(version).is_some())
                || resource::all().iter().any(|row| row.group == group && row.version == version)
                || conversion::all().iter().any(|old| old.api_version() == api_version)
        }
    }

    fn converted(&self, object: &Value, api_version: &str) -> Option<Value> {
        if self.custom.is_some() {
            return self.conversions.get(object, api_version);
        }
        let of = |api_version: &str| {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            conversion::version_of(group, version, self.row.kind)
        };
        let from = object.get("apiVersion").and_then(Value::as_str).and_then(of);
        let to = of(api_version);
        if from.is_none() && to.is_none() {
            return None;
        }
        let mut object = object.clone();
        if let Some(from) = from {
            from.to_current(&mut object);
        }
        if let Some(to) = to {
            to.from_current(&mut object);
        }
        Some(object)
    }

    fn type_of(&self, api_version: &str) -> Option<Type<'_>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        match &self.custom {
            Some(custom) => custom.schema(version).map(Type::Custom),
            None => match Type::of(group, version, self.row.kind) {
                Type::Deduced => None,
                known => Some(known),
            },
        }
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
