//! `debug`: a container beside those of a pod, a copy of a pod with changes, or a pod on a node.

use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{items_mut, list_at, set, str_at};
use serde_json::{Value, json};

use super::exec::{join_or_log, log};
use crate::error::Error;
use crate::select::{DryRun, Found, targets};
use crate::session::Session;

/// Flags of `debug`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, pod/NAME or node/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    target: String,
    /// Image of the container
    #[arg(long, default_value = "")]
    image: String,
    /// Name of the container
    #[arg(long, short, default_value = "")]
    container: String,
    /// The container whose processes it sees
    #[arg(long, default_value = "")]
    target_container: String,
    /// As --target-container, by kubectl's name
    #[arg(long = "target", default_value = "")]
    target_name: String,
    /// Name of a copy of the pod to work on
    #[arg(long, default_value = "")]
    copy_to: String,
    /// With --copy-to: the old pod goes
    #[arg(long)]
    replace: bool,
    /// With --copy-to: on the same node
    #[arg(long)]
    same_node: bool,
    /// With --copy-to: containers see one another's processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    share_processes: bool,
    /// With --copy-to: images of its containers, NAME=IMAGE or *=IMAGE
    #[arg(long, value_delimiter = ',', value_name = "NAME=IMAGE")]
    set_image: Vec<String>,
    /// Rights of the container: general, baseline, restricted, netadmin, sysadmin, legacy
    #[arg(long, default_value = "legacy", value_parser = ["legacy", "general", "baseline", "restricted", "netadmin", "sysadmin", "auto"])]
    profile: String,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Always, IfNotPresent or Never
    #[arg(long, default_value = "")]
    image_pull_policy: String,
    /// Join it
    #[arg(long)]
    attach: bool,
    /// Pass the input on
    #[arg(long, short = 'i')]
    stdin: bool,
    /// The input is a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// The arguments are only arguments
    #[arg(long)]
    arguments_only: bool,
    /// Say only what the container says
    #[arg(long, short)]
    quiet: bool,
    /// The command
    #[arg(last = true)]
    command: Vec<String>,
}

impl Args {
    /// Makes what is asked for and joins it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if self.image.is_empty() && self.copy_to.is_empty() {
            return Err(Error::new("must specify --image when not using --copy-to."));
        }
        if self.tty && !self.stdin {
            return Err(Error::new("-i/--stdin is required for containers with -t/--tty=true"));
        }
        let named = match self.target.contains('/') {
            true => self.target.clone(),
            false => format!("pod/{}", self.target),
        };
        let target = targets(session.mapper().await?, &[named])?.remove(0);
        let name = target.name.clone().unwrap_or_default();
        let namespace = session.namespace();
        let value = session.object(&target.mapping, &namespace, &name).await?;
        let one = Found { mapping: target.mapping, value };
        let (pod, container) = match one.mapping.kind.as_str() {
            "Node" => self.on_node(session, &one).await?,
            "Pod" if self.copy_to.is_empty() => self.beside(session, &one).await?,
            "Pod" => self.copied(session, &one).await?,
            kind => return Err(Error::new(format!("{kind:?} not supported by debug"))),
        };
        if !(self.attach || self.stdin) {
            return Ok(());
        }
        self.joined(session, &pod, &container).await
    }

    fn container_name(&self, pod: &Value) -> String {
        if !self.container.is_empty() {
            return self.container.clone();
        }
        let taken = |name: &str| {
            ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"]
                .iter()
                .any(|list| list_at(pod, list).iter().any(|c| str_at(c, "name") == name))
        };
        loop {
            let name = format!("debugger-{}", suffix());
            if !taken(&name) {
                return name;
            }
        }
    }

    fn container(&self, name: &str) -> Result<Value, Error> {
        let mut container = json!({
            "image": self.image, "name": name, "resources": {},
            "terminationMessagePolicy": "File",
        });
        if !self.command.is_empty() {
            let field = if self.arguments_only { "args" } else { "command" };
            container[field] = json!(self.command);
        }
        if !self.env.is_empty() {
            let pairs = super::create::key_values(&self.env)?;
            let list = pairs.into_iter().map(|(name, value)| json!({"name": name, "value": value}));
            container["env"] = Value::Array(list.collect());
        }
        for (field, on) in [("stdin", self.stdin), ("tty", self.tty)] {
            if on {
                container[field] = json!(true);
            }
        }
        if !self.image_pull_policy.is_empty() {
            container["imagePullPolicy"] = json!(self.image_pull_policy);
        }
        let rights = match self.profile.as_str() {
            "general" => json!({"capabilities": {"add": ["SYS_PTRACE"]}}),
            "restricted" => json!({
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
            }),
            "netadmin" => json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}),
            "sysadmin" => json!({"privileged": true}),
            _ => Value::Null,
        };
        if !rights.is_null() {
            container["securityContext"] = rights;
        }
        Ok(container)
    }

    /// An ephemeral container in the pod itself.
    async fn beside(&self, session: &Session, one: &Found) -> Result<(Value, String), Error> {
        let name = self.container_name(&one.value);
        let mut container = self.container(&name)?;
        let target = if self.target_container.is_empty() {
            &self.target_name
        } else {
            &self.target_container
        };
        if !target.is_empty() {
            if !self.quiet {
                session.print_error(&format!("Targeting container {target:?}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.\n"))?;
            }
            container["targetContainerName"] = json!(target);
        }
        if self.container.is_empty() && !self.quiet {
            session.print_error(&format!("Defaulting debug container name to {name}.\n"))?;
        }
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        let kind = PatchKind::Strategic;
        let pod = session
            .patch(one, "ephemeralcontainers", kind, &patch, "kubectl-debug", DryRun::None)
            .await?;
        Ok((pod, name))
    }

    /// A copy of the pod, with another image or a container more.
    async fn copied(&self, session: &Session, one: &Found) -> Result<(Value, String), Error> {
        let old = &one.value;
        let mut spec = old["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("ephemeralContainers");
            if !self.same_node {
                map.remove("nodeName");
            }
        }
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.copy_to, "namespace": one.namespace(),
                "annotations": old["metadata"]["annotations"]},
            "spec": spec,
        });
        if self.share_processes {
            set(&mut pod, "spec.shareProcessNamespace", true);
        }
        for change in &self.set_image {
            let (name, image) = change.split_once('=').ok_or_else(|| {
                Error::new(format!("invalid --set-image {change:?}: write NAME=IMAGE"))
            })?;
            for container in items_mut(&mut pod, "spec.containers") {
                if name == "*" || str_at(container, "name") == name {
                    container["image"] = json!(image);
                }
            }
        }
        for container in items_mut(&mut pod, "spec.containers") {
            // A copy is looked at, not kept alive or sent traffic.
            if let Some(map) = container.as_object_mut() {
                for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                    map.remove(probe);
                }
            }
        }
        let known =
            list_at(&pod, "spec.containers").iter().any(|c| str_at(c, "name") == self.container);
        let name = if known {
            self.change_container(&mut pod);
            self.container.clone()
        } else {
            let name = self.container_name(&pod);
            if !self.image.is_empty() {
                if self.container.is_empty() && !self.quiet {
                    session
                        .print_error(&format!("Defaulting debug container name to {name}.\n"))?;
                }
                let container = self.container(&name)?;
                if let Some(list) = pod["spec"]["containers"].as_array_mut() {
                    list.push(container);
                }
                name
            } else {
                list_at(&pod, "spec.containers")
                    .first()
                    .map_or(name, |c| str_at(c, "name").to_owned())
            }
        };
        if self.replace {
            let request =
                Request::new(Verb::Delete, one.mapping.gvr(), one.namespace(), one.name());
            session.call(request).await?;
            let uid = str_at(old, "metadata.uid");
            super::delete::gone(session, &one.mapping, one.namespace(), one.name(), uid).await?;
        }
        let pod = self.created(session, pod, one.namespace()).await?;
        Ok((pod, name))
    }

    fn change_container(&self, pod: &mut Value) {
        for container in items_mut(pod, "spec.containers") {
            if str_at(container, "name") != self.container {
                continue;
            }
            if !self.image.is_empty() {
                container["image"] = json!(self.image);
            }
            if !self.command.is_empty() {
                let field = if self.arguments_only { "args" } else { "command" };
                container[field] = json!(self.command);
                if !self.arguments_only
                    && let Some(map) = container.as_object_mut()
                {
                    map.remove("args");
                }
            }
            for (field, on) in [("stdin", self.stdin), ("tty", self.tty)] {
                if on {
                    container[field] = json!(true);
                }
            }
        }
    }

    /// A pod on the node that sees the node's processes, network and files.
    async fn on_node(&self, session: &Session, one: &Found) -> Result<(Value, String), Error> {
        let node = one.name();
        let container_name = if self.container.is_empty() { "debugger" } else { &self.container };
        let mut container = self.container(container_name)?;
        container["volumeMounts"] = json!([{"mountPath": "/host", "name": "host-root"}]);
        let name = format!("node-debugger-{node}-{}", suffix());
        if !self.quiet {
            session.print_error(&format!(
                "Creating debugging pod {name} with container {container_name} on node {node}.\n"
            ))?;
        }
        let sees_node = self.profile != "restricted" && self.profile != "baseline";
        let mut spec = json!({
            "containers": [container], "nodeName": node, "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}],
        });
        if sees_node {
            for field in ["hostIPC", "hostNetwork", "hostPID"] {
                spec[field] = json!(true);
            }
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
        });
        let pod = self.created(session, pod, &session.namespace()).await?;
        Ok((pod, container_name.to_owned()))
    }

    async fn created(
        &self,
        session: &Session,
        pod: Value,
        namespace: &str,
    ) -> Result<Value, Error> {
        let pods = session.mapper().await?.by_name("pods")?;
        let mut request = Request::new(Verb::Create, pods.gvr(), namespace, "");
        request.write.field_manager = "kubectl-debug".to_owned();
        session.call(request.body(Body::Object(pod))).await
    }

    async fn joined(&self, session: &Session, pod: &Value, container: &str) -> Result<(), Error> {
        let pods = session.mapper().await?.by_name("pods")?;
        let (namespace, name) = (str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
        let (mut seen, mut ended) = (Value::Null, false);
        let runs = |pod: Option<&Value>| {
            let Some(pod) = pod else {
                return Err(Error::new(format!("pod {name} was deleted before it ran")));
            };
            seen = pod.clone();
            let lists = ["status.containerStatuses", "status.ephemeralContainerStatuses"];
            let status = lists.iter().flat_map(|list| list_at(pod, list));
            let state = status.filter(|s| str_at(s, "name") == container).map(|s| &s["state"]);
            let is = |what: &str| state.clone().any(|state| state.get(what).is_some());
            ended = is("terminated");
            Ok(ended || is("running"))
        };
        session.until(pods, namespace, name, runs).await?;
        if ended {
            return log(session, &seen, container).await;
        }
        if self.tty && !self.quiet {
            session.print_error("If you don't see a command prompt, try pressing enter.\n")?;
        }
        join_or_log(session, &seen, container, self.stdin, self.tty).await
    }
}

/// Five letters that are new each time.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let now = jiff::Timestamp::now().as_nanosecond() as u128 + u128::from(super::unique()) * 7919;
    let mut rest = now ^ (u128::from(std::process::id()) << 40);
    let letter = |_| {
        let at = (rest % LETTERS.len() as u128) as usize;
        rest /= LETTERS.len() as u128;
        char::from(LETTERS[at])
    };
    (0..5).map(letter).collect()
}
