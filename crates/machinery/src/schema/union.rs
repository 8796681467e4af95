//! The three unions of the JSON schemas in a CustomResourceDefinition: a schema, or a boolean
//! (`additionalProperties`, `additionalItems`), a list of schemas (`items`), a list of names
//! (`dependencies`).

use onggi_api::schema::{self, Schema};

const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// What may stand in the place of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alternative {
    Bool,
    Schemas,
    Names,
}

/// The alternative of a union, and the schema of a JSON schema; `None` for any other schema.
pub(crate) fn union(schema: Schema<'_>) -> Option<(Alternative, Schema<'static>)> {
    let (_, name) = schema.name()?.rsplit_once("JSONSchemaPropsOr")?;
    let alternative = match name {
        "Bool" => Alternative::Bool,
        "Array" => Alternative::Schemas,
        _ => Alternative::Names,
    };
    Some((alternative, schema::table().definition(PROPS)?))
}
