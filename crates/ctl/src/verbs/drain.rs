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
    #[arg(long, value_name = "SELECTOR")]
    pod_selector: Option<String>,
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

/// What becomes of the pods of a node.
#[derive(Debug, Default)]
struct Plan {
    go: Vec<Value>,
    warnings: Vec<(&'static str, Vec<String>)>,
    errors: Vec<(&'static str, Vec<String>)>,
}

const DAEMON: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_IGNORED: &str = "ignoring DaemonSet-managed Pods";
const LOCAL: &str =
    "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_GONE: &str = "deleting Pods with local storage";
const UNMANAGED: &str = "cannot delete Pods that declare no controller (use --force to override)";
const UNMANAGED_GONE: &str = "deleting Pods that declare no controller";

fn note(list: &mut Vec<(&'static str, Vec<String>)>, text: &'static str, pod: &Value) {
    let name = format!("{}/{}", str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    match list.iter_mut().find(|(known, _)| *known == text) {
        Some((_, pods)) => pods.push(name),
        None => list.push((text, vec![name])),
    }
}

fn spelled(list: &[(&'static str, Vec<String>)]) -> String {
    let one = |(text, pods): &(&str, Vec<String>)| format!("{text}: {}", pods.join(", "));
    list.iter().map(one).collect::<Vec<_>>().join("; ")
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
                    errors.push(error);
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
        let plan = self.plan(found, &daemons);
        if !plan.errors.is_empty() {
            // kubectl says it twice.
            return Err(Error::Bare(format!("cannot delete {}", spelled(&plan.errors))));
        }
        if !plan.warnings.is_empty() {
            session.warn(&[spelled(&plan.warnings)])?;
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

    /// The decision for each pod, as kubectl takes it.
    fn plan(&self, pods: Vec<Value>, daemons: &[(String, String)]) -> Plan {
        let mut plan = Plan::default();
        for pod in pods {
            let phase = str_at(&pod, "status.phase");
            let has_ended = matches!(phase, "Succeeded" | "Failed");
            let is_going = !str_at(&pod, "metadata.deletionTimestamp").is_empty();
            if pod["metadata"]["annotations"].get(MIRROR).is_some() {
                continue;
            }
            if let Some(set) = daemon_set(&pod) {
                let key =
                    (str_at(&pod, "metadata.namespace").to_owned(), str_at(set, "name").to_owned());
                if daemons.contains(&key) {
                    if self.ignore_daemonsets {
                        note(&mut plan.warnings, DAEMON_IGNORED, &pod);
                    } else if !has_ended {
                        note(&mut plan.errors, DAEMON, &pod);
                    }
                    continue;
                }
            }
            let has_local =
                list_at(&pod, "spec.volumes").iter().any(|v| v.get("emptyDir").is_some());
            let mut goes = true;
            if has_local && !has_ended {
                if self.delete_emptydir_data {
                    note(&mut plan.warnings, LOCAL_GONE, &pod);
                } else {
                    note(&mut plan.errors, LOCAL, &pod);
                    goes = false;
                }
            }
            let is_managed =
                list_at(&pod, "metadata.ownerReferences").iter().any(|o| o["controller"] == true);
            if !is_managed && !has_ended && !is_going {
                if self.force {
                    note(&mut plan.warnings, UNMANAGED_GONE, &pod);
                } else {
                    note(&mut plan.errors, UNMANAGED, &pod);
                    goes = false;
                }
            }
            if goes {
                plan.go.push(pod);
            }
        }
        plan
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
