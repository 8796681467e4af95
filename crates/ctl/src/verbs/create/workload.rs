//! Deployments.

use serde_json::{Value, json};

use super::{Common, object};
use crate::error::Error;

#[derive(Debug, clap::Args)]
pub(super) struct Deployment {
    /// Its name
    name: String,
    /// Image of a container; once for each
    #[arg(long, required = true)]
    image: Vec<String>,
    /// How many pods
    #[arg(long, short, default_value_t = 1)]
    replicas: u32,
    /// Port of the container
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    common: Common,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

impl Deployment {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let Self { name, image, replicas, port, common, command } = self;
        if image.len() > 1 && !command.is_empty() {
            return Err(Error::new("cannot specify multiple --image options and command"));
        }
        let containers: Vec<Value> = image
            .iter()
            .map(|image| {
                let last = image.rsplit('/').next().unwrap_or(image);
                let bare = last.split(['@', ':']).next().unwrap_or(last);
                let mut container =
                    json!({"image": image, "name": bare.replace('_', "-"), "resources": {}});
                if let Some(port) = port {
                    container["ports"] = json!([{"containerPort": port}]);
                }
                if !command.is_empty() {
                    container["command"] = json!(command);
                }
                container
            })
            .collect();
        let labels = json!({"app": name});
        let fields = json!({
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "strategy": {},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": containers},
                },
            },
            "status": {},
        });
        let mut object = object("apps/v1", "Deployment", &name, fields);
        object["metadata"]["labels"] = labels;
        Ok((object, common))
    }
}
