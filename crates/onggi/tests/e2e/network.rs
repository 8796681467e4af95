//! Services and names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use crate::rig::{Cluster, PATIENCE, deployment, on_path, pod, service};

#[test]
fn a_service_is_reached_by_address_name_and_node_port() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut open = service("web");
    open["spec"]["type"] = json!("NodePort");
    open["spec"]["ports"][0]["nodePort"] = json!(30080);
    cluster.apply(&[deployment("web", 2, &["serve", "8080"]), open, pod("client", &["wait"])]);
    cluster.wait("deployment/web", "condition=Available");
    cluster.wait("pod/client", "condition=Ready");
    let pods = cluster.k(&["get", "pods", "-l", "app=web", "-o", "name"]);
    let mut expected: Vec<_> = pods.lines().map(|name| name.replace("pod/", "")).collect();
    expected.sort();
    assert_eq!(expected.len(), 2);

    let ip = cluster.field("service/web", ".spec.clusterIP");
    let host = "web.default.svc.cluster.local";
    for name in ["web", "web.default", "web.default.svc", host] {
        assert_eq!(cluster.exec("client", &["resolve", name]), format!("{ip}\n"), "{name}");
    }
    let both = |ask: &dyn Fn() -> String| {
        let mut seen = Vec::new();
        cluster.until("both pods answer", || {
            seen.push(ask());
            seen.sort();
            seen.dedup();
            (seen == expected).then_some(())
        });
    };
    both(&|| cluster.exec("client", &["get", "http://web/"]).trim().to_owned());
    both(&|| get(&cluster, "127.0.0.1:30080", "/").unwrap());
    both(&|| get(&cluster, &format!("{ip}:80"), "/").unwrap());
    // The API server has a name too.
    let said = cluster.exec("client", &["resolve", "kubernetes.default.svc"]);
    assert_eq!(said, format!("{}\n", cluster.field("service/kubernetes", ".spec.clusterIP")));
    let said =
        cluster.kubectl(&["exec", "client", "--", "/guest", "resolve", "nobody.default.svc"]);
    assert!(!said.ok, "{}", said.out);

    cluster.k(&["delete", "service", "web"]);
    cluster.until("the node port is closed", || {
        get(&cluster, "127.0.0.1:30080", "/").is_err().then_some(())
    });
}

#[test]
fn a_headless_service_names_its_pods() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut headless = service("web");
    headless["spec"]["clusterIP"] = json!("None");
    let mut named = pod("named", &["serve", "8080"]);
    named["metadata"]["labels"] = json!({"app": "web"});
    named["spec"]["hostname"] = json!("first");
    named["spec"]["subdomain"] = json!("web");
    cluster.apply(&[headless, named, pod("client", &["wait"])]);
    cluster.wait("pod/named", "condition=Ready");
    cluster.wait("pod/client", "condition=Ready");
    let ip = cluster.field("pod/named", ".status.podIP");
    cluster.until("the names", || {
        let said = cluster.kubectl(&["exec", "client", "--", "/guest", "resolve", "web"]);
        (said.out == format!("{ip}\n")).then_some(())
    });
    assert_eq!(cluster.exec("client", &["resolve", "first.web"]), format!("{ip}\n"));
    let own = cluster.exec("named", &["cat", "/etc/hosts"]);
    assert!(own.contains("first.web.default.svc.cluster.local"), "{own}");
}

#[test]
fn without_endpoints_a_service_refuses() {
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[service("empty"), pod("client", &["wait"])]);
    cluster.wait("pod/client", "condition=Ready");
    let said = cluster.kubectl(&["exec", "client", "--", "/guest", "get", "http://empty/"]);
    assert!(said.err.contains("Connection refused"), "{}", said.err);
    // With the first pod it answers, without the last it refuses again.
    cluster.apply(&[pod("empty", &["serve", "8080"])]);
    cluster.wait("pod/empty", "condition=Ready");
    cluster.until("an answer", || {
        let said = cluster.kubectl(&["exec", "client", "--", "/guest", "get", "http://empty/"]);
        said.ok.then_some(())
    });
    cluster.k(&["delete", "pod", "empty"]);
    let said = cluster.kubectl(&["exec", "client", "--", "/guest", "get", "http://empty/"]);
    assert!(said.err.contains("Connection refused"), "{}", said.err);
}

#[test]
fn pods_reach_each_other_and_themselves() {
    let Some(cluster) = Cluster::with_guest() else { return };
    let mut one = pod("one", &["serve", "8080"]);
    one["spec"]["containers"][0]["readinessProbe"] =
        json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    cluster.apply(&[one, pod("two", &["wait"]), service("one")]);
    cluster.wait("pod/one", "condition=Ready");
    cluster.wait("pod/two", "condition=Ready");
    let (one, two) =
        (cluster.field("pod/one", ".status.podIP"), cluster.field("pod/two", ".status.podIP"));
    let seen = cluster.exec("two", &["get", &format!("http://{one}:8080/peer")]);
    assert_eq!(seen, format!("{two}\n"), "no address is hidden between pods");
    // Through its own Service, back to itself.
    cluster.until("itself", || {
        let said = cluster.kubectl(&["exec", "one", "--", "/guest", "get", "http://one/"]);
        (said.out == "one\n").then_some(())
    });
}

#[test]
fn a_port_is_forwarded() {
    if on_path("kubectl").is_none() {
        eprintln!("skipped: only kubectl forwards ports");
        return;
    }
    let Some(cluster) = Cluster::with_guest() else { return };
    cluster.apply(&[pod("one", &["serve", "8080"])]);
    cluster.wait("pod/one", "condition=Ready");
    let forward = cluster.begin(&["port-forward", "pod/one", "18080:8080"]);
    cluster.until("the forwarded port", || get(&cluster, "127.0.0.1:18080", "/").ok());
    let answer = get(&cluster, "127.0.0.1:18080", "/").unwrap();
    assert_eq!(answer, "one");
    forward.stop();
}

/// The body of an answer with 200.
pub(crate) fn get(cluster: &Cluster, address: &str, path: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    cluster.inside(|| {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        if head.split(' ').nth(1) != Some("200") {
            return Err(std::io::Error::other(head.to_owned()));
        }
        Ok(body.trim_end().to_owned())
    })
}
