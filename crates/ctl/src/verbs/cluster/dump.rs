//! `cluster-info dump`: everything that helps to find out what is wrong, printed or as files.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_api::GroupVersionResource;
use onggi_machinery::value::{list_at, str_at};
use serde_json::Value;

use crate::error::Error;
use crate::flags::Printing;
use crate::output::Format;
use crate::output::format::hide_managed_fields;
use crate::path::path;
use crate::session::Session;

/// What is listed in each namespace, and the name of its file.
const LISTS: &[(&str, &str, &str)] = &[
    ("", "events", "events"),
    ("", "replicationcontrollers", "replication-controllers"),
    ("", "services", "services"),
    ("apps", "daemonsets", "daemonsets"),
    ("apps", "deployments", "deployments"),
    ("apps", "replicasets", "replicasets"),
    ("", "pods", "pods"),
];

/// Flags of `cluster-info dump`.
#[derive(Debug, clap::Args)]
pub(super) struct Dump {
    #[command(flatten)]
    printing: Printing,
    /// Folder for the files; printed where it is empty or -
    #[arg(long, value_name = "DIR", default_value = "")]
    output_directory: String,
    /// Namespaces; kube-system and the present one where none are named
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// All namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "20s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: Duration,
}

/// Where it goes.
struct Target<'a> {
    session: &'a Session,
    /// `None`: it is printed.
    folder: Option<PathBuf>,
}

impl Dump {
    /// Asks for everything and puts it down.
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        let format = match self.printing.output.as_str() {
            "" => Format::Json,
            _ => self.printing.format()?,
        };
        let extension = match format {
            Format::Json => ".json",
            Format::Yaml => ".yaml",
            _ => ".txt",
        };
        let folder = Some(self.output_directory.as_str()).filter(|dir| !matches!(*dir, "" | "-"));
        let target = Target { session, folder: folder.map(PathBuf::from) };
        let lists = async |group: &str, plural: &str, namespace: &str| {
            let version = GroupVersionResource::new(group, "v1", plural);
            let path = path(&version, namespace, "", "", &[]);
            let mut list = session.get(&path, "application/json").await?;
            tidy(&mut list, self.printing.show_managed_fields);
            Ok::<_, Error>(list)
        };
        let nodes = lists("", "nodes", "").await?;
        target.put(&format!("nodes{extension}"), &format.print_typed(&nodes)?)?;
        let namespaces = if self.all_namespaces {
            let all = lists("", "namespaces", "").await?;
            let names = list_at(&all, "items").iter().map(|one| str_at(one, "metadata.name"));
            names.map(str::to_owned).collect()
        } else if self.namespaces.is_empty() {
            vec!["kube-system".to_owned(), session.namespace()]
        } else {
            self.namespaces.clone()
        };
        for namespace in &namespaces {
            let mut pods = Value::Null;
            for (group, plural, file) in LISTS {
                let list = lists(group, plural, namespace).await?;
                let text = format.print_typed(&list)?;
                target.put(&format!("{namespace}/{file}{extension}"), &text)?;
                pods = list;
            }
            for pod in list_at(&pods, "items") {
                let name = str_at(pod, "metadata.name");
                let text = logs(session, pod).await;
                target.put(&format!("{namespace}/{name}/logs.txt"), &text)?;
            }
        }
        match folder {
            Some(folder) => session.print(&format!("Cluster info dumped to {folder}\n")),
            None => Ok(()),
        }
    }
}

/// Items of a typed list bear no kind.
fn tidy(list: &mut Value, with_managers: bool) {
    if !with_managers {
        hide_managed_fields(list);
    }
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        item.remove("kind");
        item.remove("apiVersion");
    }
    if list_at(list, "items").is_empty() {
        list["items"] = Value::Null;
    }
}

/// What the containers of a pod said; one that cannot be read says why.
async fn logs(session: &Session, pod: &Value) -> String {
    let (namespace, name) = (str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    let pods = GroupVersionResource::new("", "v1", "pods");
    let mut text = String::new();
    let lists = ["spec.initContainers", "spec.containers"];
    for container in lists.iter().flat_map(|list| list_at(pod, list)) {
        let container = str_at(container, "name");
        let edge = |word| {
            format!("==== {word} logs for container {container} of pod {namespace}/{name} ====\n")
        };
        text += &edge("START");
        let path = path(&pods, namespace, name, "log", &[("container", container)]);
        let log = session.send("GET", &path, "application/json", Vec::new());
        match log.await {
            Ok(log) => text += &String::from_utf8_lossy(&log),
            Err(error) => text += &format!("Request log error: {error}\n"),
        }
        text += &edge("END");
    }
    text
}

impl Target<'_> {
    /// Logs may hold secrets: only their owner reads the files.
    fn put(&self, file: &str, text: &str) -> Result<(), Error> {
        let Some(folder) = &self.folder else {
            if file.ends_with(".yaml") {
                self.session.divide(&Format::Yaml)?;
            }
            return self.session.print(text);
        };
        let path = folder.join(file);
        let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
        let above = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(failed)?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
    }
}
