//! What a shell completes a command line with: verbs, flags and their values, and what the server
//! has: kinds, objects, namespaces, containers, ports.
//!
//! The protocol is that of kubectl's `__complete`, so that its users find what they expect: a
//! candidate a line, with its description behind a tab, and at last `:` and a number whose bits
//! say that no space follows (2) and that files are no candidates (4).

mod ask;
mod place;

use std::time::Duration;

use clap::{Command, FromArgMatches};
use onggi_client::kubeconfig::PluginPolicy;

use self::place::{Place, Want};
use crate::error::Error;
use crate::flags::as_kubectl;
use crate::session::{Globals, Session};

/// How long a shell waits for the server.
const PATIENCE: Duration = Duration::from_secs(5);

/// No space follows a candidate.
const NO_SPACE: u8 = 2;
/// Files are no candidates.
const NO_FILES: u8 = 4;

/// What is offered.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// Each with what is said of it.
    candidates: Vec<(String, String)>,
    directive: u8,
}

impl Offer {
    fn of(candidates: impl IntoIterator<Item = String>) -> Self {
        let candidates = candidates.into_iter().map(|one| (one, String::new())).collect();
        Self { candidates, directive: NO_FILES }
    }

    /// The shell looks for files.
    fn files() -> Self {
        Self::default()
    }

    fn without_space(mut self) -> Self {
        self.directive |= NO_SPACE;
        self
    }
}

/// Prints what the last of the words may be completed to. `root`: the program's command.
pub(crate) async fn run(session: &Session, root: Command, words: &[String]) -> Result<(), Error> {
    let root = as_kubectl(root);
    let own = Session::new(globals(&root, words, &session.globals.plugins));
    let place = place::of(&root, words);
    // Where the server does not answer, there is nothing to offer.
    let offer = offered(&own, &place).await.unwrap_or_default();
    let word = place.word.as_str();
    let mut text = String::new();
    for (candidate, about) in &offer.candidates {
        // What the server names so would write into the terminal or be several candidates.
        if candidate.starts_with(word) && !candidate.contains(char::is_control) {
            text += candidate;
            if !about.is_empty() {
                text += &format!("\t{about}");
            }
            text.push('\n');
        }
    }
    session.print(&format!("{text}:{}\n", offer.directive))
}

/// The flags that say which server and namespace are meant. `plugins`: which programs may give
/// credentials where the line names no preferences of its own.
fn globals(root: &Command, words: &[String], plugins: &PluginPolicy) -> Globals {
    let given = words.split_last().map_or(&[][..], |(_, given)| given);
    let line = std::iter::once(&"onggi".to_owned()).chain(given).cloned().collect::<Vec<_>>();
    let read = root.clone().ignore_errors(true).try_get_matches_from(line);
    let globals = read.ok().and_then(|matches| Globals::from_arg_matches(&matches).ok());
    let mut globals = globals.unwrap_or_default();
    globals.request_timeout = Some(PATIENCE);
    globals.verbosity = None;
    globals.plugins = crate::kuberc::plugins(given, plugins);
    globals
}

async fn offered(session: &Session, place: &Place) -> Result<Offer, Error> {
    let prefix = &place.prefix;
    let of = |values: Vec<String>| Offer::of(values.into_iter().map(|one| prefix.clone() + &one));
    Ok(match &place.want {
        Want::Nothing => Offer::of([]),
        Want::Files => Offer::files(),
        Want::Verbs(verbs) => Offer { candidates: verbs.clone(), directive: NO_FILES },
        Want::Flags(flags) => Offer { candidates: flags.clone(), directive: NO_FILES },
        Want::Fixed(values) => of(values.clone()),
        Want::Namespaces => of(ask::names(session, "namespaces").await?),
        Want::Contexts => of(ask::contexts(session)?),
        Want::Clusters => of(ask::entries(session, "clusters")?),
        Want::Users => of(ask::entries(session, "users")?),
        Want::Kinds => kinds(session, place).await?,
        Want::Names(kind) => {
            let mut names = ask::names(session, kind).await?;
            names.retain(|name| !place.args.contains(name));
            of(names)
        }
        Want::Pods => pods(session, place).await?,
        Want::Containers => of(ask::containers(session, &place.args).await?),
        Want::Ports => of(ask::ports(session, &place.args).await?),
    })
}

/// Kinds, `KIND/NAME`, or kinds behind a comma.
async fn kinds(session: &Session, place: &Place) -> Result<Offer, Error> {
    let word = &place.word;
    if let Some((kind, _)) = word.split_once('/') {
        let names = ask::names(session, kind).await?;
        let whole = names.into_iter().map(|name| format!("{kind}/{name}"));
        return Ok(Offer::of(whole.filter(|one| !place.args.contains(one))));
    }
    let before = word.rfind(',').map_or("", |at| &word[..=at]);
    let known = ask::kinds(session).await?;
    Ok(Offer::of(known.into_iter().map(|kind| format!("{before}{kind}"))))
}

/// Pods; `KIND/NAME` of what has pods.
async fn pods(session: &Session, place: &Place) -> Result<Offer, Error> {
    if place.word.contains('/') {
        return kinds(session, place).await;
    }
    let pods = ask::names(session, "pods").await?;
    if place.word.is_empty() || pods.iter().any(|pod| pod.starts_with(&place.word)) {
        return Ok(Offer::of(pods));
    }
    let kinds = ["daemonsets", "deployments", "jobs", "pods", "replicasets", "services"];
    let kinds = kinds.into_iter().chain(["replicationcontrollers", "statefulsets"]);
    Ok(Offer::of(kinds.map(|kind| format!("{kind}/"))).without_space())
}
