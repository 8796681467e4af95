//! What people and programs watch the server by: metrics, pages, discovery of addresses.

use http::{Method, StatusCode};
use serde_json::json;

use crate::http::{Answer, send};
use crate::server::Server;

async fn get(s: &Server, path: &str, accept: &str) -> Answer {
    let headers = if accept.is_empty() { vec![] } else { vec![("accept", accept)] };
    send(s, Some(&s.admin), Method::GET, path, &headers, "").await
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_look_for() {
    let s = Server::start().await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let json_type = [("content-type", "application/json")];
    send(&s, Some(&s.admin), Method::POST, pods, &json_type, pod.to_string()).await;
    let old = "/apis/batch/v1beta1/namespaces/default/cronjobs";
    assert_eq!(get(&s, old, "").await.status, StatusCode::OK);
    assert_eq!(get(&s, "/readyz", "").await.status, StatusCode::OK);
    let text = String::from_utf8(get(&s, "/metrics", "").await.bytes.to_vec()).unwrap();
    for start in [
        "apiserver_admission_controller_admission_duration_seconds_bucket{name=\"ServiceAccount\",\
         operation=\"CREATE\",rejected=\"false\",type=\"admit\",le=\"0.005\"}",
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",\
         rejected=\"false\",type=\"validate\"}",
        "apiserver_admission_step_admission_duration_seconds_summary_sum{operation=\"CREATE\",\
         rejected=\"false\",type=\"admit\"}",
        "apiserver_request_sli_duration_seconds_bucket{component=\"apiserver\",group=\"\",\
         resource=\"pods\",scope=\"namespace\",subresource=\"\",verb=\"POST\",version=\"v1\",le=\"0.05\"}",
        "apiserver_requested_deprecated_apis{group=\"batch\",removed_release=\"1.25\",\
         resource=\"cronjobs\",subresource=\"\",version=\"v1beta1\"} 1",
        "authentication_attempts{result=\"success\"}",
        "authenticated_user_requests{username=\"admin\"}",
        "authorization_attempts_total{result=\"allowed\"}",
        "apiserver_current_inflight_requests{request_kind=\"mutating\"}",
    ] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}\n{text}");
    }
    let slis = String::from_utf8(get(&s, "/metrics/slis", "").await.bytes.to_vec()).unwrap();
    for line in [
        "kubernetes_healthcheck{name=\"etcd\",type=\"readyz\"} 1",
        "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"readyz\"} 1",
    ] {
        assert!(slis.lines().any(|found| found == line), "{line}\n{slis}");
    }
}

#[tokio::test]
async fn pages_for_people() {
    let s = Server::start().await;
    let text = get(&s, "/statusz", "").await.body;
    let text = text.as_str().unwrap();
    assert!(text.starts_with("\napiserver statusz\nWarning: This endpoint is not meant"), "{text}");
    assert!(text.contains("\nEmulation version: 1.36\n"), "{text}");
    assert!(text.contains("\nPaths: /flagz /healthz /livez /metrics /readyz /version\n"), "{text}");
    let beta = "application/json;v=v1beta1;g=config.k8s.io;as=Flagz";
    let flags = get(&s, "/flagz", beta).await.body;
    assert_eq!(
        (&flags["kind"], &flags["apiVersion"]),
        (&json!("Flagz"), &json!("config.k8s.io/v1beta1"))
    );
    assert_eq!(flags["flags"]["authorization-mode"], "[Node,RBAC]");
    let alpha = "application/json;v=v1alpha1;g=config.k8s.io;as=Statusz";
    let status = get(&s, "/statusz", alpha).await;
    assert_eq!(status.body["metadata"]["name"], "apiserver");
    let warning = status.headers["warning"].to_str().unwrap();
    assert!(warning.contains("version of the statusz endpoint is deprecated"), "{warning}");
    assert_eq!(get(&s, "/statusz", "application/json").await.status, StatusCode::NOT_ACCEPTABLE);
    let jo = s.authority.issue_client("jo", None, time::OffsetDateTime::now_utc()).unwrap();
    let refused = send(&s, Some(&jo), Method::GET, "/flagz", &[], "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn clients_are_told_where_the_server_is() {
    let s = Server::start().await;
    let versions = get(&s, "/api", "").await.body;
    let address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": s.address.to_string()}]);
    assert_eq!(versions["serverAddressByClientCIDRs"], address);
    assert_eq!(versions["versions"], json!(["v1"]));
}

#[tokio::test]
async fn documents_of_many_custom_kinds_are_made_beside_requests() {
    let s = Server::start().await;
    let definition = |name: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{name}s.example.com")},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": format!("{name}s"), "kind": name},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        })
    };
    for name in ["lid", "pot"] {
        s.create("crd", "", definition(name)).await.unwrap();
        let all = futures::future::join_all((0..4).map(|_| get(&s, "/openapi/v2", ""))).await;
        for one in &all {
            let definitions = one.body["definitions"].as_object().unwrap();
            assert!(definitions.contains_key("io.k8s.api.core.v1.Pod"));
            assert!(definitions.contains_key(&format!("com.example.v1.{name}")), "{name}");
            assert_eq!(one.headers["etag"], all[0].headers["etag"]);
        }
    }
}
