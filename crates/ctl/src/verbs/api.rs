//! `api-resources`, `api-versions` and `explain`.

use onggi_api::schema::{self, Schema};

use crate::discovery::Mapping;
use crate::error::Error;
use crate::output::tabwriter::{DESCRIBE, TABLE, align};
use crate::session::Session;

/// Flags of `api-resources`.
#[derive(Debug, clap::Args)]
pub struct ResourcesArgs {
    /// wide or name
    #[arg(long, short, default_value = "", value_parser = ["", "wide", "name"])]
    output: String,
    /// Of one group; empty for core
    #[arg(long)]
    api_group: Option<String>,
    /// Only those in a namespace, or only the others
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
}

/// Flags of `api-versions`.
#[derive(Debug, clap::Args)]
pub struct VersionsArgs {}

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// deployment, deployment.spec.template
    #[arg(value_name = "TYPE[.FIELD…]")]
    what: String,
    /// All fields below
    #[arg(long)]
    recursive: bool,
}

impl ResourcesArgs {
    /// Prints them, by group and name.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let mut found: Vec<&Mapping> = session.mapper().await?.all().iter().collect();
        found.retain(|m| self.api_group.as_ref().is_none_or(|group| *group == m.group));
        found.retain(|m| self.namespaced.is_none_or(|only| only == m.namespaced));
        found.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural)));
        if self.output == "name" {
            let names: Vec<_> = found.iter().map(|m| m.group_resource() + "\n").collect();
            return session.print(&names.concat());
        }
        let wide = self.output == "wide";
        let mut text = String::new();
        if !self.no_headers {
            text += "NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND";
            text += if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" };
        }
        for m in found {
            let shorts = m.short_names.join(",");
            let version = m.api_version();
            text += &format!("{}\t{shorts}\t{version}\t{}\t{}", m.plural, m.namespaced, m.kind);
            if wide {
                text += &format!("\t{}\t{}", m.verbs.join(","), m.categories.join(","));
            }
            text.push('\n');
        }
        session.print(&align(&text, TABLE))
    }
}

impl VersionsArgs {
    /// Prints them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let all = session.mapper().await?.all();
        let mut versions: Vec<String> = all.iter().map(Mapping::api_version).collect();
        versions.sort();
        versions.dedup();
        session.print(&(versions.join("\n") + "\n"))
    }
}

impl ExplainArgs {
    /// Prints names and types; what they mean stands in Kubernetes' reference.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (kind, path) = self.what.split_once('.').unwrap_or((&self.what, ""));
        let mapping = session.mapper().await?.by_name(kind)?;
        let missing = || Error::new(format!("no fields are known of {}", mapping.kind));
        let mut here =
            schema::of(&mapping.group, &mapping.version, &mapping.kind).ok_or_else(missing)?;
        let mut shown = type_of(here);
        for field in path.split('.').filter(|field| !field.is_empty()) {
            let items = here.item().unwrap_or(here);
            here = items
                .child(field)
                .ok_or_else(|| Error::new(format!("field {field:?} does not exist")))?;
            shown = type_of(here);
        }
        let mut text = String::new();
        if !mapping.group.is_empty() {
            text += &format!("GROUP:\t{}\n", mapping.group);
        }
        text += &format!("KIND:\t{}\nVERSION:\t{}\n", mapping.kind, mapping.version);
        let mut text = align(&text, DESCRIBE) + "\n";
        if let Some(field) = path.rsplit('.').next().filter(|field| !field.is_empty()) {
            text += &format!("FIELD: {field} <{shown}>\n\n");
        }
        let fields = here.item().unwrap_or(here);
        if !fields.fields().is_empty() {
            text += "FIELDS:\n";
            self.fields(fields, 1, &mut text);
        }
        session.print(&text)
    }

    fn fields(&self, schema: Schema<'_>, depth: usize, text: &mut String) {
        for field in schema.fields() {
            let inner = schema.at(field.schema);
            let indent = "  ".repeat(depth);
            *text += &format!("{indent}{}\t<{}>\n", field.name, type_of(inner));
            // Schemas of schemas go round in circles.
            if self.recursive && depth < 12 {
                self.fields(inner.item().unwrap_or(inner), depth + 1, text);
            }
        }
    }
}

/// `[]Container`, `map[string]string`, `integer`.
fn type_of(schema: Schema<'_>) -> String {
    if let Some(item) = schema.item() {
        return format!("[]{}", type_of(item));
    }
    if let Some(name) = schema.name() {
        return name.rsplit('.').next().unwrap_or(name).to_owned();
    }
    format!("{:?}", schema.shape())
        .split(['(', ' ', '{'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
}
