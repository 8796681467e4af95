//! Logs, commands in containers, watches: on a node that only pretends.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use onggi_client::node::{
    Duplex, ExecRequest, ExitStatus, LogRequest, NodeAnswer, NodeConnector, NodeError, NodeServer,
    PodRef, Streams,
};
use serde_json::json;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_pods_and_the_api_on_this_machine() {
    let s = with_pods().await;
    let mut forward = s.follow("port-forward pod/a :80 --address=127.0.0.1").await;
    let said = forward.line().await;
    let address = said.strip_prefix("Forwarding from ").unwrap();
    let address = address.strip_suffix(" -> 80").unwrap().to_owned();
    for text in ["hello", "again"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, format!("80 {text}"));
    }
    let mut proxy = s.follow("proxy --port=0").await;
    let said = proxy.line().await;
    let address = said.strip_prefix("Starting to serve on ").unwrap().to_owned();
    for (path, host, status) in [
        ("/api/v1/namespaces/default/pods/a", "localhost", "200"),
        ("/api/v1/namespaces/default/pods/none", "127.0.0.1", "404"),
        ("/api/v1/namespaces/default/pods/a/exec", "localhost", "403"),
        ("/version", "example.com", "403"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {host}: {answer}");
    }
}

struct FakeNode;

#[async_trait]
impl NodeConnector for FakeNode {
    async fn node(&self, _: &str) -> Result<Arc<dyn NodeServer>, NodeError> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl NodeServer for FakeNode {
    /// Tells what was asked for.
    async fn logs(
        &self,
        r: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeError>>, NodeError> {
        let flags = [(r.follow, "follow"), (r.previous, "previous"), (r.timestamps, "timestamps")];
        let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        let tail = r.tail_lines.map_or("all".to_owned(), |n| n.to_string());
        let lines =
            [format!("{}/{} ", r.pod.name, r.container), format!("{flags:?} {tail}\nend\n")];
        Ok(stream::iter(lines).map(|line| Ok(Bytes::from(line))).boxed())
    }

    async fn exec(&self, request: ExecRequest, _: Streams) -> Result<ExitStatus, NodeError> {
        let code = request.command.last().and_then(|word| word.parse().ok());
        Ok(ExitStatus(code.unwrap_or(0)))
    }

    async fn attach(&self, _: ExecRequest, _: Streams) -> Result<ExitStatus, NodeError> {
        Ok(ExitStatus(0))
    }

    /// Sends back what it gets, behind the number of the port.
    async fn port_forward(
        &self,
        _: PodRef,
        port: u16,
        stream: Box<dyn Duplex>,
    ) -> Result<(), NodeError> {
        let (mut read, mut write) = tokio::io::split(stream);
        write.write_all(format!("{port} ").as_bytes()).await.unwrap();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
        Ok(())
    }

    /// Says what was asked for.
    async fn get(&self, target: &http::Uri) -> Result<NodeAnswer, NodeError> {
        match target.path() {
            "/none" => Ok(NodeAnswer::new(404, "text/plain", "404 page not found\n")),
            _ => Ok(NodeAnswer::new(200, "text/plain", format!("asked for {target}"))),
        }
    }
}

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: web, image: x}, {name: side, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: web, image: x}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: x}]}}
";

async fn with_pods() -> Server {
    let s = Server::start().await;
    s.server.set_node_connector(Arc::new(FakeNode));
    let file = s.file("pods.yaml", PODS);
    s.run(&format!("create -f {file}")).await;
    for pod in ["a", "b"] {
        let status = json!({"status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
             "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}]}});
        let patch = format!("patch pod {pod} --subresource=status --type=merge -p '{status}'");
        s.run(&patch).await;
    }
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn logs() {
    let s = with_pods().await;
    assert_eq!(s.run("logs b").await, "b/web [] all\nend\n");
    for line in [
        "logs b",
        "logs a",
        "logs a -c side --tail=5 --timestamps",
        "logs a side -p",
        "logs -f b --tail=0",
        "logs -l app=none",
        "logs a -c none",
        "logs none",
    ] {
        s.same(line).await;
    }
    s.settle();
    // kubectl prints them in any order.
    let both = s.run("logs a --all-containers --prefix").await;
    let web = "[pod/a/web] a/web [] all\n[pod/a/web] end\n";
    assert_eq!(both, format!("{web}{}", web.replace("web", "side")));
    let printed = s.try_run("logs deploy/web -c web").await;
    assert!(printed.err.starts_with("Found 2 pods, using pod/"), "{}", printed.err);
    assert!(s.fails("logs").await.contains("POD or TYPE/NAME is a required argument"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands() {
    let s = with_pods().await;
    s.run("exec b -- exit 0").await;
    let printed = s.try_run("exec b -c web -- exit 3").await;
    assert_eq!((printed.code, printed.err.as_str()), (3, "command terminated with exit code 3\n"));
    let printed = s.try_run("exec -i b -- sh -c 4").await;
    assert_eq!(printed.code, 4);
    let printed = s.try_run("exec deploy/web -c web -- exit 5").await;
    assert_eq!(printed.code, 5);
    let printed = s.try_run("exec a -- exit 0").await;
    assert_eq!(printed.err, "Defaulted container \"web\" out of: web, side\n");
    s.run("attach b").await;
    s.same("exec none -- exit 0").await;
    s.same("exec a -c none -- exit 0").await;
    s.settle();
}

/// A watch has no end: it is printed by a task that is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn watches() {
    let s = Server::start().await;
    s.run("create cm first").await;
    let mut watch = s.follow("get cm -w").await;
    assert_eq!(watch.line().await, "NAME    DATA   AGE");
    assert!(watch.line().await.starts_with("first   0      "));
    s.run("create cm second --from-literal=a=1").await;
    assert!(watch.line().await.starts_with("second   1      "));
    s.run("delete cm first").await;
    assert!(watch.line().await.starts_with("first    0      "));
    let mut names = s.follow("get cm second -w -o name").await;
    assert_eq!(names.line().await, "configmap/second");
    s.run("label cm second a=b").await;
    assert_eq!(names.line().await, "configmap/second");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts() {
    let s = Server::start().await;
    let file = s.file("web.yaml", PODS.rsplit("---").next().unwrap());
    s.run(&format!("create -f {file}")).await;
    let uid = s.run("get deploy web -o jsonpath={.metadata.uid}").await;
    for (revision, image, cause) in [(1, "x:1", "first"), (2, "x", "second")] {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("web-{revision}"), "labels": {"app": "web"},
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string(),
                    "kubernetes.io/change-cause": cause},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                    "uid": uid, "controller": true}]},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": "h"}},
                    "spec": {"containers": [{"name": "web", "image": image}]}}},
        });
        let file = s.file("set.json", &set.to_string());
        s.run(&format!("create -f {file}")).await;
    }
    let generation = s.run("get deploy web -o jsonpath={.metadata.generation}").await;
    for line in [
        "rollout history deploy/web",
        "rollout history deploy/web --revision=1",
        "rollout history deploy/web --revision=9",
        "rollout undo deploy/web --to-revision=9",
        "rollout undo deploy/web --to-revision=2",
        "rollout status deploy/web --watch=false",
        "describe deploy web",
    ] {
        s.same(line).await;
    }
    s.settle();
    assert_eq!(s.run("rollout undo deploy/web").await, "deployment.apps/web rolled back\n");
    let path = "{.spec.template.spec.containers[0].image}";
    assert_eq!(s.run(&format!("get deploy web -o jsonpath={path}")).await, "x:1");
    let done = json!({"status": {"observedGeneration": 9, "replicas": 1, "updatedReplicas": 1,
        "availableReplicas": 1, "readyReplicas": 1}});
    let patch = format!("patch deploy web --subresource=status --type=merge -p '{done}'");
    let following = s.run("rollout status deploy/web --timeout=60s");
    let (said, _) = tokio::join!(following, s.run(&patch));
    assert!(said.ends_with("deployment \"web\" successfully rolled out\n"), "{generation}: {said}");
}
