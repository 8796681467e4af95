//! Create.

use onggi_api::{Status, object};
use onggi_client::{Request, Response};
use onggi_machinery::managedfields::{self, Sent};
use onggi_machinery::resource::Resource;
use onggi_store::{Error as StoreError, Expect, Txn};
use serde_json::Value;

use super::owners::{Owner, Ownership};
use super::{Context, Registry, decode, meta, owners, store_status};
use crate::admission::{self, Attributes, Operation, Options};
use crate::authn;
use crate::authz::check_escalation;
use crate::{cache, rest};

/// How many names are tried for `generateName`.
const NAMES: usize = 8;

impl Registry {
    /// POST of a collection.
    pub(crate) async fn create(
        &self,
        context: &Context,
        row: &'static Resource,
        mut request: Request,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        let kind = self.kind(row)?;
        kind.may_create()?;
        let (object, sent) = decode::object(context, row, &kind, &mut request, &mut warnings)?;
        let ownership = Ownership::Changes(sent);
        self.create_object(context, row, &request, object, ownership, warnings).await
    }

    /// Makes an object that fits its schema.
    pub(super) async fn create_object(
        &self,
        context: &Context,
        row: &'static Resource,
        request: &Request,
        mut object: Value,
        ownership: Ownership,
        mut warnings: Vec<String>,
    ) -> Result<Response, Status> {
        let kind = self.kind(row)?;
        kind.may_create()?;
        meta::begin_create(row, &request.namespace, &mut object)?;
        warnings.extend(meta::drop_same_owners(&mut object));
        kind.default(&mut object);
        let owner = Owner::of(self, context, row, request, "");
        // Where nobody looks at the owners before they are stored, they need not be values.
        let is_seen = request.write.dry_run || admission::is_watched(self);
        let owned = if is_seen { None } else { owner.created_text(&object, &ownership) };
        if owned.is_none() {
            let owners = owner.created(self, &object, ownership).await?;
            managedfields::put(&mut object, owners);
        }
        row.prepare_new(&mut object);
        authn::stamp_requester(row, &context.user, &mut object);
        let given = super::text(&object, "/metadata/name").to_owned();
        let attributes = Attributes {
            context,
            row,
            namespace: &request.namespace,
            name: &given,
            subresource: "",
            operation: Operation::Create,
            options: Options::Write(&request.write),
            old: None,
        };
        if admission::mutate(self, &attributes, &mut object).await? {
            meta::begin_create(row, &request.namespace, &mut object)?;
            kind.prune(&mut object);
            if owned.is_some() {
                // Whoever came in between knows nothing of the owners.
                managedfields::take(&mut object);
            }
            if let Err(problem) = owners::check(&object) {
                warnings.push(owners::spoiled(&problem));
                managedfields::take(&mut object);
                let owners =
                    owner.created(self, &object, Ownership::Changes(Sent::Nothing)).await?;
                managedfields::put(&mut object, owners);
            }
            row.prepare_new(&mut object);
            kind.default(&mut object);
        }
        // What is ours leaves nothing to fill in.
        debug_assert_eq!(kind.defaulted(&object), object);
        check_escalation(&self.authorizers, &context.user, row, &object, None)?;
        meta::stamp(&mut object, &self.clock.rfc3339(), row.has_generation);
        let hooks = rest::hooks(row);
        let generated = meta::needs_name(&object);
        // Where a name is taken, another one is tried on what had none yet.
        let unnamed = row.finish_create.filter(|_| generated).map(|_| object.clone());
        for attempt in 1.. {
            if generated {
                if let Some(unnamed) = &unnamed {
                    object.clone_from(unnamed);
                }
                meta::generate_name(&mut object);
                // A default may hold the name, as the label of a namespace does.
                kind.default(&mut object);
            }
            let name = super::text(&object, "/metadata/name").to_owned();
            if let Some(finish) = row.finish_create {
                finish(&mut object);
            }
            let errors = kind.validate(&object, context);
            if !errors.is_empty() {
                return Err(Status::invalid(&row.group_kind(), &name, &errors));
            }
            let admitted = admission::validate(self, &attributes, &object).await?;
            let _claim = hooks.before_create(self, &mut object).await?;
            let key = cache::key(row, &request.namespace, &name);
            if request.write.dry_run {
                if self.store.get(&key).await.map_err(store_status)?.is_some() {
                    return Err(self.name_is_taken(row, &object).await);
                }
                warnings.extend(kind.warnings(&object));
                return Ok(Response::Document { value: object, created: true, warnings });
            }
            let bytes = match &owned {
                Some(owned) => {
                    object::encode_owned(&object, Some(owned)).map_err(Status::internal)?
                }
                None => self.encoded(row, &object).await?,
            };
            let _announced = self.cache.announce(row, &object, &bytes);
            match self.store.txn(Txn::put(key.clone(), Expect::Absent, bytes.clone())).await {
                Ok(committed) => {
                    admitted.done();
                    warnings.extend(kind.warnings(&object));
                    let object = self.written(row, &key, &bytes, committed.revision).await?;
                    return Ok(Response::Object { object, created: true, warnings });
                }
                Err(StoreError::Conflict { .. }) if generated && attempt < NAMES => {}
                Err(StoreError::Conflict { .. }) => {
                    return Err(self.name_is_taken(row, &object).await);
                }
                Err(error) => return Err(store_status(error)),
            }
        }
        Err(Status::internal("no free name was found"))
    }

    /// 409 of a create.
    async fn name_is_taken(&self, row: &'static Resource, object: &Value) -> Status {
        let (resource, name) = (row.group_resource(), super::text(object, "/metadata/name"));
        let mut status = Status::already_exists(&resource, name);
        if !super::text(object, "/metadata/generateName").is_empty() {
            let more = "the server was not able to generate a unique name for the object";
            status.message = format!("{}, {more}", status.message);
            status.details.get_or_insert_default().retry_after_seconds = 1;
        }
        let namespace = super::text(object, "/metadata/namespace");
        let there = self.current(row, namespace, name).await;
        if there.is_ok_and(|there| there.head().deleting) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }
}
