//! `explain`: the fields of a kind, from the server's OpenAPI.

mod plain;
mod v2;
mod wrap;

use onggi_machinery::value::{entries_at, list_at, str_at};
use serde_json::Value;

use crate::discovery::Mapping;
use crate::error::Error;
use crate::session::Session;

/// The output that is made from OpenAPI v2.
const V2: &str = "plaintext-openapiv2";

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// deployment, deployment.spec.template
    #[arg(value_name = "TYPE[.FIELD…]")]
    what: String,
    /// All fields below
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Of this version: apps/v1
    #[arg(long, default_value = "", value_name = "GROUP/VERSION")]
    api_version: String,
    /// plaintext, plaintext-openapiv2
    #[arg(long, short, default_value = "plaintext")]
    output: String,
}

impl Args {
    /// Prints names, types and what they mean, as far as the server says it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if !matches!(self.output.as_str(), "plaintext" | V2) {
            return Err(Error::new(format!("unrecognized format: {}", self.output)));
        }
        let (mapping, fields) = self.named(session).await?;
        if self.output == V2 {
            return self.by_v2(session, &mapping, &fields).await;
        }
        let place = if mapping.group.is_empty() { "api" } else { "apis" };
        let path = format!("/openapi/v3/{place}/{}", mapping.api_version());
        let value = session.get(&path, "application/json").await?;
        let document = plain::Document { value: &value, recursive: self.recursive };
        let kind = document.kind(&mapping).ok_or_else(|| missing(&mapping))?;
        let mut text = String::new();
        if !mapping.group.is_empty() {
            text += &format!("GROUP:      {}\n", mapping.group);
        }
        text += &format!("KIND:       {}\nVERSION:    {}\n\n", mapping.kind, mapping.version);
        let Some(said) = document.explain(kind, &fields) else {
            session.print(&text)?;
            let name = fields.last().map_or("", String::as_str);
            return Err(Error::new(format!("field {name:?} does not exist")));
        };
        session.print(&(text + &said + "\n"))
    }

    async fn by_v2(
        &self,
        session: &Session,
        mapping: &Mapping,
        fields: &[String],
    ) -> Result<(), Error> {
        let value = session.get("/openapi/v2", "application/json").await?;
        let document = v2::Document { value: &value, recursive: self.recursive };
        let kind = document.kind(mapping).ok_or_else(|| missing(mapping))?;
        let head = (mapping.kind.as_str(), mapping.api_version());
        let text = document.explain((head.0, &head.1), kind, fields);
        session.print(&text.map_err(|name| Error::new(format!("field {name:?} does not exist")))?)
    }

    /// The kind and the fields below it that are meant; the kind's own name may hold dots.
    async fn named(&self, session: &Session) -> Result<(Mapping, Vec<String>), Error> {
        let mapper = session.mapper().await?;
        let parts: Vec<&str> = self.what.split('.').collect();
        let (kind, fields) = parts.split_first().ok_or_else(|| Error::new("no kind is named"))?;
        let fields = fields.iter().filter(|field| !field.is_empty());
        let fields: Vec<String> = fields.map(|field| (*field).to_owned()).collect();
        if self.api_version.is_empty() {
            // `gateways.example.com` is a kind, `pods.spec` a kind and a field.
            if let Ok(mapping) = mapper.by_name(&self.what) {
                return Ok((mapping.clone(), Vec::new()));
            }
            return Ok((mapper.by_name(kind)?.clone(), fields));
        }
        let mapping = mapper.by_name(kind)?;
        let of_version = mapper.by_kind(&self.api_version, &mapping.kind).ok_or_else(|| {
            Error::new(format!(
                "couldn't find resource for \"{}, Resource={}\"",
                self.api_version, mapping.plural
            ))
        })?;
        Ok((of_version.clone(), fields))
    }
}

fn missing(mapping: &Mapping) -> Error {
    let what = format!("{}, Kind={}", mapping.api_version(), mapping.kind);
    Error::new(format!("couldn't find resource for {what:?}"))
}

/// The schema of a kind, among those at a path of an OpenAPI document.
fn kind<'a>(document: &'a Value, path: &str, mapping: &Mapping) -> Option<&'a Value> {
    let is_meant = |gvk: &Value| {
        str_at(gvk, "group") == mapping.group
            && str_at(gvk, "version") == mapping.version
            && str_at(gvk, "kind") == mapping.kind
    };
    let mut schemas = entries_at(document, path).map(|(_, schema)| schema);
    schemas.find(|s| list_at(s, "x-kubernetes-group-version-kind").iter().any(is_meant))
}
