//! `exec`, and the streams that it shares with `attach`, `run` and `debug`.

use onggi_client::exec::{Exec, exec};
use onggi_client::node::Streams;
use onggi_machinery::value::str_at;
use serde_json::Value;

use super::logs::container_of;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::rollout::pods_of;
use crate::select::{Selectors, targets};
use crate::session::Session;
use crate::terminal::{self, Keys, Raw};

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, or TYPE/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    args: Vec<String>,
    /// File with the pod or the workload
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',')]
    filename: Vec<String>,
    /// The container
    #[arg(long, short)]
    container: Option<String>,
    /// Pass the input on
    #[arg(long, short = 'i')]
    stdin: bool,
    /// The input is a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// Say only what the command says
    #[arg(long, short)]
    quiet: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m0s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: std::time::Duration,
    /// The command and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

/// A container whose streams are joined, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) container: &'a str,
    /// Empty: the container's own streams.
    pub(crate) command: &'a [String],
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) quiet: bool,
    /// What leaves the container to itself.
    pub(crate) detach: Option<&'a Keys>,
}

impl Args {
    /// Runs it; the exit code is the command's.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let named = self.args.first().map(String::as_str);
        if self.args.len() > 1 && self.command.is_empty() {
            return Err(Error::new(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] \
                 instead\nSee 'onggi exec -h' for help and examples",
            ));
        }
        if named.is_none() && self.filename.is_empty() {
            return Err(Error::new("pod, type/name or --filename must be specified"));
        }
        if self.command.is_empty() {
            return Err(Error::new("you must specify at least one command for the container"));
        }
        let pod = match (named, self.filename.is_empty()) {
            (Some(_), false) => {
                return Err(Error::new(
                    "resource/name arguments cannot be provided when a path is specified",
                ));
            }
            (Some(named), true) => pod(session, named).await?,
            (None, _) => pod_in_file(session, self.filename).await?,
        };
        let phase = str_at(&pod, "status.phase");
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Error::new(format!(
                "cannot exec into a container in a completed pod; current phase is {phase}"
            )));
        }
        let container = container_of(session, &pod, self.container.as_deref(), self.quiet)?;
        let join = Join {
            pod: &pod,
            container: &container,
            command: &self.command,
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
            detach: None,
        };
        join.run(session).await.map(drop)
    }
}

/// The pod of the one object that files hold.
async fn pod_in_file(session: &Session, filename: Vec<String>) -> Result<Value, Error> {
    let files = Files { filename, ..Files::default() };
    let mut found = session.find(&Wanted::new(&[], &files, &Selectors::default())).await?;
    if found.len() > 1 {
        return Err(Error::new("cannot exec into multiple objects at a time"));
    }
    let one = found.pop().ok_or_else(|| Error::new("no objects passed to exec"))?;
    pod_of(session, one.value, &one.mapping.plural).await
}

/// A pod by its name, or the first one of a workload.
pub(crate) async fn pod(session: &Session, named: &str) -> Result<Value, Error> {
    let mapper = session.mapper().await?;
    let namespace = session.namespace();
    if !named.contains('/') {
        return session.object(mapper.by_name("pods")?, &namespace, named).await;
    }
    let mut found = targets(mapper, &[named.to_owned()])?;
    let target = found.remove(0);
    let name = target.name.unwrap_or_default();
    let object = session.object(&target.mapping, &namespace, &name).await?;
    pod_of(session, object, named).await
}

async fn pod_of(session: &Session, object: Value, named: &str) -> Result<Value, Error> {
    if str_at(&object, "kind") == "Pod" {
        return Ok(object);
    }
    let pods = pods_of(session, &object).await?;
    pods.into_iter().next().ok_or_else(|| Error::new(format!("{named} has no pods")))
}

/// Prints all that a container said until now.
pub(crate) async fn log(session: &Session, pod: &Value, container: &str) -> Result<(), Error> {
    let pods = session.mapper().await?.by_name("pods")?.gvr();
    let (namespace, name) = (str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    let path = crate::path::path(&pods, namespace, name, "log", &[("container", container)]);
    let log = session.connection()?.http.get(&path, "application/json, */*").await?;
    session.print_bytes(&log)
}

impl Join<'_> {
    /// Connects the user's streams with the container's until they end; whether a terminal was
    /// shown.
    pub(crate) async fn run(&self, session: &Session) -> Result<bool, Error> {
        let tty = self.tty && self.stdin && {
            let real = terminal::is_terminal();
            if !real && !self.quiet {
                let text =
                    "Unable to use a TTY - input is not a terminal or the right kind of file\n";
                session.print_error(text)?;
            }
            real
        };
        let request = Exec {
            namespace: str_at(self.pod, "metadata.namespace").to_owned(),
            pod: str_at(self.pod, "metadata.name").to_owned(),
            container: self.container.to_owned(),
            command: self.command.to_vec(),
            tty,
        };
        let raw = if tty { Raw::enter()? } else { None };
        let keys = self.detach.filter(|_| tty).cloned().unwrap_or_default();
        let (input, detached) = terminal::input(keys);
        let streams = Streams {
            stdin: if self.stdin { Some(Box::new(input)) } else { None },
            stdout: Some(Box::new(tokio::io::stdout())),
            stderr: if tty { None } else { Some(Box::new(tokio::io::stderr())) },
            resize: if tty { Some(terminal::sizes()?) } else { None },
        };
        let status = tokio::select! {
            status = exec(&session.connection()?.http, &request, streams) => status,
            () = detached => return Ok(tty),
        };
        drop(raw);
        let status = status.map_err(|error| match error {
            // The container's node says it, and kubectl hands it on as it is.
            onggi_client::Error::Status(status) if status.code == 500 => {
                Error::new(status.message.clone())
            }
            error => error.into(),
        });
        match status?.0 {
            0 => Ok(tty),
            code => {
                session.print_error(&format!("command terminated with exit code {code}\n"))?;
                Err(Error::Exit(u8::try_from(code).unwrap_or(1)))
            }
        }
    }
}
