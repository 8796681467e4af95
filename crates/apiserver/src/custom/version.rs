//! A version of a custom kind.

use std::sync::{Arc, OnceLock};

use onggi_api::{DecodeError, Object};
use onggi_machinery::crd::schema::{self, Schema, rules};
use onggi_machinery::crd::{self, Definition};
use onggi_machinery::resource::Resource;
use onggi_machinery::validation::Errors;
use serde_json::Value;

use crate::served::{Custom, Served as Listed};

/// The row, and what depends on the schema. Rules are compiled when they are first needed, once.
pub(crate) struct Version {
    pub(crate) row: &'static Resource,
    pub(crate) definition: Arc<Definition>,
    at: usize,
    schema: Option<Schema>,
    rules: OnceLock<Option<rules::Rules>>,
}

impl Version {
    pub(super) fn new(definition: Arc<Definition>, at: usize) -> Self {
        let spec = &definition.versions[at];
        let schema = spec.schema.is_object().then(|| Schema::read(&spec.schema));
        let row = crd::row(&definition, spec);
        Self { row, definition, at, schema, rules: OnceLock::new() }
    }

    pub(crate) fn spec(&self) -> &crd::Version {
        &self.definition.versions[self.at]
    }

    /// As the list of all that is served has it.
    pub(super) fn listed(&self) -> Listed {
        let row = self.row;
        let group: Vec<&str> = row.group.rsplit('.').collect();
        let custom = Custom {
            schema: Arc::new(schema::publish_v3(&self.spec().schema)),
            stored: self.definition.storage().map(|v| v.name.clone()).unwrap_or_default(),
            definition: format!("{}.{}.{}", group.join("."), row.version, row.kind),
        };
        let (group, version) = (row.group, row.version);
        Listed { row, group, version, old: false, custom: Some(custom) }
    }

    /// A stored object of this version in the form in which it is shown.
    pub(super) fn shown(&self, object: Object) -> Result<Object, DecodeError> {
        if self.row.fields.is_empty() && self.schema.is_none() {
            return Ok(object);
        }
        let mut value = object.value()?;
        self.normalise(&mut value);
        Object::from_value(&value, self.row.fields)
    }

    /// Takes away what the schema does not know and puts in its defaults.
    pub(super) fn normalise(&self, object: &mut Value) {
        self.prune(object);
        self.default(object);
    }

    /// Sets what was left out and has a default.
    pub(crate) fn default(&self, object: &mut Value) {
        if let Some(schema) = &self.schema {
            schema::drop_nulls(object, schema);
            schema::default(object, schema);
        }
    }

    /// Takes away what the schema does not know; gives the paths.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        match &self.schema {
            Some(schema) if !self.definition.preserve_unknown_fields => {
                schema::prune(object, schema)
            }
            _ => Vec::new(),
        }
    }

    /// What is wrong with an object, or with its change.
    pub(crate) fn validate(&self, object: &Value, old: Option<&Value>) -> Errors {
        let Some(schema) = &self.schema else { return Errors::new() };
        let mut errors = schema::validate(object, old, schema);
        let compiled = self.rules.get_or_init(|| rules::compile(schema));
        if let Some(compiled) = compiled {
            if rules::is_blocked(&errors) {
                errors.push(rules::blocked());
            } else {
                errors.extend(rules::run(compiled, schema, object, old));
            }
        }
        errors
    }
}
