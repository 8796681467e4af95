//! `onggi demo`: the cluster, the sample application on it, and the first requests through it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use onggi_api::GroupVersionResource;
use onggi_api::apps::Deployment;
use onggi_api::core::Service;
use onggi_client::kubeconfig::Kubeconfig;
use onggi_client::{Client, EventType, HttpTransport, Transport, WatchSpec};
use onggi_ctl::{apply, kustomize};
use onggi_images::client::BuildOptions;
use onggi_shop::assets;
use onggi_supervisor::{Options, Paths};

use crate::images::View;
use crate::{http, images, lifecycle};

/// How long the application may take before the demonstration gives up and says what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a visitor asks for first.
const PATH: &str = "/product-composite/1";

/// Starts the cluster and the application, sends requests, says what to try next.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let paths = lifecycle::start(options)?;
    lifecycle::wait(async {
        let transport = connect(&paths)?;
        let client = Client::new(Arc::clone(&transport));
        port_is_free(&client).await?;
        let place = write_application(&paths)?;
        build(&paths, &place).await?;
        deploy(&client, &place).await?;
        available(&transport).await?;
        let ready = began.elapsed();
        let answer = visit().await?;
        let url = format!("http://localhost:{}{PATH}", assets::NODE_PORT);
        outln!("\nThe shop is open after {:.1} s: {url}", ready.as_secs_f64());
        outln!("{answer}");
        outln!("Try next:");
        outln!("  curl {url}");
        outln!("  onggi get pods -n {}", assets::NAMESPACE);
        outln!("  onggi scale deployment product --replicas 3 -n {}", assets::NAMESPACE);
        outln!("`onggi down` ends it and removes what it made.");
        Ok(ExitCode::SUCCESS)
    })
}

/// A stranger on the shop's port would answer in its place. Where the shop is there already, it is
/// we who listen.
async fn port_is_free(client: &Client) -> anyhow::Result<()> {
    if client.api::<Service>(assets::NAMESPACE).find("gateway").await?.is_some() {
        return Ok(());
    }
    let port = assets::NODE_PORT;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop).with_context(|| {
        format!("the shop answers on port {port}: end the program that uses it, then try again")
    })
}

/// The application's folder below the data directory, with this very program in it: an installed
/// `onggi` has no sources beside it.
fn write_application(paths: &Paths) -> anyhow::Result<PathBuf> {
    let place = paths.data.join("demo/shop");
    for (name, content) in assets::FILES {
        let path = place.join(name);
        let directory = path.parent().unwrap_or(&place);
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    let program = place.join("onggi");
    let _ = std::fs::remove_file(&program);
    let own = std::env::current_exe().context("cannot find this program's file")?;
    // A link costs nothing; across file systems it must be a copy.
    if std::fs::hard_link(&own, &program).is_err() {
        std::fs::copy("/proc/self/exe", &program).with_context(|| program.display().to_string())?;
    }
    Ok(place)
}

async fn build(paths: &Paths, place: &Path) -> anyhow::Result<()> {
    outln!("Building {} from its Dockerfile:", assets::IMAGE);
    let options = BuildOptions {
        context: place.to_owned(),
        tags: vec![assets::IMAGE.to_owned(), format!("{}:v1", assets::IMAGE)],
        ..BuildOptions::default()
    };
    let mut view = View::new();
    images::client_of(paths)?.build(&options, |event| view.show(event)).await?;
    view.finish();
    Ok(())
}

fn connect(paths: &Paths) -> anyhow::Result<Arc<dyn Transport>> {
    let config = Kubeconfig::load(&[paths.kubeconfig()])?.resolve(None)?.config;
    Ok(Arc::new(HttpTransport::new(&config)?))
}

async fn deploy(client: &Client, place: &Path) -> anyhow::Result<()> {
    let namespace = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": assets::NAMESPACE},
    });
    let mut objects = vec![namespace];
    let overlay = place.join("kubernetes/overlays/dev");
    let built = kustomize::build(&kustomize::Disk, &overlay.to_string_lossy())?;
    objects.extend(built.objects);
    apply::objects(client, objects, assets::NAMESPACE, |applied| {
        outln!("{}/{} {}", applied.kind, applied.name, applied.outcome.as_str());
    })
    .await?;
    Ok(())
}

/// Waits until every Deployment of the application is available; shows which are.
async fn available(transport: &Arc<dyn Transport>) -> anyhow::Result<()> {
    let mut states: BTreeMap<String, (i32, i32)> = BTreeMap::new();
    let waiting = follow(transport, &mut states);
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(result) => result,
        Err(_) => {
            let missing: Vec<_> = states
                .iter()
                .filter(|(_, (ready, wanted))| ready < wanted)
                .map(|(name, (ready, wanted))| format!("{name} ({ready} of {wanted})"))
                .collect();
            anyhow::bail!(
                "after {} s still not ready: {}; see `onggi describe pods -n {}`",
                PATIENCE.as_secs(),
                missing.join(", "),
                assets::NAMESPACE
            )
        }
    }
}

async fn follow(
    transport: &Arc<dyn Transport>,
    states: &mut BTreeMap<String, (i32, i32)>,
) -> anyhow::Result<()> {
    let spec = WatchSpec {
        namespace: assets::NAMESPACE.to_owned(),
        ..WatchSpec::all(GroupVersionResource::new("apps", "v1", "deployments"))
    };
    let mut events = transport.watch(spec).await?;
    let terminal = std::io::stderr().is_terminal();
    let mut listed = false;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.kind == EventType::Bookmark {
            listed |= event.initial_events_end;
        } else {
            let deployment: Deployment = event.object.decode()?;
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let ready = deployment.status.and_then(|status| status.available_replicas).unwrap_or(0);
            let name = event.object.head().name.clone();
            let before = states.insert(name.clone(), (ready, wanted));
            if terminal && before.is_some_and(|(before, _)| before < wanted) && ready >= wanted {
                eprintln!("  {name} is ready");
            }
        }
        if listed && states.values().all(|(ready, wanted)| ready >= wanted) {
            return Ok(());
        }
    }
    anyhow::bail!("the API server ended the watch")
}

/// A few requests, as a visitor would send them.
async fn visit() -> anyhow::Result<String> {
    let address = ([127, 0, 0, 1], assets::NODE_PORT).into();
    let mut answer = String::new();
    for _ in 0..5 {
        answer = http::get(address, PATH).await?;
    }
    Ok(answer)
}
