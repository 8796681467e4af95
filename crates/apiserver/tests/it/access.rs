//! Who may do what: the system's own parts, nodes, everybody else.

use onggi_apiserver::User;
use onggi_client::{Body, Error, Request, WatchSpec};
use onggi_machinery::resource::{Verb, by_any_name};
use serde_json::{Value, json};

use crate::server::Server;

async fn attempt(s: &Server, user: &User, request: Request) -> Result<(), Error> {
    s.server.transport(user.clone()).call(request).await.map(|_| ())
}

fn is_forbidden(result: &Result<(), Error>) -> bool {
    result.as_ref().is_err_and(|error| error.status().is_some_and(|status| status.code == 403))
}

#[tokio::test]
async fn each_part_may_do_its_work_and_no_more() {
    let s = Server::start().await;
    let scheduler = User::new("system:kube-scheduler", &[]);
    let controllers = User::new("system:kube-controller-manager", &[]);
    let proxy = User::new("system:kube-proxy", &[]);
    let node = User::new("system:node:n1", &["system:nodes"]);
    let robot = User::new("system:serviceaccount:default:robot", &["system:serviceaccounts"]);
    let cases = [
        (&scheduler, Verb::List, "pods", "", true),
        (&scheduler, Verb::Create, "pods", "binding", true),
        (&scheduler, Verb::Create, "deployments", "", false),
        (&scheduler, Verb::Create, "pods", "exec", false),
        (&controllers, Verb::Delete, "namespaces", "", true),
        (&proxy, Verb::List, "endpointslices", "", true),
        (&proxy, Verb::List, "secrets", "", false),
        (&node, Verb::Get, "secrets", "", true),
        (&node, Verb::Create, "serviceaccounts", "token", true),
        (&node, Verb::List, "deployments", "", false),
        (&node, Verb::Delete, "nodes", "", false),
        (&robot, Verb::List, "pods", "", false),
        (&User::anonymous(), Verb::Get, "pods", "", false),
    ];
    for (user, verb, plural, part, allowed) in cases {
        let namespaced = by_any_name(plural).unwrap().namespaced();
        let namespace = if namespaced { "default" } else { "" };
        let request = s.request(verb, plural, namespace, "x").subresource(part);
        let result = attempt(&s, user, request).await;
        assert_eq!(!is_forbidden(&result), allowed, "{} {verb:?} {plural}/{part}", user.name);
    }
    let spec = WatchSpec::all(by_any_name("secrets").unwrap().gvr());
    assert!(s.server.transport(proxy).watch(spec).await.is_err());
}

#[tokio::test]
async fn a_node_writes_to_its_own_alone() {
    let s = Server::start().await;
    let node = User::new("system:node:n1", &["system:nodes"]);
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let create = |plural: &str, namespace: &str, object: Value| {
        let request = s.request(Verb::Create, plural, namespace, "");
        attempt(&s, &node, request.body(Body::Object(object)))
    };
    create("nodes", "", object("Node", "n1", json!({}))).await.unwrap();
    let other = create("nodes", "", object("Node", "n2", json!({}))).await;
    assert!(is_forbidden(&other), "{other:?}");
    for (name, host) in [("mine", "n1"), ("theirs", "n2")] {
        let spec = json!({"nodeName": host, "containers": [{"name": "c", "image": "i"}]});
        let refused = create("pods", "default", object("Pod", name, spec.clone())).await;
        assert!(is_forbidden(&refused), "only mirror pods: {refused:?}");
        s.create("pods", "default", object("Pod", name, spec)).await.unwrap();
        let patch = r#"{"status":{"phase":"Running"}}"#;
        let request = s.request(Verb::Patch, "pods", "default", name).subresource("status");
        let body = Body::Patch(onggi_client::PatchKind::Merge, patch.into());
        let result = attempt(&s, &node, request.body(body)).await;
        assert_eq!(result.is_ok(), name == "mine", "{result:?}");
        let mut request = s.request(Verb::Delete, "pods", "default", name);
        request.write.grace_period_seconds = Some(0);
        let result = attempt(&s, &node, request).await;
        assert_eq!(result.is_ok(), name == "mine", "{result:?}");
    }
}
