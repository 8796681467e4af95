//! `onggi status`: how the cluster on this machine is.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use onggi_api::GroupVersionResource;
use onggi_api::core::{Node, Pod};
use onggi_client::kubeconfig::Kubeconfig;
use onggi_client::{HttpTransport, ListOptions, Request, Response, Transport};
use onggi_machinery::resource::Verb;
use onggi_supervisor::{Paths, lock};
use onggi_sys::cgroups::Cgroups;
use serde::Serialize;

use crate::args::Place;

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    place: Place,
    /// `json` for programs
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    data_dir: String,
    instance: String,
    process: Option<i32>,
    server: Option<String>,
    /// Node → `Ready`, `NotReady`.
    nodes: BTreeMap<String, String>,
    /// Phase → how many.
    pods: BTreeMap<String, usize>,
    /// Proportional memory of the daemon and the shims, in bytes.
    memory_bytes: u64,
    shims: usize,
}

/// Prints it. Fails when the cluster does not run.
pub(crate) async fn run(args: &Status) -> anyhow::Result<ExitCode> {
    let paths = Paths::new(&args.place.data_dir)?;
    let process = lock::holder(&paths.lock())?;
    let mut report = Report {
        data_dir: paths.data.display().to_string(),
        instance: paths.instance.clone(),
        process,
        server: None,
        nodes: BTreeMap::new(),
        pods: BTreeMap::new(),
        memory_bytes: 0,
        shims: 0,
    };
    if let Some(pid) = process {
        memory(pid, &paths, &mut report);
        ask(&paths, &mut report).await?;
    }
    if args.output.is_some() {
        outln!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if process.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    let Some(pid) = report.process else {
        outln!("onggi does not run here (data in {}); start it with `onggi up`", report.data_dir);
        return;
    };
    outln!(
        "onggi   runs (process {pid}, instance {}, data in {})",
        report.instance,
        report.data_dir
    );
    outln!("API     {}", report.server.as_deref().unwrap_or("unknown"));
    for (node, state) in &report.nodes {
        outln!("node    {node}: {state}");
    }
    let pods: Vec<_> =
        report.pods.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    outln!("pods    {}", if pods.is_empty() { "none".to_owned() } else { pods.join(", ") });
    outln!(
        "memory  {:.1} MB (daemon and {} shims)",
        report.memory_bytes as f64 / 1e6,
        report.shims
    );
}

async fn ask(paths: &Paths, report: &mut Report) -> anyhow::Result<()> {
    let config = Kubeconfig::load(&[paths.kubeconfig()])?.resolve(None)?.config;
    report.server = Some(config.server.clone());
    let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(&config)?);
    for node in list::<Node>(&transport, "nodes").await? {
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let state = if ready { "Ready" } else { "NotReady" };
        report.nodes.insert(node.metadata.name.unwrap_or_default(), state.to_owned());
    }
    for pod in list::<Pod>(&transport, "pods").await? {
        let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
        *report.pods.entry(phase).or_default() += 1;
    }
    Ok(())
}

async fn list<K: serde::de::DeserializeOwned>(
    transport: &Arc<dyn Transport>,
    plural: &str,
) -> anyhow::Result<Vec<K>> {
    let resource = GroupVersionResource::new("", "v1", plural);
    let mut request = Request::new(Verb::List, resource, "", "");
    request.list = ListOptions::default();
    match transport.call(request).await? {
        Response::List { items, .. } => items
            .iter()
            .map(|object| object.decode().with_context(|| format!("{object:?}")))
            .collect(),
        other => anyhow::bail!("unexpected answer to a list of {plural}: {other:?}"),
    }
}

/// Proportional set size of the daemon and of the shims, which stand in a control group of their
/// own.
fn memory(daemon: i32, paths: &Paths, report: &mut Report) {
    let shims = format!("onggi-{}/shims", paths.instance);
    let shims = Cgroups::detect().map(|groups| groups.group(&shims).processes());
    let shims = shims.unwrap_or_default();
    report.shims = shims.len();
    report.memory_bytes = shims.into_iter().chain([daemon]).map(pss).sum();
}

/// proc_pid_smaps(5); 0 for a process that has just ended.
fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
