//! `scale`.

use onggi_client::PatchKind;
use onggi_machinery::value::i64_at;
use serde_json::json;

use crate::error::Error;
use crate::manifest::Files;
use crate::select::{DryRun, Selectors};
use crate::session::Session;

/// Flags of `scale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME …, or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// How many
    #[arg(long, value_name = "COUNT")]
    replicas: u32,
    /// Only when there are this many now
    #[arg(long, value_name = "COUNT")]
    current_replicas: Option<i64>,
    /// How long to wait until that many are there; 0 not to wait
    #[arg(long, default_value = "0s", value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: std::time::Duration,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
}

impl Args {
    /// Scales them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let found = session.find(&self.args, &self.files, &self.selectors, false).await?;
        if found.is_empty() {
            return Err(Error::new("no objects passed to scale"));
        }
        let mut errors = Vec::new();
        for one in &found {
            let now = i64_at(&one.value, "spec.replicas").unwrap_or(1);
            if let Some(expected) = self.current_replicas.filter(|n| *n >= 0 && *n != now) {
                errors.push(Error::new(format!("Expected replicas to be {expected}, was {now}")));
                continue;
            }
            if self.dry_run != DryRun::Client {
                let mut body = json!({"spec": {"replicas": self.replicas}});
                if self.current_replicas.is_some() {
                    body["metadata"] =
                        json!({"resourceVersion": one.value["metadata"]["resourceVersion"]});
                }
                let patch = session.patch(one, "scale", PatchKind::Merge, &body, "", self.dry_run);
                if let Err(error) = patch.await {
                    errors.push(error);
                    continue;
                }
            }
            if !self.timeout.is_zero() && self.dry_run == DryRun::None {
                let wanted = i64::from(self.replicas);
                let there = |value: Option<&serde_json::Value>| {
                    Ok(value.is_none_or(|v| i64_at(v, "status.replicas").unwrap_or(0) == wanted))
                };
                let wait = session.until(&one.mapping, one.namespace(), one.name(), there);
                tokio::time::timeout(self.timeout, wait).await.unwrap_or_else(|_| {
                    Err(Error::new(format!("timed out waiting for {:?} to be synced", one.name())))
                })?;
            }
            session.print(&format!("{} scaled{}\n", one.label(), self.dry_run.suffix()))?;
        }
        Error::all(errors)
    }
}
