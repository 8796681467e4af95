//! `api-resources` and `api-versions`.

use serde_json::{Value, json};

use crate::discovery::Mapping;
use crate::error::Error;
use crate::output::Format;
use crate::output::tabwriter::{TABLE, align};
use crate::session::Session;

/// Flags of `api-resources`.
#[derive(Debug, clap::Args)]
pub struct ResourcesArgs {
    /// wide, name, json, yaml or kyaml
    #[arg(long, short, default_value = "")]
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
    /// Only kinds with all of these verbs
    #[arg(long, value_delimiter = ',', value_name = "VERB")]
    verbs: Vec<String>,
    /// Only kinds with all of these categories
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY")]
    categories: Vec<String>,
    /// name or kind
    #[arg(long, default_value = "", value_parser = ["", "name", "kind"])]
    sort_by: String,
    /// From kubectl's cache, which is not kept here
    #[arg(long)]
    cached: bool,
}

/// Flags of `api-versions`.
#[derive(Debug, clap::Args)]
pub struct VersionsArgs {}

impl ResourcesArgs {
    /// Prints them, by group and name.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let mut found: Vec<&Mapping> = session.mapper().await?.preferred().collect();
        found.retain(|m| self.api_group.as_ref().is_none_or(|group| *group == m.group));
        found.retain(|m| self.namespaced.is_none_or(|only| only == m.namespaced));
        let has_all = |wanted: &[String], of: &[String]| wanted.iter().all(|one| of.contains(one));
        found.retain(|m| has_all(&self.verbs, &m.verbs));
        found.retain(|m| has_all(&self.categories, &m.categories));
        match self.sort_by.as_str() {
            "name" => found.sort_by(|a, b| a.plural.cmp(&b.plural)),
            "kind" => found.sort_by(|a, b| a.kind.cmp(&b.kind)),
            _ => found.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural))),
        }
        let format = match self.output.as_str() {
            "" | "wide" | "name" | "json" | "yaml" | "kyaml" => Format::parse(&self.output)?,
            other => {
                return Err(Error::new(format!(
                    "unable to match a printer suitable for the output format {other:?}, allowed \
                     formats are: json,kyaml,name,wide,yaml"
                )));
            }
        };
        if matches!(format, Format::Json | Format::Yaml | Format::Kyaml) {
            let list = json!({
                "apiVersion": "v1", "groupVersion": "", "kind": "APIResourceList",
                "resources": found.iter().map(|m| described(m)).collect::<Vec<_>>(),
            });
            return session.print(&format.print_typed(&list)?);
        }
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

/// An `APIResource` of `meta/v1`.
fn described(m: &Mapping) -> Value {
    let mut one = json!({
        "kind": m.kind, "name": m.plural, "namespaced": m.namespaced, "verbs": m.verbs,
        "singularName": m.singular, "version": m.version,
    });
    for (field, texts) in [("shortNames", &m.short_names), ("categories", &m.categories)] {
        if !texts.is_empty() {
            one[field] = json!(texts);
        }
    }
    if !m.group.is_empty() {
        one["group"] = json!(m.group);
    }
    one
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
