//! `wait`.

use std::time::Duration;

use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use super::delete::gone;
use crate::error::Error;
use crate::jsonpath::{Template, text_of};
use crate::manifest::Files;
use crate::select::{Found, Selectors};
use crate::session::Session;

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
        let found = match &state {
            State::Create => return self.created(session).await,
            State::Delete => match self.found(session).await {
                // Gone before anybody waited for it.
                Err(error) if error.is_not_found() => Vec::new(),
                found => found?,
            },
            _ => self.found(session).await?,
        };
        if found.is_empty() {
            return match state {
                State::Delete => Ok(()),
                _ => Err(Error::new("no matching resources found")),
            };
        }
        // One time for all of them together.
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut errors = Vec::new();
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
                Ok(()) => session.print(&format!("{} condition met\n", one.label()))?,
                Err(error) => errors.push(error),
            }
        }
        Error::all(errors)
    }

    async fn found(&self, session: &Session) -> Result<Vec<Found>, Error> {
        let named = self.args.len() > 1 || self.args.iter().any(|arg| arg.contains('/'));
        if !named && self.files.is_empty() && !self.all && self.selectors.is_empty() {
            return Err(Error::new(
                "resource(s) were provided, but no name was specified: name objects, or give -l or \
                 --all",
            ));
        }
        session.find(&self.args, &self.files, &self.selectors, self.all_namespaces).await
    }

    async fn created(&self, session: &Session) -> Result<(), Error> {
        let namespace = session.namespace();
        for target in crate::select::targets(session.mapper().await?, &self.args)? {
            let mapping = &target.mapping;
            let Some(name) = &target.name else {
                return Err(Error::new("--for=create needs the names of the objects"));
            };
            let wait = session.until(mapping, &namespace, name, |value| Ok(value.is_some()));
            tokio::time::timeout(self.timeout, wait).await.unwrap_or_else(|_| {
                Err(Error::new(format!(
                    "timed out waiting for the condition on {}/{name}",
                    mapping.plural
                )))
            })?;
            session.print(&format!("{}/{name} condition met\n", mapping.label()))?;
        }
        Ok(())
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

    async fn reached(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let (mapping, namespace, name) = (&found.mapping, found.namespace(), found.name());
        if *self == Self::Delete {
            let uid = str_at(&found.value, "metadata.uid");
            return gone(session, mapping, namespace, name, uid).await;
        }
        let holds = |value: Option<&Value>| match value {
            Some(value) => self.holds(value),
            None => {
                let status = onggi_api::Status::not_found(&mapping.group_resource(), name);
                Err(Error::Api(status.into()))
            }
        };
        session.until(mapping, namespace, name, holds).await
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
