//! Subcommands of `config` that change a kubeconfig.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_client::kubeconfig::{change, paths};
use onggi_machinery::value::{find, list_at, map_mut, remove, set, str_at};
use onggi_machinery::yaml;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::session::Session;

/// The section of a kind of entry, and what its entries hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub(super) list: &'static str,
    pub(super) key: &'static str,
    /// kubectl's word.
    word: &'static str,
}

pub(super) const CONTEXTS: Section = Section { list: "contexts", key: "context", word: "context" };
pub(super) const CLUSTERS: Section = Section { list: "clusters", key: "cluster", word: "cluster" };
pub(super) const USERS: Section = Section { list: "users", key: "user", word: "user" };

#[derive(Debug, clap::Args)]
pub(super) struct SetCluster {
    /// Its name
    name: String,
    /// Keep what files hold in the kubeconfig itself
    #[arg(long)]
    embed_certs: bool,
    /// A proxy on the way to the server
    #[arg(long)]
    proxy_url: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetCredentials {
    /// Its name
    name: String,
    /// Keep what files hold in the kubeconfig itself
    #[arg(long)]
    embed_certs: bool,
    /// A program that gives the credentials
    #[arg(long)]
    exec_command: Option<String>,
    /// The version of what it gives
    #[arg(long)]
    exec_api_version: Option<String>,
    /// Its arguments
    #[arg(long, value_delimiter = ',')]
    exec_arg: Vec<String>,
    /// Its environment
    #[arg(long, value_name = "KEY=VALUE")]
    exec_env: Vec<String>,
    /// Whether it may ask: Never, IfAvailable or Always
    #[arg(long, default_value = "IfAvailable", value_parser = ["Never", "IfAvailable", "Always"])]
    exec_interactive_mode: String,
    /// Tell it of the cluster
    #[arg(long)]
    exec_provide_cluster_info: bool,
}

/// The file that holds an entry, else the first one.
fn home(session: &Session, section: Section, name: &str) -> Result<PathBuf, Error> {
    let all = paths(session.globals.kubeconfig.as_deref());
    let holds = |path: &&PathBuf| {
        content(path).is_ok_and(|c| find(list_at(&c, section.list), "name", name).is_some())
    };
    let found = all.iter().find(holds).or(all.first()).cloned();
    found.ok_or_else(|| Error::new("no kubeconfig"))
}

fn content(path: &Path) -> Result<Value, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => yaml::parse(&text).map_err(|e| Error::new(format!("{}: {e}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(Error::new(format!("{}: {error}", path.display()))),
    }
}

/// Sets fields of an entry, which is made where it is missing.
fn put(
    session: &Session,
    section: Section,
    name: &str,
    fields: Vec<(&str, Value)>,
) -> Result<(), Error> {
    let path = home(session, section, name)?;
    change(&path, |content| {
        let root = map_mut(content, "");
        root.entry("apiVersion").or_insert_with(|| "v1".into());
        root.entry("kind").or_insert_with(|| "Config".into());
        let list = root.entry(section.list).or_insert_with(|| json!([]));
        if !list.is_array() {
            *list = json!([]);
        }
        let Value::Array(entries) = list else { return };
        if !entries.iter().any(|entry| str_at(entry, "name") == name) {
            entries.push(json!({"name": name, section.key: {}}));
        }
        for entry in entries.iter_mut().filter(|entry| str_at(entry, "name") == name) {
            let body: &mut Map<String, Value> = map_mut(entry, section.key);
            for (field, value) in &fields {
                match value {
                    Value::Null => body.remove(*field),
                    value => body.insert((*field).to_owned(), value.clone()),
                };
            }
        }
    })?;
    Ok(())
}

/// A file, or what it holds; the other of the two goes.
fn file_fields(
    field: &'static str,
    inline: &'static str,
    path: Option<&Path>,
    embed: bool,
) -> Result<Vec<(&'static str, Value)>, Error> {
    let Some(path) = path else { return Ok(Vec::new()) };
    if !embed {
        let whole = std::path::absolute(path)?;
        let whole = whole.display().to_string();
        return Ok(vec![(field, whole.into()), (inline, Value::Null)]);
    }
    let bytes = std::fs::read(path).map_err(|e| {
        Error::new(format!("could not read {field} data from {}: {e}", path.display()))
    })?;
    Ok(vec![(inline, BASE64_STANDARD.encode(bytes).into()), (field, Value::Null)])
}

impl SetCluster {
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        let globals = &session.globals;
        let mut fields = file_fields(
            "certificate-authority",
            "certificate-authority-data",
            globals.certificate_authority.as_deref(),
            self.embed_certs,
        )?;
        for (field, value) in [
            ("server", &globals.server),
            ("tls-server-name", &globals.tls_server_name),
            ("proxy-url", &self.proxy_url),
        ] {
            fields.extend(value.clone().map(|text| (field, Value::from(text))));
        }
        if globals.insecure_skip_tls_verify {
            fields.push(("insecure-skip-tls-verify", true.into()));
            fields.extend([
                ("certificate-authority", Value::Null),
                ("certificate-authority-data", Value::Null),
            ]);
        }
        put(session, CLUSTERS, &self.name, fields)?;
        session.print(&format!("Cluster {:?} set.\n", self.name))
    }
}

impl SetCredentials {
    pub(super) fn run(self, session: &Session) -> Result<(), Error> {
        let globals = &session.globals;
        if globals.token.is_some() && (globals.username.is_some() || globals.password.is_some()) {
            return Err(Error::new(
                "you cannot specify more than one authentication method at the same time: \
                 --token, --username/--password",
            ));
        }
        let embed = self.embed_certs;
        let certificate = globals.client_certificate.as_deref();
        let mut fields =
            file_fields("client-certificate", "client-certificate-data", certificate, embed)?;
        let key = globals.client_key.as_deref();
        fields.extend(file_fields("client-key", "client-key-data", key, embed)?);
        for (field, value) in [
            ("token", &globals.token),
            ("username", &globals.username),
            ("password", &globals.password),
        ] {
            fields.extend(value.clone().map(|text| (field, Value::from(text))));
        }
        if let Some(command) = &self.exec_command {
            let version = self.exec_api_version.as_deref();
            let version = version.unwrap_or("client.authentication.k8s.io/v1");
            let env = self.exec_env.iter().map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                json!({"name": name, "value": value})
            });
            fields.push((
                "exec",
                json!({
                    "apiVersion": version, "command": command, "args": self.exec_arg,
                    "env": env.collect::<Vec<_>>(), "interactiveMode": self.exec_interactive_mode,
                    "provideClusterInfo": self.exec_provide_cluster_info,
                }),
            ));
        }
        put(session, USERS, &self.name, fields)?;
        session.print(&format!("User {:?} set.\n", self.name))
    }
}

/// `delete-context`, `delete-cluster`, `delete-user`.
pub(super) fn delete(session: &Session, section: Section, name: &str) -> Result<(), Error> {
    let path = home(session, section, name)?;
    let there = find(list_at(&content(&path)?, section.list), "name", name).is_some();
    let (word, shown) = (section.word, path.display());
    if !there {
        return Err(Error::new(format!("cannot delete {word} {name}, not in {shown}")));
    }
    let current = str_at(&content(&path)?, "current-context") == name;
    if section.list == CONTEXTS.list && current {
        session.print_error(
            "warning: this removed your active context, use \"kubectl config use-context\" to \
             select a different one\n",
        )?;
    }
    change(&path, |content| {
        if let Some(Value::Array(entries)) = content.get_mut(section.list) {
            entries.retain(|entry| str_at(entry, "name") != name);
        }
    })?;
    session.print(&format!("deleted {word} {name} from {shown}\n"))
}

/// `rename-context`.
pub(super) fn rename(session: &Session, old: &str, new: &str) -> Result<(), Error> {
    let path = home(session, CONTEXTS, old)?;
    let before = content(&path)?;
    let has = |name: &str| find(list_at(&before, "contexts"), "name", name).is_some();
    let shown = path.display();
    if !has(old) {
        return Err(Error::new(format!("cannot rename the context {old:?}, it's not in {shown}")));
    }
    if has(new) {
        return Err(Error::new(format!(
            "cannot rename the context {old:?}, the context {new:?} already exists in {shown}"
        )));
    }
    change(&path, |content| {
        for entry in onggi_machinery::value::items_mut(content, "contexts") {
            if str_at(entry, "name") == old {
                set(entry, "name", new);
            }
        }
        if str_at(content, "current-context") == old {
            set(content, "current-context", new);
        }
    })?;
    session.print(&format!("Context {old:?} renamed to {new:?}.\n"))
}

/// A value as its field wants it: what a field of bytes holds stands there in base64.
fn checked(field: &str, value: Option<Value>, raw: bool) -> Result<Option<Value>, Error> {
    let text = match &value {
        Some(Value::String(text)) => text.clone(),
        _ => return Ok(value),
    };
    match field {
        "insecure-skip-tls-verify" | "disable-compression" => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "True" => Ok(Some(json!(true))),
            "0" | "f" | "F" | "FALSE" | "False" => Ok(Some(json!(false))),
            _ => Err(Error::new(format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
        },
        field if field.ends_with("-data") && raw => {
            Ok(Some(json!(BASE64_STANDARD.encode(text.as_bytes()))))
        }
        field if field.ends_with("-data") => {
            BASE64_STANDARD.decode(&text).map_err(|e| {
                Error::new(format!("error decoding {text:?}: it is no base64 ({e})"))
            })?;
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// `set` and, without a value, `unset`; `raw`: bytes are given as they are.
pub(super) fn property(
    session: &Session,
    path: &str,
    value: Option<&str>,
    raw: bool,
) -> Result<(), Error> {
    let said = if value.is_some() { "set" } else { "unset" };
    let typed = value.map(|text| match text {
        "true" => json!(true),
        "false" => json!(false),
        text => json!(text),
    });
    let Some((first, rest)) = path.split_once('.') else {
        let file = paths(session.globals.kubeconfig.as_deref()).into_iter().next();
        let file = file.ok_or_else(|| Error::new("no kubeconfig"))?;
        change(&file, |content| match &typed {
            Some(value) => set(content, path, value.clone()),
            None => remove(content, path),
        })?;
        return session.print(&format!("Property {path:?} {said}.\n"));
    };
    let Some(section) = [CONTEXTS, CLUSTERS, USERS].into_iter().find(|s| s.list == first) else {
        return Err(Error::new(format!("unable to locate path {path}")));
    };
    // A name may hold dots: the longest that there is is meant.
    let all = paths(session.globals.kubeconfig.as_deref());
    let known: Vec<String> = all
        .iter()
        .filter_map(|path| content(path).ok())
        .flat_map(|c| {
            let names = list_at(&c, section.list).iter().map(|e| str_at(e, "name").to_owned());
            names.collect::<Vec<_>>()
        })
        .filter(|name| {
            rest == name || rest.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with('.'))
        })
        .collect();
    let name = known.into_iter().max_by_key(String::len);
    let name = name.unwrap_or_else(|| rest.split('.').next().unwrap_or(rest).to_owned());
    let field = rest.get(name.len() + 1..).unwrap_or("");
    match (field, typed) {
        ("", None) => {
            let file = home(session, section, &name)?;
            change(&file, |content| {
                if let Some(Value::Array(entries)) = content.get_mut(section.list) {
                    entries.retain(|entry| str_at(entry, "name") != name);
                }
            })?;
        }
        ("", Some(_)) => return Err(Error::new(format!("unable to locate path {path}"))),
        (field, value) => {
            let value = checked(field, value, raw)?;
            put(session, section, &name, vec![(field, value.unwrap_or(Value::Null))])?;
        }
    }
    session.print(&format!("Property {path:?} {said}.\n"))
}
