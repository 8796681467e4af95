//! `wait`.

use std::time::Duration;

use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use super::delete::gone;
use crate::discovery::Mapping;
use crate::error::Error;
use crate::flags::Printing;
use crate::gather::{Gathered, Wanted};
use crate::jsonpath::{Template, text_of};
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::select::{Found, Selectors, Target};
use crate::session::Session;

/// Before it is looked anew for what is not there yet.
const AGAIN: Duration = Duration::from_millis(500);

/// Flags of `wait`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE [NAME …], or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// condition=NAME[=VALUE], delete, create, or jsonpath=PATH[=VALUE]
    #[arg(long = "for", value_name = "STATE")]
    state: String,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How long at most; 0 to look once
    #[arg(long, default_value = "30s", allow_hyphen_values = true, value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Duration,
    /// The server is asked all the same: taken and not minded
    #[arg(long, hide = true)]
    local: bool,
    #[command(flatten)]
    printing: Printing,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Delete,
    Create,
    Condition(String, String),
    Path(Template, Option<String>),
}

impl Args {
    /// Waits for all of them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let state = State::parse(&self.state)?;
        let none = Selectors::default();
        let format = self.printing.format()?;
        // One time for all of them together.
        let deadline = tokio::time::Instant::now() + self.timeout;
        let named = self.args.len() > 1 || self.args.iter().any(|arg| arg.contains('/'));
        let by_name = named || !self.files.is_empty();
        if !by_name && !self.all && self.selectors.is_empty() {
            return Err(Error::new(
                "resource(s) were provided, but no name was specified: name objects, or give -l or \
                 --all",
            ));
        }
        // What is named is waited for by its name alone, be it there or not.
        let selectors = if state == State::Create && named && self.files.is_empty() {
            Wanted::new(&self.args, &self.files, &self.selectors).check()?;
            &none
        } else {
            &self.selectors
        };
        let wanted = Wanted::new(&self.args, &self.files, selectors).whole_kinds(self.all);
        let wanted = wanted.in_all_namespaces(self.all_namespaces);
        if state == State::Create {
            return self.created(session, &wanted, deadline, &format).await;
        }
        let Gathered { found, mut errors } = session.gather(&wanted).await?;
        if state == State::Delete {
            // Gone before anybody waited for it.
            errors.retain(|error| !error.is_not_found());
        }
        if found.is_empty() {
            Error::all(errors)?;
            return match state {
                State::Delete => Ok(()),
                _ => Err(Error::new("no matching resources found")),
            };
        }
        for one in &found {
            let wait = tokio::time::timeout_at(deadline, state.reached(session, one));
            let result = wait.await.unwrap_or_else(|_| {
                Err(Error::new(format!(
                    "timed out waiting for the condition on {}/{}",
                    one.mapping.plural,
                    one.name()
                )))
            });
            match result {
                Ok(seen) => {
                    let value = seen.unwrap_or_else(|| one.value.clone());
                    self.show(session, &format, &one.label(), value)?;
                }
                Err(error) => errors.push(error),
            }
        }
        Error::all(errors)
    }

    fn show(
        &self,
        session: &Session,
        format: &Format,
        label: &str,
        mut value: Value,
    ) -> Result<(), Error> {
        if format.is_table() {
            return session.print(&format!("{label} condition met\n"));
        }
        if !self.printing.show_managed_fields {
            hide_managed_fields(&mut value);
        }
        session.print_object(format, &value)
    }

    async fn created(
        &self,
        session: &Session,
        wanted: &Wanted<'_>,
        deadline: tokio::time::Instant,
        format: &Format,
    ) -> Result<(), Error> {
        let namespace = session.namespace();
        let targets: Vec<(Target, String)> = if wanted.files.is_empty() {
            let targets = wanted.targets(session.mapper().await?)?;
            targets.into_iter().map(|target| (target, namespace.clone())).collect()
        } else {
            let (found, errors) = session.in_files(wanted).await?;
            Error::all(errors)?;
            found.into_iter().map(|one| (one.target, one.namespace)).collect()
        };
        let late = || Error::new("timed out waiting for the condition");
        if targets.is_empty() {
            tokio::time::sleep_until(deadline).await;
            return Err(late());
        }
        for (Target { mapping, name }, namespace) in &targets {
            let Some(name) = name else {
                let wait = self.any(session, mapping, namespace);
                let found = tokio::time::timeout_at(deadline, wait).await.map_err(|_| late())??;
                for value in found {
                    let label = format!("{}/{}", mapping.label(), str_at(&value, "metadata.name"));
                    self.show(session, format, &label, value)?;
                }
                continue;
            };
            let mut seen = Value::Null;
            let wait = session.until(mapping, namespace, name, |value| {
                seen = value.cloned().unwrap_or_default();
                Ok(value.is_some())
            });
            tokio::time::timeout_at(deadline, wait).await.map_err(|_| late())??;
            self.show(session, format, &format!("{}/{name}", mapping.label()), seen)?;
        }
        Ok(())
    }

    /// Those that the selectors choose, as soon as there are any.
    async fn any(
        &self,
        session: &Session,
        mapping: &Mapping,
        namespace: &str,
    ) -> Result<Vec<Value>, Error> {
        let namespace = if self.all_namespaces { "" } else { namespace };
        loop {
            let found = session.list(mapping, namespace, &self.selectors).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl State {
    fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        if lower == "delete" {
            return Ok(Self::Delete);
        }
        if lower == "create" {
            return Ok(Self::Create);
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition(name.to_owned(), value.to_owned()));
        }
        if let Some(path) = text.strip_prefix("jsonpath=") {
            // The value stands behind the braces; filters inside them hold `==`.
            let unquoted = path.trim_matches('\'');
            let (path, value) = match unquoted.rsplit_once('}') {
                Some((path, rest)) => (format!("{path}}}"), rest.strip_prefix('=')),
                None => match unquoted.split_once('=') {
                    Some((path, value)) => (path.to_owned(), Some(value)),
                    None => (unquoted.to_owned(), None),
                },
            };
            if value == Some("") {
                return Err(Error::new("jsonpath wait value cannot be empty"));
            }
            let value = value.map(|value| value.trim_matches(['\'', '"']).to_owned());
            return Ok(Self::Path(Template::relaxed(&path)?, value));
        }
        Err(Error::new(format!(
            "unrecognized condition: {text:?}: use condition=NAME, delete, create or jsonpath=PATH"
        )))
    }

    /// The object as it is when it is so; where it is gone, none.
    async fn reached(&self, session: &Session, found: &Found) -> Result<Option<Value>, Error> {
        let (mapping, namespace, name) = (&found.mapping, found.namespace(), found.name());
        if *self == Self::Delete {
            let uid = str_at(&found.value, "metadata.uid");
            return gone(session, mapping, namespace, name, uid).await.map(|()| None);
        }
        let mut seen = None;
        let holds = |value: Option<&Value>| match value {
            Some(value) => {
                let holds = self.holds(value)?;
                seen = holds.then(|| value.clone());
                Ok(holds)
            }
            None => {
                let status = onggi_api::Status::not_found(&mapping.group_resource(), name);
                Err(Error::Api(status.into()))
            }
        };
        session.until(mapping, namespace, name, holds).await?;
        Ok(seen)
    }

    fn holds(&self, value: &Value) -> Result<bool, Error> {
        Ok(match self {
            Self::Delete => false,
            Self::Create => true,
            Self::Condition(name, wanted) => {
                let conditions = list_at(value, "status.conditions");
                let named = |c: &&Value| str_at(c, "type").eq_ignore_ascii_case(name);
                // A condition that speaks of an older generation says nothing about this one.
                let generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
                conditions.iter().find(named).is_some_and(|condition| {
                    let observed = condition["observedGeneration"].as_i64();
                    observed.is_none_or(|observed| observed >= generation)
                        && str_at(condition, "status").eq_ignore_ascii_case(wanted)
                }) && is_observed(value)
            }
            Self::Path(path, wanted) => match (path.find(value).unwrap_or_default(), wanted) {
                (found, None) => !found.is_empty(),
                (found, Some(wanted)) => found.iter().any(|value| text_of(value) == *wanted),
            },
        })
    }
}

/// Whether the status belongs to the present generation, where it says so.
fn is_observed(value: &Value) -> bool {
    let observed = value["status"]["observedGeneration"].as_i64();
    let generation = value["metadata"]["generation"].as_i64();
    match (observed, generation) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states() {
        let pod = json!({
            "metadata": {"generation": 2},
            "status": {"phase": "Running", "observedGeneration": 2, "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "Old", "status": "True", "observedGeneration": 1}]},
        });
        for (state, holds) in [
            ("condition=ready", true),
            ("condition=Ready=false", false),
            ("condition=Old", false),
            ("condition=Other", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath='{.status.phase}'=Running", true),
            ("jsonpath=.status.phase=Pending", false),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", true),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.nothing}", false),
        ] {
            assert_eq!(State::parse(state).unwrap().holds(&pod).unwrap(), holds, "{state}");
        }
        assert_eq!(State::parse("delete").unwrap(), State::Delete);
        assert!(State::parse("ready").is_err());
    }
}
