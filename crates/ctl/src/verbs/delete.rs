//! `delete`.

use std::time::Duration;

use onggi_client::Request;
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::Value;

use crate::discovery::Mapping;
use crate::error::Error;
use crate::gather::{InFile, Wanted};
use crate::manifest::Files;
use crate::select::{DryRun, Selectors, Target};
use crate::session::Session;

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE [NAME …], or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Seconds to end in; -1 for what the object says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// Do not wait for the end of the processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    force: bool,
    /// As --grace-period=1
    #[arg(long)]
    now: bool,
    /// Wait until the objects are gone
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// Do not mind what is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// What becomes of the objects that it owns
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "background", default_missing_value = "background", value_parser = ["background", "foreground", "orphan", "true", "false"])]
    cascade: String,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
    /// Ask before anything is deleted
    #[arg(long, short)]
    interactive: bool,
    /// A DELETE of this path, with the body of a file
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
    /// name, for short lines
    #[arg(long, short, default_value = "")]
    output: String,
}

/// An object that is to go.
struct Victim {
    mapping: Mapping,
    namespace: String,
    name: String,
    /// The file that names it.
    source: String,
}

impl Args {
    /// Deletes them and waits until they are gone.
    pub async fn run(mut self, session: &Session) -> Result<(), Error> {
        self.check()?;
        if let Some(path) = &self.raw {
            return super::raw::send(session, "DELETE", path, &self.files).await;
        }
        if self.grace_period == 0 && self.wait && !self.force {
            // As kubectl: what may end at once still gets its signal.
            self.grace_period = 1;
        }
        if self.force {
            let warning = "Immediate deletion does not wait for confirmation that the running \
                           resource has been terminated. The resource may continue to run on the \
                           cluster indefinitely.";
            session.warn(&[warning.to_owned()])?;
            self.grace_period = self.grace_period.max(0);
        }
        if matches!(self.cascade.as_str(), "true" | "false") {
            session.print_error(&deprecated_cascade(&self.cascade))?;
        }
        // What was chosen by what it is like may be gone by now.
        let ignore_not_found = self.ignore_not_found || self.all || !self.selectors.is_empty();
        let mut going = Vec::new();
        let (victims, mut errors) = self.victims(session).await?;
        if victims.is_empty() && errors.is_empty() {
            return session.print("No resources found\n");
        }
        if self.interactive && !victims.is_empty() && !confirmed(session, &victims)? {
            return session.print("deletion is cancelled\n");
        }
        for victim in victims {
            match self.delete(session, &victim).await {
                Ok(uid) => going.push((victim, uid)),
                Err(error) if error.is_not_found() && ignore_not_found => {}
                Err(error) => Error::note(&mut errors, error.about("deleting", &victim.source))?,
            }
        }
        if self.wait && self.dry_run == DryRun::None {
            for (one, uid) in &going {
                let wait = gone(session, &one.mapping, &one.namespace, &one.name, uid);
                let waited = match self.timeout {
                    Some(limit) if !limit.is_zero() => {
                        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| {
                            let plural = &one.mapping.plural;
                            Err(Error::new(format!(
                                "timed out waiting for the condition on {plural}/{}",
                                one.name
                            )))
                        })
                    }
                    _ => wait.await,
                };
                if let Err(error) = waited {
                    // What failed before is told too.
                    Error::note(&mut errors, error)?;
                    break;
                }
            }
        }
        Error::all(errors)
    }

    fn check(&self) -> Result<(), Error> {
        if self.now && self.grace_period >= 0 {
            return Err(Error::new("--now and --grace-period cannot be specified together"));
        }
        if self.force && self.grace_period > 0 {
            return Err(Error::new(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        if self.all && !self.selectors.is_empty() {
            return Err(Error::new("setting 'all' parameter but found a non empty selector. "));
        }
        if self.all_namespaces && !self.files.is_empty() {
            return Err(Error::new(
                "an empty namespace may not be set when a resource name is provided",
            ));
        }
        Ok(())
    }

    async fn victims(&self, session: &Session) -> Result<(Vec<Victim>, Vec<Error>), Error> {
        let wanted = Wanted {
            all: self.all,
            all_namespaces: self.all_namespaces,
            ..Wanted::new(&self.args, &self.files, &self.selectors)
        };
        if !self.files.is_empty() {
            // In the order of the file, as kubectl does.
            let (found, errors) = session.in_files(&wanted).await?;
            let about = |error: Error| match &error {
                Error::Nameless(source) => {
                    let source = source.clone();
                    error.about("deleting", &source)
                }
                _ => error,
            };
            let errors = errors.into_iter().map(about).collect();
            let victim = |one: InFile| Victim {
                mapping: one.target.mapping,
                namespace: one.namespace,
                name: one.target.name.unwrap_or_default(),
                source: one.manifest.source,
            };
            return Ok((found.into_iter().map(victim).collect(), errors));
        }
        let (mut victims, mut errors) = (Vec::new(), Vec::new());
        let namespace = if self.all_namespaces { String::new() } else { session.namespace() };
        for Target { mapping, name } in wanted.targets(session.mapper().await?)? {
            let source = String::new();
            if let Some(name) = name {
                victims.push(Victim { mapping, namespace: namespace.clone(), name, source });
                continue;
            }
            match session.list(&mapping, &namespace, &self.selectors).await {
                Ok(values) => victims.extend(values.iter().map(|value| Victim {
                    mapping: mapping.clone(),
                    namespace: str_at(value, "metadata.namespace").to_owned(),
                    name: str_at(value, "metadata.name").to_owned(),
                    source: String::new(),
                })),
                Err(error) => errors.push(error),
            }
        }
        Ok((victims, errors))
    }

    /// Deletes one; its uid.
    async fn delete(&self, session: &Session, victim: &Victim) -> Result<String, Error> {
        let Victim { mapping, namespace, name, .. } = victim;
        let mut answer = Value::Null;
        if self.dry_run != DryRun::Client {
            let place = mapping.place(namespace);
            let mut request = Request::new(Verb::Delete, mapping.gvr(), place, name);
            request.write.dry_run = self.dry_run == DryRun::Server;
            request.write.propagation_policy = policy(&self.cascade).to_owned();
            request.write.grace_period_seconds = match (self.now, self.grace_period) {
                (true, _) => Some(1),
                (false, seconds) => Some(seconds).filter(|seconds| *seconds >= 0),
            };
            answer = session.call(request).await?;
        }
        session.print(&match self.output.as_str() {
            "name" => format!("{}/{name}\n", mapping.label()),
            _ => said(mapping, namespace, name, self.force, self.dry_run),
        })?;
        // Gone at once: a Status with its uid; on its way: the object.
        Ok(match str_at(&answer, "metadata.uid") {
            "" => str_at(&answer, "details.uid").to_owned(),
            uid => uid.to_owned(),
        })
    }
}

/// `pod "web" deleted from default namespace`.
pub(crate) fn said(
    mapping: &Mapping,
    namespace: &str,
    name: &str,
    forced: bool,
    dry_run: DryRun,
) -> String {
    let forced = if forced { "force deleted" } else { "deleted" };
    let from = match mapping.place(namespace) {
        "" => String::new(),
        namespace => format!(" from {namespace} namespace"),
    };
    format!("{} {name:?} {forced}{from}{}\n", mapping.label(), dry_run.suffix())
}

/// What is said of the old values of `--cascade`.
pub(crate) fn deprecated_cascade(value: &str) -> String {
    let new = if value == "false" { "orphan" } else { "background" };
    format!(
        "warning: --cascade={value} is deprecated (boolean value) and can be replaced with \
         --cascade={new}.\n"
    )
}

/// Names what will go and asks.
fn confirmed(session: &Session, victims: &[Victim]) -> Result<bool, Error> {
    let names: String =
        victims.iter().map(|v| format!("{}/{}\n", v.mapping.label(), v.name)).collect();
    session.print(&format!(
        "You are about to delete the following {} resource(s):\n{names}Do you want to continue? \
         (y/n): ",
        victims.len()
    ))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// The value of `--cascade` as the server's `propagationPolicy`.
pub(crate) fn policy(cascade: &str) -> &'static str {
    match cascade {
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        _ => "Background",
    }
}

/// Waits until that very object is gone; one of the same name with another uid does not count.
pub(crate) async fn gone(
    session: &Session,
    mapping: &Mapping,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), Error> {
    let is_other = |value: &Value| !uid.is_empty() && str_at(value, "metadata.uid") != uid;
    session.until(mapping, namespace, name, |value| Ok(value.is_none_or(is_other))).await
}
