//! The verbs: one file each, with its flags and what it does. To add one: a file beside this one,
//! and a line in [`Verb`] and in [`Verb::run_in`].

use std::process::ExitCode;

use crate::error::Error;
use crate::session::{Globals, Session};
use futures::future::BoxFuture;

pub mod annotate;
pub mod api;
pub mod apply;
pub mod attach;
pub mod auth;
pub mod autoscale;
pub mod certificate;
pub mod cluster;
pub mod completion;
pub mod config;
pub mod cordon;
pub mod cp;
pub mod create;
pub mod debug;
pub mod delete;
pub mod describe;
pub mod diff;
pub mod drain;
pub mod edit;
pub mod events;
pub mod exec;
pub mod explain;
pub mod expose;
pub mod get;
pub mod kuberc;
pub mod kustomize;
pub mod label;
pub mod logs;
pub mod options;
pub mod patch;
pub mod plugin;
pub mod port_forward;
pub mod proxy;
mod raw;
pub mod replace;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod set;
pub mod taint;
pub mod top;
pub mod wait;

/// A verb and its flags.
#[derive(Debug, clap::Subcommand)]
#[command(next_help_heading = None)]
pub enum Verb {
    /// Print objects
    Get(get::Args),
    /// Make objects be as files say
    Apply(apply::Args),
    /// Create an object from a file or from flags
    Create(create::Args),
    /// Delete objects
    Delete(delete::Args),
    /// Print all that is known of objects, with their events
    Describe(describe::Args),
    /// Print the output of containers
    #[command(visible_alias = "log")]
    Logs(logs::Args),
    /// Run a command in a container
    Exec(exec::Args),
    /// Join the streams of a running container
    Attach(attach::Args),
    /// Run an image in a pod
    Run(run::Args),
    /// Wait until objects are in a state
    Wait(wait::Args),
    /// Set how many replicas there are
    Scale(scale::Args),
    /// Follow, undo, restart or pause the rollout of a workload
    Rollout(rollout::Args),
    /// Set images or environment variables of a workload
    Set(set::Args),
    /// Set or remove labels
    Label(label::Args),
    /// Set or remove annotations
    Annotate(annotate::Args),
    /// Change fields of an object
    Patch(patch::Args),
    /// Change an object in an editor
    Edit(edit::Args),
    /// Make objects anew as files say
    Replace(replace::Args),
    /// Print what `apply` would change
    Diff(diff::Args),
    /// Make a Service for the pods of a workload
    Expose(expose::Args),
    /// Let a workload grow and shrink with its use
    Autoscale(autoscale::Args),
    /// Ask what may be done
    Auth(auth::Args),
    /// Approve or deny certificates
    Certificate(certificate::Args),
    /// Set or remove taints of nodes
    Taint(taint::Args),
    /// Move the pods of a node elsewhere
    Drain(drain::Args),
    /// Keep new pods from a node
    Cordon(cordon::Args),
    /// Let new pods on a node again
    Uncordon(cordon::UncordonArgs),
    /// Print events
    Events(events::Args),
    /// Print what a kustomization makes
    Kustomize(kustomize::Args),
    /// Print or change the kubeconfig
    Config(config::Args),
    /// Print or change the preferences of the command line
    Kuberc(kuberc::Args),
    /// Print where the cluster answers
    ClusterInfo(cluster::InfoArgs),
    /// Print the kinds that the server has
    ApiResources(api::ResourcesArgs),
    /// Print the versions of the API that the server has
    ApiVersions(api::VersionsArgs),
    /// Print the fields of a kind
    Explain(explain::Args),
    /// Copy files into a container and out of it
    Cp(cp::Args),
    /// Look into a pod or a node with a container more
    Debug(debug::Args),
    /// Print what nodes and pods use
    Top(top::Args),
    /// Lead ports of this machine to ports of a pod
    PortForward(port_forward::Args),
    /// Serve the API on a port of this machine
    Proxy(proxy::Args),
    /// Print what a shell completes the command line with
    Completion(completion::Args),
    /// What `completion` makes the shell ask
    #[command(name = "__complete", hide = true)]
    Complete(completion::Complete),
    /// Print the programs on the PATH that are verbs too
    Plugin(plugin::Args),
    /// What may still change; there is nothing now
    #[command(hide = true)]
    Alpha,
    /// Print the flags that every verb has
    Options(options::Args),
    /// Print the versions of the client and of the server
    Version(cluster::VersionArgs),
}

impl Verb {
    /// Does it, and says what went wrong on the error output.
    pub fn run(self, globals: Globals) -> BoxFuture<'static, ExitCode> {
        Box::pin(async move {
            let session = Session::new(globals);
            ended(self.run_in(&session).await)
        })
    }

    /// Does it in a session.
    pub fn run_in(self, session: &Session) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.done(session).await?;
            session.check_warnings()
        })
    }

    async fn done(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Get(args) => args.run(session).await,
            Self::Apply(args) => args.run(session).await,
            Self::Create(args) => args.run(session).await,
            Self::Delete(args) => args.run(session).await,
            Self::Describe(args) => args.run(session).await,
            Self::Logs(args) => args.run(session).await,
            Self::Exec(args) => args.run(session).await,
            Self::Attach(args) => args.run(session).await,
            Self::Run(args) => args.run(session).await,
            Self::Wait(args) => args.run(session).await,
            Self::Scale(args) => args.run(session).await,
            Self::Rollout(args) => args.run(session).await,
            Self::Set(args) => args.run(session).await,
            Self::Label(args) => args.run(session).await,
            Self::Annotate(args) => args.run(session).await,
            Self::Patch(args) => args.run(session).await,
            Self::Edit(args) => args.run(session).await,
            Self::Replace(args) => args.run(session).await,
            Self::Diff(args) => args.run(session).await,
            Self::Expose(args) => args.run(session).await,
            Self::Autoscale(args) => args.run(session).await,
            Self::Auth(args) => args.run(session).await,
            Self::Certificate(args) => args.run(session).await,
            Self::Taint(args) => args.run(session).await,
            Self::Drain(args) => args.run(session).await,
            Self::Cordon(args) => args.run(session).await,
            Self::Uncordon(args) => args.run(session).await,
            Self::Events(args) => args.run(session).await,
            Self::Kustomize(args) => args.run(session),
            Self::Config(args) => args.run(session),
            Self::Kuberc(args) => args.run(session),
            Self::ClusterInfo(args) => args.run(session).await,
            Self::ApiResources(args) => args.run(session).await,
            Self::ApiVersions(args) => args.run(session).await,
            Self::Explain(args) => args.run(session).await,
            Self::Cp(args) => args.run(session).await,
            Self::Debug(args) => args.run(session).await,
            Self::Top(args) => args.run(session).await,
            Self::PortForward(args) => args.run(session).await,
            Self::Proxy(args) => args.run(session).await,
            Self::Completion(args) => args.run(session),
            Self::Complete(args) => args.run(session, own_command()).await,
            Self::Plugin(args) => args.run(session),
            Self::Alpha => {
                session.print_error("No alpha commands are available in this version of kubectl\n")
            }
            Self::Options(args) => args.run(session),
            Self::Version(args) => args.run(session).await,
        }
    }
}

/// How a verb's process ends: what went wrong stands on the error output then.
pub fn ended(done: Result<(), Error>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.code())
        }
    }
}

/// The verbs as a command line of their own, where no program names a larger one.
pub(crate) fn own_command() -> clap::Command {
    use clap::{Args as _, Subcommand as _};
    Globals::augment_args(Verb::augment_subcommands(clap::Command::new("onggi")))
}

/// A number that no other caller in this process gets.
pub(crate) fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
