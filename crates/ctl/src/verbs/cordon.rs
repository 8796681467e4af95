//! `cordon` and `uncordon`.

use onggi_client::PatchKind;
use onggi_machinery::value::bool_at;
use serde_json::json;

use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

/// Which nodes, for `cordon`, `uncordon` and `drain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Nodes {
    /// The nodes
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Nodes with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
}

/// Flags of `cordon`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Nodes,
}

/// Flags of `uncordon`.
#[derive(Debug, clap::Args)]
pub struct UncordonArgs {
    #[command(flatten)]
    nodes: Nodes,
}

impl Args {
    /// Marks them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let found = self.nodes.found(session, "cordon").await?;
        self.nodes.mark(session, &found, true).await
    }
}

impl UncordonArgs {
    /// Takes the mark away.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let found = self.nodes.found(session, "uncordon").await?;
        self.nodes.mark(session, &found, false).await
    }
}

impl Nodes {
    pub(crate) fn dry_run(&self) -> DryRun {
        self.dry_run
    }

    /// `verb`: whose usage is told where no node is named.
    pub(crate) async fn found(&self, session: &Session, verb: &str) -> Result<Vec<Found>, Error> {
        match (self.nodes.is_empty(), &self.selector) {
            (true, None) => {
                return Err(Error::new(format!(
                    "USAGE: {verb} NODE [flags]\nSee 'kubectl {verb} -h' for help and examples"
                )));
            }
            (false, Some(_)) => {
                return Err(Error::new(format!(
                    "cannot specify both a node name and a --selector option\nSee 'kubectl \
                         {verb} -h' for help and examples"
                )));
            }
            _ => {}
        }
        let bare = |name: &String| {
            let kinds = ["node/", "nodes/", "no/"];
            let named = kinds.iter().find_map(|kind| name.strip_prefix(kind));
            named.unwrap_or(name).to_owned()
        };
        let mut args = vec!["nodes".to_owned()];
        args.extend(self.nodes.iter().map(bare));
        let selectors = Selectors { selector: self.selector.clone(), field_selector: None };
        session.find(&Wanted::new(&args, &Files::default(), &selectors)).await
    }

    pub(crate) async fn mark(
        &self,
        session: &Session,
        found: &[Found],
        cordoned: bool,
    ) -> Result<(), Error> {
        let word = if cordoned { "cordoned" } else { "uncordoned" };
        let suffix = self.dry_run.suffix();
        let mut errors = Vec::new();
        for one in found {
            if bool_at(&one.value, "spec.unschedulable") == cordoned {
                session.print(&format!("{} already {word}{suffix}\n", one.label()))?;
                continue;
            }
            if self.dry_run != DryRun::Client {
                let flag = if cordoned { json!(true) } else { json!(null) };
                let body = json!({"spec": {"unschedulable": flag}});
                let kind = PatchKind::Strategic;
                if let Err(error) = session.patch(one, "", kind, &body, "", self.dry_run).await {
                    Error::note(&mut errors, error)?;
                    continue;
                }
            }
            session.print(&format!("{} {word}{suffix}\n", one.label()))?;
        }
        Error::all(errors)
    }
}
