//! `exec` and `attach`.

use onggi_client::exec::{Exec, exec};
use onggi_client::node::Streams;
use onggi_machinery::value::str_at;
use serde_json::Value;

use super::logs::container_of;
use crate::error::Error;
use crate::rollout::pods_of;
use crate::select::targets;
use crate::session::Session;
use crate::terminal::{self, Raw};

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, or TYPE/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    pod: String,
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
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

/// Flags of `attach`.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// POD, or TYPE/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    pod: String,
    /// The container
    #[arg(long, short)]
    container: Option<String>,
    /// Pass the input on
    #[arg(long, short = 'i')]
    stdin: bool,
    /// The input is a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// Say only what the container says
    #[arg(long, short)]
    quiet: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m0s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: std::time::Duration,
}

impl Args {
    /// Runs it; the exit code is the command's.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let pod = pod(session, &self.pod).await?;
        if let Some(container) = &self.container {
            container_of(session, &pod, Some(container))?;
        }
        join(session, &pod, self.container.as_deref(), self.command, self.stdin, self.tty).await
    }
}

impl AttachArgs {
    /// Joins it until it ends.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let pod = pod(session, &self.pod).await?;
        if self.tty && !self.quiet {
            session.print_error("If you don't see a command prompt, try pressing enter.\n")?;
        }
        join(session, &pod, self.container.as_deref(), Vec::new(), self.stdin, self.tty).await
    }
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
    if str_at(&object, "kind") == "Pod" {
        return Ok(object);
    }
    let pods = pods_of(session, &object).await?;
    pods.into_iter().next().ok_or_else(|| Error::new(format!("{named} has no pods")))
}

/// Joins a container; where that cannot be, as when its program has ended already, prints what it
/// said.
pub(crate) async fn join_or_log(
    session: &Session,
    pod: &Value,
    container: &str,
    stdin: bool,
    tty: bool,
) -> Result<(), Error> {
    let refused = match join(session, pod, Some(container), Vec::new(), stdin, tty).await {
        // How it ended stands in its status.
        Ok(()) | Err(Error::Exit(_)) => return Ok(()),
        Err(error) => error,
    };
    let name = str_at(pod, "metadata.name");
    let why = format!(
        "warning: couldn't attach to pod/{name}, falling back to streaming logs: {refused}\n"
    );
    session.print_error(&why)?;
    log(session, pod, container).await
}

/// Prints all that a container said until now.
pub(crate) async fn log(session: &Session, pod: &Value, container: &str) -> Result<(), Error> {
    let pods = session.mapper().await?.by_name("pods")?.gvr();
    let (namespace, name) = (str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    let path = crate::path::path(&pods, namespace, name, "log", &[("container", container)]);
    let log = session.connection()?.http.get(&path, "application/json, */*").await?;
    session.print_bytes(&log)
}

/// Connects the user's streams with a command in a container, or with the container's own.
pub(crate) async fn join(
    session: &Session,
    pod: &Value,
    container: Option<&str>,
    command: Vec<String>,
    stdin: bool,
    tty: bool,
) -> Result<(), Error> {
    let (name, phase) = (str_at(pod, "metadata.name"), str_at(pod, "status.phase"));
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(Error::new(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = match container {
        Some(named) => named.to_owned(),
        None => container_of(session, pod, None)?,
    };
    let tty = tty && stdin && {
        let real = terminal::is_terminal();
        if !real {
            let text = "Unable to use a TTY - input is not a terminal or the right kind of file\n";
            session.print_error(text)?;
        }
        real
    };
    let request = Exec {
        namespace: str_at(pod, "metadata.namespace").to_owned(),
        pod: name.to_owned(),
        container,
        command,
        tty,
    };
    let raw = if tty { Raw::enter()? } else { None };
    let streams = Streams {
        stdin: if stdin { Some(Box::new(terminal::input())) } else { None },
        stdout: Some(Box::new(tokio::io::stdout())),
        stderr: if tty { None } else { Some(Box::new(tokio::io::stderr())) },
        resize: if tty { Some(terminal::sizes()?) } else { None },
    };
    let status = exec(&session.connection()?.http, &request, streams).await;
    drop(raw);
    match status?.0 {
        0 => Ok(()),
        code => {
            session.print_error(&format!("command terminated with exit code {code}\n"))?;
            Err(Error::Exit(u8::try_from(code).unwrap_or(1)))
        }
    }
}
