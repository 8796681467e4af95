//! `debug`: a container beside those of a pod, a copy of a pod with changes, or a pod on a node.

mod profile;

use onggi_api::schema;
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::patch::{PatchType, apply, two_way_merge};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{at, i64_at, items_mut, list_at, set, str_at};
use serde_json::{Value, json};

use self::profile::{Keep, Profile, Style};
use super::attach::Attach;
use super::exec::log;
use super::run::image_problem;
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::select::{DryRun, Found, Selectors, targets};
use crate::session::Session;
use crate::terminal::Keys;

/// Flags of `debug`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, pod/NAME or node/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    targets: Vec<String>,
    /// File with the pod or the node
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',')]
    filename: Vec<String>,
    /// Image of the container
    #[arg(long, default_value = "")]
    image: String,
    /// Name of the container
    #[arg(long, short, default_value = "")]
    container: String,
    /// The container whose processes it sees
    #[arg(long, default_value = "", alias = "target-container")]
    target: String,
    /// Name of a copy of the pod to work on
    #[arg(long, default_value = "")]
    copy_to: String,
    /// With --copy-to: the old pod goes
    #[arg(long)]
    replace: bool,
    /// With --copy-to: on the same node
    #[arg(long)]
    same_node: bool,
    /// With --copy-to: whether containers see one another's processes; they do where nothing is
    /// said
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    share_processes: Option<bool>,
    /// With --copy-to: images of its containers, NAME=IMAGE or *=IMAGE
    #[arg(long, value_delimiter = ',', value_name = "NAME=IMAGE")]
    set_image: Vec<String>,
    /// Rights of the container: general, baseline, restricted, netadmin, sysadmin
    #[arg(long, default_value = "general")]
    profile: String,
    /// File with more of the container, as JSON or YAML
    #[arg(long, default_value = "", value_name = "FILE")]
    custom: String,
    #[command(flatten)]
    keep: Keep,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    env: Vec<String>,
    /// Always, IfNotPresent or Never
    #[arg(long, default_value = "")]
    image_pull_policy: String,
    /// Join it; done with -i, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    attach: Option<bool>,
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

/// What is made, beyond the flags.
struct Plan {
    profile: Profile,
    /// What `--custom` lays over the container.
    custom: Value,
}

/// Whether one may be joined, and which.
type Made = (Value, Option<String>);

impl Args {
    /// Makes what is asked for and joins it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let plan = Plan { profile: Profile::parse(&self.profile)?, custom: self.custom()? };
        self.check(session)?;
        check_custom(&plan.custom)?;
        if plan.profile == Profile::Legacy {
            session.print_error(
                "--profile=legacy is deprecated and planned to be removed in v1.39. It is recommended \
                 to specify other profile, for example \"--profile=general\".\n",
            )?;
        }
        for one in self.found(session).await? {
            let (pod, container) = match one.mapping.kind.as_str() {
                "Node" => self.on_node(session, &plan, &one).await?,
                "Pod" if self.copy_to.is_empty() => self.beside(session, &plan, &one).await?,
                "Pod" => self.copied(session, &plan, &one).await?,
                kind => {
                    let version = one.mapping.gvr().version;
                    let group = &one.mapping.group;
                    let text = format!("\"{group}/{version}, Kind={kind}\" not supported by debug");
                    return Err(Error::new(text));
                }
            };
            if let Some(container) = container.filter(|_| self.attach.unwrap_or(self.stdin)) {
                self.joined(session, &pod, &container).await?;
            }
        }
        Ok(())
    }

    /// Refuses what contradicts itself, in kubectl's words and order.
    fn check(&self, session: &Session) -> Result<(), Error> {
        let (copies, names_image) = (!self.copy_to.is_empty(), !self.image.is_empty());
        let wrong = if self.attach == Some(true) && !names_image && self.container.is_empty() {
            "you must specify --container or create a new container using --image in order to \
             attach."
        } else if copies && !names_image && self.set_image.is_empty() && self.command.is_empty() {
            "you must specify --image, --set-image or command arguments."
        } else if copies && !self.command.is_empty() && self.container.is_empty() && !names_image {
            "you must specify an existing container or a new image when specifying args."
        } else if !copies && self.replace {
            "--replace may only be used with --copy-to."
        } else if !copies && self.same_node {
            "--same-node may only be used with --copy-to."
        } else if !copies && !self.set_image.is_empty() {
            "--set-image may only be used with --copy-to."
        } else if !copies && !names_image {
            "you must specify --image when not using --copy-to."
        } else {
            ""
        };
        if !wrong.is_empty() {
            return Err(Error::new(wrong));
        }
        if let Some(problem) = image_problem(&self.image).filter(|_| names_image) {
            return Err(Error::new(format!("invalid image name {:?}: {problem}", self.image)));
        }
        if self.targets.is_empty() && self.filename.is_empty() {
            return Err(Error::new("NAME or filename is required for debug"));
        }
        let policy = self.image_pull_policy.as_str();
        if !matches!(policy, "" | "Always" | "IfNotPresent" | "Never") {
            return Err(Error::new(format!("invalid image pull policy: {policy}")));
        }
        for (name, image) in self.images()? {
            if let Some(problem) = image_problem(image) {
                return Err(Error::new(format!(
                    "invalid image name {image:?} for container {name:?}: {problem}"
                )));
            }
        }
        if !self.target.is_empty() {
            if copies {
                return Err(Error::new(
                    "--target is incompatible with --copy-to. Use --share-processes instead.",
                ));
            }
            self.say(session, || format!("Targeting container {:?}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.", self.target))?;
        }
        if self.tty && !self.stdin {
            return Err(Error::new("-i/--stdin is required for containers with -t/--tty=true"));
        }
        Ok(())
    }

    fn say(&self, session: &Session, text: impl FnOnce() -> String) -> Result<(), Error> {
        if self.quiet { Ok(()) } else { session.print(&(text() + "\n")) }
    }

    fn images(&self) -> Result<Vec<(&str, &str)>, Error> {
        let one = |pair: &String| {
            Error::new(format!(
                "invalid argument {pair:?} for \"--set-image\" flag: {pair} must be formatted as key=value"
            ))
        };
        self.set_image.iter().map(|p| p.split_once('=').ok_or_else(|| one(p))).collect()
    }

    /// What the file of `--custom` holds.
    fn custom(&self) -> Result<Value, Error> {
        if self.custom.is_empty() {
            return Ok(Value::Null);
        }
        let text = std::fs::read_to_string(&self.custom).map_err(|e| {
            let file = &self.custom;
            let text =
                format!("must pass a container spec json file for custom profile: {file}: {e}");
            Error::new(text)
        })?;
        match onggi_machinery::yaml::parse(&text) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => {
                Err(Error::new(format!("{} does not contain a valid container spec", self.custom)))
            }
            Err(error) => Err(Error::new(format!(
                "{} does not contain a valid container spec: {error}",
                self.custom
            ))),
        }
    }

    async fn found(&self, session: &Session) -> Result<Vec<Found>, Error> {
        let none = Selectors::default();
        let files = Files { filename: self.filename.clone(), ..Files::default() };
        if !files.is_empty() {
            return session.find(&Wanted::new(&self.targets, &files, &none)).await;
        }
        let mut found = Vec::new();
        for named in &self.targets {
            let named = if named.contains('/') { named.clone() } else { format!("pod/{named}") };
            for target in targets(session.mapper().await?, &[named])? {
                let name = target.name.unwrap_or_default();
                let value = session.object(&target.mapping, &session.namespace(), &name).await?;
                found.push(Found { mapping: target.mapping, value });
            }
        }
        Ok(found)
    }

    fn container_name(&self, session: &Session, pod: &Value) -> Result<String, Error> {
        if !self.container.is_empty() {
            return Ok(self.container.clone());
        }
        let taken = |name: &str| {
            ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"]
                .iter()
                .any(|list| list_at(pod, list).iter().any(|c| str_at(c, "name") == name))
        };
        let mut name = format!("debugger-{}", suffix());
        while taken(&name) {
            name = format!("debugger-{}", suffix());
        }
        self.say(session, || format!("Defaulting debug container name to {name}."))?;
        Ok(name)
    }

    /// Writes what the flags say into a container.
    fn fill(&self, container: &mut Value) -> Result<(), Error> {
        if !self.command.is_empty() {
            if self.arguments_only {
                container["args"] = json!(self.command);
            } else {
                container["command"] = json!(self.command);
                onggi_machinery::value::remove(container, "args");
            }
        }
        if !self.env.is_empty() {
            let pairs = super::create::key_values(&self.env)?;
            let list = pairs.into_iter().map(|(name, value)| json!({"name": name, "value": value}));
            container["env"] = Value::Array(list.collect());
        }
        if !self.image.is_empty() {
            container["image"] = json!(self.image);
        }
        if !self.image_pull_policy.is_empty() {
            container["imagePullPolicy"] = json!(self.image_pull_policy);
        }
        for (field, on) in [("stdin", self.stdin), ("tty", self.tty)] {
            if on {
                container[field] = json!(true);
            } else {
                onggi_machinery::value::remove(container, field);
            }
        }
        Ok(())
    }

    fn container(&self, name: &str) -> Result<Value, Error> {
        let mut container =
            json!({"name": name, "resources": {}, "terminationMessagePolicy": "File"});
        self.fill(&mut container)?;
        Ok(container)
    }

    /// An ephemeral container in the pod itself.
    async fn beside(&self, session: &Session, plan: &Plan, one: &Found) -> Result<Made, Error> {
        let name = self.container_name(session, &one.value)?;
        let mut container = self.container(&name)?;
        if !self.target.is_empty() {
            container["targetContainerName"] = json!(self.target);
        }
        let mut pod = one.value.clone();
        let list = &mut pod["spec"]["ephemeralContainers"];
        match list.as_array_mut() {
            Some(list) => list.push(container),
            None => *list = json!([container]),
        }
        plan.profile.apply(&mut pod, &name, Style::Ephemeral, self.keep);
        plan.customize(&mut pod, "ephemeralContainers", &name)?;
        let list = list_at(&pod, "spec.ephemeralContainers");
        let container = list.last().cloned().unwrap_or_default();
        warn_of_user(session, &pod, &container)?;
        let patch = two_way_merge(schema::of("", "v1", "Pod"), &one.value, &pod)
            .map_err(|e| Error::new(e.to_string()))?;
        let kind = PatchKind::Strategic;
        let pod = session
            .patch(one, "ephemeralcontainers", kind, &patch, "kubectl-debug", DryRun::None)
            .await?;
        Ok((pod, Some(name)))
    }

    /// A copy of the pod, with other images, a container more, or one changed.
    async fn copied(&self, session: &Session, plan: &Plan, one: &Found) -> Result<Made, Error> {
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
            "metadata": {"name": self.copy_to, "namespace": one.namespace()}, "spec": spec,
        });
        for field in ["annotations", "labels"] {
            if !old["metadata"][field].is_null() {
                pod["metadata"][field] = old["metadata"][field].clone();
            }
        }
        if let Some(share) = self.share_processes {
            set(&mut pod, "spec.shareProcessNamespace", share);
        }
        let images = self.images()?;
        for container in items_mut(&mut pod, "spec.containers") {
            let of = |wanted: &str| {
                images.iter().rev().find(|(name, _)| *name == wanted).map(|(_, image)| *image)
            };
            if let Some(image) = of(str_at(container, "name")).or_else(|| of("*")) {
                container["image"] = json!(image);
            }
        }
        let is_known = ["spec.containers", "spec.initContainers"]
            .iter()
            .any(|list| list_at(&pod, list).iter().any(|c| str_at(c, "name") == self.container));
        let mut name = None;
        if is_known || !self.image.is_empty() {
            let own = if is_known {
                self.container.clone()
            } else {
                let own = self.container_name(session, &pod)?;
                let new = json!({"name": own, "resources": {}, "terminationMessagePolicy": "File"});
                if let Some(list) = pod["spec"]["containers"].as_array_mut() {
                    list.push(new);
                }
                own
            };
            for list in ["spec.containers", "spec.initContainers"] {
                for container in items_mut(&mut pod, list) {
                    if str_at(container, "name") == own {
                        self.fill(container)?;
                    }
                }
            }
            plan.profile.apply(&mut pod, &own, Style::Copy, self.keep);
            plan.customize(&mut pod, "containers", &own)?;
            if let Some(container) =
                onggi_machinery::value::find(list_at(&pod, "spec.containers"), "name", &own)
            {
                warn_of_user(session, &pod, container)?;
            }
            name = Some(own);
        } else if self.set_image.is_empty() {
            return Err(Error::new("you must specify image when creating new container"));
        }
        let pod = self.created(session, pod, one.namespace()).await?;
        if self.replace {
            let mut request =
                Request::new(Verb::Delete, one.mapping.gvr(), one.namespace(), one.name());
            request.write.grace_period_seconds = Some(0);
            session.call(request).await?;
        }
        Ok((pod, name))
    }

    /// A pod on the node that sees as much of it as the profile says.
    async fn on_node(&self, session: &Session, plan: &Plan, one: &Found) -> Result<Made, Error> {
        let node = one.name();
        let container = if self.container.is_empty() { "debugger" } else { &self.container };
        let name = format!("node-debugger-{node}-{}", suffix());
        self.say(session, || {
            format!("Creating debugging pod {name} with container {container} on node {node}.")
        })?;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"},
            },
            "spec": {
                "containers": [self.container(container)?], "nodeName": node,
                "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}],
            },
        });
        plan.profile.apply(&mut pod, container, Style::Node, self.keep);
        plan.customize(&mut pod, "containers", container)?;
        let pod = self.created(session, pod, &session.namespace()).await?;
        Ok((pod, Some(container.to_owned())))
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
        let mut told = String::new();
        let runs = |pod: Option<&Value>| {
            let Some(pod) = pod else {
                return Err(Error::new(format!("pod {name} was deleted before it ran")));
            };
            seen = pod.clone();
            let lists = [
                "status.containerStatuses",
                "status.initContainerStatuses",
                "status.ephemeralContainerStatuses",
            ];
            let status = lists.iter().flat_map(|list| list_at(pod, list));
            let state = status.filter(|s| str_at(s, "name") == container).map(|s| &s["state"]);
            let is = |what: &str| state.clone().any(|state| state.get(what).is_some());
            ended = is("terminated");
            let waits_for = state.clone().map(|s| str_at(s, "waiting.message")).next();
            if let Some(why) = waits_for.filter(|why| !why.is_empty() && *why != told) {
                why.clone_into(&mut told);
                if !self.quiet {
                    session.print_error(&format!("Warning: container {container}: {why}\n"))?;
                }
            }
            Ok(ended || is("running"))
        };
        session.until(pods, namespace, name, runs).await?;
        if ended {
            return log(session, &seen, container).await;
        }
        let detach = Keys::parse("ctrl-p,ctrl-q")?;
        let attach = Attach {
            pod: &seen,
            container,
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
            detach: &detach,
        };
        attach.or_log(session).await
    }
}

impl Plan {
    /// Lays what `--custom` holds over a container of a pod.
    fn customize(&self, pod: &mut Value, list: &str, name: &str) -> Result<(), Error> {
        let mut custom = self.custom.clone();
        if custom.is_null() {
            return Ok(());
        }
        custom["name"] = json!(name);
        let patch = json!({"spec": {list: [custom]}}).to_string();
        apply(PatchType::Strategic, schema::of("", "v1", "Pod"), pod, patch.as_bytes())
            .map(drop)
            .map_err(|e| Error::new(format!("--custom cannot be laid over the container: {e}")))
    }
}

/// What a custom profile may not say.
fn check_custom(custom: &Value) -> Result<(), Error> {
    let fields = ["name", "command", "image", "lifecycle", "volumeDevices"];
    let is_said = |field: &&str| match at(custom, field) {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    if fields.iter().any(is_said) {
        return Err(Error::new(
            "name, command, image, lifecycle and volume devices are not modifiable via custom \
             profile",
        ));
    }
    Ok(())
}

/// Capabilities are of no use to a user who is not root.
fn warn_of_user(session: &Session, pod: &Value, container: &Value) -> Result<(), Error> {
    let is_root = |of: &Value| i64_at(of, "securityContext.runAsUser") == Some(0);
    let rights = &container["securityContext"];
    let has_more = rights["privileged"] == true || !list_at(rights, "capabilities.add").is_empty();
    let user = i64_at(&pod["spec"], "securityContext.runAsUser");
    if user.is_none_or(|user| user == 0) || is_root(container) || !has_more {
        return Ok(());
    }
    session.print_error("Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile may not work. Please consider using \"--custom\" with a custom profile that specifies \"securityContext.runAsUser: 0\".\n")
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
