//! Who owns which fields, and writes as the real registry does them, over the wire.

use http::Method;
use serde_json::{Value, json};

use crate::http::{Answer, send};
use crate::server::Server;

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

async fn call(s: &Server, method: Method, path: &str, kind: &str, body: &Value) -> Answer {
    let headers = [("content-type", kind), ("user-agent", "tester/1.0 (linux)")];
    send(s, Some(&s.admin), method, path, &headers, &body.to_string()).await
}

async fn patch(s: &Server, path: &str, kind: &str, body: Value) -> Answer {
    call(s, Method::PATCH, path, kind, &body).await
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

fn web(spec: Value) -> Value {
    let mut web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        web["spec"][key] = value.clone();
    }
    web
}

/// Manager, operation, subresource and fields of every entry.
fn owners(object: &Value) -> Vec<(String, String, String, Value)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .map(|entry| {
            assert_eq!(entry["fieldsType"], "FieldsV1");
            let of = |name: &str| text(entry, name);
            (of("manager"), of("operation"), of("subresource"), entry["fieldsV1"].clone())
        })
        .collect()
}

fn owner(object: &Value, manager: &str) -> Value {
    let all = owners(object);
    all.iter().find(|entry| entry.0 == manager).map_or(Value::Null, |entry| entry.3.clone())
}

#[tokio::test]
async fn every_write_has_an_owner() {
    let s = Server::start().await;
    let made = call(&s, Method::POST, MAPS, "application/json", &map(json!({"a": "1"}))).await.body;
    let data = json!({"f:data": {".": {}, "f:a": {}}});
    assert_eq!(owners(&made), [("tester".into(), "Update".into(), String::new(), data)]);
    let path = &format!("{MAPS}/m");
    let other = &format!("{path}?fieldManager=other");
    let changed = patch(&s, other, MERGE, json!({"data": {"a": "2", "b": "1"}})).await.body;
    assert_eq!(owner(&changed, "other"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(owner(&changed, "tester"), json!({"f:data": {}}));
    // Nothing changes: neither the version nor the times.
    let same = patch(&s, path, MERGE, json!({"data": {"a": "2"}})).await.body;
    assert_eq!(same, changed);

    // A PUT without the list keeps it, an empty one forgets it, and it stays forgotten.
    let mut put = changed.clone();
    put["metadata"].as_object_mut().unwrap().remove("managedFields");
    let kept = call(&s, Method::PUT, path, "application/json", &put).await.body;
    assert_eq!(kept["metadata"], changed["metadata"]);
    put["metadata"]["managedFields"] = json!([{}]);
    let reset = call(&s, Method::PUT, path, "application/json", &put).await.body;
    assert_eq!(reset["metadata"]["managedFields"], Value::Null, "{reset}");
    let still = patch(&s, path, MERGE, json!({"data": {"a": "3"}})).await.body;
    assert_eq!(still["metadata"]["managedFields"], Value::Null);
    let applied =
        patch(&s, &format!("{path}?fieldManager=x"), APPLY, map(json!({"z": "1"}))).await.body;
    assert_eq!(
        owner(&applied, "before-first-apply"),
        json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    // What cannot be read is not taken.
    let bad = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{"operation": "X"}]}]);
    let refused = patch(&s, path, "application/json-patch+json", bad).await.body;
    assert_eq!(refused["metadata"], applied["metadata"]);
}

#[tokio::test]
async fn applies_merge_conflict_and_give_up() {
    let s = Server::start().await;
    let path = &format!("{WEB}?fieldManager=a");
    let made = patch(&s, path, APPLY, web(json!({"replicas": 2}))).await;
    assert_eq!((made.status.as_u16(), &made.body["spec"]["replicas"]), (201, &2.into()));
    assert_eq!(made.body["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    assert_eq!(owner(&made.body, "a")["f:spec"]["f:selector"], json!({}));
    let again = patch(&s, path, APPLY, web(json!({"replicas": 2}))).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &made.body));

    let other = &format!("{WEB}?fieldManager=b");
    let mine = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3}});
    let conflict = patch(&s, other, APPLY, mine.clone()).await;
    assert_eq!(
        (conflict.status.as_u16(), conflict.body),
        (
            409,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas",
                "reason": "Conflict",
                "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"a\"",
                    "field": ".spec.replicas"}]},
                "code": 409,
            })
        )
    );
    let forced = patch(&s, &format!("{other}&force=true"), APPLY, mine).await.body;
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(owner(&forced, "a")["f:spec"].get("f:replicas"), None);
    // Given up: the default comes back.
    let nothing =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let given_up = patch(&s, other, APPLY, nothing).await.body;
    assert_eq!((&given_up["spec"]["replicas"], owner(&given_up, "b")), (&1.into(), Value::Null));

    // YAML, and what is wrong with a configuration.
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v}\n";
    let headers = [("content-type", APPLY)];
    let one = &format!("{MAPS}/m?fieldManager=a");
    let made = send(&s, Some(&s.admin), Method::PATCH, one, &headers, yaml).await;
    assert_eq!((made.status.as_u16(), &made.body["data"]["k"]), (201, &"v".into()));
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  k: v\n  k: w\n";
    let strict = format!("{one}&fieldValidation=Strict");
    let answer = send(&s, Some(&s.admin), Method::PATCH, &strict, &headers, twice).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["message"]),
        (
            400,
            &"error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  \
              line 6: key \"k\" already set in map"
                .into()
        )
    );
    let lenient = send(&s, Some(&s.admin), Method::PATCH, one, &headers, twice).await;
    assert_eq!((lenient.status.as_u16(), &lenient.body["data"]["k"]), (200, &"w".into()));
    let cases = [
        (
            format!("{MAPS}/m"),
            map(json!({})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            format!("{MAPS}/m?fieldManager=a"),
            json!([1]),
            400,
            "error decoding patch: it is not an object",
        ),
        (
            format!("{MAPS}/m?fieldManager=a"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "m"}}),
            400,
            "invalid object type: /v1, Kind=Secret",
        ),
        (
            format!("{MAPS}/m?fieldManager=a"),
            map(json!({"k": 1})),
            500,
            "failed to create typed patch object (/m; /v1, Kind=ConfigMap): .data.k: expected string, got \
             &value.valueUnstructured{Value:1}",
        ),
        (
            format!("{MAPS}/n?fieldManager=a"),
            map(json!({})),
            400,
            "the name of the object (m) does not match the name on the URL (n)",
        ),
        (
            format!("{MAPS}/n/status?fieldManager=a"),
            map(json!({})),
            404,
            "the server could not find the requested resource",
        ),
    ];
    for (path, body, code, text) in cases {
        let answer = patch(&s, &path, APPLY, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["message"].as_str().unwrap()),
            (code, text)
        );
    }
    let mut stale = map(json!({"k": "w"}));
    stale["metadata"]["resourceVersion"] = "1".into();
    let answer = patch(&s, one, APPLY, stale).await;
    assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (409, &"Conflict".into()));
    let mut known = map(json!({"k": "w"}));
    known["metadata"] = json!({"name": "n", "uid": "1-2"});
    let answer = patch(&s, &format!("{MAPS}/n?fieldManager=a"), APPLY, known).await;
    assert_eq!(
        answer.body["message"],
        "Operation cannot be fulfilled on configmaps \"n\": uid mismatch: the provided object specified \
         uid 1-2, and no existing object was found"
    );
    let cbor = patch(&s, one, "application/apply-patch+cbor", json!({})).await;
    assert_eq!(
        (cbor.status.as_u16(), cbor.body["message"].as_str().unwrap()),
        (415, "415: Unsupported Media Type")
    );
}

#[tokio::test]
async fn parts_have_owners_of_their_own() {
    let s = Server::start().await;
    patch(&s, &format!("{WEB}?fieldManager=a"), APPLY, web(json!({"replicas": 2}))).await;
    let scaled = patch(&s, &format!("{WEB}/scale"), MERGE, json!({"spec": {"replicas": 5}})).await;
    assert_eq!((scaled.status.as_u16(), &scaled.body["kind"]), (200, &"Scale".into()));
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 7}});
    let by_b = format!("{WEB}/scale?fieldManager=b");
    let conflict = patch(&s, &by_b, APPLY, scale.clone()).await;
    assert_eq!(
        conflict.body["message"],
        "Apply failed with 1 conflict: conflict with \"tester\" with subresource \"scale\" using \
         autoscaling/v1: .spec.replicas"
    );
    assert_eq!(patch(&s, &format!("{by_b}&force=true"), APPLY, scale).await.status.as_u16(), 200);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"no": "no"}, "annotations": {"yes": "yes"}},
        "spec": {"replicas": 9}, "status": {"observedGeneration": 1}});
    let seen = patch(&s, &format!("{WEB}/status"), MERGE, status).await.body;
    assert_eq!(seen["spec"]["replicas"], 7);
    assert_eq!(
        (&seen["metadata"]["labels"], &seen["metadata"]["annotations"]["yes"]),
        (&Value::Null, &"yes".into())
    );
    let parts: Vec<(String, String, String)> =
        owners(&seen).into_iter().map(|(manager, how, part, _)| (manager, how, part)).collect();
    let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(
        parts,
        [
            three("b", "Apply", "scale"),
            three("a", "Apply", ""),
            three("tester", "Update", "status")
        ]
    );
    assert_eq!(
        owner(&seen, "tester"),
        json!({"f:metadata": {"f:annotations": {".": {}, "f:yes": {}}}, "f:status": {"f:observedGeneration": {}}})
    );
}

#[tokio::test]
async fn options_are_checked() {
    let s = Server::start().await;
    let body = map(json!({"a": "1"}));
    let cases = [
        (
            "dryRun=x",
            422,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]: supported values: \"All\"",
        ),
        (
            "fieldValidation=x",
            422,
            "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
        ),
        ("dryRun=All", 201, ""),
    ];
    for (query, code, text) in cases {
        let answer =
            call(&s, Method::POST, &format!("{MAPS}?{query}"), "application/json", &body).await;
        assert_eq!(answer.status.as_u16(), code, "{query}");
        assert_eq!(answer.body["message"].as_str().unwrap_or(""), text);
    }
    assert_eq!(
        call(&s, Method::GET, &format!("{MAPS}/m"), "", &Value::Null).await.status.as_u16(),
        404
    );
    call(&s, Method::POST, MAPS, "application/json", &body).await;
    let path = &format!("{MAPS}/m");
    let forced = patch(&s, &format!("{path}?force=true"), MERGE, json!({})).await;
    assert_eq!(
        forced.body["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    // Every patch of a dry run answers as if it had been done.
    for (kind, body) in [
        (MERGE, json!({"data": {"a": "2"}})),
        ("application/strategic-merge-patch+json", json!({"data": {"a": "2"}})),
        (
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/data/a", "value": "2"}]),
        ),
        (APPLY, map(json!({"a": "2"}))),
    ] {
        let path = format!("{path}?dryRun=All&fieldManager=x");
        let path = if kind == APPLY { format!("{path}&force=true") } else { path };
        let answer = patch(&s, &path, kind, body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["data"]["a"]),
            (200, &"2".into()),
            "{kind}"
        );
    }
    let strict = format!("{path}?fieldValidation=Strict");
    let unknown = patch(&s, &strict, MERGE, json!({"datas": 1})).await;
    assert_eq!(unknown.status.as_u16(), 422);
    let text = unknown.body["message"].as_str().unwrap();
    assert!(text.starts_with(" \"\" is invalid: patch: Invalid value: \"{"), "{text}");
    assert!(text.ends_with("\": strict decoding error: unknown field \"datas\""), "{text}");
    let strategic = "application/strategic-merge-patch+json";
    let unknown = patch(&s, &strict, strategic, json!({"datas": {"a": 1}})).await;
    assert_eq!(
        unknown.body["message"],
        " \"\" is invalid: patch: Invalid value: \"map[datas:map[a:1]]\": strict decoding error: unknown \
         field \"datas\""
    );
    let warned = patch(&s, path, MERGE, json!({"datas": 1})).await;
    assert_eq!(
        (warned.status.as_u16(), &warned.headers["warning"]),
        (200, &"299 - \"unknown field \\\"datas\\\"\"".parse().unwrap())
    );
    let failed = json!([{"op": "test", "path": "/data/a", "value": "no"}]);
    let failed = patch(&s, path, "application/json-patch+json", failed).await;
    assert_eq!(
        (failed.status.as_u16(), failed.body["message"].as_str().unwrap()),
        (422, "the server rejected our request due to an error in our request")
    );
}

#[tokio::test]
async fn puts_that_create_and_conditions() {
    let s = Server::start().await;
    let lease = |version: Value| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l", "resourceVersion": version}, "spec": {"holderIdentity": "a"}})
    };
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let json = "application/json";
    let made = call(&s, Method::PUT, path, json, &lease(Value::Null)).await;
    assert_eq!(made.status.as_u16(), 201);
    let blind = call(&s, Method::PUT, path, json, &lease(Value::Null)).await;
    assert_eq!(
        (blind.status.as_u16(), blind.body["message"].as_str().unwrap()),
        (
            422,
            "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must \
             be specified for an update"
        )
    );
    let missing = call(&s, Method::PUT, &format!("{MAPS}/m"), json, &map(json!({}))).await;
    assert_eq!(missing.status.as_u16(), 404);
    call(&s, Method::POST, MAPS, json, &map(json!({"a": "1"}))).await;
    let path = &format!("{MAPS}/m");
    let mut other = map(json!({"a": "2"}));
    other["metadata"]["uid"] = "x".into();
    let answer = call(&s, Method::PUT, path, json, &other).await;
    let text = answer.body["message"].as_str().unwrap();
    let start = "Operation cannot be fulfilled on configmaps \"m\": StorageError: invalid object, Code: 4, \
                 Key: /registry/configmaps/";
    assert!(answer.status.as_u16() == 409 && text.starts_with(start), "{text}");
    let answer = patch(&s, path, MERGE, json!({"metadata": {"uid": "x"}})).await;
    assert_eq!(
        answer.body["message"],
        "ConfigMap \"m\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable"
    );
    let delete = |body: Value| call(&s, Method::DELETE, path, json, Box::leak(Box::new(body)));
    let answer = delete(json!({"preconditions": {"uid": "x"}})).await;
    let text = answer.body["message"].as_str().unwrap();
    let start = "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition (x) does not \
                 match the UID in record (";
    assert!(text.starts_with(start), "{text}");
    let answer = delete(json!({"propagationPolicy": "Nope"})).await;
    assert_eq!(
        answer.body["message"],
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Nope\": supported \
         values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    assert_eq!(delete(both).await.status.as_u16(), 422);
    let dry = delete(json!({"dryRun": ["All"]})).await;
    assert_eq!((dry.status.as_u16(), &dry.body["status"]), (200, &"Success".into()));
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let twice = json!({"metadata": {"ownerReferences": [owner, owner]}});
    let answer = patch(&s, path, MERGE, twice).await;
    assert_eq!(answer.body["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    assert!(answer.headers["warning"].to_str().unwrap().contains("duplicate UID(s) observed: u"));
    assert_eq!(delete(json!({})).await.status.as_u16(), 200);
}

#[tokio::test]
async fn collections_go_in_one_call() {
    let s = Server::start().await;
    for n in 0..40 {
        let mut one = map(json!({}));
        one["metadata"] = json!({"name": format!("m{n}"), "labels": {"half": (n % 2).to_string()}});
        s.create("cm", "default", one).await.unwrap();
    }
    let path = format!("{MAPS}?labelSelector=half%3D1");
    let gone = call(&s, Method::DELETE, &path, "application/json", &json!({})).await;
    assert_eq!(gone.body["items"].as_array().unwrap().len(), 20);
    let left = call(&s, Method::GET, MAPS, "", &Value::Null).await.body;
    let names = left["items"].as_array().unwrap().iter();
    assert_eq!(names.filter(|m| m["metadata"]["labels"]["half"].is_string()).count(), 20);
}

/// Removed versions with other fields than the current ones: applied twice, without one of their
/// fields, and in the current version.
#[tokio::test]
async fn configurations_of_removed_versions() {
    let s = Server::start().await;
    let ingress = |group: &str, backend: Value| {
        let mut object = json!({
            "apiVersion": format!("{group}/v1beta1"), "kind": "Ingress", "metadata": {"name": "i"},
            "spec": {"rules": [{"http": {"paths": [
                {"path": "/", "backend": {"serviceName": "a", "servicePort": 80}}]}}]},
        });
        if !backend.is_null() {
            object["spec"]["backend"] = backend;
        }
        object
    };
    let backend = json!({"serviceName": "d", "servicePort": "web"});
    let scaler = |more: Value| {
        let mut object = json!({
            "apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {
                "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            },
        });
        if !more.is_null() {
            object["spec"]["metrics"] = more;
        }
        object
    };
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": 7}}]);
    let definition = |columns: Value| {
        let mut object = json!({
            "apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "pots.e.com"},
            "spec": {"group": "e.com", "version": "v1", "scope": "Namespaced",
                     "names": {"plural": "pots", "kind": "Pot"}},
        });
        if !columns.is_null() {
            object["spec"]["additionalPrinterColumns"] = columns;
        }
        object
    };
    let columns = json!([{"name": "A", "type": "string", "JSONPath": ".spec.a"}]);
    let level = |version: &str, shares: Value| {
        let mut object = json!({
            "apiVersion": format!("flowcontrol.apiserver.k8s.io/{version}"),
            "kind": "PriorityLevelConfiguration", "metadata": {"name": "p"},
            "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}},
        });
        if !shares.is_null() {
            object["spec"]["limited"]["assuredConcurrencyShares"] = shares;
        }
        object
    };
    let event = |note: Value| {
        let mut object = json!({
            "apiVersion": "events.k8s.io/v1beta1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "action": "Say",
            "reason": "Said", "type": "Normal", "reportingController": "k.io/test",
            "reportingInstance": "one", "eventTime": "2026-01-01T00:00:00.000000Z",
        });
        if !note.is_null() {
            object["deprecatedCount"] = note;
        }
        object
    };
    let none = Value::Null;
    let limits = "/spec/limited/nominalConcurrencyShares";
    // The path of the version, the path of the current one, configurations with and without a
    // field, and where it stands now.
    let cases = [
        (
            "networking.k8s.io/v1beta1/namespaces/default/ingresses/i",
            "networking.k8s.io/v1/namespaces/default/ingresses/i",
            ingress("networking.k8s.io", backend.clone()),
            ingress("networking.k8s.io", none.clone()),
            "/spec/defaultBackend",
        ),
        (
            "extensions/v1beta1/namespaces/default/ingresses/j",
            "networking.k8s.io/v1/namespaces/default/ingresses/j",
            ingress("extensions", backend),
            ingress("extensions", none.clone()),
            "/spec/defaultBackend",
        ),
        (
            "autoscaling/v2beta1/namespaces/default/horizontalpodautoscalers/h",
            "autoscaling/v2/namespaces/default/horizontalpodautoscalers/h",
            scaler(metrics),
            scaler(none.clone()),
            "/spec/metrics/0/resource/target/averageUtilization",
        ),
        (
            "apiextensions.k8s.io/v1beta1/customresourcedefinitions/pots.e.com",
            "apiextensions.k8s.io/v1/customresourcedefinitions/pots.e.com",
            definition(columns),
            definition(none.clone()),
            "/spec/versions/0/additionalPrinterColumns",
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1beta1/prioritylevelconfigurations/p",
            "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/p",
            level("v1beta1", json!(7)),
            level("v1beta1", none.clone()),
            limits,
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1beta2/prioritylevelconfigurations/q",
            "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/q",
            level("v1beta2", json!(7)),
            level("v1beta2", none.clone()),
            limits,
        ),
        (
            "events.k8s.io/v1beta1/namespaces/default/events/e",
            "events.k8s.io/v1/namespaces/default/events/e",
            event(json!(2)),
            event(none),
            "/deprecatedCount",
        ),
    ];
    for (old, current, with, without, pointer) in cases {
        let named = |mut config: Value| {
            config["metadata"]["name"] = old.rsplit('/').next().unwrap().into();
            config
        };
        let (with, without) = (named(with), named(without));
        let path = |of: &str| format!("/apis/{of}?fieldManager=kubectl");
        let get = async || {
            let path = format!("/apis/{current}");
            call(&s, Method::GET, &path, "application/json", &Value::Null).await.body
        };
        let made = patch(&s, &path(old), APPLY, with.clone()).await;
        assert_eq!(made.status, 201, "{old}: {}", made.body);
        assert_eq!(made.body["apiVersion"], with["apiVersion"], "{old}");
        let first = get().await;
        let wanted = first.pointer(pointer).cloned().unwrap_or_default();
        assert!(!wanted.is_null(), "{old}: {first}");
        let entry = &first["metadata"]["managedFields"][0];
        let group_version = entry["apiVersion"].as_str().unwrap();
        assert!(matches!(group_version.rsplit('/').next(), Some("v1" | "v2")), "{old}: {entry}");

        let again = patch(&s, &path(old), APPLY, with).await;
        assert_eq!(again.status, 200, "{old}: {}", again.body);
        assert_eq!(get().await, first, "{old}");

        let dropped = patch(&s, &path(old), APPLY, without).await;
        assert_eq!(dropped.status, 200, "{old}: {}", dropped.body);
        let left = get().await;
        assert_ne!(left.pointer(pointer), Some(&wanted), "{old}: {left}");

        // What an event says never changes in the current version.
        if current.starts_with("events.k8s.io/") {
            continue;
        }
        let mut config = first.clone();
        config.as_object_mut().unwrap().remove("status");
        config["metadata"] = json!({"name": config["metadata"]["name"]});
        let applied = patch(&s, &path(current), APPLY, config).await;
        assert_eq!(applied.status, 200, "{current}: {}", applied.body);
        assert_eq!(applied.body.pointer(pointer), Some(&wanted), "{current}");
    }
    let unfit = json!({"apiVersion": "networking.k8s.io/v1beta1", "kind": "Ingress",
                       "metadata": {"name": "i"}, "spec": {"nope": 1}});
    let path = "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses/i?fieldManager=k";
    let refused = patch(&s, path, APPLY, unfit).await;
    assert_eq!(refused.status, 500);
    let text = refused.body["message"].as_str().unwrap().to_owned();
    assert!(text.contains(".spec.nope: field not declared in schema"), "{text}");
    let wrong = patch(&s, path, APPLY, json!({"apiVersion": "v1", "kind": "Ingress"})).await;
    assert_eq!(wrong.body["message"], "invalid object type: /v1, Kind=Ingress");
}
