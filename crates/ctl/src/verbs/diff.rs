//! `diff`: what `apply` would change.

use std::path::Path;
use std::process::ExitStatus;

use onggi_machinery::value::{at, str_at};
use serde_json::{Value, json};

use super::apply::{labels, prune, validation};
use crate::apply::{self, Options};
use crate::discovery::Mapping;
use crate::error::Error;
use crate::manifest::Files;
use crate::output::format::hide_managed_fields;
use crate::output::yaml;
use crate::select::{DryRun, Selectors};
use crate::session::Session;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// The server merges, by the managers of fields
    #[arg(long)]
    server_side: bool,
    /// Take fields from their managers
    #[arg(long)]
    force_conflicts: bool,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME", default_value = "")]
    field_manager: String,
    /// Only objects with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// Show the managers of fields too
    #[arg(long)]
    show_managed_fields: bool,
    /// Show what Secrets hold
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    pruning: prune::Listed,
    /// Show what `apply --prune` would delete too
    #[arg(long)]
    prune: bool,
    /// Objects that are compared at once
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    concurrency: usize,
}

impl Args {
    /// Prints what `KUBECTL_EXTERNAL_DIFF`, or `diff -u -N`, makes of both. The exit code is 1
    /// where they differ and more where something failed.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        self.compare(session).await.map_err(|error| match error {
            Error::Exit(code) => Error::Exit(code),
            error => Error::Coded(2, Box::new(error)),
        })
    }

    async fn compare(&self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        let selector = self.selector.as_deref().map(labels).transpose()?;
        if self.prune {
            self.pruning.check(session).await?;
        }
        let options = Options {
            namespace: session.namespace(),
            dry_run: DryRun::Server,
            compare: true,
            server_side: self.server_side,
            force_conflicts: self.force_conflicts,
            field_manager: self.field_manager.clone(),
            validation: validation("strict")?.to_owned(),
            ..Options::default()
        };
        let (live, merged) = (Folder::new("LIVE")?, Folder::new("MERGED")?);
        let (client, mapper) = (session.client()?, session.mapper().await?);
        let mut seen = Vec::new();
        for manifest in self.files.read(session)? {
            if selector.as_ref().is_some_and(|wanted| !wanted.fits(&manifest.value)) {
                continue;
            }
            let mapping = mapper.of_object(&manifest.value, &manifest.source)?;
            let name = str_at(&manifest.value, "metadata.name").to_owned();
            let namespace = match str_at(&manifest.value, "metadata.namespace") {
                "" => options.namespace.clone(),
                own => own.to_owned(),
            };
            let mut now = match session.object(mapping, &namespace, &name).await {
                Ok(object) => Some(object),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            };
            let applied = apply::object(client, mapper, &options, manifest.value, &manifest.source);
            let mut then = applied.await?.object;
            let place = mapping.namespaced.then_some(namespace.as_str());
            seen.push(prune::Seen::of(&then, place));
            if !self.show_managed_fields {
                now.iter_mut().for_each(hide_managed_fields);
                hide_managed_fields(&mut then);
            }
            if is_secret(mapping) && !self.show_secrets {
                mask(now.as_mut(), &mut then);
            }
            let file = file_name(mapping, &namespace, &name);
            live.write(&file, now.as_ref())?;
            merged.write(&file, Some(&then))?;
        }
        if self.prune {
            let selectors = Selectors { selector: self.selector.clone(), ..Selectors::default() };
            for (mapping, mut object) in self.pruning.gone(session, &selectors, &seen).await? {
                if !self.show_managed_fields {
                    hide_managed_fields(&mut object);
                }
                if is_secret(mapping) && !self.show_secrets {
                    mask(None, &mut object);
                }
                let of = |path: &str| str_at(&object, path);
                let file = file_name(mapping, of("metadata.namespace"), of("metadata.name"));
                live.write(&file, Some(&object))?;
                merged.write(&file, None)?;
            }
        }
        differ(session, live.0.path(), merged.0.path()).await
    }
}

fn is_secret(mapping: &Mapping) -> bool {
    mapping.kind == "Secret" && mapping.group.is_empty()
}

/// `apps.v1.Deployment.default.web`; a name may hold what no file name does.
fn file_name(mapping: &Mapping, namespace: &str, name: &str) -> String {
    let group = if mapping.group.is_empty() { "" } else { &format!("{}.", mapping.group) };
    let place = mapping.place(namespace);
    format!("{group}{}.{}.{place}.{name}", mapping.version, mapping.kind).replace('/', "%2F")
}

/// A folder that goes with the value.
struct Folder(Temporary);

struct Temporary(std::path::PathBuf);

impl Temporary {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a temporary folder stays behind");
        }
    }
}

impl Folder {
    fn new(name: &str) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let unique = format!("{name}-{}-{}", std::process::id(), crate::verbs::unique());
        let path = std::env::temp_dir().join(unique);
        let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self(Temporary(path)))
    }

    fn write(&self, file: &str, object: Option<&Value>) -> Result<(), Error> {
        let path = self.0.path().join(file);
        let text = object.map_or_else(String::new, yaml::to_string);
        std::fs::write(&path, text).map_err(|e| Error::new(format!("{}: {e}", path.display())))
    }
}

/// Stars in the place of secrets: more of them where a value changes.
fn mask(now: Option<&mut Value>, then: &mut Value) {
    let before = now.as_ref().map_or(Value::Null, |now| at(now, "data").clone());
    let after = at(then, "data").clone();
    let stars = |key: &str, is_new: bool| {
        let changed = match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        match (changed, is_new) {
            (false, _) => json!("***"),
            (true, false) => json!("*** (before)"),
            (true, true) => json!("*** (after)"),
        }
    };
    for (object, is_new) in now.into_iter().map(|now| (now, false)).chain([(then, true)]) {
        if let Some(Value::Object(data)) = object.get_mut("data") {
            for (key, value) in data.iter_mut() {
                *value = stars(key, is_new);
            }
        }
    }
}

async fn differ(session: &Session, live: &Path, merged: &Path) -> Result<(), Error> {
    let given = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words: Vec<&str> = given.split_whitespace().collect();
    if words.is_empty() {
        words = vec!["diff", "-u", "-N"];
    }
    let output = tokio::process::Command::new(words[0])
        .args(&words[1..])
        .args([live, merged])
        .output()
        .await
        .map_err(|e| {
            Error::new(format!(
                "failed to run {:?}: {e}; install it (Debian: apt-get install diffutils), or name \
                 another program in KUBECTL_EXTERNAL_DIFF",
                words[0]
            ))
        })?;
    session.print_bytes(&output.stdout)?;
    session.print_error(&String::from_utf8_lossy(&output.stderr))?;
    exit(words[0], output.status)
}

fn exit(program: &str, status: ExitStatus) -> Result<(), Error> {
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Error::Exit(1)),
        Some(code) => {
            let error = Error::new(format!("failed to run {program:?}: exit status {code}"));
            Err(Error::Coded(u8::try_from(code).unwrap_or(2), Box::new(error)))
        }
        None => Err(Error::new(format!("{program:?} was ended by a signal"))),
    }
}
