//! The kubelet's HTTP paths, as far as the API server hands requests on to them
//! (`nodes/NAME/proxy/PATH`).

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use http::Uri;
use onggi_api::jiff::{SignedDuration, Timestamp};
use onggi_client::node::{LogRequest, NodeAnswer, NodeError, NodeServer, PodRef};
use serde_json::{Value, json};

use super::{Server, usage};
use crate::directory::View;

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The daemon's own logs, below the data directory.
const LOGS: &str = "log";

/// What one path answers.
pub(super) async fn answer(server: &Server, target: &Uri) -> Result<NodeAnswer, NodeError> {
    let parts: Vec<&str> = target.path().split('/').filter(|part| !part.is_empty()).collect();
    let context = &server.context;
    Ok(match parts.as_slice() {
        ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => plain(200, "ok"),
        ["pods" | "runningpods"] => {
            let views = context.directory.views();
            let running = parts == ["runningpods"];
            let has_container = |view: &&Arc<View>| !running || !running_of(view).is_empty();
            let items: Vec<Value> = views.iter().filter(has_container).map(|v| pod(v)).collect();
            let list =
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
            NodeAnswer::new(200, JSON, list.to_string())
        }
        ["configz"] => NodeAnswer::new(200, JSON, configuration(server).to_string()),
        ["stats", "summary"] => {
            let summary = usage::gather(context).await.summary();
            NodeAnswer::new(200, JSON, summary.to_string())
        }
        ["metrics"] => NodeAnswer::new(200, METRICS, usage::gather(context).await.own_metrics()),
        ["metrics", "resource"] => {
            NodeAnswer::new(200, METRICS, usage::gather(context).await.resource_metrics())
        }
        ["metrics", "cadvisor"] => {
            NodeAnswer::new(200, METRICS, usage::gather(context).await.container_metrics())
        }
        ["containerLogs", namespace, name, container] => {
            let asked = match log_request(target.query().unwrap_or(""), context.clock.now()) {
                Ok(asked) => asked,
                Err(text) => return Ok(plain(400, format!("{text}\n"))),
            };
            let pod = PodRef {
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
                uid: String::new(),
            };
            let request = LogRequest { pod, container: (*container).to_owned(), ..asked };
            match server.logs(request).await {
                Ok(lines) => {
                    NodeAnswer { body: lines.boxed(), ..NodeAnswer::new(200, "text/plain", "") }
                }
                Err(NodeError::NotFound(text)) => plain(404, format!("{text}\n")),
                Err(NodeError::BadState(text)) => plain(400, format!("{text}\n")),
                Err(error) => return Err(error),
            }
        }
        ["logs", rest @ ..] => logs(&context.options.data_dir.join(LOGS), rest).await,
        _ => plain(404, "404 page not found\n"),
    })
}

fn plain(status: u16, text: impl Into<bytes::Bytes>) -> NodeAnswer {
    NodeAnswer::new(status, PLAIN, text)
}

/// Names of what runs of a pod.
fn running_of(view: &View) -> Vec<&str> {
    let running =
        |c: &&onggi_node_api::ContainerStatus| c.state == onggi_node_api::ContainerState::Running;
    view.containers.iter().filter(running).map(|c| c.name.as_str()).collect()
}

/// A pod as the kubelet sees it: its status may be ahead of the API's.
fn pod(view: &View) -> Value {
    let pod = &view.pod;
    json!({"metadata": pod.metadata, "spec": pod.spec, "status": view.status})
}

/// `KubeletConfiguration`, as far as there is something to configure.
fn configuration(server: &Server) -> Value {
    let options = &server.context.options;
    json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "clusterDNS": options.cluster_dns,
        "clusterDomain": options.cluster_domain,
        "maxPods": options.max_pods,
        "podCIDR": options.pod_cidr,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 5,
    }})
}

/// The options of a log from a query; pod and container are filled in later.
fn log_request(query: &str, now: Timestamp) -> Result<LogRequest, String> {
    let mut request = LogRequest {
        pod: PodRef { namespace: String::new(), name: String::new(), uid: String::new() },
        container: String::new(),
        follow: false,
        previous: false,
        timestamps: false,
        tail_lines: None,
        limit_bytes: None,
        since_nanos: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        let flag = || !matches!(&*value, "false" | "0");
        let number = || value.parse::<u64>().map_err(|e| format!("{name}={value:?}: {e}"));
        match name {
            "follow" => request.follow = flag(),
            "previous" => request.previous = flag(),
            "timestamps" => request.timestamps = flag(),
            // As the API server's `log` takes it, so that scripts need not care.
            "tailLines" | "tail" => request.tail_lines = Some(number()?),
            "limitBytes" => request.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).unwrap_or(i64::MAX);
                let since = now.saturating_sub(SignedDuration::from_secs(seconds));
                let since = since.map_err(|e| format!("sinceSeconds={value}: {e}"))?;
                request.since_nanos = Some(since.as_nanosecond());
            }
            "sinceTime" => {
                let since: Timestamp =
                    value.parse().map_err(|e| format!("sinceTime={value:?}: {e}"))?;
                request.since_nanos = Some(since.as_nanosecond());
            }
            _ => {}
        }
    }
    Ok(request)
}

/// The directory's files by name, or one of them.
async fn logs(directory: &Path, rest: &[&str]) -> NodeAnswer {
    let mut path = PathBuf::from(directory);
    for part in rest {
        let name = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        // Nothing leads out of it.
        let is_plain = matches!(
            Path::new(&*name).components().collect::<Vec<_>>().as_slice(),
            [Component::Normal(_)]
        );
        if !is_plain {
            return plain(404, "404 page not found\n");
        }
        path.push(&*name);
    }
    let read = tokio::task::spawn_blocking(move || read_log(&path)).await;
    match read {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            plain(404, "404 page not found\n")
        }
        Ok(Err(error)) => plain(500, format!("{error}\n")),
        Err(error) => plain(500, format!("{error}\n")),
    }
}

fn read_log(path: &Path) -> std::io::Result<NodeAnswer> {
    let about = std::fs::symlink_metadata(path)?;
    if about.is_file() {
        return Ok(plain(200, std::fs::read(path)?));
    }
    if !about.is_dir() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    let lines: String =
        names.iter().map(|name| format!("<a href=\"{name}\">{name}</a>\n")).collect();
    Ok(NodeAnswer::new(200, HTML, format!("<pre>\n{lines}</pre>\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_logs() {
        let now = Timestamp::from_second(1000).unwrap();
        let asked =
            log_request("follow=true&tailLines=3&limitBytes=9&sinceSeconds=10", now).unwrap();
        assert!(asked.follow && !asked.previous && !asked.timestamps);
        assert_eq!((asked.tail_lines, asked.limit_bytes), (Some(3), Some(9)));
        assert_eq!(asked.since_nanos, Some(990_000_000_000));
        let asked = log_request("sinceTime=1970-01-01T00%3A00%3A01Z&previous", now).unwrap();
        assert!(asked.previous);
        assert_eq!(asked.since_nanos, Some(1_000_000_000));
        assert!(log_request("tailLines=x", now).unwrap_err().starts_with("tailLines=\"x\": "));
    }

    #[tokio::test]
    async fn logs_of_the_node_stay_in_their_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.log"), "line\n").unwrap();
        std::os::unix::fs::symlink("/etc/hosts", directory.path().join("link")).unwrap();
        let text = async |rest: &[&str]| {
            let mut answer = logs(directory.path(), rest).await;
            let body = answer.body.next().await.unwrap().unwrap();
            (answer.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
        };
        let listed = "<pre>\n<a href=\"a.log\">a.log</a>\n<a href=\"link\">link</a>\n</pre>\n";
        assert_eq!(text(&[]).await, (200, listed.to_owned()));
        assert_eq!(text(&["a.log"]).await, (200, "line\n".to_owned()));
        for rest in [&["link"][..], &["..", "x"], &["%2e%2e"], &["a%2fb"], &["none"]] {
            assert_eq!(text(rest).await.0, 404, "{rest:?}");
        }
    }
}
