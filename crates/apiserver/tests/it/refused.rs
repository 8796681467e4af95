//! What looks harmless and is not: methods that would open a stream by another right, deletes whose
//! options cannot be read, and warnings without end.

use http::Method;
use serde_json::json;

use crate::http::send;
use crate::server::Server;

const POD: &str = "/api/v1/namespaces/default/pods/p";

#[tokio::test]
async fn streams_take_the_methods_and_rights_of_kubernetes() {
    let s = Server::start().await;
    for subresource in ["exec", "attach", "portforward", "log"] {
        let path = format!("{POD}/{subresource}?command=id&stdout=true");
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = send(&s, Some(&s.admin), method.clone(), &path, &[], "").await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.body);
        }
    }
    let answer = send(&s, Some(&s.admin), Method::POST, &format!("{POD}/log"), &[], "").await;
    assert_eq!(answer.status, 405, "{}", answer.body);

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods", "pods/log", "pods/exec", "pods/attach", "pods/portforward"], "verbs": ["get"]}],
    });
    s.create("clusterroles", "", role).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "subjects": [{"kind": "User", "name": "jo", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {
            "kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io",
        },
    });
    s.create("clusterrolebindings", "", binding).await.unwrap();
    let jo = s.authority.issue_client("jo", None, time::OffsetDateTime::now_utc()).unwrap();
    for subresource in ["exec", "attach", "portforward"] {
        let path = format!("{POD}/{subresource}?command=id&stdout=true");
        let answer = send(&s, Some(&jo), Method::GET, &path, &[], "").await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        let text = format!("cannot create resource \"pods/{subresource}\"");
        assert!(answer.body["message"].as_str().unwrap().contains(&text), "{}", answer.body);
    }
    // To read is enough for what is only read.
    let answer = send(&s, Some(&jo), Method::GET, &format!("{POD}/log"), &[], "").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
}

#[tokio::test]
async fn nothing_is_deleted_by_options_that_cannot_be_read() {
    let s = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    s.create("configmaps", "default", object).await.unwrap();
    for body in [
        r#"{"dryRun":"All"}"#,
        r#"{"preconditions":"x"}"#,
        r#"{"preconditions":{"uid":5}}"#,
        r#"{"gracePeriodSeconds":"x"}"#,
        r#"{"propagationPolicy":5}"#,
        r#"{"orphanDependents":"x"}"#,
        "[]",
    ] {
        for path in [path.to_owned(), format!("{path}/x")] {
            let json = [("content-type", "application/json")];
            let answer = send(&s, Some(&s.admin), Method::DELETE, &path, &json, body).await;
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.body);
        }
    }
    s.get("configmaps", "default", "x").await.unwrap();
    for body in [r#"{"apiVersion":"apps/v1","kind":"DeleteOptions","dryRun":["All"]}"#, "{}"] {
        let json = [("content-type", "application/json")];
        let path = format!("{path}/x");
        let answer = send(&s, Some(&s.admin), Method::DELETE, &path, &json, body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    }
    assert!(s.get("configmaps", "default", "x").await.is_err());
}

#[tokio::test]
async fn warnings_have_an_end() {
    let s = Server::start().await;
    let env: Vec<_> = (0..3000).map(|n| json!({"name": "A", "value": n.to_string()})).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "env": env}]},
    });
    let json = [("content-type", "application/json")];
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    let answer = send(&s, Some(&s.admin), Method::POST, path, &json, pod.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let warnings = answer.headers.get_all(http::header::WARNING).iter();
    let length: usize = warnings.map(|text| text.len()).sum();
    assert!((1..8192).contains(&length), "{length}");
}
