//! Which objects a command line means: `pods`, `pods,svc`, `TYPE NAME…`, `TYPE/NAME…`, files,
//! labels; and the requests that most verbs need for them.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use onggi_client::{Body, Client, EventType, ListOptions, PatchKind, Request, Response, WatchSpec};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::str_at;
use serde_json::Value;

use crate::discovery::{Mapper, Mapping};
use crate::error::Error;
use crate::session::{Session, value_of};

/// Items of a page, as kubectl asks for them.
const PAGE: usize = 500;
/// Before a watch that the server closed is opened again.
const REOPEN: Duration = Duration::from_millis(200);

/// Without a name a path is that of the whole collection.
pub(crate) const NAMELESS: &str = "resource name may not be empty";

/// A text that counts as given when there is something in it.
pub type Given = Option<String>;

/// Reads a [`Given`]: kubectl takes a blank selector for none.
pub(crate) fn given(text: &str) -> Result<Given, std::convert::Infallible> {
    Ok(Some(text).filter(|text| !text.trim().is_empty()).map(str::to_owned))
}

/// Flags that select among the objects of a kind.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selectors {
    /// Labels that the objects have: app=web,tier!=cache
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    pub selector: crate::select::Given,
    /// Fields that the objects have: status.phase=Running
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    pub field_selector: crate::select::Given,
}

impl Selectors {
    /// Whether neither is given.
    pub fn is_empty(&self) -> bool {
        self.selector.is_none() && self.field_selector.is_none()
    }
}

/// Whether a write is tried out only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    /// Done.
    #[default]
    None,
    /// Not sent.
    Client,
    /// Sent, checked, not stored.
    Server,
}

impl DryRun {
    /// What is said behind the object's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// A kind, and one object of it or all.
#[derive(Debug, Clone)]
pub struct Target {
    /// The kind.
    pub mapping: Mapping,
    /// The object; `None`: all of them.
    pub name: Option<String>,
}

/// An object that was meant, as the server has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its kind.
    pub mapping: Mapping,
    /// The object.
    pub value: Value,
}

impl Found {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        str_at(&self.value, "metadata.name")
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        str_at(&self.value, "metadata.namespace")
    }

    /// `deployment.apps/web`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.mapping.label(), self.name())
    }
}

/// Reads the arguments of a verb.
pub fn targets(mapper: &Mapper, args: &[String]) -> Result<Vec<Target>, Error> {
    if args.iter().any(|arg| arg.contains('/')) {
        return args.iter().map(|arg| slashed(mapper, arg)).collect();
    }
    let Some((types, names)) = args.split_first() else {
        return Err(Error::new("you must specify the type of resource, and files or names"));
    };
    if names.iter().any(String::is_empty) {
        return Err(Error::new(NAMELESS));
    }
    let mut mappings = Vec::new();
    for name in types.split(',') {
        let category = mapper.by_category(&name.to_ascii_lowercase());
        let named = if category.is_empty() { vec![mapper.by_name(name)?] } else { category };
        for mapping in named {
            // Each kind once, however often it is named.
            if !mappings.contains(&mapping) {
                mappings.push(mapping);
            }
        }
    }
    let mut targets = Vec::new();
    for mapping in mappings {
        if names.is_empty() {
            targets.push(Target { mapping: mapping.clone(), name: None });
        }
        for name in names {
            targets.push(Target { mapping: mapping.clone(), name: Some(name.clone()) });
        }
    }
    Ok(targets)
}

fn slashed(mapper: &Mapper, arg: &str) -> Result<Target, Error> {
    match arg.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            let mapping = mapper.by_name(kind)?.clone();
            Ok(Target { mapping, name: Some(name.to_owned()) })
        }
        Some(_) => Err(Error::new(format!(
            "arguments in resource/name form may not have more than one slash, and neither side \
             may be empty: {arg:?}"
        ))),
        None => Err(Error::new(
            "there is no need to specify a resource type as a separate argument when passing \
             arguments in resource/name form (e.g. 'onggi get resource/<resource_name>' instead of \
             'onggi get resource resource/<resource_name>')",
        )),
    }
}

impl Session {
    /// `GET` of one object.
    pub async fn object(
        &self,
        mapping: &Mapping,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Error> {
        let place = mapping.place(namespace);
        self.call(Request::new(Verb::Get, mapping.gvr(), place, name)).await
    }

    /// All objects of a kind that are selected; an empty namespace is all of them.
    pub async fn list(
        &self,
        mapping: &Mapping,
        namespace: &str,
        selectors: &Selectors,
    ) -> Result<Vec<Value>, Error> {
        let mut values = Vec::new();
        let mut options = ListOptions {
            label_selector: selectors.selector.clone().unwrap_or_default(),
            field_selector: selectors.field_selector.clone().unwrap_or_default(),
            limit: PAGE,
            ..ListOptions::default()
        };
        loop {
            let place = mapping.place(namespace);
            let mut request = Request::new(Verb::List, mapping.gvr(), place, "");
            request.list = options.clone();
            let Response::List { meta, items, warnings } = self.client()?.call(request).await?
            else {
                return Err(Error::new(format!("{}: no list came back", mapping.plural)));
            };
            self.warn(&warnings)?;
            for item in items {
                values.push(item.value().map_err(onggi_client::Error::from)?);
            }
            if meta.continue_token.is_empty() {
                return Ok(values);
            }
            options.continue_token = meta.continue_token;
        }
    }

    /// `PATCH` of an object that was found.
    pub async fn patch(
        &self,
        found: &Found,
        subresource: &str,
        kind: PatchKind,
        body: &Value,
        manager: &str,
        dry_run: DryRun,
    ) -> Result<Value, Error> {
        let place = found.mapping.place(found.namespace());
        let mut request = Request::new(Verb::Patch, found.mapping.gvr(), place, found.name())
            .subresource(subresource)
            .body(Body::Patch(kind, Bytes::from(body.to_string())));
        request.write.dry_run = dry_run == DryRun::Server;
        manager.clone_into(&mut request.write.field_manager);
        self.call(request).await
    }

    /// `PUT` of an object over the one that was found.
    pub async fn replace(
        &self,
        found: &Found,
        subresource: &str,
        object: Value,
        manager: &str,
    ) -> Result<Value, Error> {
        let place = found.mapping.place(found.namespace());
        let mut request = Request::new(Verb::Update, found.mapping.gvr(), place, found.name())
            .subresource(subresource)
            .body(Body::Object(object));
        manager.clone_into(&mut request.write.field_manager);
        self.call(request).await
    }

    /// Looks at an object now and at every change of it, until `enough` says so. It is given
    /// `None` when the object is not there.
    pub async fn until(
        &self,
        mapping: &Mapping,
        namespace: &str,
        name: &str,
        enough: impl FnMut(Option<&Value>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        until(self.client()?, mapping, namespace, name, enough).await
    }
}

/// As [`Session::until`], with a client alone.
pub async fn until(
    client: &Client,
    mapping: &Mapping,
    namespace: &str,
    name: &str,
    mut enough: impl FnMut(Option<&Value>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let place = mapping.place(namespace);
    loop {
        let get = Request::new(Verb::Get, mapping.gvr(), place, name);
        let value = match client.call(get).await {
            Ok(answer) => Some(value_of(answer)?.0),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        if enough(value.as_ref())? {
            return Ok(());
        }
        let revision =
            value.and_then(|value| str_at(&value, "metadata.resourceVersion").parse().ok());
        let spec = WatchSpec {
            namespace: place.to_owned(),
            field_selector: format!("metadata.name={name}"),
            resource_version: revision,
            initial_events: false,
            ..WatchSpec::all(mapping.gvr())
        };
        let mut events = client.transport().watch(spec).await?;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) if error.is_expired() => break,
                Err(error) => return Err(error.into()),
            };
            let done = match event.kind {
                EventType::Bookmark => false,
                EventType::Deleted => enough(None)?,
                EventType::Added | EventType::Modified => {
                    let value = event.object.value().map_err(onggi_client::Error::from)?;
                    enough(Some(&value))?
                }
            };
            if done {
                return Ok(());
            }
        }
        tokio::time::sleep(REOPEN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_selector_is_none() {
        assert_eq!(given(" ").unwrap(), None);
        assert_eq!(given("a=b").unwrap().as_deref(), Some("a=b"));
    }

    #[test]
    fn command_lines() {
        let mapper = Mapper::builtin();
        let read = |line: &str| {
            let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let found = targets(&mapper, &args)?.into_iter().map(|t| {
                format!("{}:{}", t.mapping.plural, t.name.unwrap_or_else(|| "*".to_owned()))
            });
            Ok::<_, Error>(found.collect::<Vec<_>>().join(" "))
        };
        for (line, meant) in [
            ("pods", "pods:*"),
            ("po,svc", "pods:* services:*"),
            ("pod a b", "pods:a pods:b"),
            ("po,svc web", "pods:web services:web"),
            ("pod/a deploy/b", "pods:a deployments:b"),
        ] {
            assert_eq!(read(line).unwrap(), meant, "{line}");
        }
        assert!(read("all").unwrap().contains("deployments:*"));
        assert_eq!(read("cm,configmaps,cm").unwrap(), "configmaps:*");
        let nameless = targets(&mapper, &["pods".to_owned(), String::new()]);
        assert_eq!(nameless.unwrap_err().to_string(), NAMELESS);
        for line in ["", "pods pod/a", "pod/a/b", "pod/", "bananas", "pods,", ","] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
