//! `edit`.

use std::io::Write;

use bytes::Bytes;
use onggi_api::schema;
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::patch::two_way_merge;
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use onggi_machinery::yaml as reader;
use serde_json::Value;

use super::apply::validation;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::{Files, Manifest};
use crate::output::format::hide_managed_fields;
use crate::output::{Format, json, kyaml, yaml};
use crate::select::{Found, Selectors};
use crate::session::Session;

const ADVICE: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";
const ADVICE_LAST_APPLIED: &str = "\
# Please edit the 'last-applied-configuration' annotations below.
# Lines beginning with a '#' will be ignored, and an empty file will abort the edit.
#
";

/// Flags of `edit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// yaml, json or kyaml: the form that is edited, and then printed
    #[arg(long, short, default_value = "")]
    output: String,
    /// Print the patch that is sent
    #[arg(long)]
    output_patch: bool,
    /// Part of the object: status
    #[arg(long, default_value = "")]
    subresource: String,
    /// Show the managers of fields too
    #[arg(long)]
    show_managed_fields: bool,
    /// Keep the manifest for a later `apply`
    #[arg(long)]
    save_config: bool,
    /// End the lines as Windows does
    #[arg(long)]
    windows_line_endings: bool,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = "kubectl-edit")]
    field_manager: String,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
}

/// What is edited: the objects themselves, or the manifests that were applied last.
pub(crate) enum Mode<'a> {
    /// Sends what changed.
    Objects(&'a Args),
    /// Keeps what came out as the manifest that was applied last, as this manager of fields.
    LastApplied(&'a str),
}

/// Objects in an editor; several stand in it as one list.
pub(crate) struct Editing<'a> {
    pub(crate) mode: Mode<'a>,
    /// The objects, and what is shown of each.
    pub(crate) originals: Vec<(Found, Value)>,
    /// The table: YAML is edited, and a line printed.
    pub(crate) format: Format,
    pub(crate) windows: bool,
}

/// What went wrong with an edited file, and what comes of it.
#[derive(Default)]
struct Faults {
    /// Told above the text when it is edited again.
    reasons: Vec<String>,
    /// Whether somebody may try it again from a file.
    retryable: bool,
    not_found: bool,
}

impl Args {
    /// Opens them in the editor of `KUBE_EDITOR` or `EDITOR`, and sends what changed.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let none = Selectors::default();
        let wanted = Wanted::new(&self.args, &self.files, &none).whole_kinds(true);
        let found = session.find(&wanted).await?;
        if found.is_empty() {
            return Err(Error::new("edit cancelled, no objects found"));
        }
        let shown = |one: Found| {
            let mut value = one.value.clone();
            if !self.show_managed_fields {
                hide_managed_fields(&mut value);
            }
            (one, value)
        };
        let editing = Editing {
            mode: Mode::Objects(&self),
            originals: found.into_iter().map(shown).collect(),
            format: form(&self.output)?,
            windows: self.windows_line_endings,
        };
        editing.run(session).await
    }

    async fn send(
        &self,
        session: &Session,
        one: &Found,
        before: &Value,
        mut after: Value,
    ) -> Result<Value, Error> {
        let m = &one.mapping;
        let same = ["apiVersion", "kind"].iter().all(|field| after[*field] == before[*field])
            && after["metadata"]["name"] == before["metadata"]["name"];
        if !same {
            return Err(Error::new("At least one of apiVersion, kind and name was changed"));
        }
        if self.save_config {
            crate::apply::annotate(&mut after);
        }
        let schema = schema::of(&m.group, &m.version, &m.kind);
        let kind = if schema.is_some() { PatchKind::Strategic } else { PatchKind::Merge };
        let patch = two_way_merge(schema, before, &after).map_err(|e| Error::new(e.to_string()))?;
        if self.output_patch {
            session.print(&format!("Patch: {}\n", json::compact(&patch)))?;
        }
        let part = self.subresource.as_str();
        let place = m.place(one.namespace());
        let mut request = Request::new(Verb::Patch, m.gvr(), place, one.name())
            .subresource(part)
            .body(Body::Patch(kind, Bytes::from(patch.to_string())));
        request.write.field_validation = validation(&self.validate)?.to_owned();
        self.field_manager.clone_into(&mut request.write.field_manager);
        session.call(request).await
    }
}

impl Editing<'_> {
    /// Edits until it is right, or until somebody gives up.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let original = self.written();
        let mut reasons = Vec::new();
        let mut body = original.clone();
        loop {
            let again = !reasons.is_empty();
            let head = self.head(&reasons);
            let text = head + &body;
            let text = if self.windows { text.replace('\n', "\r\n") } else { text };
            let edited = editor(&text).await?;
            let bare = without_remarks(&edited).replace("\r\n", "\n");
            if again && bare == body {
                // The same mistake again: what was written is not lost.
                let error = Error::new("Edit cancelled, no valid changes were saved.");
                return preserved(session, &edited, error);
            }
            body = bare;
            let objects = match objects(&body) {
                Ok(_) if body == original => {
                    return session.print_error("Edit cancelled, no changes made.\n");
                }
                Ok(objects) => objects,
                Err(why) => {
                    let name = self.first_name();
                    session.print_error(&format!("error: {name} is invalid\n"))?;
                    reasons = vec![format!(
                        "{name} was not valid:\n* <nil>: Invalid value: \"The edited file failed \
                         validation\": {why}"
                    )];
                    continue;
                }
            };
            let faults = match self.send(session, objects).await {
                Ok(faults) => faults,
                Err(error) => return preserved(session, &edited, error),
            };
            if faults.retryable {
                let kept = kept_copy(&edited)?;
                session.print_error(&format!(
                    "You can run `onggi replace -f {kept}` to try this update again.\n"
                ))?;
                return Err(Error::Exit(1));
            }
            if faults.not_found {
                let kept = kept_copy(&edited)?;
                session.print_error(&format!(
                    "The edits you made on deleted resources have been saved to {kept:?}\n"
                ))?;
                return Err(Error::Exit(1));
            }
            if faults.reasons.is_empty() {
                return Ok(());
            }
            reasons = faults.reasons;
        }
    }

    fn written(&self) -> String {
        let written = |value: &Value| match self.format {
            Format::Json => json::pretty(value),
            Format::Kyaml => kyaml::to_string(value),
            _ => yaml::to_string(value),
        };
        match self.originals.as_slice() {
            [(_, one)] => written(one),
            many => {
                let items: Vec<&Value> = many.iter().map(|(_, value)| value).collect();
                let list = serde_json::json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}});
                written(&list)
            }
        }
    }

    fn head(&self, reasons: &[String]) -> String {
        let mut head = match self.mode {
            _ if matches!(self.format, Format::Json) => return String::new(),
            Mode::Objects(_) => ADVICE.to_owned(),
            Mode::LastApplied(_) => ADVICE_LAST_APPLIED.to_owned(),
        };
        for reason in reasons {
            head.extend(reason.lines().map(|line| format!("# {line}\n")));
            head += "#\n";
        }
        head
    }

    fn first_name(&self) -> String {
        self.originals.first().map_or_else(String::new, |(one, _)| named(one))
    }

    /// Sends each object that changed; what may be mended does not keep the others back.
    async fn send(&self, session: &Session, objects: Vec<Value>) -> Result<Faults, Error> {
        let mut faults = Faults::default();
        for after in objects {
            let Some((one, before)) = self.original_of(&after) else {
                let name = str_at(&after, "metadata.name");
                return Err(Error::new(format!("no original object found for {name:?}")));
            };
            if after == *before {
                self.say(session, one, after, "skipped")?;
                continue;
            }
            let sent = match self.mode {
                Mode::Objects(args) => args.send(session, one, before, after).await,
                Mode::LastApplied(manager) => {
                    super::apply::keep_last(session, one, after, manager).await
                }
            };
            let name = named(one);
            match sent {
                Ok(object) => self.say(session, one, object, "edited")?,
                Err(Error::Api(error)) if error.is_not_found() => {
                    faults.not_found = true;
                    session.print_error(&format!(
                        "error: {name} could not be found on the server\n"
                    ))?;
                }
                Err(Error::Api(error)) if is_invalid(&error) => {
                    session.print_error(&format!("error: {name} is invalid\n"))?;
                    let mut reason = format!("{name} was not valid:");
                    let details = error.status().and_then(|status| status.details.as_ref());
                    for cause in details.iter().flat_map(|details| &details.causes) {
                        reason += &format!("\n* {}: {}", cause.field, cause.message);
                    }
                    faults.reasons.push(reason);
                }
                Err(Error::Api(error)) => {
                    faults.retryable = true;
                    session
                        .print_error(&format!("error: {name} could not be patched: {error}\n"))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(faults)
    }

    fn say(
        &self,
        session: &Session,
        one: &Found,
        mut object: Value,
        done: &str,
    ) -> Result<(), Error> {
        if self.format.is_table() {
            return session.print(&format!("{} {done}\n", one.label()));
        }
        hide_managed_fields(&mut object);
        session.print_object(&self.format, &object)
    }

    /// The object by its uid; manifests, which have none, by their names.
    fn original_of(&self, after: &Value) -> Option<&(Found, Value)> {
        let key = |value: &Value| match str_at(value, "metadata.uid") {
            "" => ["apiVersion", "kind", "metadata.namespace", "metadata.name"]
                .map(|path| str_at(value, path).to_owned())
                .join("/"),
            uid => uid.to_owned(),
        };
        let wanted = key(after);
        self.originals.iter().find(|(_, before)| key(before) == wanted)
    }
}

/// The value of `-o`.
pub(crate) fn form(output: &str) -> Result<Format, Error> {
    match output {
        "" | "yaml" | "json" | "kyaml" => Format::parse(output),
        other => Err(Error::new(format!(
            "unable to match a printer suitable for the output format {other:?}, allowed formats \
             are: json,kyaml,yaml"
        ))),
    }
}

/// `configmaps "a"`.
fn named(one: &Found) -> String {
    format!("{} {:?}", one.mapping.group_resource(), one.name())
}

/// The objects of an edited text; why it is none.
fn objects(text: &str) -> Result<Vec<Value>, String> {
    let value = reader::parse(text).map_err(|error| error.to_string())?;
    if !value.is_object() {
        return Err("invalid object to validate".to_owned());
    }
    let items = match value.get("items").and_then(Value::as_array) {
        Some(items) if value["kind"] == "List" => items.clone(),
        _ => vec![value],
    };
    for item in &items {
        for field in ["kind", "apiVersion"] {
            if str_at(item, field).is_empty() {
                return Err(format!("{field} not set"));
            }
        }
    }
    Ok(items)
}

/// `create --edit`: the manifests as they come out of the editor.
pub(crate) async fn manifests(
    manifests: Vec<Manifest>,
    windows: bool,
) -> Result<Vec<Manifest>, Error> {
    let texts: Vec<String> = manifests.iter().map(|one| yaml::to_string(&one.value)).collect();
    let text = ADVICE.to_owned() + &texts.join("---\n");
    let edited = editor(&if windows { text.replace('\n', "\r\n") } else { text }).await?;
    let mut found = Vec::new();
    crate::manifest::parse("edited file", &without_remarks(&edited), &mut found)?;
    Ok(found)
}

/// Whether another text may be right where this one was not.
fn is_invalid(error: &onggi_client::Error) -> bool {
    error.status().is_some_and(|status| status.reason == "Invalid")
}

/// Says where the text is kept, and ends with the error.
fn preserved(session: &Session, text: &str, error: Error) -> Result<(), Error> {
    let kept = kept_copy(text)?;
    session.print_error(&format!("A copy of your changes has been stored to {kept:?}\n"))?;
    Err(error)
}

fn without_remarks(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

fn kept_copy(text: &str) -> Result<String, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let unique = format!("onggi-edit-kept-{}-{}.yaml", std::process::id(), super::unique());
    let path = std::env::temp_dir().join(unique);
    let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    Ok(path.display().to_string())
}

pub(crate) async fn editor(text: &str) -> Result<String, Error> {
    let program = ["KUBE_EDITOR", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let program = program.unwrap_or_else(|| "vi".to_owned());
    let directory = std::env::temp_dir();
    let unique = format!("onggi-edit-{}-{}.yaml", std::process::id(), super::unique());
    let path = directory.join(unique);
    let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    // A Secret may stand in it.
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let written = file.write_all(text.as_bytes());
    drop(file);
    let result = async {
        written.map_err(failed)?;
        // The variable may hold flags: `code --wait`.
        let status = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(format!("{program} \"$1\""))
            .arg("edit")
            .arg(&path)
            .status()
            .await
            .map_err(|e| {
                Error::new(format!("there was a problem with the editor {program:?}: {e}"))
            })?;
        if !status.success() {
            return Err(Error::new(format!("there was a problem with the editor {program:?}")));
        }
        std::fs::read_to_string(&path).map_err(failed)
    }
    .await;
    let removed = std::fs::remove_file(&path);
    let text = result?;
    removed.map_err(failed)?;
    Ok(text)
}
