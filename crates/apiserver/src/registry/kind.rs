//! A kind as the generic path sees it: the functions of its row and, where it is custom, what its
//! schema says at this moment.

use std::sync::Arc;

use onggi_api::{Status, sought};
use onggi_machinery::resource::Resource;
use onggi_machinery::validation::{self, Errors};
use serde_json::Value;

use super::{Context, Registry};
use crate::custom::Version;

pub(crate) struct Kind {
    row: &'static Resource,
    custom: Option<Arc<Version>>,
}

impl Registry {
    /// The kind of a row; 404 when its definition has gone meanwhile.
    pub(crate) fn kind(&self, row: &'static Resource) -> Result<Kind, Status> {
        let custom = match row.custom {
            None => None,
            Some(_) => {
                let snapshot = self.kinds.snapshot();
                Some(snapshot.version(row).cloned().ok_or_else(Status::no_such_path)?)
            }
        };
        Ok(Kind { row, custom })
    }
}

impl Kind {
    /// What its schema says, where it is custom.
    pub(crate) fn custom(&self) -> Option<&Version> {
        self.custom.as_deref()
    }

    /// Nothing new of a kind whose definition is being deleted.
    pub(crate) fn may_create(&self) -> Result<(), Status> {
        match &self.custom {
            Some(custom) if custom.definition.deleting => {
                let mut status = Status::method_not_allowed();
                status.message =
                    "create not allowed while custom resource definition is terminating".into();
                Err(status)
            }
            _ => Ok(()),
        }
    }

    /// Sets what was left out.
    pub(crate) fn default(&self, object: &mut Value) {
        self.row.set_defaults(object);
        if let Some(custom) = &self.custom {
            custom.default(object);
        }
    }

    /// The same object with what was left out.
    pub(crate) fn defaulted(&self, object: &Value) -> Value {
        let mut object = object.clone();
        self.default(&mut object);
        object
    }

    /// What a built-in kind always writes, in an object that was stored without it.
    pub(crate) fn complete(&self, object: &mut Value) {
        let row = self.row;
        if let Some(schema) = onggi_api::schema::of(row.group, row.version, row.kind) {
            onggi_machinery::schema::complete(schema, object);
        }
    }

    /// Takes away what its schema does not know, where it is custom.
    pub(crate) fn prune(&self, object: &mut Value) {
        if let Some(custom) = &self.custom {
            custom.prune(object);
        }
    }

    /// What is wrong with a new object; `context` has the version that it came in.
    pub(crate) fn validate(&self, object: &Value, context: &Context) -> Errors {
        if context.unchecked {
            return Errors::new();
        }
        let mut errors = validation::create(object, self.row, context.version);
        if let Some(custom) = &self.custom {
            errors.extend(custom.validate(object, None));
        }
        errors
    }

    /// What is wrong with a changed object. `whole`: not only with what a hook has changed.
    pub(crate) fn validate_update(
        &self,
        object: &Value,
        old: &Value,
        context: &Context,
        whole: bool,
    ) -> Errors {
        if context.unchecked {
            return Errors::new();
        }
        let mut errors = sought(|| {
            let mut errors = validation::metadata_update(object, old, self.row);
            errors.extend((self.row.validate)(object));
            // What a hook changes is not for everyone to change.
            if whole {
                errors.extend((self.row.validate_update)(object, old));
                let version = context.version.into_iter();
                errors.extend(version.flat_map(|version| version.validate_update(object, old)));
            }
            errors
        });
        if !errors.is_empty() {
            // Rules grow stricter: what is stored may stay as it is, or it could not even be deleted.
            let before = sought(|| (self.row.validate)(old));
            errors.retain(|error| !before.contains(error));
            validation::settle(&mut errors, self.row);
        }
        if let Some(custom) = &self.custom {
            errors.extend(custom.validate(object, Some(old)));
        }
        errors
    }

    /// Advice for who has written the object.
    pub(crate) fn warnings(&self, object: &Value) -> Vec<String> {
        sought(|| (self.row.warnings)(object))
    }
}
