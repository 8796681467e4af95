//! The user's preferences (KEP-3104, `kubectl.config.k8s.io`): aliases, other defaults of flags,
//! and which programs may give credentials. Read from `--kuberc`, `KUBERC` or `~/.kube/kuberc`.

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use onggi_client::kubeconfig::PluginPolicy;
use onggi_machinery::value::{list_at, str_at};
use onggi_machinery::yaml;
use serde_json::{Value, json};

use crate::error::Error;

/// The version that is written.
pub(crate) const API_VERSION: &str = "kubectl.config.k8s.io/v1beta1";
/// The versions that are read.
const VERSIONS: [&str; 2] = [API_VERSION, "kubectl.config.k8s.io/v1alpha1"];

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preferences {
    aliases: Vec<Alias>,
    defaults: Vec<Defaults>,
    /// Which programs may give credentials.
    pub plugins: PluginPolicy,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Alias {
    name: String,
    command: String,
    prepend: Vec<String>,
    append: Vec<String>,
    options: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Defaults {
    command: String,
    options: Vec<(String, String)>,
}

/// A command line as it is meant, and what to say before it is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expanded {
    /// The words behind the program's name.
    pub words: Vec<String>,
    /// Warnings, a line each.
    pub said: Vec<String>,
    /// Which programs may give credentials.
    pub plugins: PluginPolicy,
    /// Whether the verb was an alias.
    pub is_alias: bool,
}

/// The file that is meant, and whether somebody named it; `None`: there are to be no preferences.
pub(crate) fn file(explicit: Option<&str>) -> Result<Option<(PathBuf, bool)>, Error> {
    let variable = std::env::var("KUBERC").unwrap_or_default();
    let explicit = explicit.filter(|path| !path.is_empty());
    if variable == "off" {
        return match explicit {
            Some(_) => Err(Error::new(
                "disabling kuberc via KUBERC=off and passing kuberc flag are mutually exclusive",
            )),
            None => Ok(None),
        };
    }
    if let Some(path) = explicit {
        return Ok(Some((path.into(), true)));
    }
    if !variable.is_empty() {
        return Ok(Some((variable.into(), true)));
    }
    let home = std::env::var("HOME").unwrap_or_default();
    Ok(Some((Path::new(&home).join(".kube/kuberc"), false)))
}

/// The first document of a file that holds preferences; `None` where the file is not there, or
/// empty.
pub(crate) fn read(path: &Path) -> Result<Option<Value>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::new(format!("{}: {error}", path.display()))),
    };
    let documents =
        yaml::documents(&text).map_err(|e| Error::new(format!("{}: {e}", path.display())))?;
    if documents.is_empty() {
        return Ok(None);
    }
    let fits = |value: &Value| {
        VERSIONS.contains(&str_at(value, "apiVersion")) && str_at(value, "kind") == "Preference"
    };
    let mut found = documents.into_iter().map(|document| document.value).filter(fits);
    let mut value = found
        .next()
        .ok_or_else(|| Error::new(format!("no valid preferences found in {}", path.display())))?;
    modernize(&mut value);
    Ok(Some(value))
}

/// v1alpha1 called defaults `overrides`, and options `flags`.
fn modernize(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    if let Some(overrides) = map.remove("overrides") {
        map.insert("defaults".to_owned(), overrides);
    }
    map.insert("apiVersion".to_owned(), json!(API_VERSION));
    for list in ["aliases", "defaults"] {
        let entries = map.get_mut(list).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
            if let Some(flags) = entry.remove("flags") {
                entry.insert("options".to_owned(), flags);
            }
        }
    }
}

impl Preferences {
    /// Reads a `Preference`; refuses what makes no sense.
    pub(crate) fn parse(value: &Value) -> Result<Self, Error> {
        let texts = |value: &Value, field: &str| -> Vec<String> {
            list_at(value, field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let options = |value: &Value| {
            let one = |option: &Value| {
                let name = str_at(option, "name");
                if name.starts_with('-') {
                    return Err(Error::new(format!(
                        "flag name {name} should be in long form without dashes"
                    )));
                }
                Ok((name.to_owned(), str_at(option, "default").to_owned()))
            };
            list_at(value, "options").iter().map(one).collect::<Result<Vec<_>, Error>>()
        };
        let mut found = Self { plugins: policy(value)?, ..Self::default() };
        for alias in list_at(value, "aliases") {
            let name = str_at(alias, "name");
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
                return Err(Error::new(
                    "invalid alias name, can only include alphabetical characters",
                ));
            }
            if found.aliases.iter().any(|known| known.name == name) {
                return Err(Error::new(format!("duplicate alias name {name}")));
            }
            found.aliases.push(Alias {
                name: name.to_owned(),
                command: str_at(alias, "command").to_owned(),
                prepend: texts(alias, "prependArgs"),
                append: texts(alias, "appendArgs"),
                options: options(alias)?,
            });
        }
        for entry in list_at(value, "defaults") {
            let command = str_at(entry, "command").to_owned();
            found.defaults.push(Defaults { command, options: options(entry)? });
        }
        Ok(found)
    }

    /// The command line with its alias and the user's defaults written out.
    fn expand(&self, root: &Command, words: &[String]) -> Result<Expanded, Error> {
        let mut done = Expanded {
            words: words.to_vec(),
            plugins: self.plugins.clone(),
            ..Expanded::default()
        };
        let line = Line::of(root, words);
        if line.path.is_empty() {
            let Some(at) = line.stopped else { return Ok(done) };
            let Some(alias) = self.aliases.iter().find(|alias| alias.name == words[at]) else {
                return Ok(done);
            };
            let command: Vec<String> =
                alias.command.split_whitespace().map(str::to_owned).collect();
            let target = Line::of(root, &command);
            if !target.is_kubectls(&command) {
                return Err(Error::new(format!(
                    "command {:?} not found to set alias {:?}",
                    alias.command, alias.name
                )));
            }
            let flags = flags(root, target.command, &alias.options, words, |flag| {
                format!("invalid alias flag {flag} in alias {}", alias.name)
            })?;
            let (before, after) = (&words[..at], &words[at + 1..]);
            done.words = before.to_vec();
            done.is_alias = true;
            for part in [&command, &flags, &alias.prepend, &after.to_vec(), &alias.append] {
                done.words.extend_from_slice(part);
            }
            return Ok(done);
        }
        let mut added = Vec::new();
        for defaults in &self.defaults {
            let command: Vec<String> =
                defaults.command.split_whitespace().map(str::to_owned).collect();
            let target = Line::of(root, &command);
            if !target.is_kubectls(&command) {
                done.said.push(format!(
                    "Warning: command {:?} not found to set kuberc override",
                    defaults.command
                ));
                continue;
            }
            if target.path == line.path {
                added.extend(flags(root, target.command, &defaults.options, words, |flag| {
                    format!("invalid flag {flag} for command {}", defaults.command)
                })?);
            }
        }
        done.words.splice(line.end..line.end, added);
        Ok(done)
    }
}

/// The options that the command line does not set itself, as flags.
fn flags(
    root: &Command,
    command: &Command,
    options: &[(String, String)],
    words: &[String],
    wrong: impl Fn(&str) -> String,
) -> Result<Vec<String>, Error> {
    let known: Vec<&Arg> = command.get_arguments().chain(root.get_arguments()).collect();
    let mut flags = Vec::new();
    for (name, value) in options {
        let arg = known
            .iter()
            .find(|arg| arg.get_long() == Some(name))
            .ok_or_else(|| Error::new(wrong(name)))?;
        let own = words.iter().take_while(|word| *word != "--");
        if !own.into_iter().any(|word| sets(word, name, arg.get_short(), &known)) {
            flags.push(format!("--{name}={value}"));
        }
    }
    Ok(flags)
}

/// Whether a word sets a flag: `--output`, `--output=x`, `-o`, `-ox`, or `-o` among letters.
fn sets(word: &str, long: &str, short: Option<char>, known: &[&Arg]) -> bool {
    if let Some(rest) = word.strip_prefix("--") {
        return rest.split('=').next() == Some(long);
    }
    let (Some(letters), Some(short)) = (word.strip_prefix('-'), short) else { return false };
    // Up to the first that takes the rest as its value.
    for letter in letters.chars() {
        if letter == short {
            return true;
        }
        let is_switch = |arg: &&Arg| {
            arg.get_short() == Some(letter)
                && (!arg.get_action().takes_values() || arg.is_require_equals_set())
        };
        if !known.iter().any(is_switch) {
            return false;
        }
    }
    false
}

/// How far a command line names a command.
struct Line<'c> {
    /// The names of the commands.
    path: Vec<&'c str>,
    command: &'c Command,
    /// Behind the last of them.
    end: usize,
    /// The first word that is neither command nor flag.
    stopped: Option<usize>,
}

impl<'c> Line<'c> {
    /// Whether it is a command and nothing else, and one of kubectl's: the preferences are theirs.
    fn is_kubectls(&self, words: &[String]) -> bool {
        use clap::Subcommand;
        self.path.len() == words.len()
            && self.path.first().is_some_and(|verb| crate::Verb::has_subcommand(verb))
    }

    fn of(root: &'c Command, words: &[String]) -> Self {
        let mut line = Self { path: Vec::new(), command: root, end: 0, stopped: None };
        let mut at = 0;
        while let Some(word) = words.get(at) {
            if word == "--" {
                break;
            }
            if word.starts_with('-') && word.len() > 1 {
                at += if takes_next(root, line.command, word) { 2 } else { 1 };
                continue;
            }
            let Some(next) = line.command.find_subcommand(word) else {
                line.stopped = Some(at);
                break;
            };
            line.path.push(next.get_name());
            line.command = next;
            at += 1;
            line.end = at;
        }
        line
    }
}

/// Whether a flag has its value in the next word.
fn takes_next(root: &Command, command: &Command, word: &str) -> bool {
    let mut known = command.get_arguments().chain(root.get_arguments());
    let arg = match word.strip_prefix("--") {
        Some(long) => known.find(|arg| arg.get_long() == Some(long)),
        None => {
            let mut letters = word.chars().skip(1);
            let (short, rest) = (letters.next(), letters.next());
            known.find(|arg| arg.get_short() == short).filter(|_| rest.is_none())
        }
    };
    arg.is_some_and(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

fn policy(value: &Value) -> Result<PluginPolicy, Error> {
    let entries = list_at(value, "credentialPluginAllowlist");
    let given = value.get("credentialPluginAllowlist").is_some_and(|list| !list.is_null());
    match str_at(value, "credentialPluginPolicy") {
        name @ ("" | "AllowAll" | "DenyAll") if given => Err(Error::new(format!(
            "misconfigured credential plugin allowlist: plugin policy is {name:?} but allowlist is \
             non-nil"
        ))),
        "" | "AllowAll" => Ok(PluginPolicy::AllowAll),
        "DenyAll" => Ok(PluginPolicy::DenyAll),
        "Allowlist" => {
            let one = |entry: &Value| {
                let (name, command) = (str_at(entry, "name"), str_at(entry, "command"));
                let all: Vec<String> = [name, command]
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
                    .collect();
                if all.is_empty() {
                    return Err(Error::new(
                        "misconfigured credential plugin allowlist: empty allowlist entry",
                    ));
                }
                Ok(all)
            };
            let allowed = entries.iter().map(one).collect::<Result<Vec<_>, Error>>()?;
            if allowed.is_empty() {
                return Err(Error::new(
                    "misconfigured credential plugin allowlist: allowlist is empty",
                ));
            }
            Ok(PluginPolicy::Allowlist(allowed))
        }
        other => Err(Error::new(format!("invalid plugin policy: {other:?}"))),
    }
}

/// The verb of a command line, wherever in it. `root`: the program's command.
pub fn verb<'c>(root: &'c Command, words: &[String]) -> Option<&'c str> {
    Line::of(root, words).path.first().copied()
}

/// Which programs may give credentials where a command line is completed: as the file that it names
/// says, else `otherwise`. Of a file that is wrong none may.
pub(crate) fn plugins(words: &[String], otherwise: &PluginPolicy) -> PluginPolicy {
    if std::env::var("KUBECTL_KUBERC").as_deref() == Ok("false") {
        return otherwise.clone();
    }
    let named = || {
        let Some(named) = named(words)? else { return Ok(otherwise.clone()) };
        let Some((path, _)) = file(Some(named))? else { return Ok(otherwise.clone()) };
        match read(&path)? {
            Some(value) => Preferences::parse(&value).map(|found| found.plugins),
            None if path.exists() => Ok(PluginPolicy::AllowAll),
            None => Err(Error::new(format!("{}: no such file", path.display()))),
        }
    };
    named().unwrap_or(PluginPolicy::DenyAll)
}

/// The command line as the user's preferences have it. `root`: the program's command.
pub fn expand(root: &Command, words: &[String]) -> Result<Expanded, Error> {
    expanded(root, words)
        .map_err(|error| Error::Bare(format!("error occurred while applying preferences {error}")))
}

fn expanded(root: &Command, words: &[String]) -> Result<Expanded, Error> {
    let unchanged = || Expanded { words: words.to_vec(), ..Expanded::default() };
    // What works on the file itself must work when it is wrong.
    let works_on_it = verb(root, words) == Some("kuberc");
    if works_on_it || words.is_empty() || std::env::var("KUBECTL_KUBERC").as_deref() == Ok("false")
    {
        return Ok(unchanged());
    }
    let Some((path, is_explicit)) = file(named(words)?)? else { return Ok(unchanged()) };
    let failed = |error: Error| Error::new(format!("kuberc error kuberc: {error}"));
    let value = match read(&path) {
        Ok(Some(value)) => value,
        Ok(None) if is_explicit && !path.exists() => {
            let text = format!("open {}: no such file or directory", path.display());
            return Err(failed(Error::new(text)));
        }
        Ok(None) => return Ok(unchanged()),
        Err(error) if is_explicit => return Err(failed(error)),
        Err(error) => {
            let place = path.display();
            let said = format!("kuberc: no preferences loaded from {place}: {error}");
            return Ok(Expanded { said: vec![said], ..unchanged() });
        }
    };
    Preferences::parse(&value)?.expand(root, words)
}

/// The value of `--kuberc`, which is needed before the flags are read.
fn named(words: &[String]) -> Result<Option<&str>, Error> {
    let own: Vec<&String> = words.iter().take_while(|word| *word != "--").collect();
    let missing = || Error::new("kuberc file is not found");
    for (at, word) in own.iter().enumerate() {
        if *word == "--kuberc" {
            return own.get(at + 1).map(|path| Some(path.as_str())).ok_or_else(missing);
        }
        if let Some(path) = word.strip_prefix("--kuberc=") {
            return if path.is_empty() { Err(missing()) } else { Ok(Some(path)) };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        Command::new("onggi")
            .arg(flag("namespace").short('n').global(true))
            .subcommand(
                Command::new("get")
                    .arg(flag("output").short('o'))
                    .arg(flag("interactive").short('i').action(clap::ArgAction::SetTrue))
                    .arg(flag("watch").short('w').action(clap::ArgAction::SetTrue)),
            )
            .subcommand(Command::new("kuberc"))
            .subcommand(Command::new("up"))
            .subcommand(Command::new("run").arg(flag("image")))
            .subcommand(Command::new("set").subcommand(Command::new("env").arg(flag("list"))))
    }

    fn line_of(line: &str) -> Result<String, String> {
        let value = json!({
            "aliases": [
                {"name": "getn", "command": "get", "prependArgs": ["node"],
                    "options": [{"name": "output", "default": "wide"}]},
                {"name": "runx", "command": "run", "appendArgs": ["--", "a"],
                    "options": [{"name": "image", "default": "nginx"}]},
                {"name": "se", "command": "set env"},
                {"name": "run", "command": "get"},
                {"name": "bad", "command": "nope"},
                {"name": "rise", "command": "up"},
            ],
            "defaults": [
                {"command": "get", "options": [{"name": "output", "default": "yaml"}]},
                {"command": "set env", "options": [{"name": "list", "default": "x"}]},
            ],
        });
        let preferences = Preferences::parse(&value).unwrap();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let done = preferences.expand(&root(), &words);
        done.map(|done| done.words.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn command_lines() {
        for (line, meant) in [
            ("get pods", "get --output=yaml pods"),
            ("get pods -ojson", "get pods -ojson"),
            ("get pods -wo name", "get pods -wo name"),
            ("get pods -no", "get --output=yaml pods -no"),
            ("get pods -- -o x", "get --output=yaml pods -- -o x"),
            ("-n a get pods", "-n a get --output=yaml pods"),
            ("getn c1", "get --output=wide node c1"),
            ("-n a getn --output=json", "-n a get node --output=json"),
            ("runx p", "run --image=nginx p -- a"),
            ("run p", "run p"),
            ("se --list", "set env --list"),
            ("set env x", "set env --list=x x"),
            ("nope x", "nope x"),
        ] {
            assert_eq!(line_of(line).as_deref(), Ok(meant), "{line}");
        }
        assert_eq!(line_of("bad").unwrap_err(), "command \"nope\" not found to set alias \"bad\"");
        assert_eq!(line_of("rise").unwrap_err(), "command \"up\" not found to set alias \"rise\"");
    }

    #[test]
    fn verbs() {
        let verb_of = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            verb(&root(), &words).map(str::to_owned)
        };
        for (line, expected) in [
            ("kuberc view", Some("kuberc")),
            ("-n a kuberc view", Some("kuberc")),
            ("get kuberc", Some("get")),
            ("-n kuberc get", Some("get")),
            ("nope kuberc", None),
        ] {
            assert_eq!(verb_of(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn the_named_file_says_who_gives_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kuberc");
        let words = [format!("--kuberc={}", path.display()), "get".to_owned()];
        let allowed = || plugins(&words, &PluginPolicy::AllowAll);
        assert_eq!(allowed(), PluginPolicy::DenyAll);
        for (policy, expected) in [
            ("AllowAll", PluginPolicy::AllowAll),
            ("DenyAll", PluginPolicy::DenyAll),
            ("nonsense", PluginPolicy::DenyAll),
        ] {
            let text = format!(
                "apiVersion: {API_VERSION}\nkind: Preference\ncredentialPluginPolicy: {policy}\n"
            );
            std::fs::write(&path, text).unwrap();
            assert_eq!(allowed(), expected, "{policy}");
        }
        assert_eq!(plugins(&words[1..], &PluginPolicy::AllowAll), PluginPolicy::AllowAll);
    }

    #[test]
    fn what_makes_no_sense() {
        let said = |value: Value| Preferences::parse(&value).unwrap_err().to_string();
        let alias = |name: &str| json!({"name": name, "command": "get"});
        assert!(said(json!({"aliases": [alias("a1")]})).contains("alphabetical"));
        assert!(said(json!({"aliases": [alias("a"), alias("a")]})).contains("duplicate"));
        let dashed = json!({"defaults": [{"command": "get", "options": [{"name": "--a"}]}]});
        assert!(said(dashed).contains("long form"));
        assert!(said(json!({"credentialPluginPolicy": "x"})).contains("invalid plugin policy"));
        assert!(said(json!({"credentialPluginPolicy": "Allowlist"})).contains("empty"));
        let list = json!([{"command": "a"}, {"name": "b"}]);
        let value =
            json!({"credentialPluginPolicy": "Allowlist", "credentialPluginAllowlist": list});
        let allowed = vec![vec!["a".to_owned()], vec!["b".to_owned()]];
        let read = Preferences::parse(&value).unwrap();
        assert_eq!(read.plugins, PluginPolicy::Allowlist(allowed));
    }

    #[test]
    fn old_versions() {
        let mut old = json!({
            "apiVersion": "kubectl.config.k8s.io/v1alpha1", "kind": "Preference",
            "overrides": [{"command": "get", "flags": [{"name": "a", "default": "b"}]}],
        });
        modernize(&mut old);
        let new = json!({
            "apiVersion": API_VERSION, "kind": "Preference",
            "defaults": [{"command": "get", "options": [{"name": "a", "default": "b"}]}],
        });
        assert_eq!(old, new);
    }
}
