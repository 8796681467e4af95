//! `apply --prune --applyset` (KEP-3659): a parent object remembers the kinds and namespaces of
//! what was applied with it, and labels say what belongs to it.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{at, map_mut, str_at};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::prune::{Pruning, Seen};
use crate::discovery::{Mapper, Mapping};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::select::{DryRun, Selectors};
use crate::session::Session;

const TOOLING: &str = "applyset.kubernetes.io/tooling";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const RESOURCES: &str = "applyset.kubernetes.io/contains-group-resources";
const ID: &str = "applyset.kubernetes.io/id";
const PART_OF: &str = "applyset.kubernetes.io/part-of";
const IS_PARENT: &str = "applyset.kubernetes.io/is-parent-type";

/// The same tool as kubectl, so that both may keep one set.
const TOOL: &str = "kubectl";
const VERSION: &str = "v1.36";

/// A set of applied objects and the object that keeps it.
pub(super) struct ApplySet {
    parent: Mapping,
    name: String,
    namespace: String,
    before: Members,
    now: Members,
}

/// Where the objects of a set are.
#[derive(Debug, Clone, Default, PartialEq)]
struct Members {
    /// `Deployment.apps`.
    kinds: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl ApplySet {
    /// The value of `--applyset`: NAME of a Secret, or TYPE/NAME.
    pub(super) async fn parse(session: &Session, text: &str) -> Result<Self, Error> {
        let about =
            |error: String| Error::new(format!("invalid parent reference {text:?}: {error}"));
        let (kind, name) = text.split_once('/').unwrap_or(("secrets", text));
        if name.is_empty() {
            return Err(about("name cannot be blank".to_owned()));
        }
        let mapper = session.mapper().await?;
        let parent = mapper.by_name(kind).map_err(|error| about(error.to_string()))?.clone();
        // Where the set is kept must be said: another context would begin another one.
        let given = session.globals.namespace.clone().unwrap_or_default();
        let namespace = parent.place(&given).to_owned();
        let (before, now) = (Members::default(), Members::default());
        Ok(Self { parent, name: name.to_owned(), namespace, before, now })
    }

    fn is_builtin(&self) -> bool {
        self.parent.group.is_empty()
            && matches!(self.parent.plural.as_str(), "secrets" | "configmaps")
    }

    fn label(&self) -> String {
        format!("{}.{}/{}", self.parent.plural, self.parent.group, self.name)
    }

    /// Refuses parents that cannot keep a set.
    pub(super) async fn check(&self, session: &Session) -> Result<(), Error> {
        if self.parent.namespaced && self.namespace.is_empty() {
            return Err(Error::new("namespace is required to use namespace-scoped ApplySet"));
        }
        if self.is_builtin() {
            return Ok(());
        }
        let definitions = session.mapper().await?.by_name("customresourcedefinitions")?;
        let selectors = Selectors { selector: Some(IS_PARENT.to_owned()), field_selector: None };
        let permitted = session.list(definitions, "", &selectors).await?;
        let own = format!("{}.{}", self.parent.plural, self.parent.group);
        if permitted.iter().any(|one| str_at(one, "metadata.name") == own) {
            return Ok(());
        }
        let (group, version) = (&self.parent.group, &self.parent.version);
        Err(Error::new(format!(
            "resource \"{group}/{version}, Resource={}\" is not permitted as an ApplySet parent",
            self.parent.plural
        )))
    }

    /// The value of the label of everything in the set.
    fn id(&self) -> String {
        id(&self.name, &self.namespace, &self.parent.kind, &self.parent.group)
    }

    /// Labels the objects as members.
    pub(super) fn label_all(&self, manifests: &mut [Manifest]) -> Result<(), Error> {
        for manifest in manifests {
            let labels = map_mut(&mut manifest.value, "metadata.labels");
            if labels.insert(PART_OF.to_owned(), json!(self.id())).is_some() {
                return Err(Error::new(format!(
                    "ApplySet label {PART_OF:?} already set in input data"
                )));
            }
        }
        Ok(())
    }

    /// Reads what the parent remembers, and writes into it what comes in addition: nothing is
    /// lost when the apply is broken off.
    pub(super) async fn begin(
        &mut self,
        session: &Session,
        manifests: &[Manifest],
        writing: &Keeping<'_>,
    ) -> Result<(), Error> {
        self.read(session).await?;
        let mapper = session.mapper().await?;
        for manifest in manifests {
            // What is of no kind that there is is refused later.
            let Ok(mapping) = mapper.of_object(&manifest.value, "") else { continue };
            self.now.kinds.insert(group_kind(mapping));
            if mapping.namespaced {
                let own = str_at(&manifest.value, "metadata.namespace");
                let namespace = if own.is_empty() { writing.namespace } else { own };
                self.now.namespaces.insert(namespace.to_owned());
            }
        }
        let all = Members {
            kinds: &self.before.kinds | &self.now.kinds,
            namespaces: &self.before.namespaces | &self.now.namespaces,
        };
        self.keep(session, &all, writing).await
    }

    async fn read(&mut self, session: &Session) -> Result<(), Error> {
        let found = match session.object(&self.parent, &self.namespace, &self.name).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() && self.is_builtin() => return Ok(()),
            Err(error) if error.is_not_found() => {
                return Err(Error::new(
                    "custom resource ApplySet parents cannot be created automatically",
                ));
            }
            Err(error) => {
                let label = self.label();
                return Err(Error::new(format!(
                    "failed to fetch ApplySet parent object {label:?}: {error}"
                )));
            }
        };
        let (label, id) = (self.label(), self.id());
        let text = |list: &str, key: &str| {
            at(&found, &format!("metadata.{list}")).get(key).and_then(Value::as_str)
        };
        let exists = format!("ApplySet parent object {label:?} already exists and");
        let wrong = match (text("annotations", TOOLING), text("labels", ID)) {
            (None, _) => format!("{exists} is missing required annotation {TOOLING:?}"),
            (Some(tool), _) if tool.rsplit_once('/').map_or(tool, |(name, _)| name) != TOOL => {
                let name = tool.rsplit_once('/').map_or(tool, |(name, _)| name);
                format!("{exists} is managed by tooling {name:?} instead of {TOOL:?}")
            }
            (_, None) => {
                format!(
                    "ApplySet parent object {label:?} exists and does not have required label {ID}"
                )
            }
            (_, Some(other)) if other != id => format!(
                "ApplySet parent object {label:?} exists and has incorrect value for label {ID:?} \
                 (got: {other}, want: {id})"
            ),
            _ => String::new(),
        };
        if !wrong.is_empty() {
            return Err(Error::new(wrong));
        }
        let mapper = session.mapper().await?;
        self.before.kinds = match (text("annotations", KINDS), text("annotations", RESOURCES)) {
            (Some(kinds), _) => parts(kinds),
            (None, Some(resources)) if !resources.is_empty() => parts(resources)
                .iter()
                .map(|name| Ok(group_kind(mapper.by_name(name)?)))
                .collect::<Result<_, Error>>()?,
            _ => {
                return Err(Error::new(format!(
                    "parsing ApplySet annotation on {label:?}: kubectl requires the {KINDS:?} \
                     annotation to be set on all ApplySet parent objects"
                )));
            }
        };
        self.before.namespaces = text("annotations", NAMESPACES).map(parts).unwrap_or_default();
        if self.parent.namespaced {
            self.before.namespaces.insert(self.namespace.clone());
        }
        Ok(())
    }

    /// Writes into the parent where members are.
    async fn keep(
        &self,
        session: &Session,
        members: &Members,
        writing: &Keeping<'_>,
    ) -> Result<(), Error> {
        if writing.dry_run == DryRun::Client {
            return Ok(());
        }
        let mut others = members.namespaces.clone();
        others.remove(&self.namespace);
        let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        let mut parent = json!({
            "apiVersion": self.parent.api_version(), "kind": self.parent.kind,
            "metadata": {
                "name": self.name,
                "annotations": {
                    TOOLING: format!("{TOOL}/{VERSION}"), KINDS: joined(&members.kinds),
                    NAMESPACES: joined(&others),
                },
                "labels": {ID: self.id()},
            },
        });
        if self.parent.namespaced {
            parent["metadata"]["namespace"] = json!(self.namespace);
        }
        let body = Bytes::from(parent.to_string());
        let mut force = false;
        loop {
            let body = Body::Patch(PatchKind::Apply, body.clone());
            let mut request =
                Request::new(Verb::Patch, self.parent.gvr(), &self.namespace, &self.name)
                    .body(body);
            request.write.force = force;
            request.write.dry_run = writing.dry_run == DryRun::Server;
            request.write.field_manager = format!("{TOOL}-applyset");
            writing.validation.clone_into(&mut request.write.field_validation);
            match session.call(request).await {
                Ok(_) => return Ok(()),
                Err(Error::Api(error)) if error.is_conflict() && !force => force = true,
                Err(error) => {
                    return Err(Error::new(format!("failed to update ApplySet: {error}")));
                }
            }
        }
    }

    /// Deletes the members that were not applied, and forgets where no members are any more.
    pub(super) async fn prune(
        &self,
        session: &Session,
        pruning: &Pruning<'_>,
        writing: &Keeping<'_>,
        seen: &[Seen],
    ) -> Result<(), Error> {
        let mapper = session.mapper().await?;
        let selector = format!("{PART_OF}={}", self.id());
        let selectors = Selectors { selector: Some(selector), field_selector: None };
        let mut victims = Vec::new();
        for kind in &self.before.kinds {
            let mapping = of_kind(mapper, kind).ok_or_else(|| {
                Error::new(format!(
                    "could not find mapping for kind in {KINDS:?} annotation: no matches for kind \
                     {kind:?}"
                ))
            })?;
            let places: Vec<&str> = if mapping.namespaced {
                self.before.namespaces.iter().map(String::as_str).collect()
            } else {
                vec![""]
            };
            for place in places {
                let found = session.list(mapping, place, &selectors).await?;
                let gone = found.into_iter().filter(|one| !seen.iter().any(|seen| seen.is(one)));
                victims.extend(gone.map(|one| (mapping, one)));
            }
        }
        for (mapping, victim) in victims {
            pruning.delete(session, mapping, &victim).await?;
        }
        self.keep(session, &self.now, writing).await.map_err(|error| {
            Error::new(format!("apply and prune succeeded, but ApplySet update failed: {error}"))
        })
    }
}

/// How the parent is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping<'a> {
    pub(super) namespace: &'a str,
    pub(super) dry_run: DryRun,
    pub(super) validation: &'a str,
}

/// `applyset-HASH-v1`, of what tells the parent from all others.
fn id(name: &str, namespace: &str, kind: &str, group: &str) -> String {
    let hash = Sha256::digest(format!("{name}.{namespace}.{kind}.{group}"));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hash))
}

fn group_kind(mapping: &Mapping) -> String {
    if mapping.group.is_empty() {
        return mapping.kind.clone();
    }
    format!("{}.{}", mapping.kind, mapping.group)
}

fn of_kind<'a>(mapper: &'a Mapper, kind: &str) -> Option<&'a Mapping> {
    mapper.preferred().find(|mapping| group_kind(mapping) == kind)
}

fn parts(text: &str) -> BTreeSet<String> {
    text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of KEP-3659's specification, by its formula.
    #[test]
    fn ids() {
        let id = id("mySet", "default", "Secret", "");
        assert!(id.starts_with("applyset-") && id.ends_with("-v1"), "{id}");
        assert_eq!(id.len(), "applyset-".len() + 43 + "-v1".len());
    }

    #[test]
    fn lists() {
        assert_eq!(parts(""), BTreeSet::new());
        assert_eq!(parts("b,a").into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
