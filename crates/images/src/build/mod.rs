//! The Dockerfile builder. A step that makes a layer is known by what goes into it (the image
//! below, the instruction, the digests of files): the same again is taken from the cache.
//!
//! Blocking, on one thread; processes of `RUN` are the [`onggi_node_api::StepRunner`]'s.

pub mod cache;
mod context;
mod copy;
mod dockerfile;
#[cfg(fuzzing)]
pub mod fuzzing;
mod glob;
mod layer;
mod run;
mod stage;
mod users;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use onggi_node_api::{Image, RegistryAuth};

pub use context::Context;
pub(crate) use run::MERGED;

use crate::progress::{Event, Progress};
use crate::service::{Images, blocking};
use crate::spec::{
    Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST, chain_ids, host_architecture, parse_json,
    to_json,
};
use crate::store::{Pins, Store, StoredImage};
use crate::unpack::View;
use crate::{Digest, Error, Reference, Result};
use context::{Ignore, Tree};
use dockerfile::{Command, Copy, Dockerfile, Op, Run, Stage, Step};
use layer::LayerWriter;
use stage::State;

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Request {
    /// Names that the image gets.
    pub tags: Vec<Reference>,
    /// What to copy from.
    pub context: Context,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Its name, for messages.
    pub dockerfile_name: String,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`: also pull base images that are here.
    pub pull: bool,
    /// Logins by registry, for base images.
    pub logins: BTreeMap<String, RegistryAuth>,
}

impl Request {
    /// Reads the Dockerfile (`DIR/Dockerfile` when none is named) of a directory.
    pub fn from_dir(dir: &Path, dockerfile: Option<&Path>) -> Result<Self> {
        use crate::error::Context as _;
        let path = dockerfile.map_or_else(|| dir.join("Dockerfile"), Path::to_owned);
        let text = std::fs::read_to_string(&path).at(&path)?;
        Ok(Self {
            tags: Vec::new(),
            context: Context::open(dir, &path)?,
            dockerfile: text,
            dockerfile_name: path.display().to_string(),
            build_args: BTreeMap::new(),
            target: None,
            no_cache: false,
            pull: false,
            logins: BTreeMap::new(),
        })
    }
}

impl Images {
    /// Builds, and gives the image its names.
    pub async fn build(&self, request: Request, progress: &Progress) -> Result<Image> {
        let (images, progress) = (self.clone(), progress.clone());
        let image = blocking(move || {
            let store = images.store();
            let pins = store.pins();
            let file = dockerfile::parse(&request.dockerfile_name, &request.dockerfile)?;
            let mut build = Build {
                images: &images,
                store,
                pins: &pins,
                request: &request,
                file: &file,
                progress: &progress,
                done: BTreeMap::new(),
                index: 0,
                total: 0,
                epoch: epoch(&request)?,
            };
            let image = build.all()?;
            for name in request.build_args.keys().filter(|name| !build.takes(name)) {
                progress.tell_blocking(Event::Warning {
                    message: format!("--build-arg {name} is used by no ARG"),
                });
            }
            Ok(store.summary(&image))
        })
        .await?;
        self.tidy();
        Ok(image)
    }
}

/// Reproducible times, as other builders take them: the argument `SOURCE_DATE_EPOCH`.
fn epoch(request: &Request) -> Result<Option<i64>> {
    match request.build_args.get("SOURCE_DATE_EPOCH") {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Error::invalid(format!("SOURCE_DATE_EPOCH={text}: seconds since 1970 are expected"))
        }),
    }
}

struct Build<'a> {
    images: &'a Images,
    store: &'a Arc<Store>,
    pins: &'a Pins,
    request: &'a Request,
    file: &'a Dockerfile,
    progress: &'a Progress,
    /// Stages that are built.
    done: BTreeMap<usize, State>,
    index: usize,
    total: usize,
    epoch: Option<i64>,
}

impl Build<'_> {
    fn all(&mut self) -> Result<StoredImage> {
        let target = match &self.request.target {
            None => self.file.stages.len() - 1,
            Some(name) => self.stage_named(name, self.file.stages.len()).ok_or_else(|| {
                Error::invalid(format!("{} has no stage {name}", self.request.dockerfile_name))
            })?,
        };
        let needed = self.needed(target)?;
        self.total =
            needed.iter().filter_map(|n| self.file.stages.get(*n)).map(|s| s.steps.len() + 1).sum();
        for n in needed {
            let state = self.stage(n)?;
            self.done.insert(n, state);
        }
        let state =
            self.done.remove(&target).ok_or_else(|| Error::invalid("no stage was built"))?;
        self.finish(state)
    }

    /// A stage before `before` by name or number.
    fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let stages = self.file.stages.get(..before)?;
        let by_name = stages.iter().rposition(|s| s.name.as_deref() == Some(&name.to_lowercase()));
        by_name.or_else(|| name.parse().ok().filter(|n| *n < before))
    }

    /// The stages that a stage needs, itself last.
    fn needed(&self, target: usize) -> Result<Vec<usize>> {
        let mut needed = std::collections::BTreeSet::from([target]);
        let mut todo = vec![target];
        while let Some(n) = todo.pop() {
            let Some(stage) = self.file.stages.get(n) else { continue };
            let image = self.base_name(stage)?;
            let copies = stage.steps.iter().filter_map(|step| match &step.op {
                Op::Copy(copy) => copy.from.as_deref(),
                _ => None,
            });
            // A number names a stage in COPY only.
            let base = self.stage_named(&image, n).filter(|_| image.parse::<usize>().is_err());
            for other in copies.filter_map(|from| self.stage_named(from, n)).chain(base) {
                if needed.insert(other) {
                    todo.push(other);
                }
            }
        }
        Ok(needed.into_iter().collect())
    }

    fn global_args(&self) -> Result<BTreeMap<String, String>> {
        let mut args = platform_args();
        for (line, name, default) in &self.file.args {
            let value = match (self.request.build_args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(
                    words::expand(default, self.file.escape, &|name| args.get(name).cloned())
                        .map_err(|e| self.error(*line, e))?,
                ),
                (None, None) => None,
            };
            if let Some(value) = value {
                args.insert(name.clone(), value);
            }
        }
        Ok(args)
    }

    fn base_name(&self, stage: &Stage) -> Result<String> {
        let args = self.global_args()?;
        let expand = |text: &str| {
            words::expand(text, self.file.escape, &|name| args.get(name).cloned())
                .map_err(|e| self.error(stage.line, e))
        };
        if let Some(platform) = &stage.platform {
            let platform = expand(platform)?;
            let ours = format!("linux/{}", host_architecture());
            if !platform.is_empty() && platform != ours {
                return Err(self.error(
                    stage.line,
                    format!("FROM --platform={platform}: only {ours} can be built here"),
                ));
            }
        }
        let name = expand(&stage.image)?;
        if name.is_empty() {
            return Err(self.error(
                stage.line,
                format!("FROM {}: the name is empty; give the ARG a value", stage.image),
            ));
        }
        Ok(name)
    }

    fn stage(&mut self, n: usize) -> Result<State> {
        let file = self.file;
        let stage = file.stages.get(n).ok_or_else(|| Error::invalid("no such stage"))?;
        let image = self.base_name(stage)?;
        self.tell(&stage.text, false);
        let mut state = if image == "scratch" {
            State::scratch(file.escape)
        } else if let Some(base) =
            self.stage_named(&image, n).filter(|_| image.parse::<usize>().is_err())
        {
            let base =
                self.done.get(&base).ok_or_else(|| Error::invalid("a stage needs itself"))?;
            State::on(base.config.clone(), base.layers.clone(), file.escape)
        } else {
            let base = self.image(&image).map_err(|e| self.located(stage.line, e))?;
            State::on(base.config, base.manifest.layers, file.escape)
        };
        let triggers = std::mem::take(&mut state.config.config.on_build);
        for trigger in triggers {
            let parsed = dockerfile::parse("ONBUILD", &format!("FROM scratch\n{trigger}\n"))?;
            for step in parsed.stages.into_iter().flat_map(|s| s.steps) {
                self.total += 1;
                let step = Step { line: stage.line, ..step };
                self.step(&mut state, n, &step).map_err(|e| self.located(stage.line, e))?;
            }
        }
        for step in &stage.steps {
            self.step(&mut state, n, step).map_err(|e| self.located(step.line, e))?;
        }
        Ok(state)
    }

    fn step(&mut self, state: &mut State, n: usize, step: &Step) -> Result<()> {
        if self.progress.is_gone() {
            return Err(Error::invalid("the build was given up: nobody listens any more"));
        }
        let globals = self.global_args()?;
        // A value of its own hides the global one, not what was given.
        let given = |name: &str, has_default: bool| {
            let argument = self.request.build_args.get(name);
            argument.or_else(|| globals.get(name).filter(|_| !has_default)).cloned()
        };
        if state.configure(&step.op, &given)? {
            self.tell(&step.text, false);
            state.note(&step.text, &self.now(), None);
            return Ok(());
        }
        match &step.op {
            Op::Workdir(path) => self.workdir(state, step, path),
            Op::Copy(copy) => self.copy(state, n, step, copy),
            Op::Run(run) => self.run(state, step, run),
            _ => Ok(()),
        }
    }

    fn workdir(&mut self, state: &mut State, step: &Step, path: &str) -> Result<()> {
        let path = state.absolute(&state.expand(path)?);
        let base = self.view(state)?;
        let plan = copy::directories(&path, &base)?;
        state.config.config.working_dir = path;
        if plan.is_empty() {
            self.tell(&step.text, false);
            state.note(&step.text, &self.now(), None);
            return Ok(());
        }
        let key = self.key(state, "WORKDIR", &[plan.digest()?.as_str()]);
        self.layer(state, step, key, |_, layer| plan.write(layer).map(|()| true))
    }

    fn copy(&mut self, state: &mut State, n: usize, step: &Step, copy: &Copy) -> Result<()> {
        let base = self.view(state)?;
        let from = match &copy.from {
            None => self.request.context.tree(),
            Some(name) => {
                let name = state.expand(name)?;
                let view = match self.stage_named(&name, n).and_then(|n| self.done.get(&n)) {
                    Some(stage) => self.view(stage)?,
                    None => {
                        let image = self.image(&name)?;
                        View::new(self.store.unpack_image(&image, self.pins)?)
                    }
                };
                Tree { view, ignore: Ignore::default(), keep_owner: true }
            }
        };
        let owner = match &copy.chown {
            Some(owner) => Some(users::owner(&state.expand(owner)?, &base)?),
            None => None,
        };
        let chmod = match &copy.chmod {
            Some(mode) => {
                let mode = state.expand(mode)?;
                Some(u32::from_str_radix(&mode, 8).ok().filter(|m| *m <= 0o7777).ok_or_else(
                    || {
                        Error::invalid(format!(
                            "--chmod={mode}: an octal mode such as 755 is expected"
                        ))
                    },
                )?)
            }
            None => None,
        };
        let inline = copy.inline.iter().map(|(name, text, expand)| {
            let text = if *expand { state.expand_text(text)? } else { text.clone() };
            Ok((name.clone(), text.into_bytes()))
        });
        let request = copy::Request {
            add: copy.add,
            sources: copy.sources.iter().map(|s| state.expand(s)).collect::<Result<_>>()?,
            inline: inline.collect::<Result<_>>()?,
            dest: state.expand(&copy.dest)?,
            working_dir: state.absolute(""),
            owner,
            chmod,
        };
        let plan = copy::plan(&request, &from, &base)?;
        let key = self.key(state, "COPY", &[plan.digest()?.as_str()]);
        self.layer(state, step, key, |_, layer| plan.write(layer).map(|()| true))
    }

    fn run(&mut self, state: &mut State, step: &Step, run: &Run) -> Result<()> {
        if state.layers.is_empty() {
            return Err(Error::invalid("RUN needs a program, and FROM scratch has none"));
        }
        let mut caches = Vec::new();
        for (target, id) in &run.caches {
            let id = Digest::of(id.as_bytes());
            let host = self.store.root().join("run-cache").join(id.hex());
            caches.push((host, state.absolute(&state.expand(target)?)));
        }
        let process = run::Process {
            args: match &run.command {
                Command::Exec(args) => args.clone(),
                shell => state.argv(shell),
            },
            env: state.run_env(),
            working_dir: state.absolute(""),
            user: state.config.config.user.clone(),
            network: run.network,
            caches,
        };
        let mut parts: Vec<&str> = vec![&process.working_dir, &process.user];
        parts.extend(process.args.iter().chain(&process.env).map(String::as_str));
        parts.extend(process.caches.iter().map(|(_, target)| target.as_str()));
        let key = self.key(state, if run.network { "RUN" } else { "RUN alone" }, &parts);
        let layers = self.layers(state)?;
        self.layer(state, step, key, |build, layer| {
            let runner = build.images.steps().ok_or_else(|| {
                Error::invalid("RUN needs the container runtime, which this process does not have")
            })?;
            run::run(build.store, &**runner, process, &layers, build.progress, layer)
        })
    }

    /// A step that makes a layer, from the cache or anew.
    fn layer(
        &mut self,
        state: &mut State,
        step: &Step,
        key: Digest,
        make: impl FnOnce(&Self, &mut LayerWriter) -> Result<bool>,
    ) -> Result<()> {
        if !self.request.no_cache
            && let Some(entry) = cache::get(self.store, &key, self.pins, SystemTime::now())?
        {
            self.tell(&step.text, true);
            state.note(&step.text, &entry.created, entry.layer);
            return Ok(());
        }
        self.tell(&step.text, false);
        let mut writer = LayerWriter::new(self.store, self.epoch)?;
        let changed = make(self, &mut writer)?;
        let layer = changed.then(|| writer.finish(self.pins)).transpose()?;
        let entry = cache::Entry { layer, created: self.now() };
        cache::put(self.store, &key, &entry)?;
        state.note(&step.text, &entry.created, entry.layer);
        Ok(())
    }

    /// What decides a step's layer: all below it, and what it takes in.
    fn key(&self, state: &State, kind: &str, parts: &[&str]) -> Digest {
        let below = chain_ids(&state.config.rootfs.diff_ids);
        let mut text =
            format!("1\0{kind}\0{}\0{:?}", below.last().map_or("", Digest::as_str), self.epoch);
        for part in parts {
            text.push_str(&format!("\0{}:{part}", part.len()));
        }
        Digest::of(text.as_bytes())
    }

    fn layers(&self, state: &State) -> Result<Vec<PathBuf>> {
        self.store.unpack_layers(&state.layers, &state.config.rootfs.diff_ids, self.pins)
    }

    fn view(&self, state: &State) -> Result<View> {
        Ok(View::new(self.layers(state)?))
    }

    /// A base image: what is here, or else pulled.
    fn image(&self, name: &str) -> Result<StoredImage> {
        let here = self.store.find(name)?;
        let image = match here.filter(|_| !self.request.pull) {
            Some(image) => image,
            None => {
                let reference: Reference = name.parse()?;
                let auth: Vec<RegistryAuth> =
                    self.request.logins.get(reference.registry()).cloned().into_iter().collect();
                let pulled = tokio::runtime::Handle::current().block_on(self.images.pull_now(
                    &reference,
                    &auth,
                    self.progress,
                ))?;
                self.store.get(&pulled.id)?
            }
        };
        for layer in &image.manifest.layers {
            self.pins.add(&layer.digest);
        }
        Ok(image)
    }

    /// The image of a stage, with its names.
    fn finish(&self, mut state: State) -> Result<StoredImage> {
        self.layers(&state)?;
        // The same image again keeps its times, and so its id.
        state.config.created = None;
        let key = self.key(&state, "IMAGE", &[unstamped(&state)?.as_str()]);
        let known = match self.request.no_cache {
            true => None,
            false => cache::get(self.store, &key, self.pins, SystemTime::now())?,
        };
        let created = known.map_or_else(|| self.now(), |entry| entry.created);
        for step in state.config.history.iter_mut().filter(|h| h.empty_layer) {
            step.created = Some(created.clone());
        }
        state.config.created = Some(created.clone());
        cache::put(self.store, &key, &cache::Entry { layer: None, created })?;
        let config = to_json("the image configuration", &state.config)?;
        let config = self.store.put(&config, OCI_CONFIG, self.pins)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config,
            layers: state.layers,
        };
        let manifest: Descriptor =
            self.store.put(&to_json("the manifest", &manifest)?, OCI_MANIFEST, self.pins)?;
        let mut names = self.request.tags.clone();
        if names.is_empty() {
            // Without any name it would be collected at once.
            names.push(
                format!(
                    "onggi.local/untagged:{}",
                    manifest.digest.hex().get(..12).unwrap_or_default()
                )
                .parse()?,
            );
        }
        self.store.publish(&manifest.digest, &names)
    }

    /// Whether some `ARG` takes it, or we do.
    fn takes(&self, name: &str) -> bool {
        const KNOWN: [&str; 5] =
            ["SOURCE_DATE_EPOCH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
        let steps = self.file.stages.iter().flat_map(|s| &s.steps);
        KNOWN.contains(&name.to_uppercase().as_str())
            || self.file.args.iter().any(|(_, arg, _)| arg == name)
            || steps
                .into_iter()
                .any(|s| matches!(&s.op, Op::Arg(args) if args.iter().any(|(a, _)| a == name)))
    }

    fn tell(&mut self, text: &str, cached: bool) {
        self.index += 1;
        self.progress.tell_blocking(Event::Step {
            index: self.index,
            total: self.total,
            text: text.to_owned(),
            cached,
        });
    }

    fn now(&self) -> String {
        match self.epoch.and_then(|epoch| jiff::Timestamp::from_second(epoch).ok()) {
            Some(epoch) => epoch.to_string(),
            None => jiff::Timestamp::now().to_string(),
        }
    }

    fn error(&self, line: usize, message: impl Into<String>) -> Error {
        Error::Build { file: self.request.dockerfile_name.clone(), line, message: message.into() }
    }

    /// Says where; once.
    fn located(&self, line: usize, e: Error) -> Error {
        match e {
            e @ (Error::Build { .. } | Error::Unauthorized { .. }) => e,
            other => self.error(line, other.to_string()),
        }
    }
}

/// Everything of an image but its times.
fn unstamped(state: &State) -> Result<Digest> {
    let bytes = to_json("the image configuration", &state.config)?;
    let mut config: crate::spec::Config = parse_json("the image configuration", &bytes)?;
    for step in &mut config.history {
        step.created = None;
    }
    Ok(Digest::of(&to_json("the image configuration", &config)?))
}

/// Arguments that are there without being said.
fn platform_args() -> BTreeMap<String, String> {
    let arch = host_architecture();
    let mut args = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
        args.insert(format!("{side}OS"), "linux".to_owned());
        args.insert(format!("{side}ARCH"), arch.to_owned());
        args.insert(format!("{side}PLATFORM"), format!("linux/{arch}"));
    }
    args
}
