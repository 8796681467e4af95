//! `logs`.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http_body_util::Full;
use onggi_machinery::value::{find, list_at, str_at};
use serde_json::Value;
use tokio::io::AsyncBufReadExt;
use tokio_util::io::StreamReader;

use crate::error::Error;
use crate::path::path;
use crate::rollout::pods_of;
use crate::select::{Selectors, targets};
use crate::session::Session;

/// Lines of each pod when pods are chosen by labels, as kubectl has it.
const TAIL_OF_MANY: i64 = 10;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, or TYPE/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    pod: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container_name: Option<String>,
    /// Pods with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR", default_value = "", hide_default_value = true, value_parser = crate::select::given)]
    selector: crate::select::Given,
    /// The container
    #[arg(long, short)]
    container: Option<String>,
    /// Of all containers
    #[arg(long)]
    all_containers: bool,
    /// Of all pods of the workload
    #[arg(long)]
    all_pods: bool,
    /// Go on printing what comes
    #[arg(long, short)]
    follow: bool,
    /// Of the run before this one
    #[arg(long, short)]
    previous: bool,
    /// The last lines only; -1 for all
    #[arg(long, allow_negative_numbers = true, value_name = "LINES")]
    tail: Option<i64>,
    /// Not older than this: 5s, 2m, 3h
    #[arg(long, value_parser = crate::duration::parse, value_name = "TIME")]
    since: Option<Duration>,
    /// Not older than this (RFC 3339)
    #[arg(long, value_name = "DATE")]
    since_time: Option<String>,
    /// Each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Each line with its pod and container
    #[arg(long)]
    prefix: bool,
    /// At most this many bytes
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
    /// How many pods may be followed at once
    #[arg(long, default_value_t = 5)]
    max_log_requests: usize,
    /// Do not check the certificate of the node; the server does that
    #[arg(long, hide = true)]
    insecure_skip_tls_verify_backend: bool,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "20s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: Duration,
    /// Go on when one of them fails
    #[arg(long)]
    ignore_errors: bool,
}

/// One log.
struct Source {
    namespace: String,
    pod: String,
    container: String,
}

impl Args {
    /// Prints them, one after the other; those that are followed, as they come.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let pods = self.pods(session).await?;
        let mut sources = Vec::new();
        for pod in &pods {
            self.sources(session, pod, &mut sources)?;
        }
        if !self.follow {
            for source in &sources {
                match session.within(self.copy(session, source)).await {
                    Err(error) if self.ignore_errors => session.print_error(&error.report())?,
                    result => result?,
                }
            }
            return Ok(());
        }
        if sources.len() > self.max_log_requests {
            return Err(Error::new(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is \
                 {}, use --max-log-requests to increase the limit",
                sources.len(),
                self.max_log_requests
            )));
        }
        let copies = sources.iter().map(|source| session.within(self.copy(session, source)));
        futures::future::try_join_all(copies).await.map(drop)
    }

    async fn pods(&self, session: &Session) -> Result<Vec<Value>, Error> {
        let mapper = session.mapper().await?;
        let mapping = mapper.by_kind("v1", "Pod").ok_or_else(|| Error::new("no pods here"))?;
        let namespace = session.namespace();
        if let Some(selector) = &self.selector {
            if self.pod.is_some() {
                return Err(Error::new("only a selector (-l) or a POD name is allowed"));
            }
            let wanted = Selectors { selector: Some(selector.clone()), field_selector: None };
            let pods = session.list(mapping, &namespace, &wanted).await?;
            if pods.is_empty() {
                session.print_error(&format!("No resources found in {namespace} namespace.\n"))?;
            }
            return Ok(pods);
        }
        let Some(named) = &self.pod else {
            return Err(Error::new(
                "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is \
                 a required argument for the logs command",
            ));
        };
        if !named.contains('/') {
            let pod = session.object(mapping, &namespace, named).await;
            return Ok(vec![pod.map_err(|error| match error.is_not_found() {
                true => Error::new(format!(
                    "error from server (NotFound): {error} in namespace {namespace:?}"
                )),
                false => error,
            })?]);
        }
        let found = targets(mapper, std::slice::from_ref(named))?;
        let mut pods = Vec::new();
        for target in found {
            let name = target.name.unwrap_or_default();
            let object = session.object(&target.mapping, &namespace, &name).await?;
            if str_at(&object, "kind") == "Pod" {
                pods.push(object);
                continue;
            }
            let mut of_workload = pods_of(session, &object).await?;
            if of_workload.is_empty() {
                return Err(Error::new(format!("{named} has no pods")));
            }
            if of_workload.len() > 1 && !self.all_pods {
                let name = str_at(&of_workload[0], "metadata.name");
                let text = format!("Found {} pods, using pod/{name}\n", of_workload.len());
                session.print_error(&text)?;
                of_workload.truncate(1);
            }
            pods.extend(of_workload);
        }
        Ok(pods)
    }

    fn sources(&self, session: &Session, pod: &Value, into: &mut Vec<Source>) -> Result<(), Error> {
        let source = |container: &str| Source {
            namespace: str_at(pod, "metadata.namespace").to_owned(),
            pod: str_at(pod, "metadata.name").to_owned(),
            container: container.to_owned(),
        };
        if self.all_containers {
            for list in ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"] {
                into.extend(list_at(pod, list).iter().map(|c| source(str_at(c, "name"))));
            }
            return Ok(());
        }
        let named = self.container.as_deref().or(self.container_name.as_deref());
        into.push(source(&container_of(session, pod, named, false)?));
        Ok(())
    }

    async fn copy(&self, session: &Session, source: &Source) -> Result<(), Error> {
        let tail = match self.tail {
            None if self.selector.is_some() && !self.follow => Some(TAIL_OF_MANY),
            tail => tail.filter(|lines| *lines >= 0),
        };
        let number = |n: Option<i128>| n.map_or_else(String::new, |n| n.to_string());
        let flag = |on: bool| if on { "true" } else { "" };
        let seconds = self.since.map(|since| since.as_secs_f64().ceil() as i128);
        let query = [
            ("container", source.container.as_str()),
            ("follow", flag(self.follow)),
            ("previous", flag(self.previous)),
            ("sinceSeconds", &number(seconds)),
            ("sinceTime", self.since_time.as_deref().unwrap_or("")),
            ("timestamps", flag(self.timestamps)),
            ("tailLines", &number(tail.map(Into::into))),
            ("limitBytes", &number(self.limit_bytes.map(Into::into))),
        ];
        let pods = onggi_api::GroupVersionResource::new("", "v1", "pods");
        let path = path(&pods, &source.namespace, &source.pod, "log", &query);
        let http = &session.connection()?.http;
        let request = http::Request::get(&path)
            .header(http::header::ACCEPT, "application/json, */*")
            .body(Full::default())
            .map_err(|e| Error::new(format!("path {path:?}: {e}")))?;
        let response = http.send(request).await?;
        let mut body = http.stream(response);
        if !self.prefix {
            while let Some(part) = body.next().await {
                session.print_bytes(&part?)?;
            }
            return Ok(());
        }
        let prefix = format!("[pod/{}/{}] ", source.pod, source.container);
        let body = body.map_err(|e| std::io::Error::other(e.to_string()));
        let mut reader = StreamReader::new(body);
        let mut line = prefix.clone().into_bytes();
        // Whole lines, so that those of several containers do not mix.
        while reader.read_until(b'\n', &mut line).await? > 0 {
            session.print_bytes(&line)?;
            line.truncate(prefix.len());
        }
        Ok(())
    }
}

/// The container that is meant: the named one, the annotated one, or the first, which is said when
/// there are others.
pub(crate) fn container_of(
    session: &Session,
    pod: &Value,
    named: Option<&str>,
    quiet: bool,
) -> Result<String, Error> {
    let mut known: Vec<(&str, String)> = Vec::new();
    for (list, suffix) in
        [("containers", ""), ("initContainers", " (init)"), ("ephemeralContainers", " (ephem)")]
    {
        let names = list_at(&pod["spec"], list).iter().map(|c| str_at(c, "name"));
        known.extend(names.map(|name| (name, format!("{name}{suffix}"))));
    }
    let pod_name = str_at(pod, "metadata.name");
    let all = || known.iter().map(|(_, shown)| shown.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return if known.iter().any(|(name, _)| *name == named) {
            Ok(named.to_owned())
        } else {
            let all = all();
            let text = format!("container {named} is not valid for pod {pod_name} out of: {all}");
            Err(Error::new(text))
        };
    }
    let main = list_at(pod, "spec.containers");
    let annotated =
        pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    if let Some(name) = annotated.filter(|name| !name.is_empty()) {
        if find(main, "name", name).is_some() {
            return Ok(name.to_owned());
        }
        if !quiet {
            session.print_error(&format!(
                "Default container name {name:?} not found in pod {pod_name}\n"
            ))?;
        }
    }
    let Some(first) = main.first().map(|first| str_at(first, "name")) else {
        return Err(Error::new(format!("pod {pod_name} has no containers")));
    };
    if known.len() > 1 && !quiet {
        session.print_error(&format!("Defaulted container {first:?} out of: {}\n", all()))?;
    }
    Ok(first.to_owned())
}
