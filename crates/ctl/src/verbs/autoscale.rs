//! `autoscale`: a HorizontalPodAutoscaler for a workload.

use serde_json::json;

use super::create::{Common, print_or_send};
use crate::apply::annotate;
use crate::error::Error;
use crate::manifest::Files;
use crate::select::{DryRun, Selectors};
use crate::session::Session;

/// Flags of `autoscale`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Name of the autoscaler; that of the workload without it
    #[arg(long, default_value = "")]
    name: String,
    /// How many pods at least
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    min: i32,
    /// How many pods at most
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    max: i32,
    /// Use of the CPU that is aimed at, in percent of what the pods ask for
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    cpu_percent: i32,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// Creates them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (min, max) = (self.min, self.max);
        if max < 1 {
            return Err(Error::new(format!(
                "--max=MAXPODS is required and must be at least 1, max: {max}"
            )));
        }
        if max < min {
            return Err(Error::new(format!(
                "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
            )));
        }
        let found = session.find(&self.args, &self.files, &Selectors::default(), false).await?;
        if found.is_empty() {
            return Err(Error::new("no objects passed to autoscale"));
        }
        for one in &found {
            let scalable = ["ReplicationController", "Deployment", "ReplicaSet", "StatefulSet"];
            let kind = one.mapping.kind.as_str();
            if !scalable.contains(&kind) {
                return Err(Error::new(format!("cannot autoscale a {kind}: not implemented")));
            }
            let target =
                json!({"apiVersion": one.mapping.api_version(), "kind": kind, "name": one.name()});
            let mut spec = json!({"maxReplicas": max, "scaleTargetRef": target});
            if min > 0 {
                spec["minReplicas"] = json!(min);
            }
            if self.cpu_percent >= 0 {
                spec["targetCPUUtilizationPercentage"] = json!(self.cpu_percent);
            }
            let name = if self.name.is_empty() { one.name() } else { &self.name };
            let mut object = json!({
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
                "metadata": {"creationTimestamp": null, "name": name}, "spec": spec,
                "status": {"currentReplicas": 0, "desiredReplicas": 0},
            });
            if self.common.save_config {
                annotate(&mut object);
            }
            let tried_out = self.common.writing.dry_run != DryRun::None;
            let said = if tried_out { "created" } else { "autoscaled" };
            print_or_send(session, object, &self.common, "kubectl-autoscale", said).await?;
        }
        Ok(())
    }
}
