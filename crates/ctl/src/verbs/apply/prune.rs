//! `apply --prune`: what was applied before and is in the files no more is deleted.

use onggi_client::Request;
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::Value;

use super::last_applied;
use crate::discovery::{Mapper, Mapping};
use crate::error::Error;
use crate::select::{DryRun, Selectors};
use crate::session::Session;
use crate::verbs::delete::policy;

/// Kinds that are looked through without a list.
const DEFAULT: &[&str] = &[
    "core/v1/ConfigMap",
    "core/v1/Endpoints",
    "core/v1/Namespace",
    "core/v1/PersistentVolumeClaim",
    "core/v1/PersistentVolume",
    "core/v1/Pod",
    "core/v1/ReplicationController",
    "core/v1/Secret",
    "core/v1/Service",
    "batch/v1/Job",
    "batch/v1/CronJob",
    "networking.k8s.io/v1/Ingress",
    "apps/v1/DaemonSet",
    "apps/v1/Deployment",
    "apps/v1/ReplicaSet",
    "apps/v1/StatefulSet",
];

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Delete what was applied before and is in the files no more
    #[arg(long)]
    pub(super) prune: bool,
    #[command(flatten)]
    listed: Listed,
    /// The object that remembers what was applied: NAME of a Secret, or TYPE/NAME
    #[arg(long, value_name = "[TYPE/]NAME", default_value = "", hide_default_value = true)]
    pub(super) applyset: String,
}

/// What is looked through.
#[derive(Debug, clap::Args)]
pub(crate) struct Listed {
    /// Kinds that are looked through: core/v1/ConfigMap
    #[arg(long, value_name = "GROUP/VERSION/KIND", alias = "prune-whitelist")]
    prune_allowlist: Vec<String>,
}

/// An object that the files hold.
pub(crate) struct Seen {
    uid: String,
    /// `None`: it is in none.
    namespace: Option<String>,
}

pub(super) struct Pruning<'a> {
    pub(super) selectors: Selectors,
    pub(super) grace_period: i64,
    pub(super) cascade: &'a str,
    pub(super) dry_run: DryRun,
    pub(super) says: bool,
}

impl Seen {
    /// `namespace`: that of the session, where objects of the kind are in one.
    pub(crate) fn of(object: &Value, namespace: Option<&str>) -> Self {
        let own = str_at(object, "metadata.namespace");
        let namespace = namespace.map(|given| if own.is_empty() { given } else { own });
        let uid = str_at(object, "metadata.uid").to_owned();
        Self { uid, namespace: namespace.map(str::to_owned) }
    }

    pub(super) fn is(&self, object: &Value) -> bool {
        str_at(object, "metadata.uid") == self.uid
    }
}

impl Flags {
    pub(super) async fn check(&self, session: &Session, args: &super::Args) -> Result<(), Error> {
        if !self.prune {
            return Ok(());
        }
        let (of_set, by_label) = (!self.applyset.is_empty(), args.selector.is_some());
        let wrong = if args.force {
            "--force cannot be used with --prune"
        } else if of_set && args.all {
            "--all is incompatible with --applyset"
        } else if of_set && by_label {
            "--selector is incompatible with --applyset"
        } else if of_set && !self.listed.prune_allowlist.is_empty() {
            "--prune-allowlist is incompatible with --applyset"
        } else if !of_set && !args.all && !by_label {
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector"
        } else if !of_set && args.server_side {
            "--prune is in alpha and doesn't currently work on objects created by server-side apply"
        } else {
            return self.listed.check(session).await;
        };
        Err(Error::new(wrong))
    }

    pub(super) async fn run(
        &self,
        session: &Session,
        pruning: &Pruning<'_>,
        seen: &[Seen],
    ) -> Result<Vec<Error>, Error> {
        let mut errors = Vec::new();
        for (mapping, object) in self.listed.gone(session, &pruning.selectors, seen).await? {
            if let Err(error) = pruning.delete(session, mapping, &object).await {
                Error::note(&mut errors, error)?;
            }
        }
        Ok(errors)
    }
}

impl Listed {
    /// What is listed wrongly is told before anything is written.
    pub(crate) async fn check(&self, session: &Session) -> Result<(), Error> {
        let mapper = session.mapper().await?;
        self.prune_allowlist.iter().try_for_each(|text| listed(mapper, text).map(drop))
    }

    /// What was applied before and is in the files no more.
    pub(crate) async fn gone<'s>(
        &self,
        session: &'s Session,
        selectors: &Selectors,
        seen: &[Seen],
    ) -> Result<Vec<(&'s Mapping, Value)>, Error> {
        let given = self.prune_allowlist.iter().map(String::as_str);
        let list: Vec<&str> =
            if self.prune_allowlist.is_empty() { DEFAULT.to_vec() } else { given.collect() };
        let mapper = session.mapper().await?;
        let mut namespaces: Vec<&str> = Vec::new();
        for namespace in seen.iter().filter_map(|one| one.namespace.as_deref()) {
            if !namespaces.contains(&namespace) {
                namespaces.push(namespace);
            }
        }
        let mut gone = Vec::new();
        for text in list {
            // A kind that this server does not have was never applied to it.
            let Ok(mapping) = listed(mapper, text) else { continue };
            let places = if mapping.namespaced { namespaces.clone() } else { vec![""] };
            for namespace in places {
                for object in session.list(mapping, namespace, selectors).await? {
                    let is_kept = seen.iter().any(|one| one.is(&object));
                    if last_applied(&object).is_some() && !is_kept {
                        gone.push((mapping, object));
                    }
                }
            }
        }
        Ok(gone)
    }
}

/// `core/v1/ConfigMap`.
fn listed<'a>(mapper: &'a Mapper, text: &str) -> Result<&'a Mapping, Error> {
    let parts: Vec<&str> = text.split('/').collect();
    let [group, version, kind] = parts.as_slice() else {
        return Err(Error::new(format!(
            "invalid GroupVersionKind format: {text}, please follow <group/version/kind>"
        )));
    };
    let api_version =
        if *group == "core" { (*version).to_owned() } else { format!("{group}/{version}") };
    mapper.by_kind(&api_version, kind).ok_or_else(|| {
        Error::new(format!("no matches for kind {kind:?} in version {api_version:?}"))
    })
}

impl Pruning<'_> {
    pub(super) async fn delete(
        &self,
        session: &Session,
        mapping: &Mapping,
        object: &Value,
    ) -> Result<(), Error> {
        let name = str_at(object, "metadata.name");
        if self.dry_run != DryRun::Client {
            let place = mapping.place(str_at(object, "metadata.namespace"));
            let mut request = Request::new(Verb::Delete, mapping.gvr(), place, name);
            request.write.dry_run = self.dry_run == DryRun::Server;
            request.write.propagation_policy = policy(self.cascade).to_owned();
            request.write.grace_period_seconds =
                Some(self.grace_period).filter(|seconds| *seconds >= 0);
            match session.call(request).await {
                Err(error) if error.is_not_found() => return Ok(()),
                result => result?,
            };
        }
        if self.says {
            let suffix = self.dry_run.suffix();
            session.print(&format!("{}/{name} pruned{suffix}\n", mapping.label()))?;
        }
        Ok(())
    }
}
