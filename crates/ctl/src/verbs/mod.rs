//! The verbs: one file each, with its flags and what it does. To add one: a file beside this one,
//! and a line in [`Verb`] and in [`Verb::run_in`].

use std::process::ExitCode;

use crate::error::Error;
use crate::session::{Globals, Session};

pub mod annotate;
pub mod api;
pub mod apply;
pub mod cluster;
pub mod config;
pub mod cordon;
pub mod create;
pub mod delete;
pub mod describe;
pub mod edit;
pub mod events;
pub mod exec;
pub mod get;
pub mod kustomize;
pub mod label;
pub mod logs;
pub mod patch;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod set;
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
    Attach(exec::AttachArgs),
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
    /// Print where the cluster answers
    ClusterInfo(cluster::InfoArgs),
    /// Print the kinds that the server has
    ApiResources(api::ResourcesArgs),
    /// Print the versions of the API that the server has
    ApiVersions(api::VersionsArgs),
    /// Print the fields of a kind
    Explain(api::ExplainArgs),
    /// Print the versions of the client and of the server
    Version(cluster::VersionArgs),
}

impl Verb {
    /// Does it, and says what went wrong on the error output.
    pub async fn run(self, globals: Globals) -> ExitCode {
        let session = Session::new(globals);
        match self.run_in(&session).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprint!("{}", error.report());
                ExitCode::from(error.code())
            }
        }
    }

    /// Does it in a session.
    pub async fn run_in(self, session: &Session) -> Result<(), Error> {
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
            Self::Cordon(args) => args.run(session).await,
            Self::Uncordon(args) => args.run(session).await,
            Self::Events(args) => args.run(session).await,
            Self::Kustomize(args) => args.run(session),
            Self::Config(args) => args.run(session),
            Self::ClusterInfo(args) => args.run(session).await,
            Self::ApiResources(args) => args.run(session).await,
            Self::ApiVersions(args) => args.run(session).await,
            Self::Explain(args) => args.run(session).await,
            Self::Version(args) => args.run(session).await,
        }
    }
}
