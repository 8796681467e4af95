//! `set env`.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_client::PatchKind;
use onggi_machinery::patch::two_way_merge;
use onggi_machinery::value::{at, entries_at, items_mut, list_at, set, str_at};
use serde_json::{Value, json};

use super::{Set, spec_path};
use crate::error::Error;
use crate::gather::Wanted;
use crate::manifest::Files;
use crate::output::format::hide_managed_fields;
use crate::select::{DryRun, Found, Selectors};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(super) struct Env {
    #[command(flatten)]
    set: Set,
    /// Only of these containers
    #[arg(long, short, default_value = "*")]
    containers: String,
    /// Print what is set
    #[arg(long)]
    list: bool,
    /// With --list: print what references lead to
    #[arg(long)]
    resolve: bool,
    /// Take the keys of a ConfigMap or a Secret: TYPE/NAME
    #[arg(long, value_name = "TYPE/NAME")]
    from: Option<String>,
    /// Put this before each name
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only these keys of --from
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// Replace what is set otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    overwrite: bool,
    /// KEY=VALUE
    #[arg(long, short = 'e', value_name = "KEY=VALUE")]
    env: Vec<String>,
}

/// What is set, and the names that are taken away.
#[derive(Debug, Default)]
struct Changes {
    set: Vec<Value>,
    removed: Vec<String>,
}

const NAME_RULE: &str = "a valid environment variable name must consist of alphabetic characters, \
     digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or \
     'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is \
     '[-._a-zA-Z][-._a-zA-Z0-9]*')";

impl Changes {
    fn parse<'a>(args: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let mut changes = Self::default();
        for arg in args {
            match arg.split_once('=') {
                Some((name, value)) => {
                    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                    let begins = name.starts_with(|c: char| !c.is_ascii_digit());
                    if !begins || !name.chars().all(letters) {
                        return Err(Error::new(format!(
                            "{name:?} is not a valid key name: {NAME_RULE}"
                        )));
                    }
                    changes.set.push(json!({"name": name, "value": value}));
                }
                None => {
                    let Some(name) = arg.strip_suffix('-') else {
                        return Err(Error::new(format!("unknown environment variable: {arg}")));
                    };
                    changes.removed.push(name.to_owned());
                }
            }
        }
        let set = |name: &String| changes.set.iter().any(|v| str_at(v, "name") == name);
        if let Some(name) = changes.removed.iter().find(|name| set(name)) {
            return Err(Error::new(format!(
                "can not both modify and remove an environment variable in the same command: {name}"
            )));
        }
        Ok(changes)
    }

    /// The variables of a container afterwards: old ones keep their place.
    fn applied(&self, old: &[Value]) -> Vec<Value> {
        let mut covered: Vec<&str> = self.removed.iter().map(String::as_str).collect();
        let mut new = Vec::new();
        let named = |name: &str| self.set.iter().rev().find(|v| str_at(v, "name") == name);
        for variable in old.iter().chain(&self.set) {
            let name = str_at(variable, "name");
            if covered.contains(&name) {
                continue;
            }
            if let Some(newer) = named(name) {
                covered.push(name);
                new.push(newer.clone());
            } else {
                new.push(variable.clone());
            }
        }
        new
    }
}

/// `a-key` as a name of a variable: `A_KEY`.
fn as_name(key: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(letter).collect()
}

/// Go's `path.Match` for the little that names of containers need.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| fits(after, rest))
        }),
    }
}

impl Env {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Error> {
        if self.list && !self.set.printing.output.is_empty() {
            return Err(Error::new("--list and --output may not be specified together"));
        }
        if !self.keys.is_empty() && self.from.is_none() {
            return Err(Error::new(
                "when specifying --keys, a configmap or secret must be provided with --from",
            ));
        }
        self.set.printing.format()?;
        let from_input = self.set.args.iter().chain(&self.env).any(|arg| arg == "-");
        let mut input = String::new();
        if from_input {
            std::io::stdin().read_to_string(&mut input)?;
        }
        let (found, args) = self.set.found(session).await?;
        let lines = input.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
        let args = self.env.iter().map(String::as_str).chain(args).filter(|arg| *arg != "-");
        let mut changes = Changes::parse(args.chain(lines))?;
        if let Some(from) = &self.from {
            changes.set.extend(self.referred(session, from).await?);
        }
        for variable in &mut changes.set {
            let name = format!("{}{}", self.prefix, str_at(variable, "name"));
            set(variable, "name", name);
        }
        let mut errors = Vec::new();
        for one in &found {
            let done = if self.list {
                self.print(session, one, &changes).await
            } else {
                self.one(session, one, &changes).await
            };
            if let Err(error) = done {
                Error::note(&mut errors, error)?;
            }
        }
        Error::all(errors)
    }

    /// A variable for each key of a ConfigMap or a Secret.
    async fn referred(&self, session: &Session, from: &str) -> Result<Vec<Value>, Error> {
        let (args, files, none) = ([from.to_owned()], Files::default(), Selectors::default());
        let mut found = Vec::new();
        for one in session.find(&Wanted::new(&args, &files, &none)).await? {
            let field = match one.mapping.kind.as_str() {
                "ConfigMap" => "configMapKeyRef",
                "Secret" => "secretKeyRef",
                _ => return Err(Error::new("unsupported resource specified in --from")),
            };
            for (key, _) in entries_at(&one.value, "data") {
                if !self.keys.is_empty() && !self.keys.iter().any(|wanted| wanted == key) {
                    continue;
                }
                let name = as_name(key);
                if name != key {
                    session.print_error(&format!("Warning: key {key} transferred to {name}\n"))?;
                }
                let reference = json!({"key": key, "name": one.name()});
                found.push(json!({"name": name, "valueFrom": {field: reference}}));
            }
        }
        Ok(found)
    }

    async fn one(&self, session: &Session, one: &Found, changes: &Changes) -> Result<(), Error> {
        let path = spec_path(&one.mapping.kind);
        let mut after = one.value.clone();
        let mut hit = false;
        for list in ["containers", "initContainers"] {
            for container in items_mut(&mut after, &format!("{path}.{list}")) {
                if !fits(&self.containers, str_at(container, "name")) {
                    continue;
                }
                hit = true;
                let old = list_at(container, "env");
                self.clash(one, old, changes)?;
                let new = changes.applied(old);
                if new.is_empty() {
                    onggi_machinery::value::remove(container, "env");
                } else {
                    set(container, "env", json!(new));
                }
            }
        }
        if !hit {
            let (kind, name, wanted) = (&one.mapping.kind, one.name(), &self.containers);
            return session.print_error(&format!(
                "warning: {kind}/{name} does not have any containers matching {wanted:?}\n"
            ));
        }
        let m = &one.mapping;
        let schema = onggi_api::schema::of(&m.group, &m.version, &m.kind);
        let patch =
            two_way_merge(schema, &one.value, &after).map_err(|e| Error::new(e.to_string()))?;
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(());
        }
        let dry_run = self.set.writing.dry_run;
        let mut object = if self.set.local || dry_run == DryRun::Client {
            after
        } else {
            let manager = self.set.writing.manager("kubectl-set");
            session.patch(one, "", PatchKind::Strategic, &patch, manager, dry_run).await?
        };
        let format = self.set.printing.format()?;
        if format.is_table() {
            return session.print(&format!("{} env updated{}\n", one.label(), dry_run.suffix()));
        }
        if !self.set.printing.show_managed_fields {
            hide_managed_fields(&mut object);
        }
        session.print_object(&format, &object)
    }

    fn clash(&self, one: &Found, old: &[Value], changes: &Changes) -> Result<(), Error> {
        if self.overwrite {
            return Ok(());
        }
        let names = |v: &&Value| changes.set.iter().any(|n| str_at(n, "name") == str_at(v, "name"));
        match old.iter().find(names) {
            None => Ok(()),
            Some(there) => Err(Error::new(format!(
                "{}/{} '{}' already has a value ({}), and --overwrite is false",
                one.mapping.plural,
                one.name(),
                str_at(there, "name"),
                str_at(there, "value")
            ))),
        }
    }

    async fn print(&self, session: &Session, one: &Found, changes: &Changes) -> Result<(), Error> {
        let spec = at(&one.value, spec_path(&one.mapping.kind));
        for list in ["containers", "initContainers"] {
            for container in list_at(spec, list) {
                let name = str_at(container, "name");
                if !fits(&self.containers, name) {
                    continue;
                }
                let mut text = format!("# {} {}, container {name}\n", one.mapping.kind, one.name());
                let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for variable in changes.applied(list_at(container, "env")) {
                    let name = str_at(&variable, "name");
                    let source = at(&variable, "valueFrom");
                    if source.is_null() {
                        text += &format!("{name}={}\n", str_at(&variable, "value"));
                        continue;
                    }
                    if self.resolve {
                        match resolved(session, one, source).await {
                            Ok(value) => {
                                text += &format!("{name}={value}\n");
                                continue;
                            }
                            Err(error) => {
                                problems.entry(error.to_string()).or_default().push(name.to_owned())
                            }
                        }
                    }
                    text += &format!("# {name} from {}\n", spelled(source));
                }
                session.print(&text)?;
                for (why, names) in &problems {
                    let names = names.join(", ");
                    session
                        .print_error(&format!("error retrieving reference for {names}: {why}\n"))?;
                }
            }
        }
        // What is wrong has been said; kubectl calls it a success.
        Ok(())
    }
}

/// Where a value comes from, in kubectl's words.
fn spelled(source: &Value) -> String {
    let text = |path: &str| str_at(source, path);
    if source.get("configMapKeyRef").is_some() {
        return format!(
            "configmap {}, key {}",
            text("configMapKeyRef.name"),
            text("configMapKeyRef.key")
        );
    }
    if source.get("secretKeyRef").is_some() {
        return format!("secret {}, key {}", text("secretKeyRef.name"), text("secretKeyRef.key"));
    }
    if source.get("fieldRef").is_some() {
        return format!("field path {}", text("fieldRef.fieldPath"));
    }
    if source.get("resourceFieldRef").is_some() {
        let container = match text("resourceFieldRef.containerName") {
            "" => String::new(),
            name => format!("{name}/"),
        };
        return format!("resource field {container}{}", text("resourceFieldRef.resource"));
    }
    "invalid valueFrom".to_owned()
}

/// What a reference leads to now.
async fn resolved(session: &Session, one: &Found, source: &Value) -> Result<String, Error> {
    for (field, plural, word) in
        [("configMapKeyRef", "configmaps", "config map"), ("secretKeyRef", "secrets", "secret")]
    {
        let Some(reference) = source.get(field) else { continue };
        let (name, key) = (str_at(reference, "name"), str_at(reference, "key"));
        let mapping = session.mapper().await?.by_name(plural)?;
        let object = session.object(mapping, one.namespace(), name).await?;
        let text = object["data"]
            .get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| Error::new(format!("key {key} not found in {word} {name}")))?;
        if word == "config map" {
            return Ok(text.to_owned());
        }
        let bytes = BASE64_STANDARD.decode(text).map_err(|e| Error::new(e.to_string()))?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    let path = str_at(source, "fieldRef.fieldPath");
    match path {
        "metadata.name" | "metadata.namespace" | "metadata.uid" => {
            Ok(str_at(&one.value, path).to_owned())
        }
        "" => {
            let resource = str_at(source, "resourceFieldRef.resource");
            Err(Error::new(format!("Unsupported container resource : {resource}")))
        }
        _ => Err(Error::new(format!("unsupported fieldPath: {path}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let old = [json!({"name": "A", "value": "1"}), json!({"name": "B", "value": "2"})];
        let unknown = Changes::parse(["NAME"].into_iter()).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown environment variable: NAME");
        let changes = Changes::parse(["B=x", "C=y=z", "A-"].into_iter()).unwrap();
        let new = [json!({"name": "B", "value": "x"}), json!({"name": "C", "value": "y=z"})];
        assert_eq!(changes.applied(&old), new);
        for args in [["1bad=x", "A=b"], ["=x", "A=b"], ["A=b", "A-"]] {
            assert!(Changes::parse(args.into_iter()).is_err(), "{args:?}");
        }
        assert_eq!(as_name("my.key-1"), "MY_KEY_1");
        for (pattern, name, expected) in
            [("*", "web", true), ("w*b", "web", true), ("web", "web2", false), ("*x", "web", false)]
        {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
