//! `drain`: keeps new pods from nodes and moves the old ones elsewhere.

use std::time::Duration;

use onggi_client::Request;
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use super::apply::{Labels, labels};
use super::cordon;
use super::delete::gone;
use crate::error::Error;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

/// Before a pod is asked for once more that a budget kept.
const AGAIN: Duration = Duration::from_secs(5);
/// Marks a pod of the kubelet's own files.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Flags of `drain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: cordon::Nodes,
    /// Pods that no controller makes anew too
    #[arg(long)]
    force: bool,
    /// Seconds to end in; -1 for what the pods say
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// Leave the pods of DaemonSets where they are
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Pods whose local data is lost too
    #[arg(long)]
    delete_emptydir_data: bool,
    /// How long at most; 0 for as long as it takes
    #[arg(long, default_value = "0s", value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Duration,
    /// Only pods with these labels
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    pod_selector: crate::select::Given,
    /// Delete the pods, past their budgets
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods that are going for longer than this
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    skip_wait_for_delete_timeout: i64,
    /// Items of a page
    #[arg(long, default_value_t = 500)]
    chunk_size: usize,
}

/// What becomes of the pods of a node; what is said of them, with their names.
#[derive(Debug, Default)]
struct Plan {
    go: Vec<Value>,
    warnings: Vec<(String, Vec<String>)>,
    errors: Vec<(String, Vec<String>)>,
}

/// What one rule says of a pod.
enum Verdict {
    /// It may go, with this warning.
    Goes(Option<String>),
    /// It is left where it is, with this warning.
    Stays(Option<String>),
    /// The node cannot be drained.
    Refused(String),
}

const DAEMON: &str = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_IGNORED: &str = "ignoring DaemonSet-managed Pods";
const LOCAL: &str = "Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_GONE: &str = "deleting Pods with local storage";
const UNMANAGED: &str = "cannot delete Pods that declare no controller (use --force to override)";
const UNMANAGED_GONE: &str = "deleting Pods that declare no controller";

fn note(list: &mut Vec<(String, Vec<String>)>, text: String, pod: &Value) {
    let name = format!("{}/{}", str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    match list.iter_mut().find(|(known, _)| *known == text) {
        Some((_, pods)) => pods.push(name),
        None => list.push((text, vec![name])),
    }
}

fn spelled(list: &[(String, Vec<String>)]) -> String {
    let one = |(text, pods): &(String, Vec<String>)| format!("{text}: {}", pods.join(", "));
    list.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `cannot delete …: PODS`; several in brackets, as an aggregate of Go's.
fn refused(list: &[(String, Vec<String>)]) -> String {
    let one = |(text, pods): &(String, Vec<String>)| {
        let cannot = if text.starts_with("cannot delete") { "" } else { "cannot delete " };
        format!("{cannot}{text}: {}", pods.join(", "))
    };
    match list {
        [only] => one(only),
        all => format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn has_ended(pod: &Value) -> bool {
    matches!(str_at(pod, "status.phase"), "Succeeded" | "Failed")
}

impl Args {
    /// Drains them, one after the other.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let wanted = self.pod_selector.as_deref().map(labels).transpose()?;
        let nodes = self.nodes.found(session, "drain").await?;
        self.nodes.mark(session, &nodes, true).await?;
        let (mut pending, mut errors) = (Vec::new(), Vec::new());
        for node in &nodes {
            match self.drain(session, node, wanted.as_ref()).await {
                Ok(()) => {
                    let suffix = self.nodes.dry_run().suffix();
                    session.print(&format!("node/{} drained{suffix}\n", node.name()))?;
                }
                Err(error) => {
                    session.print_error(&format!(
                        "error: unable to drain node {:?} due to error: {error}, continuing \
                         command...\n",
                        node.name()
                    ))?;
                    pending.push(node.name());
                    Error::note(&mut errors, error)?;
                }
            }
        }
        if !pending.is_empty() {
            let names: String = pending.iter().map(|name| format!(" {name}\n")).collect();
            session.print_error(&format!("There are pending nodes to be drained:\n{names}"))?;
        }
        Error::all(errors)
    }

    async fn drain(
        &self,
        session: &Session,
        node: &Found,
        wanted: Option<&Labels>,
    ) -> Result<(), Error> {
        let pods = session.mapper().await?.by_name("pods")?;
        let on_node = format!("spec.nodeName={}", node.name());
        let selectors = Selectors { selector: None, field_selector: Some(on_node) };
        let mut found = session.list(pods, "", &selectors).await?;
        found.retain(|pod| wanted.is_none_or(|labels| labels.fits(pod)));
        let mut daemons = Vec::new();
        for pod in &found {
            if let Some(set) = daemon_set(pod) {
                let name = str_at(set, "name").to_owned();
                let key = (str_at(pod, "metadata.namespace").to_owned(), name);
                if !daemons.contains(&key) {
                    let mapping = session.mapper().await?.by_name("daemonsets.apps")?;
                    match session.object(mapping, &key.0, &key.1).await {
                        Ok(_) => daemons.push(key),
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        let plan = self.plan(found, &daemons, jiff::Timestamp::now());
        if !plan.errors.is_empty() {
            return Err(Error::Bare(refused(&plan.errors)));
        }
        if !plan.warnings.is_empty() {
            session.print_error(&format!("Warning: {}\n", spelled(&plan.warnings)))?;
        }
        let removals = plan.go.iter().map(|pod| self.remove(session, pod));
        let all = futures::future::join_all(removals);
        let results = match self.timeout {
            limit if limit.is_zero() => all.await,
            limit => tokio::time::timeout(limit, all).await.map_err(|_| {
                Error::new(format!("global timeout reached: {}", crate::duration::spelled(limit)))
            })?,
        };
        Error::all(results.into_iter().filter_map(Result::err).collect())
    }

    /// The decision for each pod, as kubectl takes it: the rules are asked one after the other
    /// until one keeps the pod; what the last of them said is told.
    fn plan(&self, pods: Vec<Value>, daemons: &[(String, String)], now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::default();
        for pod in pods {
            let mut told = None;
            let mut goes = true;
            for rule in [Self::going, Self::of_daemons, Self::mirrored, Self::local, Self::alone] {
                match rule(self, &pod, daemons, now) {
                    Verdict::Goes(said) => told = said,
                    Verdict::Stays(said) => {
                        if let Some(said) = said {
                            note(&mut plan.warnings, said, &pod);
                        }
                        (goes, told) = (false, None);
                    }
                    Verdict::Refused(why) => {
                        note(&mut plan.errors, why, &pod);
                        (goes, told) = (false, None);
                    }
                }
                if !goes {
                    break;
                }
            }
            if let Some(said) = told {
                note(&mut plan.warnings, said, &pod);
            }
            if goes {
                plan.go.push(pod);
            }
        }
        plan
    }

    fn going(&self, pod: &Value, _: &[(String, String)], now: jiff::Timestamp) -> Verdict {
        let since = str_at(pod, "metadata.deletionTimestamp").parse::<jiff::Timestamp>();
        let limit = self.skip_wait_for_delete_timeout;
        let is_late = |since: jiff::Timestamp| now.as_second() - since.as_second() > limit;
        if limit > 0 && since.is_ok_and(is_late) {
            Verdict::Stays(None)
        } else {
            Verdict::Goes(None)
        }
    }

    fn of_daemons(&self, pod: &Value, daemons: &[(String, String)], _: jiff::Timestamp) -> Verdict {
        let Some(set) = daemon_set(pod).filter(|_| !has_ended(pod)) else {
            return Verdict::Goes(None);
        };
        let name = str_at(set, "name");
        let key = (str_at(pod, "metadata.namespace").to_owned(), name.to_owned());
        match (daemons.contains(&key), self.ignore_daemonsets) {
            (true, true) => Verdict::Stays(Some(DAEMON_IGNORED.to_owned())),
            (true, false) => Verdict::Refused(DAEMON.to_owned()),
            (false, _) => {
                let gone = format!("daemonsets.apps {name:?} not found");
                if self.force { Verdict::Goes(Some(gone)) } else { Verdict::Refused(gone) }
            }
        }
    }

    fn mirrored(&self, pod: &Value, _: &[(String, String)], _: jiff::Timestamp) -> Verdict {
        match pod["metadata"]["annotations"].get(MIRROR) {
            Some(_) => Verdict::Stays(None),
            None => Verdict::Goes(None),
        }
    }

    fn local(&self, pod: &Value, _: &[(String, String)], _: jiff::Timestamp) -> Verdict {
        let has_local = list_at(pod, "spec.volumes").iter().any(|v| v.get("emptyDir").is_some());
        match (has_local && !has_ended(pod), self.delete_emptydir_data) {
            (false, _) => Verdict::Goes(None),
            (true, true) => Verdict::Goes(Some(LOCAL_GONE.to_owned())),
            (true, false) => Verdict::Refused(LOCAL.to_owned()),
        }
    }

    /// Pods that nobody makes anew, also when they are going already.
    fn alone(&self, pod: &Value, _: &[(String, String)], _: jiff::Timestamp) -> Verdict {
        let owners = list_at(pod, "metadata.ownerReferences");
        if has_ended(pod) || owners.iter().any(|owner| owner["controller"] == true) {
            return Verdict::Goes(None);
        }
        if self.force {
            Verdict::Goes(Some(UNMANAGED_GONE.to_owned()))
        } else {
            Verdict::Refused(UNMANAGED.to_owned())
        }
    }

    /// Evicts a pod, again and again while a budget keeps it, and waits until it is gone.
    async fn remove(&self, session: &Session, pod: &Value) -> Result<(), Error> {
        let text = |path: &str| str_at(pod, path).to_owned();
        let (namespace, name) = (text("metadata.namespace"), text("metadata.name"));
        let dry_run = self.nodes.dry_run();
        let word = if self.disable_eviction { "deleting" } else { "evicting" };
        let suffix = dry_run.suffix();
        session.print(&format!("{word} pod {namespace}/{name}{suffix}\n"))?;
        if dry_run == DryRun::Client {
            return Ok(());
        }
        let pods = session.mapper().await?.by_name("pods")?;
        let grace = Some(self.grace_period).filter(|seconds| *seconds >= 0);
        loop {
            let result = if self.disable_eviction {
                let mut request = Request::new(Verb::Delete, pods.gvr(), &namespace, &name);
                request.write.grace_period_seconds = grace;
                request.write.dry_run = dry_run == DryRun::Server;
                session.call(request).await.map(drop)
            } else {
                let mut options = json!({});
                if let Some(seconds) = grace {
                    options["gracePeriodSeconds"] = json!(seconds);
                }
                if dry_run == DryRun::Server {
                    options["dryRun"] = json!(["All"]);
                }
                let eviction = json!({
                    "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
                    "metadata": {"name": name, "namespace": namespace},
                });
                let path = crate::path::path(&pods.gvr(), &namespace, &name, "eviction", &[]);
                session.ask(&path, &eviction).await.map(drop)
            };
            match result {
                Ok(()) => break,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(Error::Api(onggi_client::Error::Status(status))) if status.code == 429 => {
                    let text = format!(
                        "error when evicting pods/{name:?} -n {namespace:?} (will retry after \
                         5s): {}\n",
                        status.message
                    );
                    session.print_error(&text)?;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    return Err(Error::new(format!(
                        "error when {word} pods/{name:?} -n {namespace:?}: {error}"
                    )));
                }
            }
        }
        if dry_run == DryRun::None {
            gone(session, pods, &namespace, &name, str_at(pod, "metadata.uid")).await?;
            let word = if self.disable_eviction { "deleted" } else { "evicted" };
            session.print(&format!("pod/{name} {word}\n"))?;
        }
        Ok(())
    }
}

fn daemon_set(pod: &Value) -> Option<&Value> {
    let is_set =
        |owner: &&Value| owner["controller"] == true && str_at(owner, "kind") == "DaemonSet";
    list_at(pod, "metadata.ownerReferences").iter().find(is_set)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn decisions() {
        let daemons = [("d".to_owned(), "ds".to_owned())];
        let now: jiff::Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let owned =
            |kind: &str, name: &str| json!([{"controller": true, "kind": kind, "name": name}]);
        let pod = |metadata: Value, spec: Value, phase: &str| {
            let mut pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}});
            pod["metadata"]["name"] = json!("p");
            pod["metadata"]["namespace"] = json!("d");
            pod
        };
        let alone = pod(json!({}), json!({}), "Running");
        let going = pod(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), json!({}), "Running");
        let ended = pod(json!({}), json!({}), "Succeeded");
        let local = pod(
            json!({"ownerReferences": owned("ReplicaSet", "rs")}),
            json!({"volumes": [{"emptyDir": {}}]}),
            "Running",
        );
        let daemon =
            pod(json!({"ownerReferences": owned("DaemonSet", "ds")}), json!({}), "Running");
        let orphan = pod(json!({"ownerReferences": owned("DaemonSet", "x")}), json!({}), "Running");
        let no_controller =
            "cannot delete Pods that declare no controller (use --force to override): d/p";
        let said = "deleting Pods that declare no controller: d/p";
        for (flags, pod, expected) in [
            ("", &alone, no_controller),
            ("", &going, no_controller),
            ("--force", &going, said),
            ("--force", &alone, said),
            ("--skip-wait-for-delete-timeout=60", &going, "stays"),
            ("", &ended, "goes"),
            (
                "",
                &local,
                "cannot delete Pods with local storage (use --delete-emptydir-data to override): \
                 d/p",
            ),
            ("--delete-emptydir-data", &local, "goes"),
            (
                "",
                &daemon,
                "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): d/p",
            ),
            ("--ignore-daemonsets", &daemon, "ignoring DaemonSet-managed Pods: d/p"),
            ("", &orphan, "cannot delete daemonsets.apps \"x\" not found: d/p"),
        ] {
            let words = ["drain", "n"].into_iter().chain(flags.split_whitespace());
            let args = Line::try_parse_from(words).unwrap().args;
            let plan = args.plan(vec![pod.clone()], &daemons, now);
            let text = match (plan.errors.is_empty(), plan.warnings.is_empty(), plan.go.len()) {
                (false, ..) => refused(&plan.errors),
                (true, false, _) => spelled(&plan.warnings),
                (true, true, 0) => "stays".to_owned(),
                (true, true, _) => "goes".to_owned(),
            };
            assert_eq!(text, expected, "{flags} {pod}");
        }
    }
}
