//! `get`.

use futures::TryStreamExt;
use onggi_client::HttpTransport;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;
use tokio_util::io::StreamReader;

use crate::discovery::Mapping;
use crate::error::Error;
use crate::flags::Printing;
use crate::gather::Wanted;
use crate::jsonpath::Template;
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::{hide_managed_fields, list_of};
use crate::output::table::{self, Options, Printer};
use crate::path::path;
use crate::select::{Selectors, Target};
use crate::session::Session;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const OBJECT: &str = "application/json";

/// Flags of `get`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE[,TYPE] [NAME …], or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    #[command(flatten)]
    printing: Printing,
    /// Go on printing what changes
    #[arg(long, short)]
    watch: bool,
    /// Print what changes from now on
    #[arg(long)]
    watch_only: bool,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
    /// Print all labels
    #[arg(long)]
    show_labels: bool,
    /// Print these labels in columns of their own
    #[arg(long, short = 'L', value_delimiter = ',', value_name = "LABEL")]
    label_columns: Vec<String>,
    /// Print the kind before the names
    #[arg(long)]
    show_kind: bool,
    /// Order by a path: .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// Part of the object: status, scale
    #[arg(long, default_value = "")]
    subresource: String,
    /// With --watch: print what happened to each object
    #[arg(long)]
    output_watch_events: bool,
    /// What a path of the server answers, as it is
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
    /// Let the server make tables
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    server_print: bool,
    /// Do not mind what is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Items of a page; 0 for all at once
    #[arg(long, allow_negative_numbers = true, default_value_t = 500)]
    chunk_size: i64,
}

/// What to ask for, in which namespace.
struct Query<'a> {
    mapping: &'a Mapping,
    namespace: &'a str,
    name: &'a str,
    accept: &'static str,
}

impl Args {
    /// Prints them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if let Some(path) = &self.raw {
            if !self.args.is_empty() || !self.files.is_empty() {
                return Err(Error::new("arguments may not be passed when --raw is specified"));
            }
            if !path.starts_with('/') {
                return Err(Error::new(format!(
                    "--raw must be a valid URL path: parse {path:?}: invalid URI for request"
                )));
            }
            let answer = session.send("GET", path, OBJECT, Vec::new()).await?;
            return session.print_bytes(&answer);
        }
        let format = self.printing.any_format()?;
        if self.output_watch_events && !(self.watch || self.watch_only) {
            return Err(Error::new(
                "--output-watch-events option can only be used with --watch or --watch-only",
            ));
        }
        let sort = self.sort_by.as_deref().map(Template::relaxed).transpose()?;
        let namespace = if self.all_namespaces { String::new() } else { session.namespace() };
        let wanted = Wanted::new(&self.args, &self.files, &self.selectors).whole_kinds(true);
        let wanted = wanted.in_all_namespaces(self.all_namespaces);
        let mut errors = Vec::new();
        let targets: Vec<(Target, String)> = if self.files.is_empty() {
            let found = wanted.targets(session.mapper().await?)?;
            found.into_iter().map(|target| (target, namespace.clone())).collect()
        } else {
            let (found, unread) = session.in_files(&wanted).await?;
            errors = unread;
            found.into_iter().map(|one| (one.target, one.namespace)).collect()
        };
        if self.watch || self.watch_only {
            let [(target, namespace)] = targets.as_slice() else {
                return Err(Error::new("you may only specify a single resource type to watch"));
            };
            Error::all(errors)?;
            return session.follow(self.watch(session, target, namespace, &format)).await;
        }
        if format.is_table() {
            self.tables(session, targets, &format, sort.as_ref(), errors).await
        } else {
            self.objects(session, targets, &format, sort.as_ref(), errors).await
        }
    }

    async fn tables(
        &self,
        session: &Session,
        targets: Vec<(Target, String)>,
        format: &Format,
        sort: Option<&Template>,
        mut errors: Vec<Error>,
    ) -> Result<(), Error> {
        let mut kinds: Vec<(&Mapping, Value)> = Vec::new();
        for (target, namespace) in &targets {
            let query = Query {
                mapping: &target.mapping,
                namespace,
                name: target.name.as_deref().unwrap_or(""),
                accept: if self.server_print { TABLE } else { OBJECT },
            };
            let table = match self.fetch(session, &query).await {
                Ok(table) => as_table(table),
                Err(error) if error.is_not_found() && self.ignore_not_found => continue,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            match kinds.last_mut() {
                // Names of one kind make one table.
                Some((mapping, before)) if **mapping == target.mapping => append(before, table),
                _ => kinds.push((&target.mapping, table)),
            }
        }
        let several = kinds.len() > 1 || self.show_kind;
        let mut is_first = true;
        for (mapping, mut table) in kinds {
            if list_at(&table, "rows").is_empty() {
                continue;
            }
            if let Some(sort) = sort {
                table::sort(&mut table, sort);
            }
            if !std::mem::take(&mut is_first) && !self.no_headers {
                session.print("\n")?;
            }
            let options = self.options(mapping, format, several);
            session.print(&Printer::new(options).print(&table))?;
        }
        if is_first && errors.is_empty() && !self.ignore_not_found {
            session.print_error(&self.nothing_found(session, &targets))?;
        }
        Error::all(errors)
    }

    fn nothing_found(&self, session: &Session, targets: &[(Target, String)]) -> String {
        let namespaced = targets.iter().any(|(target, _)| target.mapping.namespaced);
        if namespaced && !self.all_namespaces {
            format!("No resources found in {} namespace.\n", session.namespace())
        } else {
            "No resources found\n".to_owned()
        }
    }

    fn options(&self, mapping: &Mapping, format: &Format, with_kind: bool) -> Options {
        Options {
            wide: matches!(format, Format::Wide),
            no_headers: self.no_headers,
            with_namespace: self.all_namespaces && mapping.namespaced,
            kind: with_kind.then(|| mapping.label()),
            label_columns: self.label_columns.clone(),
            show_labels: self.show_labels,
            with_event: self.output_watch_events,
        }
    }

    async fn objects(
        &self,
        session: &Session,
        targets: Vec<(Target, String)>,
        format: &Format,
        sort: Option<&Template>,
        mut errors: Vec<Error>,
    ) -> Result<(), Error> {
        let single = matches!(targets.as_slice(), [(target, _)] if target.name.is_some());
        let mut items = Vec::new();
        for (target, namespace) in &targets {
            let name = target.name.as_deref().unwrap_or("");
            let query = Query { mapping: &target.mapping, namespace, name, accept: OBJECT };
            match self.fetch(session, &query).await {
                Ok(value) if name.is_empty() => items.extend(items_of(value, &target.mapping)),
                Ok(value) => items.push(value),
                Err(error) if error.is_not_found() && self.ignore_not_found => {}
                Err(error) => errors.push(error),
            }
        }
        if let Some(sort) = sort {
            table::sort_by(&mut items, sort, |item| item);
        }
        if !self.printing.show_managed_fields {
            items.iter_mut().for_each(hide_managed_fields);
        }
        let shows_rows = matches!(format, Format::Columns(_));
        if single && items.is_empty() {
            return Error::all(errors);
        }
        let value = if single { items.remove(0) } else { list_of(items) };
        let nothing = shows_rows && value["items"].as_array().is_some_and(Vec::is_empty);
        if nothing && errors.is_empty() {
            session.print_error(&self.nothing_found(session, &targets))?;
        } else {
            session.print(&format.print(&value, self.no_headers)?)?;
        }
        Error::all(errors)
    }

    /// An object, or a whole list, page by page.
    async fn fetch(&self, session: &Session, query: &Query<'_>) -> Result<Value, Error> {
        if !query.name.is_empty() {
            return session.get(&self.path(query, &[]), query.accept).await;
        }
        let limit = if self.chunk_size <= 0 { String::new() } else { self.chunk_size.to_string() };
        let mut whole = Value::Null;
        let mut token = String::new();
        loop {
            let path = self.path(query, &[("limit", &limit), ("continue", &token)]);
            let page = session.get(&path, query.accept).await?;
            token = str_at(&page, "metadata.continue").to_owned();
            if whole.is_null() {
                whole = page
            } else {
                append(&mut whole, page)
            }
            if token.is_empty() {
                return Ok(whole);
            }
        }
    }

    fn path(&self, query: &Query<'_>, more: &[(&str, &str)]) -> String {
        let include = if self.sort_by.is_some() && query.accept == TABLE { "Object" } else { "" };
        let mut parameters = vec![("includeObject", include)];
        if query.name.is_empty() {
            parameters.push(("labelSelector", self.selectors.selector.as_deref().unwrap_or("")));
            let fields = self.selectors.field_selector.as_deref().unwrap_or("");
            parameters.push(("fieldSelector", fields));
        }
        parameters.extend_from_slice(more);
        let place = query.mapping.place(query.namespace);
        path(&query.mapping.gvr(), place, query.name, &self.subresource, &parameters)
    }

    async fn watch(
        &self,
        session: &Session,
        target: &Target,
        namespace: &str,
        format: &Format,
    ) -> Result<(), Error> {
        let mapping = &target.mapping;
        let is_table = format.is_table() && self.server_print;
        let accept = if is_table { TABLE } else { OBJECT };
        let mut printer = Printer::new(self.options(mapping, format, self.show_kind));
        let name = target.name.as_deref().unwrap_or("");
        let query = Query { mapping, namespace, name, accept };
        let mut now = self.fetch(session, &query).await?;
        let mut revision = str_at(&now, "metadata.resourceVersion").to_owned();
        if format.is_table() {
            now = as_table(now);
        }
        let mut show = |event: &str, value: &Value| -> Result<String, Error> {
            Ok(match format {
                Format::Table | Format::Wide => {
                    printer.event(event);
                    printer.print(&as_table(value.clone()))
                }
                _ => {
                    let mut value = value.clone();
                    if !self.printing.show_managed_fields {
                        hide_managed_fields(&mut value);
                    }
                    if self.output_watch_events {
                        value = json!({"type": event, "object": value});
                    }
                    format.print(&value, self.no_headers)?
                }
            })
        };
        if !self.watch_only {
            if format.is_table() {
                let empty = list_at(&now, "rows").is_empty();
                if !empty {
                    session.print(&show("ADDED", &now)?)?;
                }
            } else {
                let items = if name.is_empty() { items_of(now, mapping) } else { vec![now] };
                for item in items {
                    session.divide(format)?;
                    session.print(&show("ADDED", &item)?)?;
                }
            }
        }
        let by_name = if name.is_empty() { String::new() } else { format!("metadata.name={name}") };
        loop {
            let given = self.selectors.field_selector.as_deref().unwrap_or("");
            let fields = if by_name.is_empty() { given } else { &by_name };
            let parameters = [
                ("watch", "true"),
                ("labelSelector", self.selectors.selector.as_deref().unwrap_or("")),
                ("fieldSelector", fields),
                ("resourceVersion", &revision),
            ];
            let path = path(&mapping.gvr(), mapping.place(namespace), "", "", &parameters);
            let http = &session.connection()?.http;
            let mut lines = lines(http, &path, accept).await?;
            let failed = |e: std::io::Error| Error::new(format!("the watch broke: {e}"));
            while let Some(line) = lines.next_line().await.map_err(failed)? {
                let event: Value = serde_json::from_str(&line)
                    .map_err(|e| Error::new(format!("an event of the watch is no JSON: {e}")))?;
                let object = &event["object"];
                match str_at(&event, "type") {
                    "BOOKMARK" => {}
                    "ERROR" => return Err(Error::new(str_at(object, "message"))),
                    event => {
                        session.divide(format)?;
                        session.print(&show(event, object)?)?;
                    }
                }
                let seen = match str_at(object, "metadata.resourceVersion") {
                    "" => list_at(object, "rows")
                        .last()
                        .map_or("", |row| str_at(row, "object.metadata.resourceVersion")),
                    version => version,
                };
                if !seen.is_empty() {
                    seen.clone_into(&mut revision);
                }
            }
        }
    }
}

/// The lines of an answer as they come.
async fn lines(
    http: &HttpTransport,
    path: &str,
    accept: &'static str,
) -> Result<tokio::io::Lines<impl AsyncBufReadExt + Unpin + use<>>, Error> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, accept)
        .body(http_body_util::Full::default())
        .map_err(|e| Error::new(format!("path {path:?}: {e}")))?;
    let response = http.send(request).await?;
    let body = http.stream(response).map_err(|e| std::io::Error::other(e.to_string()));
    Ok(StreamReader::new(body).lines())
}

/// Puts the rows or items of a page behind those before it.
fn append(whole: &mut Value, page: Value) {
    for field in ["rows", "items"] {
        if let (Some(Value::Array(into)), Some(Value::Array(from))) =
            (whole.get_mut(field), page.get(field))
        {
            into.extend(from.iter().cloned());
        }
    }
}

/// What the server made no table of, with name and age.
fn as_table(answer: Value) -> Value {
    if str_at(&answer, "kind") == "Table" {
        return answer;
    }
    let now = jiff::Timestamp::now().as_second();
    let objects = match answer.get("items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![answer],
    };
    let row = |object: Value| {
        let cells = onggi_machinery::table::name_and_age(&object, now);
        json!({"cells": cells, "object": object})
    };
    let rows: Vec<Value> = objects.into_iter().map(row).collect();
    json!({
        "kind": "Table", "rows": rows,
        "columnDefinitions": [{"name": "Name", "format": "name"}, {"name": "Age"}],
    })
}

/// Items of a list, each with its type.
fn items_of(mut list: Value, mapping: &Mapping) -> Vec<Value> {
    let Some(Value::Array(mut items)) = list.get_mut("items").map(Value::take) else {
        return Vec::new();
    };
    for item in items.iter_mut().filter(|item| str_at(item, "kind").is_empty()) {
        item["apiVersion"] = json!(mapping.api_version());
        item["kind"] = json!(mapping.kind);
    }
    items
}
