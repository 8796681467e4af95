//! `run`.

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::{Value, json};

use super::create::{key_values, print_or_send};
use super::delete::gone;
use super::exec::join;
use crate::error::Error;
use crate::output::Format;
use crate::select::DryRun;
use crate::session::Session;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the pod
    name: String,
    /// Its image
    #[arg(long)]
    image: String,
    /// Always, OnFailure or Never
    #[arg(long, default_value = "Always", value_parser = ["Always", "OnFailure", "Never"])]
    restart: String,
    /// The arguments are the command, not its arguments
    #[arg(long)]
    command: bool,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Port of the container
    #[arg(long)]
    port: Option<u16>,
    /// KEY=VALUE,…
    #[arg(long, short, value_delimiter = ',', value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// Delete the pod when it ended
    #[arg(long)]
    rm: bool,
    /// Pass the input on
    #[arg(long, short = 'i')]
    stdin: bool,
    /// The input is a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// Join its streams when it runs
    #[arg(long)]
    attach: bool,
    /// Say only what the container says
    #[arg(long, short)]
    quiet: bool,
    /// JSON that is laid over the pod
    #[arg(long, value_name = "JSON")]
    overrides: Option<String>,
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    dry_run: DryRun,
    /// yaml, json, name …
    #[arg(long, short, default_value = "")]
    output: String,
    /// Arguments, or the command
    #[arg(trailing_var_arg = true)]
    arguments: Vec<String>,
}

impl Args {
    /// Creates the pod, and joins it where that is asked for.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let joins = self.attach || self.stdin;
        if self.rm && !joins {
            return Err(Error::new("--rm should only be used for attached containers"));
        }
        if self.tty && !self.stdin {
            return Err(Error::new("-i/--stdin is required for containers with -t/--tty=true"));
        }
        if joins && self.dry_run != DryRun::None {
            return Err(Error::new(
                "--dry-run=[server|client] can't be used with attached containers options \
                 (--attach, --stdin, or --tty)\nSee 'onggi run -h' for help and examples",
            ));
        }
        let pod = self.pod()?;
        let format = Format::parse(&self.output)?;
        if !joins {
            let manager = "kubectl-run";
            return print_or_send(session, pod, &format, self.dry_run, manager).await;
        }
        let mapping = session.mapper().await?.by_name("pods")?;
        let namespace = session.namespace();
        let mut request = Request::new(Verb::Create, mapping.gvr(), &namespace, "");
        request.write.field_manager = "kubectl-run".to_owned();
        let created = session.call(request.body(Body::Object(pod))).await?;
        let ended = self.attached(session, &namespace).await;
        if self.rm {
            let mut request = Request::new(Verb::Delete, mapping.gvr(), &namespace, &self.name);
            request.write.propagation_policy = "Background".to_owned();
            session.call(request).await?;
            session.print(&format!("pod {:?} deleted\n", self.name))?;
            let uid = str_at(&created, "metadata.uid");
            gone(session, mapping, &namespace, &self.name, uid).await?;
        }
        ended
    }

    /// Joins the pod as soon as it runs; where it ended before, prints what it said.
    async fn attached(&self, session: &Session, namespace: &str) -> Result<(), Error> {
        let mapping = session.mapper().await?.by_name("pods")?;
        let mut seen = Value::Null;
        let name = &self.name;
        let runs = |pod: Option<&Value>| {
            let Some(pod) = pod else {
                return Err(Error::new(format!("pod {name} was deleted before it ran")));
            };
            seen = pod.clone();
            Ok(matches!(str_at(pod, "status.phase"), "Running" | "Succeeded" | "Failed"))
        };
        session.until(mapping, namespace, name, runs).await?;
        let has_ended = |pod: &Value| matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed");
        if has_ended(&seen) {
            let pods = mapping.gvr();
            let path = crate::path::path(&pods, namespace, name, "log", &[]);
            let log = session.connection()?.http.get(&path, "application/json, */*").await?;
            session.print_bytes(&log)?;
        } else {
            if self.tty && !self.quiet {
                session.print_error("If you don't see a command prompt, try pressing enter.\n")?;
            }
            let joined = join(session, &seen, None, Vec::new(), self.stdin, self.tty).await;
            if self.restart != "Never" {
                return joined;
            }
            let ends = |pod: Option<&Value>| {
                seen = pod.cloned().unwrap_or(Value::Null);
                Ok(pod.is_none_or(has_ended))
            };
            session.until(mapping, namespace, name, ends).await?;
        }
        let statuses = &seen["status"]["containerStatuses"][0];
        match statuses["state"]["terminated"]["exitCode"].as_i64() {
            None | Some(0) => Ok(()),
            Some(code) => {
                let text = format!("pod {namespace}/{name} terminated (Error)\n");
                session.print_error(&text)?;
                Err(Error::Exit(u8::try_from(code).unwrap_or(1)))
            }
        }
    }

    fn pod(&self) -> Result<Value, Error> {
        let mut container = json!({"image": self.image, "name": self.name, "resources": {}});
        if !self.arguments.is_empty() {
            container[if self.command { "command" } else { "args" }] = json!(self.arguments);
        }
        if !self.env.is_empty() {
            let pairs = self.env.iter().map(|pair| match pair.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    Ok(json!({"name": name, "value": value}))
                }
                _ => Err(Error::new(format!("invalid env: {pair}: write NAME=VALUE"))),
            });
            container["env"] = Value::Array(pairs.collect::<Result<_, _>>()?);
        }
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if let Some(policy) = &self.image_pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        if self.stdin {
            container["stdin"] = json!(true);
            container["stdinOnce"] = json!(true);
        }
        if self.tty {
            container["tty"] = json!(true);
        }
        let mut metadata = json!({"creationTimestamp": null, "name": self.name});
        let labels = key_values(&self.labels)?;
        metadata["labels"] =
            if labels.is_empty() { json!({"run": self.name}) } else { Value::Object(labels) };
        let annotations = key_values(&self.annotations)?;
        if !annotations.is_empty() {
            metadata["annotations"] = Value::Object(annotations);
        }
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                "containers": [container],
                "dnsPolicy": "ClusterFirst",
                "restartPolicy": self.restart,
            },
            "status": {},
        });
        if let Some(overrides) = &self.overrides {
            let overrides: Value = serde_json::from_str(overrides)
                .map_err(|e| Error::new(format!("--overrides is no JSON: {e}")))?;
            merge(&mut pod, overrides);
        }
        Ok(pod)
    }
}

/// RFC 7386.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
