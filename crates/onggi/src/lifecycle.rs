//! `up`, `down`, `server`: the life of a cluster on this machine.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use onggi_client::kubeconfig;
use onggi_supervisor::daemon::{self, Reporter};
use onggi_supervisor::{Control, Options, Paths, down as sweep, keys, lock, node};

use crate::args::{Down, Place};

/// Name of our context in a kubeconfig.
const CONTEXT: &str = "onggi";

/// Starts the cluster in the background, unless it runs already.
pub(crate) fn up(options: &Options) -> anyhow::Result<ExitCode> {
    start(options)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts what does not run yet and waits until it is ready.
pub(crate) fn start(options: &Options) -> anyhow::Result<Paths> {
    let began = Instant::now();
    let paths = Paths::new(&options.data_dir)?;
    if let Some(pid) = lock::holder(&paths.lock())? {
        outln!("onggi runs already (process {pid}, data in {})", paths.data.display());
        return Ok(paths);
    }
    root()?;
    paths.create()?;
    daemon::spawn(options, &paths, |step| {
        if std::io::stderr().is_terminal() {
            eprintln!("  {step} …");
        }
    })?;
    merge_kubeconfig(&paths);
    outln!(
        "onggi is ready after {:.2} s: node {}, API server {}",
        began.elapsed().as_secs_f64(),
        options.node_name,
        options.listen
    );
    outln!("  log: {}", paths.daemon_log().display());
    Ok(paths)
}

fn root() -> anyhow::Result<()> {
    anyhow::ensure!(
        std::fs::metadata("/proc/self")
            .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0),
        "onggi needs root to make namespaces, mounts and cgroups; run it with sudo"
    );
    Ok(())
}

/// Adds the context `onggi` to the user's own kubeconfig. A cluster without it is a cluster still.
fn merge_kubeconfig(paths: &Paths) {
    let own = paths.kubeconfig();
    match try_merge(&own) {
        Ok(path) => outln!("  kubeconfig: context \"onggi\" in {}", path.display()),
        Err(error) => {
            eprintln!("warning: {error:#}");
            outln!("  kubeconfig: {}", own.display());
        }
    }
}

fn try_merge(own: &Path) -> anyhow::Result<PathBuf> {
    let config = kubeconfig::Kubeconfig::load(&[own.to_owned()])?.resolve(None)?.config;
    let (Some(ca), Some(client)) = (config.ca, config.client) else {
        anyhow::bail!("{}: certificates are missing", own.display());
    };
    let mut context = kubeconfig::NewContext::inline(CONTEXT, &config.server, &ca, &client);
    let path = kubeconfig::paths(None).into_iter().next().context("no place for a kubeconfig")?;
    // The namespace that the user chose is the user's.
    let before = kubeconfig::Kubeconfig::load(std::slice::from_ref(&path))?.resolve(Some(CONTEXT));
    if let Ok(before) = before {
        context.namespace = before.namespace;
    }
    kubeconfig::merge_context(&path, &context, true)?;
    Ok(path)
}

/// Ends the cluster and removes what it left in the kernel.
pub(crate) fn down(options: &Down) -> anyhow::Result<ExitCode> {
    root()?;
    let paths = Paths::new(&options.place.data_dir)?;
    let ran = sweep::down(&paths)?;
    if options.purge {
        sweep::purge(&paths)?;
    }
    outln!(
        "{}; {}",
        if ran { "onggi has ended" } else { "onggi did not run" },
        if options.purge {
            format!("{} is deleted", paths.data.display())
        } else {
            format!("the data stays in {}", paths.data.display())
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs in the foreground.
pub(crate) fn server(options: Options) -> anyhow::Result<ExitCode> {
    if !options.control.no_node {
        root()?;
    }
    onggi_base::logging::init(None);
    serve(options, Reporter { parent: false })
}

/// Runs in the background, for [`up`].
pub(crate) fn daemon(options: &str) -> anyhow::Result<ExitCode> {
    // A session of its own: the terminal's signals are not for us.
    rustix::process::setsid().context("setsid")?;
    onggi_base::logging::init(None);
    let options = serde_json::from_str(options).context("--options")?;
    serve(options, Reporter { parent: true })
}

fn serve(options: Options, reporter: Reporter) -> anyhow::Result<ExitCode> {
    // One request that takes long must not hold up all others, even on a single core.
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(node::run(options, reporter))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a verb of the command line on one thread.
pub(crate) fn wait(
    verb: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(verb)
}

/// New keys for Secrets at rest.
pub(crate) fn rotate_key(place: &Place) -> anyhow::Result<ExitCode> {
    let directory = place.data_dir.clone();
    anyhow::ensure!(directory.join("store").exists(), "{}: no store is there", directory.display());
    wait(async move {
        match keys::rotate(&directory, &Control::default()).await? {
            keys::Rotation::Done => outln!("all Secrets are sealed with new keys"),
            keys::Rotation::Daemon(pid) => outln!(
                "onggi (process {pid}) seals all Secrets with new keys; its log tells when it is done"
            ),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the administrator's kubeconfig.
pub(crate) fn kubeconfig(place: &Place) -> anyhow::Result<ExitCode> {
    let path = Paths::new(&place.data_dir)?.kubeconfig();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: is the cluster up?", path.display()))?;
    out!("{text}");
    Ok(ExitCode::SUCCESS)
}
