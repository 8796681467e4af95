//! `scale`.

use onggi_client::PatchKind;
use onggi_machinery::value::{i64_at, str_at};
use serde_json::json;

use crate::error::Error;
use crate::flags::Printing;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::select::{DryRun, Found, Selectors};
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
    /// Only when it is in this version
    #[arg(long, value_name = "VERSION", default_value = "")]
    resource_version: String,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Scales them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        // Refused before anything is written.
        let format = self.printing.format()?;
        let wanted = Wanted::new(&self.args, &self.files, &self.selectors).whole_kinds(self.all);
        let (found, mut errors) = session.gather(&wanted).await?.or_nothing("scale")?;
        for one in &found {
            if let Err(error) = self.one(session, one, &format).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(&self, session: &Session, one: &Found, format: &Format) -> Result<(), Error> {
        let now = i64_at(&one.value, "spec.replicas").unwrap_or(1);
        if let Some(expected) = self.current_replicas.filter(|n| *n >= 0 && *n != now) {
            return Err(Error::new(format!("Expected replicas to be {expected}, was {now}")));
        }
        let revision = str_at(&one.value, "metadata.resourceVersion");
        if !self.resource_version.is_empty() && self.resource_version != revision {
            return Err(Error::new(format!(
                "Expected resource version to be {}, was {revision}",
                self.resource_version
            )));
        }
        if self.dry_run != DryRun::Client {
            let mut body = json!({"spec": {"replicas": self.replicas}});
            if self.current_replicas.is_some() || !self.resource_version.is_empty() {
                body["metadata"] =
                    json!({"resourceVersion": one.value["metadata"]["resourceVersion"]});
            }
            session.patch(one, "scale", PatchKind::Merge, &body, "", self.dry_run).await?;
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
        let suffix = self.dry_run.suffix();
        if format.is_table() {
            return session.print(&format!("{} scaled{suffix}\n", one.label()));
        }
        let mut object = one.value.clone();
        if !self.printing.show_managed_fields {
            hide_managed_fields(&mut object);
        }
        session.print_object(format, &object)
    }
}
