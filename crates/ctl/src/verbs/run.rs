//! `run`.

use std::time::Duration;

use onggi_client::{Body, Request};
use onggi_machinery::patch::{PatchType, apply};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use super::attach::Attach;
use super::create::{Common, key_values, print_or_send};
use super::delete::{gone, policy, said};
use super::exec::log;
use crate::error::Error;
use crate::select::DryRun;
use crate::session::Session;
use crate::terminal::Keys;

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
    #[command(flatten)]
    removal: Removal,
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
    /// How it is laid: json, merge or strategic
    #[arg(long, default_value = "merge", value_parser = ["json", "merge", "strategic"])]
    override_type: String,
    /// Make a Service for its port too
    #[arg(long)]
    expose: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: Duration,
    /// Run it with the rights of the node
    #[arg(long)]
    privileged: bool,
    /// Leave the input open when the first who joined is gone
    #[arg(long)]
    leave_stdin_open: bool,
    /// What to type to leave the container to itself
    #[arg(long, default_value = "ctrl-p,ctrl-q", value_name = "KEYS")]
    detach_keys: String,
    #[command(flatten)]
    common: Common,
    /// Arguments, or the command
    arguments: Vec<String>,
}

/// How `--rm` deletes.
#[derive(Debug, clap::Args)]
struct Removal {
    /// With --rm: seconds to end in; -1 for what the pod says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// With --rm: do not wait for the end of the processes
    #[arg(long)]
    force: bool,
    /// With --rm: what becomes of what the pod owns
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "background", default_missing_value = "background", value_parser = ["background", "foreground", "orphan"])]
    cascade: String,
    /// With --rm: wait until the pod is gone
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// With --rm: how long to wait; 0 for as long as it takes
    #[arg(long, default_value = "0s", value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Duration,
}

impl Removal {
    /// Zero only where it is forced: that takes the pod away while its processes may still run.
    fn seconds(&self) -> Result<Option<i64>, Error> {
        match (self.grace_period, self.force) {
            (seconds, true) if seconds > 0 => Err(Error::new(
                "--force and --grace-period greater than 0 cannot be specified together",
            )),
            (_, true) => Ok(Some(0)),
            (seconds, false) => Ok(Some(seconds).filter(|seconds| *seconds >= 0)),
        }
    }

    async fn run(&self, session: &Session, pod: &Value, quiet: bool) -> Result<(), Error> {
        let mapping = session.mapper().await?.by_name("pods")?;
        let of = |path: &str| str_at(pod, path);
        let (namespace, name) = (of("metadata.namespace"), of("metadata.name"));
        let mut request = Request::new(Verb::Delete, mapping.gvr(), namespace, name);
        request.write.propagation_policy = policy(&self.cascade).to_owned();
        request.write.grace_period_seconds = self.seconds()?;
        session.call(request).await?;
        if !quiet {
            session.print(&said(mapping, namespace, name, self.force, DryRun::None))?;
        }
        if !self.wait {
            return Ok(());
        }
        let gone = gone(session, mapping, namespace, name, of("metadata.uid"));
        if self.timeout.is_zero() {
            return gone.await;
        }
        tokio::time::timeout(self.timeout, gone).await.unwrap_or_else(|_| {
            Err(Error::new(format!("timed out waiting for the condition on pods/{name}")))
        })
    }
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
        if joins && self.common.writing.dry_run != DryRun::None {
            return Err(Error::new(
                "--dry-run=[server|client] can't be used with attached containers options \
                 (--attach, --stdin, or --tty)\nSee 'onggi run -h' for help and examples",
            ));
        }
        if let Some(problem) = image_problem(&self.image) {
            return Err(Error::new(format!("Invalid image name {:?}: {problem}", self.image)));
        }
        if let Some(policy) = self.image_pull_policy.as_deref()
            && !matches!(policy, "" | "Always" | "IfNotPresent" | "Never")
        {
            return Err(Error::new(format!(
                "invalid image pull policy: {policy}\nSee 'kubectl run -h' for help and examples"
            )));
        }
        let pod = self.pod()?;
        if self.expose && self.port.is_none() {
            return Err(Error::new("--port must be set when exposing a service"));
        }
        if !joins {
            let service = self.service(&pod);
            if let Some(service) = service.clone() {
                // Like kubectl: the Service comes first.
                print_or_send(session, service, &self.common, "kubectl-run", "created").await?;
            }
            if service.is_some() && !self.common.printing.output.is_empty() {
                // kubectl divides twice here.
                session.print("---\n")?;
            }
            return print_or_send(session, pod, &self.common, "kubectl-run", "created").await;
        }
        // Refused before there is a pod.
        let detach = Keys::parse(&self.detach_keys)?;
        self.removal.seconds()?;
        let mapping = session.mapper().await?.by_name("pods")?;
        let namespace = session.namespace();
        let mut request = Request::new(Verb::Create, mapping.gvr(), &namespace, "");
        request.write.field_manager = "kubectl-run".to_owned();
        let created = session.call(request.body(Body::Object(pod))).await?;
        let ended = self.attached(session, &namespace, &detach).await;
        if self.rm {
            self.removal.run(session, &created, self.quiet).await?;
        }
        ended
    }

    /// Joins the pod as soon as it runs; where it ended before, prints what it said.
    async fn attached(
        &self,
        session: &Session,
        namespace: &str,
        detach: &Keys,
    ) -> Result<(), Error> {
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
        let ran = session.until(mapping, namespace, name, runs);
        tokio::time::timeout(self.pod_running_timeout, ran)
            .await
            .map_err(|_| Error::new("timed out waiting for the condition"))??;
        let has_ended = |pod: &Value| matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed");
        // `--overrides` may have named it otherwise.
        let first = list_at(&seen, "spec.containers").first();
        let container = first.map_or(name.clone(), |first| str_at(first, "name").to_owned());
        if has_ended(&seen) {
            log(session, &seen, &container).await?;
        } else {
            let attach = Attach {
                pod: &seen,
                container: &container,
                stdin: self.stdin,
                tty: self.tty,
                quiet: self.quiet,
                detach,
            };
            attach.or_log(session).await?;
            if self.restart == "Always" || self.leave_stdin_open {
                return Ok(());
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
                let text = Error::Bare(format!("pod {namespace}/{name} terminated (Error)"));
                Err(Error::Coded(u8::try_from(code).unwrap_or(1), Box::new(text)))
            }
        }
    }

    /// The Service of `--expose`.
    fn service(&self, pod: &Value) -> Option<Value> {
        let port = self.port.filter(|_| self.expose)?;
        let labels = &pod["metadata"]["labels"];
        Some(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name},
            "spec": {
                "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
                "selector": labels,
            },
            "status": {"loadBalancer": {}},
        }))
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
        if self.leave_stdin_open
            && let Some(container) = container.as_object_mut()
        {
            container.remove("stdinOnce");
        }
        if self.privileged {
            container["securityContext"] = json!({"privileged": true});
        }
        let mut metadata = json!({"name": self.name});
        let labels = key_values(&self.labels)?;
        metadata["labels"] =
            if labels.is_empty() { json!({"run": self.name}) } else { Value::Object(labels) };
        let annotations = key_values(&self.annotations)?;
        if !annotations.is_empty() {
            metadata["annotations"] = Value::Object(annotations);
        }
        let pod = json!({
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
        match &self.overrides {
            Some(overrides) => overridden(pod, overrides, &self.override_type),
            None => Ok(pod),
        }
    }
}

/// What is wrong with the name of an image, in the words of its specification.
pub(crate) fn image_problem(image: &str) -> Option<&'static str> {
    const FAULT: &str = "invalid reference format";
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let is_digest = |text: &str| {
        text.split_once(':').is_some_and(|(kind, hex)| {
            !kind.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some(FAULT);
    }
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let in_tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let is_tag = |tag: &str| {
        (1..=128).contains(&tag.len()) && tag.bytes().all(in_tag) && !tag.starts_with(['.', '-'])
    };
    if tag.is_some_and(|tag| !is_tag(tag)) || name.is_empty() {
        return Some(FAULT);
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", name),
    };
    let in_host =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'[' | b']');
    if !host.bytes().all(in_host) {
        return Some(FAULT);
    }
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(is_end)
            && part.ends_with(is_end)
            && part.chars().all(|c| is_end(c) || matches!(c, '.' | '_' | '-'))
    };
    if path.split('/').all(is_part) {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    let only_case = lower != path && lower.split('/').all(is_part);
    Some(if only_case {
        "invalid reference format: repository name must be lowercase"
    } else {
        FAULT
    })
}

/// An object with what `--overrides` holds laid over it.
pub(crate) fn overridden(mut object: Value, overrides: &str, how: &str) -> Result<Value, Error> {
    let overrides = onggi_machinery::yaml::parse(overrides)
        .map_err(|e| Error::new(format!("--overrides: {e}")))?;
    let kind = match how {
        "json" => PatchType::Json,
        "strategic" => PatchType::Strategic,
        _ => PatchType::Merge,
    };
    let schema = {
        let api_version = str_at(&object, "apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        onggi_api::schema::of(group, version, str_at(&object, "kind"))
    };
    apply(kind, schema, &mut object, overrides.to_string().as_bytes())
        .map_err(|e| Error::new(format!("--overrides: {e}")))?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        for image in [
            "nginx",
            "nginx:1.27-alpine",
            "localhost:5000/a/b:v1",
            "reg.example.com/team/app_x@sha256:0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(image_problem(image), None, "{image}");
        }
        for image in ["bad image", "", "a:", "a//b", "-a", "a@sha256:1", "Nginx"] {
            assert!(image_problem(image).is_some(), "{image}");
        }
    }
}
