//! `build`, `images`, `pull` …: the image verbs, spoken over the node's socket.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use onggi_images::client::{BuildOptions, Client};
use onggi_images::http::{Login, Logins};
use onggi_images::{Event, Reference, login};
use onggi_node_api::Image;
use onggi_supervisor::Paths;

use crate::args::Place;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Build an image from a Dockerfile
    Build(Build),
    /// List images
    Images(Images),
    /// Pull an image from a registry
    Pull(One),
    /// Push an image to its registry
    Push(One),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    Rmi(Many),
    /// Load images from an archive (`docker save`, OCI layout)
    Load(Load),
    /// Write images to an archive
    Save(Save),
    /// Log in to a registry
    Login(LogIn),
}

#[derive(Args)]
pub(crate) struct Build {
    #[command(flatten)]
    place: Place,
    /// What to copy from
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Name of the image; may be given more than once
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// The Dockerfile; DIR/Dockerfile where it is not given
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set an ARG
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// Stop after this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Run every step anew
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Print nothing but the image's id
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args)]
pub(crate) struct Images {
    #[command(flatten)]
    place: Place,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// `json` prints a list
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
}

#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    place: Place,
    /// The image
    image: String,
}

#[derive(Args)]
pub(crate) struct Many {
    #[command(flatten)]
    place: Place,
    /// The images
    #[arg(required = true)]
    images: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Tag {
    #[command(flatten)]
    place: Place,
    /// The name it has
    source: String,
    /// The name it gets
    target: String,
}

#[derive(Args)]
pub(crate) struct Load {
    #[command(flatten)]
    place: Place,
    /// The archive; standard input where it is not given
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Name for an image that has none
    #[arg(short, long, value_name = "NAME")]
    tag: Option<String>,
}

#[derive(Args)]
pub(crate) struct Save {
    #[command(flatten)]
    place: Place,
    /// The archive; standard output where it is not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The images
    #[arg(required = true)]
    images: Vec<String>,
}

#[derive(Args)]
pub(crate) struct LogIn {
    #[command(flatten)]
    place: Place,
    /// The registry; Docker Hub where it is not given
    #[arg(default_value = "docker.io")]
    registry: String,
    /// User
    #[arg(short, long)]
    username: String,
    /// Password; better with --password-stdin
    #[arg(short, long)]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Runs one verb.
pub(crate) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Build(args) => build(args).await?,
        Verb::Images(args) => list(&args).await?,
        Verb::Pull(One { place, image }) => {
            let mut view = View::new();
            let logins = logins_for(&image)?;
            let pulled = client(&place)?.pull(&image, &logins, |event| view.show(event)).await?;
            view.finish();
            outln!("{}", name_of(&pulled));
        }
        Verb::Push(One { place, image }) => {
            let mut view = View::new();
            let logins = logins_for(&image)?;
            client(&place)?.push(&image, &logins, |event| view.show(event)).await?;
            view.finish();
        }
        Verb::Tag(Tag { place, source, target }) => client(&place)?.tag(&source, &target).await?,
        Verb::Rmi(Many { place, images }) => {
            let client = client(&place)?;
            for image in images {
                for name in client.remove(&image).await? {
                    outln!("Untagged: {name}");
                }
            }
        }
        Verb::Load(args) => load(args).await?,
        Verb::Save(args) => save(args).await?,
        Verb::Login(args) => log_in(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn client(place: &Place) -> anyhow::Result<Client> {
    client_of(&Paths::new(&place.data_dir)?)
}

/// The node's images.
pub(crate) fn client_of(paths: &Paths) -> anyhow::Result<Client> {
    let socket = paths.node_socket();
    anyhow::ensure!(
        socket.exists(),
        "no cluster runs here (there is no {}); start one with `onggi up`",
        socket.display()
    );
    Ok(Client::new(&socket))
}

async fn build(args: Build) -> anyhow::Result<()> {
    let options = BuildOptions {
        context: args.directory,
        dockerfile: args.file,
        tags: args.tags,
        args: args.args,
        target: args.target,
        no_cache: args.no_cache,
        pull: args.pull,
        logins: all_logins()?,
    };
    let mut view = View::new();
    let quiet = args.quiet;
    let image = client(&args.place)?
        .build(&options, |event| {
            if !quiet {
                view.show(event);
            }
        })
        .await?;
    view.finish();
    if quiet {
        outln!("{}", image.id);
    } else {
        outln!("Built {}", name_of(&image));
    }
    Ok(())
}

async fn list(args: &Images) -> anyhow::Result<()> {
    let images = client(&args.place)?.list().await?;
    if args.output.is_some() {
        outln!("{}", serde_json::to_string_pretty(&images)?);
        return Ok(());
    }
    if args.quiet {
        images.iter().for_each(|image| outln!("{}", image.id));
        return Ok(());
    }
    let rows: Vec<_> = images.iter().flat_map(rows).collect();
    let width = |column: usize, heading: &str| {
        rows.iter().map(|row: &[String; 4]| row[column].len()).max().unwrap_or(0).max(heading.len())
    };
    let (name, tag, id) = (width(0, "REPOSITORY"), width(1, "TAG"), width(2, "IMAGE ID"));
    outln!("{:name$}   {:tag$}   {:id$}   SIZE", "REPOSITORY", "TAG", "IMAGE ID");
    for [repository, version, short, size] in &rows {
        outln!("{repository:name$}   {version:tag$}   {short:id$}   {size}");
    }
    Ok(())
}

fn rows(image: &Image) -> Vec<[String; 4]> {
    let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let size = format!("{:.1}MB", image.size as f64 / 1e6);
    if image.repo_tags.is_empty() {
        return vec![["<none>".to_owned(), "<none>".to_owned(), id, size]];
    }
    image
        .repo_tags
        .iter()
        .map(|name| {
            let short = short(name);
            let (repository, tag) = short.rsplit_once(':').unwrap_or((short, "<none>"));
            [repository.to_owned(), tag.to_owned(), id.clone(), size.clone()]
        })
        .collect()
}

fn name_of(image: &Image) -> &str {
    image.repo_tags.first().unwrap_or(&image.id)
}

/// Without what is understood: `nginx:1` for `docker.io/library/nginx:1`.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

async fn load(args: Load) -> anyhow::Result<()> {
    let client = client(&args.place)?;
    let tag = args.tag.as_deref();
    let loaded = match &args.input {
        Some(path) => {
            let file =
                tokio::fs::File::open(path).await.with_context(|| path.display().to_string())?;
            client.load(file, tag).await?
        }
        None => {
            anyhow::ensure!(
                !std::io::stdin().is_terminal(),
                "give the archive with -i FILE or <FILE"
            );
            client.load(tokio::io::stdin(), tag).await?
        }
    };
    for image in loaded {
        image.repo_tags.iter().for_each(|name| outln!("Loaded image: {}", short(name)));
    }
    Ok(())
}

async fn save(args: Save) -> anyhow::Result<()> {
    let client = client(&args.place)?;
    match &args.output {
        Some(path) => {
            let file =
                tokio::fs::File::create(path).await.with_context(|| path.display().to_string())?;
            client.save(&args.images, file).await?;
        }
        None => {
            anyhow::ensure!(!std::io::stdout().is_terminal(), "give a place with -o FILE or >FILE");
            client.save(&args.images, tokio::io::stdout()).await?;
        }
    }
    Ok(())
}

async fn log_in(args: LogIn) -> anyhow::Result<()> {
    let password = match args.password {
        Some(password) => password,
        None if args.password_stdin => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => anyhow::bail!("give the password with --password-stdin"),
    };
    let login = Login { registry: args.registry, username: args.username, password };
    client(&args.place)?.login(&login).await?;
    let path = docker_config().context("no place for a login: HOME is not set")?;
    let config = login::read(&path)?;
    let config = login::add(&config, &login.registry, &login.username, &login.password)?;
    login::write(&path, &config)?;
    outln!("Login Succeeded (kept in {})", path.display());
    Ok(())
}

fn docker_config() -> Option<PathBuf> {
    login::default_path(|name| std::env::var(name).ok())
}

/// The login for the registry of an image, from Docker's own file.
fn logins_for(image: &str) -> anyhow::Result<Logins> {
    let reference: Reference = image.parse()?;
    let Some(path) = docker_config().filter(|path| path.exists()) else {
        return Ok(Logins::default());
    };
    let found = login::find(&login::read(&path)?, reference.registry())?;
    Ok(found.map(|auth| Logins::of(reference.registry(), auth)).unwrap_or_default())
}

/// Every login there is: a build may begin at images of several registries.
fn all_logins() -> anyhow::Result<Logins> {
    let Some(path) = docker_config().filter(|path| path.exists()) else {
        return Ok(Logins::default());
    };
    let config = login::read(&path)?;
    let file: serde_json::Value =
        serde_json::from_slice(&config).with_context(|| path.display().to_string())?;
    let mut logins = BTreeMap::new();
    for registry in file["auths"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        if let Some(auth) = login::find(&config, registry)? {
            logins.insert(registry.clone(), auth);
        }
    }
    Ok(Logins(logins))
}

/// Shows what happens: lines for steps, bars for parts on a terminal.
pub(crate) struct View {
    bars: MultiProgress,
    parts: BTreeMap<String, ProgressBar>,
    terminal: bool,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            parts: BTreeMap::new(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn show(&mut self, event: &Event) {
        match event {
            Event::Step { index, total, text, cached } => {
                let mark = if *cached { " (cached)" } else { "" };
                outln!("Step {index}/{total} : {text}{mark}");
            }
            Event::Output { text } => {
                out!("{text}");
                // Output without a line's end shall be seen too.
                let _ = std::io::stdout().flush();
            }
            Event::Part(part) if self.terminal => {
                let bars = &self.bars;
                let bar = self.parts.entry(part.digest.clone()).or_insert_with(|| {
                    let style = ProgressStyle::with_template(
                        "{prefix} {msg:12} {bar:30} {bytes}/{total_bytes}",
                    )
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                    let short: String =
                        part.digest.trim_start_matches("sha256:").chars().take(12).collect();
                    bars.add(ProgressBar::new(part.total).with_style(style).with_prefix(short))
                });
                bar.set_length(part.total);
                bar.set_position(part.received);
                bar.set_message(part.phase.clone());
            }
            Event::Part(part) if part.phase == "done" => outln!("{}: done", part.digest),
            Event::Pushed { reference, digest } => outln!("{reference}: digest: {digest}"),
            Event::Warning { message } => eprintln!("warning: {message}"),
            Event::Part(_) | Event::Image(_) | Event::Error { .. } => {}
        }
    }

    pub(crate) fn finish(&self) {
        for bar in self.parts.values() {
            bar.finish_and_clear();
        }
    }
}
