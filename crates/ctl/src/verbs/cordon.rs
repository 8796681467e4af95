//! `cordon` and `uncordon`.

use onggi_client::PatchKind;
use onggi_machinery::value::bool_at;
use serde_json::json;

use crate::error::Error;
use crate::manifest::Files;
use crate::select::{DryRun, Selectors};
use crate::session::Session;

/// Flags of `cordon`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The nodes
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Nodes with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Option<String>,
}

/// Flags of `uncordon`.
#[derive(Debug, clap::Args)]
pub struct UncordonArgs {
    #[command(flatten)]
    nodes: Args,
}

impl Args {
    /// Marks them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        self.mark(session, true).await
    }

    async fn mark(&self, session: &Session, cordoned: bool) -> Result<(), Error> {
        if self.nodes.is_empty() && self.selector.is_none() {
            return Err(Error::new("at least one NODE or a selector (-l) must be given"));
        }
        let mut args = vec!["nodes".to_owned()];
        args.extend(self.nodes.iter().cloned());
        let selectors = Selectors { selector: self.selector.clone(), field_selector: None };
        let word = if cordoned { "cordoned" } else { "uncordoned" };
        for one in session.find(&args, &Files::default(), &selectors, false).await? {
            if bool_at(&one.value, "spec.unschedulable") == cordoned {
                session.print(&format!("{} already {word}\n", one.label()))?;
                continue;
            }
            let flag = if cordoned { json!(true) } else { json!(null) };
            let body = json!({"spec": {"unschedulable": flag}});
            let kind = PatchKind::Strategic;
            session.patch(&one, "", kind, &body, "kubectl-cordon", DryRun::None).await?;
            session.print(&format!("{} {word}\n", one.label()))?;
        }
        Ok(())
    }
}

impl UncordonArgs {
    /// Takes the mark away.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        self.nodes.mark(session, false).await
    }
}
