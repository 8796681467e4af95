//! A hook that is to be asked, and in which version of the kind.

use onggi_api::Status;
use onggi_machinery::resource::Resource;
use serde_json::Value;

use super::configuration::Hook;
use crate::admission::expression::Scope;
use crate::admission::{Attributes, matching, versions};
use crate::registry::Registry;

/// See the module.
pub(super) struct Invocation<'h> {
    pub(super) hook: &'h Hook,
    /// The version that it wants to see.
    pub(super) row: &'static Resource,
}

impl Invocation<'_> {
    /// The object as the hook wants to see it.
    pub(super) async fn shown(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<Value, Status> {
        versions::convert(registry, attributes.row, self.row, object.clone()).await
    }

    /// And back.
    pub(super) async fn back(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        object: Value,
    ) -> Result<Value, Status> {
        versions::convert(registry, self.row, attributes.row, object).await
    }
}

/// Whether the hook is for the request. What does not concern the hook is no error.
pub(super) async fn invocation<'h>(
    registry: &Registry,
    hook: &'h Hook,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<Option<Invocation<'h>>, Status> {
    let Some(row) = hook.matching.row(registry, attributes, object).await? else {
        return Ok(None);
    };
    let invocation = Invocation { hook, row };
    if hook.conditions.is_empty() {
        return Ok(Some(invocation));
    }
    let none = Value::Null;
    let shown = invocation.shown(registry, attributes, object).await?;
    let old = invocation.shown(registry, attributes, attributes.old.unwrap_or(&none)).await?;
    let request = matching::request(attributes, row);
    let scope = Scope {
        object: &shown,
        old: &old,
        request: &request,
        params: &none,
        namespace: &none,
        authorizer: Scope::authorizer(registry, attributes),
    };
    match hook.conditions.hold(&scope.variables()) {
        Ok(true) => Ok(Some(invocation)),
        Ok(false) => Ok(None),
        Err(why) => {
            let resource = attributes.row.group_resource();
            Err(Status::forbidden(&resource, attributes.name, &why))
        }
    }
}
