//! What is known to be wrong with a ValidatingAdmissionPolicy stands in its status.

mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_client::informer::Whole;
use onggi_client::{Cache, Next, ObjectKey, Patch, Source};
use onggi_machinery::crd::schema::Schema;
use onggi_machinery::crd::{self, Definition};
use onggi_machinery::value::{at, i64_at};
use onggi_machinery::{conversion, resource};
use serde_json::json;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use plan::{Kinds, Known};

struct Policies {
    context: Context,
    resource: GroupVersionResource,
    policies: Cache<Whole>,
    definitions: Cache<Whole>,
}

/// Keys are policies.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let plural = "validatingadmissionpolicies";
    let resource = GroupVersionResource::new("admissionregistration.k8s.io", "v1", plural);
    let policies: Cache<Whole> = context.cache(Source::all(resource.clone()));
    let definitions = GroupVersionResource::new(crd::GROUP, "v1", "customresourcedefinitions");
    let definitions: Cache<Whole> = context.cache(Source::all(definitions));
    let mut harness = Harness::new(&context);
    harness.watch(&policies, |change| vec![change.key().clone()]);
    // Custom kinds may be defined after the policies for them, and change.
    let all = policies.clone();
    harness.watch(&definitions, move |_| all.keys());
    harness.run(Policies { context, resource, policies, definitions })
}

#[async_trait]
impl Controller for Policies {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(policy) = self.policies.get_key(key) else { return Ok(Next::Done) };
        let policy = policy.value()?;
        let generation = i64_at(&policy, "metadata.generation").unwrap_or(0);
        let checked = plan::type_checking(&policy, self);
        let seen = i64_at(&policy, "status.observedGeneration") == Some(generation);
        let told = at(&policy, "status.typeChecking.expressionWarnings");
        if seen && *told == checked["expressionWarnings"] {
            return Ok(Next::Done);
        }
        let status = json!({"observedGeneration": generation, "typeChecking": checked});
        let patch = Patch::merge(json!({"status": status}));
        match self.context.client.patch_status(&self.resource, "", &key.name, patch).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Next::Done),
        }
    }
}

impl Policies {
    /// The definition of a group for which `fits`, with the version.
    fn custom<T>(
        &self,
        group: &str,
        version: &str,
        read: impl Fn(&Definition, &crd::Version) -> Option<T>,
    ) -> Option<T> {
        // A definition is named after its group: the others need not be read.
        let of_group = format!(".{group}");
        let named = |object: &&Arc<Whole>| object.head().name.ends_with(&of_group);
        self.definitions.list().iter().filter(named).find_map(|object| {
            let definition = Definition::read(&object.value().ok()?);
            if definition.group != group || !definition.established {
                return None;
            }
            let version = definition.versions.iter().find(|v| v.served && v.name == version)?;
            read(&definition, version)
        })
    }
}

impl Kinds for Policies {
    fn kind(&self, group: &str, version: &str, plural: &str) -> Option<String> {
        let row = resource::by_gvr(group, version, plural).map(|row| row.kind);
        let other = || conversion::version(group, version, plural).map(|other| other.kind);
        row.or_else(other).map(str::to_owned).or_else(|| {
            self.custom(group, version, |definition, _| {
                let names = &definition.names;
                (names.plural == plural).then(|| names.kind.clone())
            })
        })
    }

    fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Known> {
        if let Some(schema) = onggi_api::schema::of(group, version, kind) {
            return Some(Known::BuiltIn(schema));
        }
        self.custom(group, version, |definition, version| {
            let fits = definition.names.kind == kind && version.schema.is_object();
            fits.then(|| Known::Custom(Box::new(Schema::read(&version.schema))))
        })
    }
}
