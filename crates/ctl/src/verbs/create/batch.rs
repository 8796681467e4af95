//! Jobs and CronJobs.

use onggi_machinery::value::{at, str_at};
use serde_json::{Value, json};

use super::{Common, object};
use crate::error::Error;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(super) struct Job {
    /// Its name
    name: String,
    /// The image of its container
    #[arg(long)]
    image: Option<String>,
    /// The CronJob that it is a run of: cronjob/NAME
    #[arg(long, value_name = "TYPE/NAME")]
    from: Option<String>,
    #[command(flatten)]
    common: Common,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CronJob {
    /// Its name
    name: String,
    /// The image of its container
    #[arg(long)]
    image: String,
    /// When: minute, hour, day, month, weekday
    #[arg(long)]
    schedule: String,
    /// OnFailure or Never
    #[arg(long, default_value = "OnFailure")]
    restart: String,
    #[command(flatten)]
    common: Common,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

fn template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"image": image, "name": name, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({
        "metadata": {},
        "spec": {"containers": [container], "restartPolicy": restart},
    })
}

impl Job {
    pub(super) async fn made(self, session: &Session) -> Result<(Value, Common), Error> {
        let Self { name, image, from, common, command } = self;
        match (image, from) {
            (Some(image), None) => {
                let spec = json!({"template": template(&name, &image, &command, "Never")});
                let fields = json!({"spec": spec, "status": {}});
                Ok((object("batch/v1", "Job", &name, fields), common))
            }
            (None, Some(from)) => {
                if !command.is_empty() {
                    return Err(Error::new("cannot specify --from and command"));
                }
                Ok((from_cron_job(session, &name, &from).await?, common))
            }
            _ => Err(Error::new("either --image or --from must be specified")),
        }
    }
}

/// A run of a CronJob, now.
async fn from_cron_job(session: &Session, name: &str, from: &str) -> Result<Value, Error> {
    let targets = crate::select::targets(session.mapper().await?, &[from.to_owned()])?;
    let target = targets.into_iter().next().ok_or_else(|| Error::new("--from names nothing"))?;
    if target.mapping.kind != "CronJob" {
        return Err(Error::new("from must be an existing cronjob"));
    }
    let cron = target.name.unwrap_or_default();
    let cron = session.object(&target.mapping, &session.namespace(), &cron).await?;
    let template = at(&cron, "spec.jobTemplate");
    let fields = json!({"spec": template["spec"], "status": {}});
    let mut job = object("batch/v1", "Job", name, fields);
    let mut annotations = at(template, "metadata.annotations").clone();
    if annotations.is_null() {
        annotations = json!({});
    }
    annotations["cronjob.kubernetes.io/instantiate"] = json!("manual");
    job["metadata"]["annotations"] = annotations;
    if let Some(labels) = template["metadata"].get("labels") {
        job["metadata"]["labels"] = labels.clone();
    }
    job["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "controller": true, "kind": "CronJob",
        "name": str_at(&cron, "metadata.name"), "uid": str_at(&cron, "metadata.uid"),
    }]);
    Ok(job)
}

impl CronJob {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let Self { name, image, schedule, restart, common, command } = self;
        let job = json!({
            "metadata": {"name": name},
            "spec": {"template": template(&name, &image, &command, &restart)},
        });
        let fields = json!({"spec": {"jobTemplate": job, "schedule": schedule}, "status": {}});
        Ok((object("batch/v1", "CronJob", &name, fields), common))
    }
}
