//! `replace`.

use std::time::Duration;

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{at, str_at};
use serde_json::{Value, json};

use super::apply::validation;
use super::create::{Common, show};
use super::delete::{deprecated_cascade, gone, said};
use crate::apply::{LAST_APPLIED, Options, annotate, modernize, place};
use crate::discovery::Mapping;
use crate::error::Error;
use crate::manifest::{Files, Manifest, Read};
use crate::select::{DryRun, NAMELESS};
use crate::session::Session;

/// Flags of `replace`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    common: Common,
    /// Delete the object and create it anew
    #[arg(long)]
    force: bool,
    /// With --force: seconds to end in; -1 for what the object says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// With --force: what becomes of the objects that it owns
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "background", default_missing_value = "background", value_parser = ["background", "foreground", "orphan", "true", "false"])]
    cascade: String,
    /// With --force: how long to wait for the end of the old one
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    timeout: Option<Duration>,
    /// With --force: wait for the end of the old one
    #[arg(long)]
    wait: bool,
    /// Part of the object: status, scale
    #[arg(long, default_value = "")]
    subresource: String,
    /// Body of a PUT, as it is, to this path
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
}

impl Args {
    /// Replaces them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify --filename to replace"));
        }
        if self.grace_period >= 0 && !self.force {
            return Err(Error::new("--grace-period must have --force specified"));
        }
        if let Some(path) = &self.raw {
            return super::raw::send(session, "PUT", path, &self.files).await;
        }
        let format = self.common.printing.format()?;
        if matches!(self.cascade.as_str(), "true" | "false") {
            session.print_error(&deprecated_cascade(&self.cascade))?;
        }
        let Read { manifests, mut errors } = self.files.read_each(session)?;
        if manifests.is_empty() && errors.is_empty() {
            return Err(Error::new("no objects passed to replace"));
        }
        let (manifests, nameless): (Vec<_>, Vec<_>) = manifests
            .into_iter()
            .partition(|manifest| !str_at(&manifest.value, "metadata.name").is_empty());
        errors.extend(nameless.iter().map(|_| Error::new(NAMELESS)));
        if self.force {
            // Nothing goes while something is wrong with what shall take its place.
            Error::all(std::mem::take(&mut errors))?;
            for manifest in &manifests {
                if let Err(error) = self.delete(session, manifest.clone()).await {
                    Error::note(&mut errors, error)?;
                }
            }
            Error::all(std::mem::take(&mut errors))?;
        }
        for manifest in manifests {
            let source = manifest.source.clone();
            match self.one(session, manifest).await {
                Ok(object) => show(session, &object, &format, &self.common, "replaced")?,
                Err(error) if self.force => {
                    Error::note(&mut errors, error.about("creating", &source))?
                }
                Err(error) => Error::note(&mut errors, error.about("replacing", &source))?,
            }
        }
        Error::all(errors)
    }

    async fn placed<'a>(
        &self,
        session: &'a Session,
        manifest: &mut Manifest,
    ) -> Result<(&'a Mapping, String), Error> {
        session.warn(&modernize(&mut manifest.value))?;
        let mapping = session.mapper().await?.of_object(&manifest.value, &manifest.source)?;
        let options = Options { namespace: session.namespace(), ..Options::default() };
        let namespace = place(mapping, &mut manifest.value, &options)?;
        Ok((mapping, namespace))
    }

    async fn delete(&self, session: &Session, mut manifest: Manifest) -> Result<(), Error> {
        let (mapping, namespace) = self.placed(session, &mut manifest).await?;
        let name = str_at(&manifest.value, "metadata.name");
        let mut request = Request::new(Verb::Delete, mapping.gvr(), &namespace, name);
        request.write.grace_period_seconds = Some(self.grace_period).filter(|s| *s >= 0);
        request.write.propagation_policy = super::delete::policy(&self.cascade).to_owned();
        let answer = match session.call(request).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let forced = self.grace_period == 0;
        session.print(&said(mapping, &namespace, name, forced, DryRun::None))?;
        let uid = match str_at(&answer, "metadata.uid") {
            "" => str_at(&answer, "details.uid"),
            uid => uid,
        };
        let wait = gone(session, mapping, &namespace, name, uid);
        match self.timeout.filter(|limit| !limit.is_zero()) {
            Some(limit) => tokio::time::timeout(limit, wait)
                .await
                .unwrap_or_else(|_| Err(Error::new("timed out waiting for the condition"))),
            None => wait.await,
        }
    }

    async fn one(&self, session: &Session, mut manifest: Manifest) -> Result<Value, Error> {
        let (mapping, namespace) = self.placed(session, &mut manifest).await?;
        let mut object = manifest.value;
        let is_kept = at(&object, "metadata.annotations").get(LAST_APPLIED).is_some();
        if self.common.save_config || is_kept {
            annotate(&mut object);
        }
        if self.common.writing.dry_run == DryRun::Client {
            return Ok(object);
        }
        let name = str_at(&object, "metadata.name").to_owned();
        let verb = if self.force { Verb::Create } else { Verb::Update };
        if verb == Verb::Update && str_at(&object, "metadata.resourceVersion").is_empty() {
            // Whatever version is there is replaced; that it is not there, the server says.
            match session.object(mapping, &namespace, &name).await {
                Ok(current) => {
                    object["metadata"]["resourceVersion"] =
                        json!(str_at(&current, "metadata.resourceVersion"));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let of_url = if self.force { "" } else { name.as_str() };
        let mut request =
            Request::new(verb, mapping.gvr(), &namespace, of_url).subresource(&self.subresource);
        let writing = &self.common.writing;
        writing.manager("kubectl-replace").clone_into(&mut request.write.field_manager);
        request.write.field_validation = validation(&self.common.validate)?.to_owned();
        request.write.dry_run = writing.dry_run == DryRun::Server;
        session.call(request.body(Body::Object(object))).await
    }
}
