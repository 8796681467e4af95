//! `cluster-info dump`: everything that helps to find out what is wrong, printed or as files.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use http_body_util::Full;
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

/// An open place for one text.
enum Put<'a> {
    Printed(&'a Session),
    File(std::fs::File, PathBuf),
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
        target.put(&[&format!("nodes{extension}")], &format.print_typed(&nodes)?)?;
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
                target.put(&[namespace, &format!("{file}{extension}")], &text)?;
                pods = list;
            }
            for pod in list_at(&pods, "items") {
                let name = str_at(pod, "metadata.name");
                let mut file = target.open(&[namespace, name, "logs.txt"])?;
                logs(session, pod, &mut file).await?;
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

/// Puts down what the containers of a pod said; one that cannot be read says why.
async fn logs(session: &Session, pod: &Value, into: &mut Put<'_>) -> Result<(), Error> {
    let (namespace, name) = (str_at(pod, "metadata.namespace"), str_at(pod, "metadata.name"));
    let pods = GroupVersionResource::new("", "v1", "pods");
    let lists = ["spec.initContainers", "spec.containers"];
    for container in lists.iter().flat_map(|list| list_at(pod, list)) {
        let container = str_at(container, "name");
        let edge = |word| {
            format!("==== {word} logs for container {container} of pod {namespace}/{name} ====\n")
        };
        into.write(edge("START").as_bytes())?;
        let path = path(&pods, namespace, name, "log", &[("container", container)]);
        if let Err(error) = log(session, &path, into).await? {
            into.write(format!("Request log error: {error}\n").as_bytes())?;
        }
        into.write(edge("END").as_bytes())?;
    }
    Ok(())
}

/// Copies one as it comes: it may be longer than memory. The inner error is the server's.
async fn log(
    session: &Session,
    path: &str,
    into: &mut Put<'_>,
) -> Result<Result<(), Error>, Error> {
    let http = &session.connection()?.http;
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json, */*")
        .body(Full::default())
        .map_err(|e| Error::new(format!("path {path:?}: {e}")))?;
    let mut body = match session.within(async { Ok(http.send(request).await?) }).await {
        Ok(response) => http.stream(response),
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match session.within(async { Ok(body.try_next().await?) }).await {
            Ok(Some(part)) => into.write(&part)?,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

impl<'a> Target<'a> {
    fn put(&self, file: &[&str], text: &str) -> Result<(), Error> {
        self.open(file)?.write(text.as_bytes())
    }

    /// `file`: the names of its folders, and its own. Logs may hold secrets: only their owner reads
    /// the files.
    fn open(&self, file: &[&str]) -> Result<Put<'a>, Error> {
        let Some(folder) = &self.folder else {
            if file.last().is_some_and(|name| name.ends_with(".yaml")) {
                self.session.divide(&Format::Yaml)?;
            }
            return Ok(Put::Printed(self.session));
        };
        // They come from the server: none may lead out of the folder.
        if let Some(wrong) = file.iter().find(|name| !is_name(name)) {
            return Err(Error::new(format!("{wrong:?} cannot be the name of a file")));
        }
        let path = file.iter().fold(folder.clone(), |path, name| path.join(name));
        let failed = |e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
        let above = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(failed)?;
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let opened = options.open(&path).map_err(failed)?;
        Ok(Put::File(opened, path))
    }
}

impl Put<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Printed(session) => session.print_bytes(bytes),
            Self::File(file, path) => {
                file.write_all(bytes).map_err(|e| Error::new(format!("{}: {e}", path.display())))
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::new(crate::Globals::default());
        let target = Target { session: &session, folder: Some(dir.path().join("out")) };
        for wrong in ["", ".", "..", "/etc", "../x"] {
            assert!(target.put(&[wrong, "pods.json"], "x").is_err(), "{wrong:?}");
            assert!(target.put(&["default", wrong, "logs.txt"], "x").is_err(), "{wrong:?}");
        }
        target.put(&["default", "a", "logs.txt"], "x").unwrap();
        let written = std::fs::read(dir.path().join("out/default/a/logs.txt")).unwrap();
        assert_eq!(written, b"x");
    }
}
