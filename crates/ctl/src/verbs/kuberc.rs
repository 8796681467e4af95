//! `kuberc`: prints and changes the user's preferences.

use std::path::{Path, PathBuf};

use onggi_base::files::write_atomic;
use onggi_machinery::value::{items_mut, list_at, str_at};
use serde_json::{Value, json};

use crate::error::Error;
use crate::flags::Printing;
use crate::kuberc::{API_VERSION, file, read};
use crate::output::{Format, yaml};
use crate::session::Session;

/// Flags of `kuberc`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print them
    View(View),
    /// Change them
    Set(Set),
}

#[derive(Debug, clap::Args)]
struct View {
    #[command(flatten)]
    printing: Printing,
}

#[derive(Debug, clap::Args)]
struct Set {
    /// What is changed: defaults, aliases or credentialplugin
    #[arg(long, required = true)]
    section: String,
    /// The command that is meant: get, set env
    #[arg(long, default_value = "")]
    command: String,
    /// Name of the alias
    #[arg(long, default_value = "")]
    name: String,
    /// Programs that may give credentials: AllowAll, DenyAll or Allowlist
    #[arg(long, default_value = "")]
    policy: String,
    /// Default of a flag: FLAG=VALUE
    #[arg(long, value_name = "FLAG=VALUE", allow_hyphen_values = true)]
    option: Vec<String>,
    /// Argument before those that are given
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    prependarg: Vec<String>,
    /// Argument behind those that are given
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    appendarg: Vec<String>,
    /// Program of the Allowlist: command=NAME
    #[arg(long, value_name = "command=NAME")]
    allowlist_entry: Vec<String>,
    /// Change what there is already
    #[arg(long)]
    overwrite: bool,
}

impl Args {
    /// Does it.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        match self.what {
            What::View(view) => view.run(session),
            What::Set(set) => set.run(session),
        }
    }
}

/// The file, and whether it was named.
fn place(session: &Session) -> Result<(PathBuf, bool), Error> {
    file(session.globals.kuberc.as_deref())?
        .ok_or_else(|| Error::new("KUBERC is disabled via KUBERC=off environment variable"))
}

fn empty() -> Value {
    json!({"apiVersion": API_VERSION, "kind": "Preference"})
}

/// Prints nothing of secrets, so the file is like any other.
fn save(session: &Session, path: &Path, value: &mut Value) -> Result<(), Error> {
    whole(value);
    let failed = |e: std::io::Error| {
        Error::new(format!("failed to write kuberc file: {}: {e}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // A link stays one.
    let file = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_atomic(&file, yaml::to_string(value).as_bytes(), 0o644).map_err(failed)?;
    session.print(&format!("Updated {}\n", path.display()))
}

/// Both lists stand in it always.
fn whole(value: &mut Value) {
    for list in ["aliases", "defaults"] {
        if list_at(value, list).is_empty() {
            value[list] = Value::Null;
        }
    }
}

impl View {
    fn run(self, session: &Session) -> Result<(), Error> {
        let (path, is_explicit) = place(session)?;
        let failed = |error| Error::new(format!("error reading kuberc file: {error}"));
        let mut value = match read(&path).map_err(failed)? {
            Some(value) => value,
            None if path.exists() => empty(),
            None if is_explicit => {
                return Err(Error::new(format!("kuberc file not found at {}", path.display())));
            }
            None => return propose(session, &path),
        };
        for list in ["aliases", "defaults"] {
            if list_at(&value, list).is_empty() {
                value[list] = json!([]);
            }
        }
        let format = match self.printing.output.as_str() {
            "" => Format::Yaml,
            _ => self.printing.format()?,
        };
        session.print(&format.print_typed(&value)?)
    }
}

/// Asks whether to write what is advised.
fn propose(session: &Session, path: &Path) -> Result<(), Error> {
    session.print(&format!(
        "kuberc file not found at {}\nWould you like to generate a default kuberc file with \
         recommended options? (y/N): ",
        path.display()
    ))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    let mut value = empty();
    value["defaults"] = json!([
        {"command": "apply", "options": [{"name": "server-side", "default": "true"}]},
        {"command": "delete", "options": [{"name": "interactive", "default": "true"}]},
    ]);
    save(session, path, &mut value)
}

impl Set {
    fn run(self, session: &Session) -> Result<(), Error> {
        let (path, _) = place(session)?;
        self.check()?;
        let failed = |error| Error::new(format!("error reading kuberc file: {error}"));
        let mut value = read(&path).map_err(failed)?.unwrap_or_else(empty);
        let options = self.options()?;
        match self.section.as_str() {
            "defaults" => {
                let known = format!(
                    "defaults for command {:?} already exist, use --overwrite to replace",
                    self.command
                );
                let entry = self.entry(&mut value, "defaults", "command", &self.command, &known)?;
                replace(entry, "options", options);
                if entry["options"].is_null() {
                    entry["options"] = Value::Null;
                }
            }
            "aliases" => {
                let known =
                    format!("alias {:?} already exists, use --overwrite to replace", self.name);
                let entry = self.entry(&mut value, "aliases", "name", &self.name, &known)?;
                entry["command"] = json!(self.command);
                replace(entry, "options", options);
                replace(entry, "prependArgs", self.prependarg.iter().map(|a| json!(a)).collect());
                replace(entry, "appendArgs", self.appendarg.iter().map(|a| json!(a)).collect());
            }
            _ => {
                if self.policy == "Allowlist" {
                    value["credentialPluginAllowlist"] = Value::Array(self.allowed()?);
                }
                // With another policy a list makes the whole file wrong.
                if let Some(map) = value.as_object_mut().filter(|_| self.policy != "Allowlist") {
                    map.remove("credentialPluginAllowlist");
                }
                value["credentialPluginPolicy"] = json!(self.policy);
            }
        }
        save(session, &path, &mut value)
    }

    fn check(&self) -> Result<(), Error> {
        const SECTIONS: [&str; 3] = ["defaults", "aliases", "credentialplugin"];
        let [defaults, aliases, plugin] = SECTIONS.map(|section| self.section == section);
        let has_entries = !self.allowlist_entry.is_empty();
        let wrong = if !SECTIONS.contains(&self.section.as_str()) {
            return Err(Error::new(format!(
                "--section must be \"defaults\", \"aliases\", or \"credentialplugin\", got: {}",
                self.section
            )));
        } else if aliases && self.name.is_empty() {
            "--name is required when --section=aliases"
        } else if defaults && !self.name.is_empty() {
            "--name should not be specified when --section=defaults"
        } else if defaults && !(self.prependarg.is_empty() && self.appendarg.is_empty()) {
            "--prependarg and --appendarg are only valid for --section=aliases"
        } else if !plugin && self.command.is_empty() {
            "--command is required when --section=aliases or --section=defaults"
        } else if !plugin {
            return Ok(());
        } else {
            match (self.policy.as_str(), has_entries) {
                ("", _) => "--policy is required when --section=credentialplugin",
                ("AllowAll" | "DenyAll", true) => {
                    "--allowlist-entry may only be used when --section=credentialplugin and \
                     --policy=Allowlist"
                }
                ("Allowlist", false) => {
                    "--allowlist-entry is required when --section=credentialplugin and \
                     --policy=Allowlist"
                }
                ("AllowAll" | "DenyAll" | "Allowlist", _) => return Ok(()),
                (other, _) => {
                    return Err(Error::new(format!(
                        " --policy must be  \"AllowAll\", \"DenyAll\", or \"Allowlist\", got: \
                         {other}"
                    )));
                }
            }
        };
        Err(Error::new(wrong))
    }

    fn options(&self) -> Result<Vec<Value>, Error> {
        let one = |text: &String| {
            let (name, default) = text.split_once('=').ok_or_else(|| {
                Error::new(format!("invalid option format {text:?}, expected flag=value"))
            })?;
            Ok(json!({"default": default, "name": name.trim_start_matches('-')}))
        };
        self.option.iter().map(one).collect()
    }

    fn allowed(&self) -> Result<Vec<Value>, Error> {
        let one = |text: &str| match text.split_once('=') {
            None => Err(Error::new(format!("improperly formatted allowlist entry: {text:?}"))),
            Some(("name", _)) => Err(Error::new(
                "allowlist entry field \"name\" is deprecated, use \"command\" instead",
            )),
            Some(("command", value)) if value.trim().is_empty() => {
                Err(Error::new("empty value in allowlist entry for field \"command\""))
            }
            Some(("command", value)) => Ok(json!({"command": value})),
            Some((field, _)) => {
                Err(Error::new(format!("unrecognized allowlist entry field: {field:?}")))
            }
        };
        self.allowlist_entry.iter().flat_map(|entry| entry.split(',')).map(one).collect()
    }

    /// The entry of this name, or a new one.
    fn entry<'v>(
        &self,
        value: &'v mut Value,
        list: &str,
        key: &str,
        name: &str,
        known: &str,
    ) -> Result<&'v mut Value, Error> {
        let found = list_at(value, list).iter().position(|entry| str_at(entry, key) == name);
        if found.is_some() && !self.overwrite {
            return Err(Error::new(known));
        }
        if value[list].is_null() {
            value[list] = json!([]);
        }
        if let (None, Some(entries)) = (found, value[list].as_array_mut()) {
            entries.push(json!({key: name}));
        }
        let at = found.unwrap_or_else(|| list_at(value, list).len().saturating_sub(1));
        items_mut(value, list)
            .nth(at)
            .ok_or_else(|| Error::new(format!("{list} of the kuberc file is no list")))
    }
}

/// What is not given stays.
fn replace(entry: &mut Value, field: &str, items: Vec<Value>) {
    if !items.is_empty() {
        entry[field] = Value::Array(items);
    }
}
