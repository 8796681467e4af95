//! `autoscale`: a HorizontalPodAutoscaler for a workload.

use serde_json::{Value, json};

use super::create::{Common, print_or_send};
use crate::apply::annotate;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{DryRun, Found, Selectors};
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
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, hide = true)]
    cpu_percent: i32,
    /// Use of the CPU that is aimed at: 70% of what the pods ask for, or 500m of each
    #[arg(long, default_value = "", value_name = "AMOUNT")]
    cpu: String,
    /// Use of memory that is aimed at: 60% of what the pods ask for, or 200Mi of each
    #[arg(long, default_value = "", value_name = "AMOUNT")]
    memory: String,
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
        let metrics = self.metrics()?;
        if self.cpu_percent >= 0 {
            session.print_error(
                "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource \
                 quantity format (e.g., '70%' for utilization or '500m' for milliCPU).\n",
            )?;
        }
        let none = Selectors::default();
        let wanted = Wanted::new(&self.args, &self.files, &none);
        let (found, mut errors) = session.gather(&wanted).await?.or_nothing("autoscale")?;
        for one in &found {
            if let Err(error) = self.one(session, one, &metrics).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(&self, session: &Session, one: &Found, metrics: &[Value]) -> Result<(), Error> {
        let scalable = ["ReplicationController", "Deployment", "ReplicaSet", "StatefulSet"];
        let kind = one.mapping.kind.as_str();
        if !scalable.contains(&kind) {
            return Err(Error::new(format!("cannot autoscale a {kind}: not implemented")));
        }
        let target =
            json!({"apiVersion": one.mapping.api_version(), "kind": kind, "name": one.name()});
        let mut spec = json!({"maxReplicas": self.max, "scaleTargetRef": target});
        if self.min > 0 {
            spec["minReplicas"] = json!(self.min);
        }
        if !metrics.is_empty() {
            spec["metrics"] = json!(metrics);
        }
        let name = if self.name.is_empty() { one.name() } else { &self.name };
        let mut object = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name}, "spec": spec,
            "status": {"currentMetrics": null, "desiredReplicas": 0},
        });
        if self.common.save_config {
            annotate(&mut object);
        }
        let tried_out = self.common.writing.dry_run != DryRun::None;
        let said = if tried_out { "created" } else { "autoscaled" };
        print_or_send(session, object, &self.common, "kubectl-autoscale", said).await
    }

    fn metrics(&self) -> Result<Vec<Value>, Error> {
        if self.cpu_percent > 0 && !self.cpu.is_empty() {
            return Err(Error::new("--cpu-percent and --cpu are mutually exclusive"));
        }
        let of_percent = format!("{}%", self.cpu_percent);
        let cpu = if self.cpu_percent > 0 { &of_percent } else { &self.cpu };
        let mut metrics = Vec::new();
        for (name, amount, unit) in [("cpu", cpu, "m"), ("memory", &self.memory, "Mi")] {
            if !amount.is_empty() {
                let target = target(name, amount.trim(), unit)?;
                metrics.push(json!({
                    "type": "Resource", "resource": {"name": name, "target": target},
                }));
            }
        }
        Ok(metrics)
    }
}

/// `70%` of what is asked for, or an amount of each pod; a bare number is in `unit`.
fn target(name: &str, amount: &str, unit: &str) -> Result<Value, Error> {
    if let Some(percent) = amount.strip_suffix('%') {
        let percent: i32 = percent
            .parse()
            .map_err(|_| Error::new(format!("invalid resource {name} value: {amount}")))?;
        return Ok(json!({"averageUtilization": percent, "type": "Utilization"}));
    }
    let whole = match amount.parse::<f64>() {
        Ok(_) => format!("{amount}{unit}"),
        Err(_) => amount.to_owned(),
    };
    let quantity: onggi_api::Quantity = whole
        .parse()
        .map_err(|_| Error::new(format!("invalid resource {name} value: {amount}")))?;
    Ok(json!({"averageValue": quantity.to_string(), "type": "AverageValue"}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (name, amount, expected) in [
            ("cpu", "70%", json!({"averageUtilization": 70, "type": "Utilization"})),
            ("cpu", "500", json!({"averageValue": "500m", "type": "AverageValue"})),
            ("memory", "200", json!({"averageValue": "200Mi", "type": "AverageValue"})),
            ("memory", "1Gi", json!({"averageValue": "1Gi", "type": "AverageValue"})),
        ] {
            let unit = if name == "cpu" { "m" } else { "Mi" };
            assert_eq!(target(name, amount, unit).unwrap(), expected, "{name} {amount}");
        }
        for amount in ["x%", "1x"] {
            assert!(target("cpu", amount, "m").is_err(), "{amount}");
        }
    }
}
