//! kubeconfig files (`clientcmd.k8s.io`): found, read, resolved to a [`Config`], and changed with
//! all that is in them left as it is.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use onggi_base::files::write_atomic;
use onggi_base::pki::Pair;
use onggi_machinery::value::{bool_at, find, str_at};
use onggi_machinery::yaml;
use serde_json::{Map, Value, json};

use crate::credentials;
use crate::tls::{Config, Impersonation, Token};

/// One or more files; what stands in an earlier one wins.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    files: Vec<File>,
    plugins: PluginPolicy,
}

/// Which programs may give credentials (`credentialPluginPolicy` of kuberc; KEP-3104).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PluginPolicy {
    /// All.
    #[default]
    AllowAll,
    /// None.
    DenyAll,
    /// Those that are all of the programs that one entry names.
    Allowlist(Vec<Vec<String>>),
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    content: Value,
}

/// A context ready for use.
#[derive(Clone)]
pub struct Resolved {
    /// Its name.
    pub context: String,
    /// Its namespace; `default` where it names none.
    pub namespace: String,
    /// Server and credentials.
    pub config: Config,
}

/// A kubeconfig cannot be used. Each error names the file, and the field where it is one's fault.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file is no YAML.
    #[error("{path}: {source}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: yaml::YamlError,
    },
    /// A field is missing or wrong.
    #[error("{path}: {field}: {problem}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, as `users[name=admin].user.token`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such context.
    #[error("no context {name:?} in {files} (there are: {there})")]
    NoContext {
        /// What was looked for.
        name: String,
        /// Where.
        files: String,
        /// What there is.
        there: String,
    },
    /// Nothing says which server to talk to.
    #[error("no current-context in {files}: start a cluster with `onggi up`, or name a context")]
    NoCurrent {
        /// Where was looked.
        files: String,
    },
}

/// The files that are meant: of an explicit path, else of `KUBECONFIG`, else `~/.kube/config`.
pub fn paths(explicit: Option<&Path>) -> Vec<PathBuf> {
    paths_of(explicit, env::var_os("KUBECONFIG").as_deref(), env::var_os("HOME").as_deref())
}

fn paths_of(
    explicit: Option<&Path>,
    variable: Option<&OsStr>,
    home: Option<&OsStr>,
) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    let listed = variable.into_iter().flat_map(env::split_paths);
    let listed: Vec<_> = listed.filter(|path| !path.as_os_str().is_empty()).collect();
    if !listed.is_empty() {
        return listed;
    }
    vec![Path::new(home.unwrap_or(OsStr::new("/root"))).join(".kube/config")]
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// Reads files; those that are not there count as empty.
    pub fn load(paths: &[PathBuf]) -> Result<Self, KubeconfigError> {
        let files = paths.iter().map(|path| {
            Ok(File { path: path.clone(), content: read(path)?.unwrap_or(Value::Null) })
        });
        let files = files.collect::<Result<_, _>>()?;
        Ok(Self { files, plugins: PluginPolicy::default() })
    }

    /// The same, where not all programs may give credentials.
    pub fn with_plugins(self, plugins: PluginPolicy) -> Self {
        Self { plugins, ..self }
    }

    /// Reads what [`paths`] finds.
    pub fn discover(explicit: Option<&Path>) -> Result<Self, KubeconfigError> {
        Self::load(&paths(explicit))
    }

    /// `current-context`; empty where there is none.
    pub fn current_context(&self) -> &str {
        let mut all = self.files.iter().map(|file| str_at(&file.content, "current-context"));
        all.find(|name| !name.is_empty()).unwrap_or("")
    }

    /// The names of the contexts.
    pub fn contexts(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for file in &self.files {
            for entry in list(&file.content, "contexts") {
                let name = str_at(entry, "name");
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// The file that an entry stands in, and else the first: where a change belongs.
    pub fn home_of(&self, context: &str) -> Option<&Path> {
        let holds = |file: &&File| find(list(&file.content, "contexts"), "name", context).is_some();
        self.files.iter().find(holds).or(self.files.first()).map(|file| file.path.as_path())
    }

    /// Server and credentials of a context; of the current one without a name.
    pub fn resolve(&self, context: Option<&str>) -> Result<Resolved, KubeconfigError> {
        self.resolve_as(context, None, None)
    }

    /// As [`Self::resolve`], with another cluster or user than the context's.
    pub fn resolve_as(
        &self,
        context: Option<&str>,
        cluster: Option<&str>,
        user: Option<&str>,
    ) -> Result<Resolved, KubeconfigError> {
        let name = context.unwrap_or_else(|| self.current_context());
        if name.is_empty() {
            return Err(KubeconfigError::NoCurrent { files: self.names() });
        }
        let place = self.find("contexts", name).ok_or_else(|| KubeconfigError::NoContext {
            name: name.to_owned(),
            files: self.names(),
            there: self.contexts().join(", "),
        })?;
        let context = Entry::new(place, "contexts", name, "context");
        let cluster = match cluster {
            Some(name) => self.named(&context, "cluster", name, "clusters")?,
            None => self.referenced(&context, "cluster", "clusters")?,
        };
        for field in ["proxy-url"] {
            if cluster.text(field).is_some() {
                let text = "proxies are not supported: make a tunnel, or reach the server directly";
                return Err(cluster.wrong(field, text));
            }
        }
        let mut config = Config {
            server: cluster.required("server")?.to_owned(),
            ca: cluster.data("certificate-authority")?,
            insecure: bool_at(cluster.body, "insecure-skip-tls-verify"),
            server_name: cluster.text("tls-server-name"),
            ..Config::default()
        };
        let user = match (user, context.text("user")) {
            (Some(name), _) => Some(self.named(&context, "user", name, "users")?),
            (None, Some(name)) => Some(self.named(&context, "user", &name, "users")?),
            (None, None) => None,
        };
        if let Some(user) = user {
            user.credentials(&mut config, &self.plugins)?;
        }
        let namespace = context.text("namespace").unwrap_or_else(|| "default".to_owned());
        Ok(Resolved { context: name.to_owned(), namespace, config })
    }

    fn find(&self, section: &str, name: &str) -> Option<(&Path, &Value)> {
        let mut found = self.files.iter().filter_map(|file| {
            let entry = find(list(&file.content, section), "name", name)?;
            Some((file.path.as_path(), entry))
        });
        found.next()
    }

    fn referenced(
        &self,
        context: &Entry<'_>,
        field: &str,
        section: &'static str,
    ) -> Result<Entry<'_>, KubeconfigError> {
        let name = context.required(field)?;
        self.named(context, field, name, section)
    }

    fn named(
        &self,
        context: &Entry<'_>,
        field: &str,
        name: &str,
        section: &'static str,
    ) -> Result<Entry<'_>, KubeconfigError> {
        match self.find(section, name) {
            // `clusters` hold a `cluster`, `users` a `user`.
            Some(place) => Ok(Entry::new(place, section, name, section.trim_end_matches('s'))),
            None => Err(context.wrong(field, format!("there is no {name:?} in {section}"))),
        }
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|f| f.path.display().to_string()).collect();
        names.join(", ")
    }
}

/// A named entry of a section: `users[name=admin].user`.
struct Entry<'a> {
    path: &'a Path,
    place: String,
    body: &'a Value,
}

impl<'a> Entry<'a> {
    fn new((path, entry): (&'a Path, &'a Value), section: &str, name: &str, key: &str) -> Self {
        let place = format!("{section}[name={name}].{key}");
        Self { path, place, body: entry.get(key).unwrap_or(&Value::Null) }
    }

    fn wrong(&self, field: &str, problem: impl Into<String>) -> KubeconfigError {
        KubeconfigError::Field {
            path: self.path.to_owned(),
            field: format!("{}.{field}", self.place),
            problem: problem.into(),
        }
    }

    fn text(&self, field: &str) -> Option<String> {
        let text = self.body.get(field).and_then(Value::as_str).unwrap_or("");
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn required(&self, field: &str) -> Result<&'a str, KubeconfigError> {
        let text = self.body.get(field).and_then(Value::as_str).unwrap_or("");
        if text.is_empty() { Err(self.wrong(field, "is missing")) } else { Ok(text) }
    }

    /// What stands in `FIELD-data`, in base64, or in the file that `FIELD` names.
    fn data(&self, field: &str) -> Result<Option<String>, KubeconfigError> {
        let inline = format!("{field}-data");
        if let Some(text) = self.text(&inline) {
            let bytes = BASE64_STANDARD
                .decode(text.split_whitespace().collect::<String>())
                .map_err(|e| self.wrong(&inline, format!("is no base64: {e}")))?;
            let text = String::from_utf8(bytes).map_err(|_| self.wrong(&inline, "is no PEM"))?;
            return Ok(Some(text));
        }
        let Some(path) = self.text(field) else { return Ok(None) };
        let path = self.beside(&path);
        let content = fs::read_to_string(&path)
            .map_err(|e| self.wrong(field, format!("{}: {e}", path.display())))?;
        Ok(Some(content))
    }

    /// Paths are relative to the file that they stand in.
    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn credentials(
        &self,
        config: &mut Config,
        policy: &PluginPolicy,
    ) -> Result<(), KubeconfigError> {
        config.client = match (self.data("client-certificate")?, self.data("client-key")?) {
            (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(self.wrong("client-key-data", "is missing")),
            (None, Some(_)) => return Err(self.wrong("client-certificate-data", "is missing")),
        };
        config.token = match (self.text("token"), self.text("tokenFile")) {
            (Some(token), _) => Some(Token::Text(token)),
            (None, Some(path)) => Some(Token::File(self.beside(&path))),
            (None, None) => None,
        };
        config.impersonate = self.impersonation();
        let plugin = &self.body["exec"];
        if !plugin.is_null() && config.client.is_none() && config.token.is_none() {
            let folder = self.path.parent().unwrap_or(Path::new(""));
            let given = credentials::ask(plugin, config, folder, policy)
                .map_err(|problem| self.wrong("exec", problem))?;
            config.token = given.token.map(Token::Text);
            config.client = given.client;
        }
        for field in ["auth-provider", "username"] {
            let is_there = self.body.get(field).is_some_and(|value| !value.is_null());
            if is_there && config.client.is_none() && config.token.is_none() {
                let text = "is not supported: use a client certificate or a token";
                return Err(self.wrong(field, text));
            }
        }
        Ok(())
    }
}

impl Entry<'_> {
    fn impersonation(&self) -> Impersonation {
        let texts = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let extra = self.body["as-user-extra"].as_object().into_iter().flatten();
        let extra = extra.flat_map(|(key, values)| {
            texts(values).into_iter().map(move |value| (key.clone(), value))
        });
        Impersonation {
            user: self.text("as").unwrap_or_default(),
            uid: self.text("as-uid").unwrap_or_default(),
            groups: texts(&self.body["as-groups"]),
            extra: extra.collect(),
        }
    }
}

// === changing files ===

/// A cluster, a user and a context that binds them, all of one name.
#[derive(Debug, Clone)]
pub struct NewContext {
    /// The name of all three.
    pub name: String,
    /// `clusters[].cluster`.
    pub cluster: Value,
    /// `users[].user`.
    pub user: Value,
    /// `contexts[].context.namespace`; empty: `default`.
    pub namespace: String,
}

impl NewContext {
    /// With all data inline, so that the file can be carried elsewhere.
    pub fn inline(name: &str, server: &str, ca: &str, client: &Pair) -> Self {
        Self {
            name: name.to_owned(),
            cluster: json!({
                "certificate-authority-data": BASE64_STANDARD.encode(ca),
                "server": server,
            }),
            user: json!({
                "client-certificate-data": BASE64_STANDARD.encode(&client.certificate),
                "client-key-data": BASE64_STANDARD.encode(&client.key),
            }),
            namespace: String::new(),
        }
    }

    /// A whole kubeconfig of this context alone, as YAML.
    pub fn to_yaml(&self) -> String {
        let mut content = Value::Null;
        self.put_into(&mut content, true);
        yaml::to_string(&content)
    }

    fn put_into(&self, content: &mut Value, make_current: bool) {
        let root = map(content);
        root.entry("apiVersion").or_insert_with(|| "v1".into());
        root.entry("kind").or_insert_with(|| "Config".into());
        root.entry("preferences").or_insert_with(|| json!({}));
        let mut context = json!({"cluster": self.name, "user": self.name});
        if !self.namespace.is_empty() {
            context["namespace"] = self.namespace.as_str().into();
        }
        let parts = [
            ("clusters", "cluster", self.cluster.clone()),
            ("contexts", "context", context),
            ("users", "user", self.user.clone()),
        ];
        for (section, key, body) in parts {
            let entries = section_mut(root, section);
            let entry = json!({"name": self.name, key: body});
            match entries.iter_mut().find(|entry| str_at(entry, "name") == self.name) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            }
        }
        let none = root.get("current-context").and_then(Value::as_str).unwrap_or("").is_empty();
        if make_current || none {
            root.insert("current-context".to_owned(), self.name.as_str().into());
        }
    }
}

/// Puts a context into a file, over one of the same name, and leaves the rest as it is. It becomes
/// the current one when `make_current`, or when there is none.
pub fn merge_context(
    path: &Path,
    context: &NewContext,
    make_current: bool,
) -> Result<(), KubeconfigError> {
    change(path, |content| context.put_into(content, make_current))
}

/// Takes a context, and the cluster and user of its name, out of a file.
pub fn remove_context(path: &Path, name: &str) -> Result<(), KubeconfigError> {
    if read(path)?.is_none() {
        return Ok(());
    }
    change(path, |content| {
        let root = map(content);
        for section in ["clusters", "contexts", "users"] {
            section_mut(root, section).retain(|entry| str_at(entry, "name") != name);
        }
        if root.get("current-context").and_then(Value::as_str) == Some(name) {
            root.insert("current-context".to_owned(), "".into());
        }
    })
}

/// Makes a context the current one.
pub fn use_context(path: &Path, name: &str) -> Result<(), KubeconfigError> {
    change(path, |content| {
        map(content).insert("current-context".to_owned(), name.into());
    })
}

/// Sets fields of a context (`cluster`, `user`, `namespace`), making it where it is missing.
pub fn set_context(
    path: &Path,
    name: &str,
    fields: &[(&str, &str)],
) -> Result<(), KubeconfigError> {
    change(path, |content| {
        let entries = section_mut(map(content), "contexts");
        let place = entries.iter().position(|entry| str_at(entry, "name") == name);
        let place = place.unwrap_or_else(|| {
            entries.push(json!({"name": name, "context": {}}));
            entries.len() - 1
        });
        let context = map(&mut entries[place]).entry("context").or_insert_with(|| json!({}));
        for (field, value) in fields {
            map(context).insert((*field).to_owned(), (*value).into());
        }
    })
}

/// Changes what a file holds, all else left as it is; a file that is not there is made.
pub fn change(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), KubeconfigError> {
    let failed = |source| KubeconfigError::File { path: path.to_owned(), source };
    let mut content = read(path)?.unwrap_or(Value::Null);
    if !content.is_null() && !content.is_object() {
        return Err(KubeconfigError::Field {
            path: path.to_owned(),
            field: "apiVersion".into(),
            problem: "the file holds no kubeconfig; it is left as it is".into(),
        });
    }
    let before = content.clone();
    change(&mut content);
    if content == before {
        return Ok(());
    }
    if let Some(directory) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // A link stays a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_atomic(&target, yaml::to_string(&content).as_bytes(), 0o600).map_err(failed)
}

fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KubeconfigError::File { path: path.to_owned(), source }),
    };
    let content = yaml::parse(&text)
        .map_err(|source| KubeconfigError::Yaml { path: path.to_owned(), source })?;
    Ok(Some(content))
}

fn list<'a>(content: &'a Value, section: &str) -> &'a [Value] {
    content.get(section).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    onggi_machinery::value::map_mut(value, "")
}

fn section_mut<'a>(root: &'a mut Map<String, Value>, section: &str) -> &'a mut Vec<Value> {
    let entries = root.entry(section).or_insert(Value::Null);
    if !entries.is_array() {
        *entries = json!([]);
    }
    match entries {
        Value::Array(entries) => entries,
        _ => unreachable!("made a list above"),
    }
}
