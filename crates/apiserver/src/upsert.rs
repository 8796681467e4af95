//! Writes that make an object where there is none: server-side apply, and PUT of some kinds. Who
//! makes one must be allowed to create.

use onggi_api::Status;
use onggi_client::{Body, PatchKind, Request, Response};
use onggi_machinery::resource::{Resource, Verb};

use crate::ApiServer;
use crate::authz::{Attributes, Target};
use crate::registry::{Context, Part, creates_on_update};

/// How often a write is tried again when the object comes and goes meanwhile.
const ATTEMPTS: usize = 8;

/// Whether the write may make the object.
pub(crate) fn may_create(row: &Resource, request: &Request) -> bool {
    request.subresource.is_empty()
        && match request.verb {
            Verb::Update => creates_on_update(row),
            _ => is_apply(request),
        }
}

/// Whether it is a server-side apply.
pub(crate) fn is_apply(request: &Request) -> bool {
    request.verb == Verb::Patch && matches!(request.body, Body::Patch(PatchKind::Apply, _))
}

impl ApiServer {
    /// Writes the object, or makes it.
    pub(crate) async fn upsert(
        &self,
        context: &Context,
        row: &'static Resource,
        request: Request,
    ) -> Result<Response, Status> {
        let registry = &self.registry;
        let mut last = Status::not_found(&row.group_resource(), &request.name);
        for _ in 0..ATTEMPTS {
            let written = if is_apply(&request) {
                registry.apply(context, row, Part::Main, &request).await
            } else {
                registry.update(context, row, Part::Main, request.clone()).await
            };
            match written {
                Err(status) if status.is_not_found() => {}
                other => return other,
            }
            let target = Target::Resource {
                group: &request.resource.group,
                resource: &request.resource.resource,
                subresource: "",
                namespace: &request.namespace,
                name: &request.name,
                selector: "",
            };
            let verb = Verb::Create.as_str();
            self.authorize(&Attributes { user: &context.user, verb, target }, None).await?;
            let made = if is_apply(&request) {
                registry.create_by_apply(context, row, request.clone()).await
            } else {
                registry.create_by_update(context, row, request.clone()).await
            };
            match made {
                // Somebody was faster.
                Err(status) if status.is_already_exists() => last = status,
                other => return other,
            }
        }
        Err(last)
    }
}
