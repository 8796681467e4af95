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
        (&node, Verb::Get, "secrets", "", false),
        (&node, Verb::Get, "secrets", "named", true),
        (&node, Verb::Create, "serviceaccounts", "token", false),
        (&node, Verb::Create, "serviceaccounts", "token named", true),
        (&node, Verb::List, "pods", "", false),
        (&node, Verb::Get, "services", "", true),
        (&node, Verb::List, "deployments", "", false),
        (&node, Verb::List, "resourceslices", "", false),
        (&node, Verb::Create, "resourceslices", "", true),
        (&node, Verb::Delete, "nodes", "", false),
        (&robot, Verb::List, "pods", "", false),
        (&User::anonymous(), Verb::Get, "pods", "", false),
    ];
    // What a pod of the node names.
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "named"}});
    s.create("serviceaccounts", "default", account).await.unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "named"}});
    s.create("secrets", "default", secret).await.unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "named",
            "containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "named"}}]}],
        },
    });
    s.create("pods", "default", pod).await.unwrap();
    for (user, verb, plural, part, allowed) in cases {
        let (part, name) = match part {
            "named" => ("", "named"),
            "token named" => ("token", "named"),
            part => (part, if verb == Verb::List { "" } else { "x" }),
        };
        let namespaced = by_any_name(plural).unwrap().namespaced();
        let namespace = if namespaced { "default" } else { "" };
        let request = s.request(verb, plural, namespace, name).subresource(part);
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

#[tokio::test]
async fn a_mirror_pod_belongs_to_the_node_as_it_is() {
    let s = Server::start().await;
    let node = User::new("system:node:n1", &["system:nodes"]);
    let own = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    let uid = s.create("nodes", "", own).await.unwrap()["metadata"]["uid"].clone();
    let owner = |uid: &Value| json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]);
    let create = async |owners: Value| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "etcd-n1", "ownerReferences": owners,
                "annotations": {"kubernetes.io/config.mirror": "x"},
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
        });
        let request = s.request(Verb::Create, "pods", "default", "").body(Body::Object(pod));
        attempt(&s, &node, request).await
    };
    let text = "node \"n1\" can only create pods with an owner reference set to itself";
    assert!(message(create(json!([])).await).ends_with(text));
    let earlier = message(create(owner(&json!("earlier"))).await);
    let uid_text = uid.as_str().unwrap();
    assert!(earlier.ends_with(&format!("node n1 UID mismatch: expected earlier got {uid_text}")));
    create(owner(&uid)).await.unwrap();
}

#[tokio::test]
async fn a_node_asks_for_tokens_that_its_pods_ask_for() {
    let s = Server::start().await;
    let node = User::new("system:node:n1", &["system:nodes"]);
    let token = json!({"serviceAccountToken": {"path": "t", "audience": "vault"}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [
                {"name": "v", "projected": {"sources": [token]}},
                {"name": "d", "csi": {"driver": "d.example.com"}},
            ],
        },
    });
    let driver = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
        "metadata": {"name": "d.example.com"},
        "spec": {"tokenRequests": [{"audience": "driver"}]},
    });
    s.create("csidrivers", "", driver).await.unwrap();
    let uid = s.create("pods", "default", pod).await.unwrap()["metadata"]["uid"].clone();
    let ask = async |audiences: &[&str], name: &str| {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
        let token = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"name": name},
            "spec": {"audiences": audiences, "boundObjectRef": bound},
        });
        let request = s.request(Verb::Create, "serviceaccounts", "default", "default");
        attempt(&s, &node, request.subresource("token").body(Body::Object(token))).await
    };
    for audiences in [&[][..], &["vault"], &["driver"]] {
        ask(audiences, "").await.unwrap();
    }
    let other = message(ask(&["other"], "").await);
    let text = "audience \"other\" not found in pod spec volume, system:node:n1 is not authorized to \
                request tokens for this audience";
    assert!(other.ends_with(text), "{other}");
    assert!(
        message(ask(&["a", "b"], "").await).ends_with("node may only request 0 or 1 audiences")
    );
    let text = message(ask(&[], "elsewhere").await);
    assert!(text.contains("must match the service account name if specified"), "{text}");
    // By a role.
    let right = json!([{
        "verbs": ["request-serviceaccounts-token-audience"],
        "apiGroups": [""],
        "resources": ["other"],
    }]);
    let role = rbac("ClusterRole", "other", json!({"rules": right}));
    s.create("clusterroles", "", role).await.unwrap();
    let bound = binding("ClusterRoleBinding", "other", ("ClusterRole", "other"), "system:node:n1");
    s.create("clusterrolebindings", "", bound).await.unwrap();
    ask(&["other"], "").await.unwrap();
}

fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [""], "resources": resources})
}

fn rbac(kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
    });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn binding(kind: &str, name: &str, (to, role): (&str, &str), user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    rbac(
        kind,
        name,
        json!({
            "roleRef": {"apiGroup": group, "kind": to, "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }),
    )
}

fn message(result: Result<(), Error>) -> String {
    result.unwrap_err().status().unwrap().message.clone()
}

#[tokio::test]
async fn roles_allow_from_the_moment_they_are_bound() {
    let s = Server::start().await;
    let jo = User::new("jo", &[]);
    let list = |plural: &str, namespace: &str| s.request(Verb::List, plural, namespace, "");
    let refused = attempt(&s, &jo, list("pods", "default")).await;
    assert_eq!(
        message(refused),
        "pods is forbidden: User \"jo\" cannot list resource \"pods\" in API group \"\" in the \
         namespace \"default\""
    );
    let bound = binding("RoleBinding", "b", ("Role", "reader"), "jo");
    s.create("rolebindings", "default", bound).await.unwrap();
    let refused = attempt(&s, &jo, list("pods", "default")).await;
    assert!(
        message(refused).ends_with(": RBAC: role.rbac.authorization.k8s.io \"reader\" not found")
    );
    let role = rbac("Role", "reader", json!({"rules": [rule(&["get", "list"], &["pods"])]}));
    s.create("roles", "default", role).await.unwrap();
    attempt(&s, &jo, list("pods", "default")).await.unwrap();
    for (plural, namespace) in [("secrets", "default"), ("pods", "kube-system"), ("pods", "")] {
        assert!(is_forbidden(&attempt(&s, &jo, list(plural, namespace)).await));
    }
    s.delete("rolebindings", "default", "b").await.unwrap();
    assert!(is_forbidden(&attempt(&s, &jo, list("pods", "default")).await));
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let s = Server::start().await;
    let jo = User::new("jo", &[]);
    let rules = json!({"rules": [
        {"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
    ]});
    s.create("clusterroles", "", rbac("ClusterRole", "granter", rules)).await.unwrap();
    let mut grants = rule(&["get"], &["pods"]);
    grants["resources"] = json!(["pods", "configmaps"]);
    s.create("clusterroles", "", rbac("ClusterRole", "reader", json!({"rules": [grants]})))
        .await
        .unwrap();
    for role in ["granter", "reader"] {
        let binding = binding("RoleBinding", role, ("ClusterRole", role), "jo");
        s.create("rolebindings", "default", binding).await.unwrap();
    }
    // `*` on roles holds escalate and bind as well: take both away.
    let mut granter = s.get("clusterroles", "", "granter").await.unwrap();
    granter["rules"][0]["verbs"] = json!(["get", "create", "update"]);
    s.update("clusterroles", "", granter).await.unwrap();
    let create = |plural: &str, object: Value| {
        let request = s.request(Verb::Create, plural, "default", "").body(Body::Object(object));
        attempt(&s, &jo, request)
    };
    let role = |name: &str, rules: Value| rbac("Role", name, json!({"rules": rules}));
    create("roles", role("same", json!([rule(&["get"], &["pods"])]))).await.unwrap();
    let more = role("more", json!([rule(&["get", "delete"], &["pods", "secrets"])]));
    assert_eq!(
        message(create("roles", more).await),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jo\" \
         (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently \
         held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\"]}"
    );
    let own = binding("RoleBinding", "own", ("Role", "same"), "jan");
    create("rolebindings", own).await.unwrap();
    let all = binding("RoleBinding", "all", ("ClusterRole", "cluster-admin"), "jo");
    assert!(is_forbidden(&create("rolebindings", all).await));
    let nothing = binding("RoleBinding", "none", ("Role", "nothing"), "jo");
    assert_eq!(
        message(create("rolebindings", nothing).await),
        "roles.rbac.authorization.k8s.io \"nothing\" not found"
    );
}

#[tokio::test]
async fn reviews_are_answered() {
    let s = Server::start().await;
    let robot = User::new("system:serviceaccount:default:robot", &["system:serviceaccounts"]);
    let ask = async |user: &User, plural: &str, namespace: &str, kind: &str, spec: Value| {
        let group = if kind.contains("Access") || kind.contains("Rules") {
            "authorization.k8s.io/v1"
        } else {
            "authentication.k8s.io/v1"
        };
        let body = json!({"apiVersion": group, "kind": kind, "metadata": {}, "spec": spec});
        let request = s.request(Verb::Create, plural, namespace, "").body(Body::Object(body));
        match s.server.transport(user.clone()).call(request).await? {
            onggi_client::Response::Document { value, created, .. } => {
                assert!(created);
                Ok::<Value, Error>(value["status"].clone())
            }
            other => panic!("{other:?}"),
        }
    };
    let admin = User::new("admin", &["system:masters"]);
    let pods = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let subject = json!({"user": "jo", "resourceAttributes": pods});
    let answer =
        ask(&admin, "subjectaccessreviews", "", "SubjectAccessReview", subject.clone()).await;
    assert_eq!(answer.unwrap(), json!({"allowed": false}));
    let view =
        binding("ClusterRoleBinding", "view", ("ClusterRole", "system:aggregate-to-view"), "jo");
    s.create("clusterrolebindings", "", view).await.unwrap();
    let answer = ask(
        &admin,
        "localsubjectaccessreviews",
        "default",
        "LocalSubjectAccessReview",
        subject.clone(),
    );
    assert_eq!(
        answer.await.unwrap(),
        json!({
            "allowed": true,
            "reason": "RBAC: allowed by ClusterRoleBinding \"view\" of ClusterRole \
                       \"system:aggregate-to-view\" to User \"jo\"",
        })
    );
    // Only those who may ask for others.
    assert!(ask(&robot, "subjectaccessreviews", "", "SubjectAccessReview", subject).await.is_err());
    let own = json!({"nonResourceAttributes": {"verb": "get", "path": "/apis"}});
    let answer = ask(&robot, "selfsubjectaccessreviews", "", "SelfSubjectAccessReview", own).await;
    assert_eq!(answer.unwrap()["allowed"], true);
    let rules = json!({"namespace": "default"});
    let answer = ask(&robot, "selfsubjectrulesreviews", "", "SelfSubjectRulesReview", rules).await;
    let answer = answer.unwrap();
    assert_eq!(answer["incomplete"], false);
    assert!(answer["resourceRules"].as_array().unwrap().len() >= 2, "{answer}");
    let answer = ask(&robot, "selfsubjectreviews", "", "SelfSubjectReview", Value::Null).await;
    assert_eq!(answer.unwrap()["userInfo"]["username"], robot.name);
    let wrong =
        ask(&admin, "subjectaccessreviews", "", "SubjectAccessReview", json!({"user": "x"}));
    assert_eq!(wrong.await.unwrap_err().status().unwrap().code, 422);
    let token = json!({"token": "nonsense"});
    let answer = ask(&admin, "tokenreviews", "", "TokenReview", token).await.unwrap();
    assert_eq!(answer, json!({"user": {}, "error": "invalid bearer token"}));
    let request = s.request(Verb::Create, "serviceaccounts", "default", "default");
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let request = request.subresource("token").body(Body::Object(body));
    let token = s.call(request).await.unwrap()["status"]["token"].clone();
    let answer =
        ask(&admin, "tokenreviews", "", "TokenReview", json!({"token": token})).await.unwrap();
    assert_eq!(answer["user"]["username"], "system:serviceaccount:default:default");
    let id = &answer["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
    assert!(id.as_str().unwrap().starts_with("JTI="), "{answer}");
    let other = json!({"token": token, "audiences": ["elsewhere"]});
    let answer = ask(&admin, "tokenreviews", "", "TokenReview", other).await.unwrap();
    assert!(answer.get("authenticated").is_none(), "{answer}");
}

#[tokio::test]
async fn a_token_in_a_secret_says_when_it_was_used() {
    use crate::http::send;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::{Method, StatusCode};

    const LAST: &str = "kubernetes.io/legacy-token-last-used";
    let s = Server::start().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
    });
    let made = s.create("secrets", "default", secret).await.unwrap();
    let token = STANDARD.decode(made["data"]["token"].as_str().unwrap()).unwrap();
    let bearer = format!("Bearer {}", String::from_utf8(token).unwrap());
    let shown = [("authorization", bearer.as_str())];
    let ask = || send(&s, None, Method::GET, "/version", &shown, "");
    let mut changes = s.watch("secrets", "default").await;
    assert_eq!(ask().await.status, StatusCode::OK);
    loop {
        let secret = s.get("secrets", "default", "t").await.unwrap();
        if let Some(day) = secret["metadata"]["labels"][LAST].as_str() {
            assert_eq!(day.len(), "2026-01-01".len());
            break;
        }
        changes.changed().await;
    }
    let label = |key: &str, value: Value| {
        let patch = json!({"metadata": {"labels": {key: value}}});
        let mut request = s.request(Verb::Patch, "secrets", "default", "t");
        request.body = Body::Patch(onggi_client::PatchKind::Merge, patch.to_string().into());
        s.call(request)
    };
    label("kubernetes.io/legacy-token-invalid-since", "2025-01-01".into()).await.unwrap();
    assert_eq!(ask().await.status, StatusCode::UNAUTHORIZED);
    label("kubernetes.io/legacy-token-invalid-since", Value::Null).await.unwrap();
    let account = json!({"secrets": [{"name": "t"}]});
    let mut request = s.request(Verb::Patch, "serviceaccounts", "default", "default");
    request.body = Body::Patch(onggi_client::PatchKind::Merge, account.to_string().into());
    s.call(request).await.unwrap();
    let pods = "/api/v1/namespaces/default/pods";
    let refused = send(&s, None, Method::GET, pods, &shown, "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
