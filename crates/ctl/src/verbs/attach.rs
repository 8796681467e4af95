//! `attach`, and how `run` and `debug` join what they started.

use onggi_machinery::value::{bool_at, find, list_at, str_at};
use serde_json::Value;

use super::exec::{Join, log, pod};
use super::logs::container_of;
use crate::error::Error;
use crate::session::Session;
use crate::terminal::Keys;

/// Flags of `attach`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, TYPE/NAME, or TYPE NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    args: Vec<String>,
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
    /// What to type to leave the container to itself
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: String,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m0s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: std::time::Duration,
}

/// A container of a pod that is joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attach<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) container: &'a str,
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
    pub(crate) quiet: bool,
    pub(crate) detach: &'a Keys,
}

impl Args {
    /// Joins it until it ends.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let named = match self.args.as_slice() {
            [] => return Err(Error::new("at least 1 argument is required for attach")),
            [named] => named.clone(),
            [kind, name] => format!("{kind}/{name}"),
            many => {
                return Err(Error::new(format!(
                    "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                    many.len(),
                    many.join(" ")
                )));
            }
        };
        if self.pod_running_timeout.is_zero() {
            return Err(Error::new(
                "--pod-running-timeout must be higher than zero\nSee 'onggi attach -h' for help \
                 and examples",
            ));
        }
        let detach = Keys::parse(&self.detach_keys)?;
        let pod = pod(session, &named).await?;
        let phase = str_at(&pod, "status.phase");
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Error::new(format!(
                "cannot attach a container in a completed pod; current phase is {phase}"
            )));
        }
        let container = container_of(session, &pod, self.container.as_deref(), self.quiet)
            .map_err(|error| Error::new(format!("cannot attach to the container: {error}")))?;
        let attach = Attach {
            pod: &pod,
            container: &container,
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
            detach: &detach,
        };
        attach.run(session).await
    }
}

impl Attach<'_> {
    /// Joins the streams.
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let list = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"]
            .into_iter()
            .find(|list| find(list_at(self.pod, list), "name", self.container).is_some());
        let container = list.and_then(|list| find(list_at(self.pod, list), "name", self.container));
        let has_one = container.is_some_and(|container| bool_at(container, "tty"));
        if self.tty && !has_one && !self.quiet {
            session.print_error(&format!(
                "error: Unable to use a TTY - container {} did not allocate one\n",
                self.container
            ))?;
        }
        if !self.quiet {
            session.print_error(
                "All commands and output from this session will be recorded in container logs, \
                 including credentials and sensitive information passed through the command \
                 prompt.\nIf you don't see a command prompt, try pressing enter.\n",
            )?;
        }
        let join = Join {
            pod: self.pod,
            container: self.container,
            command: &[],
            stdin: self.stdin,
            // One who has a terminal cannot be joined without.
            tty: has_one,
            quiet: self.quiet,
            detach: Some(self.detach),
        };
        let shown = join.run(session).await?;
        if self.quiet || !self.stdin || !shown {
            return Ok(());
        }
        let (name, namespace) =
            (str_at(self.pod, "metadata.name"), str_at(self.pod, "metadata.namespace"));
        let again = format!("'onggi attach {name} -c {} -n {namespace} -i -t'", self.container);
        session.print(&if list == Some("spec.ephemeralContainers") {
            format!(
                "Session ended, the ephemeral container will not be restarted but may be \
                 reattached using {again} if it is still running\n"
            )
        } else {
            format!("Session ended, resume using {again} command\n")
        })
    }

    /// The same; where that cannot be, as when the program has ended already, prints what it
    /// said.
    pub(crate) async fn or_log(&self, session: &Session) -> Result<(), Error> {
        let refused = match self.run(session).await {
            // How it ended stands in its status.
            Ok(()) | Err(Error::Exit(_)) => return Ok(()),
            Err(error) => error,
        };
        let name = str_at(self.pod, "metadata.name");
        session.print_error(&format!(
            "warning: couldn't attach to pod/{name}, falling back to streaming logs: {refused}\n"
        ))?;
        log(session, self.pod, self.container).await
    }
}
