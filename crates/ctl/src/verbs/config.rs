//! `config`: the kubeconfig.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_client::kubeconfig::{Kubeconfig, paths, set_context, use_context};
use onggi_machinery::value::{find, list_at, str_at};
use onggi_machinery::yaml as reader;
use serde_json::{Value, json};

use crate::error::Error;
use crate::output::tabwriter::{TABLE, align};
use crate::output::{Format, yaml};
use crate::session::Session;

mod change;

use change::{CLUSTERS, CONTEXTS, Section, USERS};

/// Flags of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the name of the current context
    CurrentContext,
    /// Print the contexts
    GetContexts {
        /// Only this one
        name: Option<String>,
        /// name, for names alone
        #[arg(long, short, default_value = "", value_parser = ["", "name"])]
        output: String,
        /// Do not print the headings
        #[arg(long)]
        no_headers: bool,
    },
    /// Make a context the current one
    #[command(visible_alias = "use")]
    UseContext {
        /// Its name
        name: String,
    },
    /// Change a context, or make one; the namespace is that of -n
    SetContext {
        /// Its name
        #[arg(required_unless_present = "current")]
        name: Option<String>,
        /// The current one
        #[arg(long)]
        current: bool,
        /// Its cluster
        #[arg(long)]
        cluster: Option<String>,
        /// Its user
        #[arg(long)]
        user: Option<String>,
    },
    /// Print the names of the clusters
    GetClusters,
    /// Print the names of the users
    GetUsers,
    /// Take a context out
    DeleteContext {
        /// Its name
        name: String,
    },
    /// Take a cluster out
    DeleteCluster {
        /// Its name
        name: String,
    },
    /// Take a user out
    DeleteUser {
        /// Its name
        name: String,
    },
    /// Give a context another name
    RenameContext {
        /// Its name
        old: String,
        /// The new one
        new: String,
    },
    /// Set a field: clusters.NAME.server
    Set {
        /// Its path
        property: String,
        /// Its value
        value: String,
        /// The value of a field of bytes is given as it is, not in base64
        #[arg(long)]
        set_raw_bytes: bool,
    },
    /// Take a field out
    Unset {
        /// Its path
        property: String,
    },
    /// Change a cluster, or make one: --server, --certificate-authority
    SetCluster(change::SetCluster),
    /// Change a user, or make one: --token, --client-certificate, --client-key
    SetCredentials(change::SetCredentials),
    /// Print the kubeconfig
    View {
        /// With secrets
        #[arg(long)]
        raw: bool,
        /// Only what the current context needs
        #[arg(long)]
        minify: bool,
        /// With what files hold
        #[arg(long)]
        flatten: bool,
        /// yaml, json, jsonpath=…
        #[arg(long, short, default_value = "yaml")]
        output: String,
    },
}

impl Args {
    /// Prints or changes it.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        let path = session.globals.kubeconfig.as_deref();
        let config = Kubeconfig::discover(path)?;
        match self.what {
            What::CurrentContext => match config.current_context() {
                "" => Err(Error::new("current-context is not set")),
                name => session.print(&format!("{name}\n")),
            },
            What::GetContexts { name, output, no_headers } => {
                let content = content(session)?;
                contexts(session, &content, name.as_deref(), output == "name", no_headers)
            }
            What::UseContext { name } => {
                if !config.contexts().contains(&name.as_str()) {
                    return Err(Error::new(format!("no context exists with the name: {name:?}")));
                }
                // The current context stands in the first file.
                if let Some(first) = paths(path).first() {
                    use_context(first, &name)?;
                }
                session.print(&format!("Switched to context {name:?}.\n"))
            }
            What::SetContext { name, current, cluster, user } => {
                let name = match (name, current) {
                    (Some(_), true) => {
                        return Err(Error::new(
                            "you cannot specify both a context name and --current",
                        ));
                    }
                    (Some(name), false) => name,
                    (None, _) => config.current_context().to_owned(),
                };
                if name.is_empty() {
                    return Err(Error::new("no current context is set"));
                }
                let is_new = !config.contexts().contains(&name.as_str());
                let fields = [
                    ("cluster", &cluster),
                    ("user", &user),
                    ("namespace", &session.globals.namespace),
                ];
                let fields: Vec<(&str, &str)> = fields
                    .into_iter()
                    .filter_map(|(field, value)| Some((field, value.as_deref()?)))
                    .collect();
                let home = config.home_of(&name).ok_or_else(|| Error::new("no kubeconfig"))?;
                set_context(home, &name, &fields)?;
                let said = if is_new { "created" } else { "modified" };
                session.print(&format!("Context {name:?} {said}.\n"))
            }
            What::GetClusters => names(session, CLUSTERS),
            What::GetUsers => names(session, USERS),
            What::DeleteContext { name } => change::delete(session, CONTEXTS, &name),
            What::DeleteCluster { name } => change::delete(session, CLUSTERS, &name),
            What::DeleteUser { name } => change::delete(session, USERS, &name),
            What::RenameContext { old, new } => change::rename(session, &old, &new),
            What::Set { property, value, set_raw_bytes } => {
                change::property(session, &property, Some(&value), set_raw_bytes)
            }
            What::Unset { property } => change::property(session, &property, None, false),
            What::SetCluster(cluster) => cluster.run(session),
            What::SetCredentials(credentials) => credentials.run(session),
            What::View { raw, minify, flatten, output } => {
                let mut content = content(session)?;
                if minify {
                    minified(&mut content, session.globals.context.as_deref())?;
                }
                if flatten {
                    flattened(&mut content)?;
                }
                if !(raw || flatten) {
                    redact(&mut content);
                }
                for section in ["clusters", "contexts", "users"] {
                    if list_at(&content, section).is_empty() {
                        content[section] = Value::Null;
                    }
                }
                match Format::parse(&output)? {
                    Format::Yaml => session.print(&yaml::to_string(&content)),
                    format => session.print_object(&format, &content),
                }
            }
        }
    }
}

/// All files as one; what stands in an earlier one wins.
pub(crate) fn content(session: &Session) -> Result<Value, Error> {
    let mut whole = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "",
        "clusters": [], "contexts": [], "users": [],
    });
    for path in paths(session.globals.kubeconfig.as_deref()) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let one =
            reader::parse(&text).map_err(|e| Error::new(format!("{}: {e}", path.display())))?;
        if str_at(&whole, "current-context").is_empty() {
            whole["current-context"] = json!(str_at(&one, "current-context"));
        }
        for section in ["clusters", "contexts", "users"] {
            for entry in list_at(&one, section) {
                let known = find(list_at(&whole, section), "name", str_at(entry, "name")).is_some();
                if let (false, Value::Array(entries)) = (known, &mut whole[section]) {
                    entries.push(entry.clone());
                }
            }
        }
    }
    Ok(whole)
}

fn contexts(
    session: &Session,
    content: &Value,
    only: Option<&str>,
    names: bool,
    no_headers: bool,
) -> Result<(), Error> {
    let mut entries: Vec<&Value> = list_at(content, "contexts").iter().collect();
    entries.sort_by_key(|entry| str_at(entry, "name"));
    if let Some(only) = only {
        entries.retain(|entry| str_at(entry, "name") == only);
        if entries.is_empty() {
            return Err(Error::new(format!("context {only} not found")));
        }
    }
    if names {
        let text: String = entries.iter().map(|e| format!("{}\n", str_at(e, "name"))).collect();
        return session.print(&text);
    }
    let mut text = String::new();
    if !no_headers {
        text += "CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n";
    }
    for entry in entries {
        let name = str_at(entry, "name");
        let mark = if name == str_at(content, "current-context") { "*" } else { "" };
        let of = |field: &str| str_at(&entry["context"], field).to_owned();
        text +=
            &format!("{mark}\t{name}\t{}\t{}\t{}\n", of("cluster"), of("user"), of("namespace"));
    }
    session.print(&align(&text, TABLE))
}

fn minified(content: &mut Value, context: Option<&str>) -> Result<(), Error> {
    let current = context.unwrap_or(str_at(content, "current-context")).to_owned();
    let entry = find(list_at(content, "contexts"), "name", &current)
        .ok_or_else(|| Error::new(format!("no context exists with the name: {current:?}")))?;
    let (cluster, user) =
        (str_at(entry, "context.cluster").to_owned(), str_at(entry, "context.user").to_owned());
    for (section, name) in [("contexts", &current), ("clusters", &cluster), ("users", &user)] {
        if let Value::Array(entries) = &mut content[section] {
            entries.retain(|entry| str_at(entry, "name") == name);
        }
    }
    content["current-context"] = json!(current);
    Ok(())
}

fn names(session: &Session, section: Section) -> Result<(), Error> {
    let content = content(session)?;
    let mut names: Vec<&str> =
        list_at(&content, section.list).iter().map(|entry| str_at(entry, "name")).collect();
    names.sort_unstable();
    session.print(&format!("NAME\n{}", names.iter().map(|n| format!("{n}\n")).collect::<String>()))
}

/// Puts what files hold in the place of their names.
fn flattened(content: &mut Value) -> Result<(), Error> {
    for (section, fields) in
        [(CLUSTERS, &["certificate-authority"][..]), (USERS, &["client-certificate", "client-key"])]
    {
        for entry in onggi_machinery::value::items_mut(content, section.list) {
            let Some(body) = entry.get_mut(section.key).and_then(Value::as_object_mut) else {
                continue;
            };
            for field in fields {
                let Some(Value::String(path)) = body.remove(*field) else { continue };
                let bytes = std::fs::read(&path).map_err(|e| Error::new(format!("{path}: {e}")))?;
                body.insert(format!("{field}-data"), BASE64_STANDARD.encode(bytes).into());
            }
        }
    }
    Ok(())
}

/// Puts kubectl's words in the place of certificates, keys and tokens.
fn redact(content: &mut Value) {
    for (section, key) in [("clusters", "cluster"), ("users", "user")] {
        let Value::Array(entries) = &mut content[section] else { continue };
        for body in entries.iter_mut().filter_map(|entry| entry.get_mut(key)?.as_object_mut()) {
            for (field, value) in body.iter_mut() {
                match field.as_str() {
                    "token" | "password" => *value = json!("REDACTED"),
                    field if field.ends_with("-data") => *value = json!("DATA+OMITTED"),
                    _ => {}
                }
            }
        }
    }
}
