//! `events`.

use onggi_machinery::value::str_at;
use serde_json::Value;

use crate::describe::event_age;
use crate::error::Error;
use crate::output::Format;
use crate::output::format::list_of;
use crate::output::tabwriter::{TABLE, align};
use crate::select::Selectors;
use crate::session::Session;

/// Flags of `events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Of one object: TYPE/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Only Normal or Warning
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
    /// yaml, json …
    #[arg(long, short, default_value = "")]
    output: String,
}

impl Args {
    /// Prints them, the latest last.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let format = Format::parse(&self.output)?;
        let mapper = session.mapper().await?;
        let mapping = mapper.by_kind("v1", "Event").ok_or_else(|| Error::new("no events here"))?;
        let namespace = if self.all_namespaces { String::new() } else { session.namespace() };
        let mut selectors = Selectors::default();
        if let Some(about) = &self.about {
            let found = crate::select::targets(mapper, std::slice::from_ref(about))?;
            let target =
                found.into_iter().next().ok_or_else(|| Error::new("--for names nothing"))?;
            let mut fields = format!("involvedObject.kind={}", target.mapping.kind);
            if let Some(name) = target.name {
                fields += &format!(",involvedObject.name={name}");
            }
            selectors.field_selector = Some(fields);
        }
        let mut events = session.list(mapping, &namespace, &selectors).await?;
        let wanted = |event: &Value| {
            self.types.is_empty()
                || self.types.iter().any(|t| t.eq_ignore_ascii_case(str_at(event, "type")))
        };
        events.retain(wanted);
        events.sort_by_key(|event| last_seen(event).to_owned());
        if !format.is_table() {
            return session.print(&format.print(&list_of(events), self.no_headers)?);
        }
        if events.is_empty() {
            let text = if self.all_namespaces {
                "No events found.\n".to_owned()
            } else {
                format!("No events found in {namespace} namespace.\n")
            };
            return session.print_error(&text);
        }
        let now = jiff::Timestamp::now().as_second();
        let mut text = String::new();
        let place =
            |text: &str| if self.all_namespaces { format!("{text}\t") } else { String::new() };
        if !self.no_headers {
            text += &place("NAMESPACE");
            text += "LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n";
        }
        for event in &events {
            text += &place(str_at(event, "metadata.namespace"));
            text += &format!(
                "{}\t{}\t{}\t{}/{}\t{}\n",
                event_age(event, now),
                str_at(event, "type"),
                str_at(event, "reason"),
                str_at(event, "involvedObject.kind"),
                str_at(event, "involvedObject.name"),
                str_at(event, "message").trim().replace(['\n', '\t'], " "),
            );
        }
        session.print(&align(&text, TABLE))
    }
}

fn last_seen(event: &Value) -> &str {
    ["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"]
        .into_iter()
        .map(|path| str_at(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or("")
}
