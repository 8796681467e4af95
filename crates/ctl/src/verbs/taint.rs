//! `taint`.

use onggi_client::PatchKind;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::output::Format;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

const NAME_RULE: &str = ", name part must consist of alphanumeric characters, '-', '_' or '.', and \
     must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
     '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')\nSee \
     'kubectl taint -h' for help and examples";

/// Flags of `taint`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// node NAME … KEY=VALUE:EFFECT … KEY[:EFFECT]-
    #[arg(value_name = "NODE | TAINT")]
    args: Vec<String>,
    /// Nodes with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// All nodes
    #[arg(long)]
    all: bool,
    /// Replace other values
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
    /// Check of fields: strict, warn or ignore
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "strict", default_missing_value = "strict")]
    validate: String,
}

/// A taint to set, or to take away; an empty effect takes all of the key away.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Set { key: String, value: String, effect: String },
    Remove { key: String, effect: String },
}

impl Change {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::new(format!("invalid taint spec: {text}{why}"));
        let (body, removes) = match text.strip_suffix('-') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let (pair, effect) = match body.split_once(':') {
            Some((pair, effect)) => (pair, effect),
            None => (body, ""),
        };
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || effect.contains(':') || value.contains('=') {
            return Err(wrong(""));
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            return Err(Error::new(format!(
                "invalid taint effect: {effect}, unsupported taint effect"
            )));
        }
        let (key, effect) = (key.to_owned(), effect.to_owned());
        if removes {
            return Ok(Self::Remove { key, effect });
        }
        if effect.is_empty() {
            return Err(wrong(NAME_RULE));
        }
        Ok(Self::Set { key, value: value.to_owned(), effect })
    }
}

fn is_change(arg: &str) -> bool {
    arg.contains('=') || arg.contains(':') || arg.ends_with('-')
}

impl Args {
    /// Changes the taints.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let format = self.printing.format()?;
        let (taints, names): (Vec<_>, Vec<_>) =
            self.args.iter().cloned().partition(|arg| is_change(arg));
        if taints.is_empty() {
            return Err(Error::new("at least one taint update is required"));
        }
        let changes =
            taints.iter().map(|text| Change::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let is_bare = names.len() == 1 && !names[0].contains('/');
        if is_bare && !self.all && self.selector.is_none() {
            return Err(Error::new(
                "at least one resource name must be specified since 'all' parameter is not set",
            ));
        }
        if self.all && self.selector.is_some() {
            return Err(Error::new(
                "setting 'all' parameter with a non empty selector is prohibited",
            ));
        }
        let selectors = Selectors { selector: self.selector.clone(), field_selector: None };
        // A selector or --all stands in the place of names, as for kubectl.
        let by_name = !self.all && self.selector.is_none();
        let args = if by_name { names.as_slice() } else { names.get(..1).unwrap_or_default() };
        let files = Files::default();
        let wanted = Wanted::new(args, &files, &selectors).whole_kinds(self.all);
        let Gathered { found, mut errors } = session.gather(&wanted).await?;
        for one in &found {
            if let Err(error) = self.one(session, one, &changes, &format).await {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    async fn one(
        &self,
        session: &Session,
        one: &Found,
        changes: &[Change],
        format: &Format,
    ) -> Result<(), Error> {
        if one.mapping.kind != "Node" {
            return Err(Error::new(format!(
                "invalid resource type {}, only node(s) is supported",
                one.mapping.plural
            )));
        }
        let old = list_at(&one.value, "spec.taints");
        let (new, said) = self.applied(one.name(), old, changes)?;
        let mut object = one.value.clone();
        object["spec"]["taints"] = json!(new);
        if new != old && self.writing.dry_run != DryRun::Client {
            let list = if new.is_empty() { Value::Null } else { json!(new) };
            let body = json!({"spec": {"taints": list}});
            let manager = self.writing.manager("kubectl-taint");
            let kind = PatchKind::Strategic;
            object = session.patch(one, "", kind, &body, manager, self.writing.dry_run).await?;
        }
        if format.is_table() {
            // kubectl says nothing of dry runs here.
            return session.print(&format!("{} {said}\n", one.label()));
        }
        session.print_object(format, &object)
    }

    /// The taints afterwards, and kubectl's word for it.
    fn applied(
        &self,
        node: &str,
        old: &[Value],
        changes: &[Change],
    ) -> Result<(Vec<Value>, &'static str), Error> {
        let mut added: Vec<Value> = Vec::new();
        let mut kept: Vec<Value> = old.to_vec();
        let mut faults = Vec::new();
        let (mut sets, mut removes) = (false, false);
        let same = |taint: &Value, key: &str, effect: &str| {
            str_at(taint, "key") == key && (effect.is_empty() || str_at(taint, "effect") == effect)
        };
        let clashes: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Set { key, effect, .. } if old.iter().any(|t| same(t, key, effect)) => {
                    Some(key.as_str())
                }
                _ => None,
            })
            .collect();
        if !clashes.is_empty() && !self.overwrite {
            return Err(Error::new(format!(
                "node {node} already has {} taint(s) with same effect(s) and --overwrite is false",
                clashes.join(",")
            )));
        }
        for change in changes {
            match change {
                Change::Remove { key, effect } => {
                    removes = true;
                    let before = kept.len();
                    kept.retain(|taint| !same(taint, key, effect));
                    if kept.len() == before {
                        let what =
                            if effect.is_empty() { key.clone() } else { format!("{key}:{effect}") };
                        faults.push(Error::new(format!("taint {what:?} not found")));
                    }
                }
                Change::Set { key, value, effect } => {
                    sets = true;
                    kept.retain(|taint| !same(taint, key, effect));
                    let mut taint = json!({"effect": effect, "key": key});
                    if !value.is_empty() {
                        taint["value"] = json!(value);
                    }
                    added.push(taint);
                }
            }
        }
        Error::all(faults)?;
        added.extend(kept);
        let said = match (sets, removes || !clashes.is_empty()) {
            (true, true) => "modified",
            (false, true) => "untainted",
            _ => "tainted",
        };
        Ok((added, said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        let set = |key: &str, value: &str, effect: &str| Change::Set {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        assert_eq!(Change::parse("a=b:NoExecute").unwrap(), set("a", "b", "NoExecute"));
        assert_eq!(Change::parse("a:NoSchedule").unwrap(), set("a", "", "NoSchedule"));
        let gone = Change::Remove { key: "a".into(), effect: "NoSchedule".into() };
        assert_eq!(Change::parse("a:NoSchedule-").unwrap(), gone);
        assert_eq!(
            Change::parse("a-").unwrap(),
            Change::Remove { key: "a".into(), effect: String::new() }
        );
        for text in ["a=b", "a=b:Never", "=b:NoExecute", "a:b:NoExecute"] {
            assert!(Change::parse(text).is_err(), "{text}");
        }
    }
}
