//! `events`.

use futures::StreamExt;
use onggi_client::{EventType, WatchSpec};
use onggi_machinery::value::str_at;
use serde_json::{Value, json};

use crate::describe::event_age;
use crate::discovery::Mapping;
use crate::error::Error;
use crate::flags::Printing;
use crate::output::format::hide_managed_fields;
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
    /// Items of a page; taken and not minded
    #[arg(long, hide = true, allow_negative_numbers = true, default_value_t = 500)]
    chunk_size: i64,
    /// Go on printing what comes
    #[arg(long, short)]
    watch: bool,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Prints them, the latest last.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let known = |t: &String| ["normal", "warning"].contains(&t.to_ascii_lowercase().as_str());
        if !self.types.iter().all(known) {
            return Err(Error::new("valid --types are Normal or Warning"));
        }
        let format = self.printing.format()?;
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
        if self.watch {
            let watch = self.follow(session, mapping, &namespace, &selectors, events);
            return session.follow(watch).await;
        }
        events.sort_by_key(|event| last_seen(event).to_owned());
        if !format.is_table() {
            for event in &mut events {
                if !self.printing.show_managed_fields {
                    hide_managed_fields(event);
                }
                if event["eventTime"].is_null() {
                    event["eventTime"] = Value::Null;
                }
            }
            let list =
                json!({"apiVersion": "v1", "items": events, "kind": "EventList", "metadata": {}});
            return session.print(&format.print_typed(&list)?);
        }
        if events.is_empty() {
            let text = if self.all_namespaces {
                "No events found.\n".to_owned()
            } else {
                format!("No events found in {namespace} namespace.\n")
            };
            return session.print_error(&text);
        }
        session.print(&self.table(&events, !self.no_headers))
    }

    /// Events as lines.
    fn table(&self, events: &[Value], headings: bool) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut text = String::new();
        let place =
            |text: &str| if self.all_namespaces { format!("{text}\t") } else { String::new() };
        if headings {
            text += &place("NAMESPACE");
            text += "LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n";
        }
        for event in events {
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
        align(&text, TABLE)
    }

    /// Prints what there is, then each event as it comes.
    async fn follow(
        &self,
        session: &Session,
        mapping: &Mapping,
        namespace: &str,
        selectors: &Selectors,
        mut events: Vec<Value>,
    ) -> Result<(), Error> {
        events.sort_by_key(|event| last_seen(event).to_owned());
        let revision = |event: &Value| str_at(event, "metadata.resourceVersion").parse().ok();
        let newest: Option<u64> = events.iter().filter_map(revision).max();
        session.print(&self.table(&events, !self.no_headers))?;
        let spec = WatchSpec {
            namespace: namespace.to_owned(),
            field_selector: selectors.field_selector.clone().unwrap_or_default(),
            resource_version: newest,
            initial_events: false,
            ..WatchSpec::all(mapping.gvr())
        };
        let mut stream = session.client()?.transport().watch(spec).await?;
        while let Some(event) = stream.next().await {
            let event = event?;
            if matches!(event.kind, EventType::Bookmark | EventType::Deleted) {
                continue;
            }
            let value = event.object.value().map_err(onggi_client::Error::from)?;
            let fits = self.types.is_empty()
                || self.types.iter().any(|t| t.eq_ignore_ascii_case(str_at(&value, "type")));
            if fits {
                session.print(&self.table(std::slice::from_ref(&value), false))?;
            }
        }
        Ok(())
    }
}

fn last_seen(event: &Value) -> &str {
    ["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"]
        .into_iter()
        .map(|path| str_at(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or("")
}
