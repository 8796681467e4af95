//! Objects of custom kinds beside their schema; conversion by a webhook; the real kubectl.

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use onggi_api::GroupVersionResource;
use onggi_base::pki::server_config;
use onggi_client::{Body, Error, PatchKind, Request, Response};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::http::send;
use crate::server::Server;

const CRDS: &str = "customresourcedefinitions";

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "vases.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "vases", "kind": "Vase", "shortNames": ["vs"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Glaze", "type": "string", "jsonPath": ".spec.glaze", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
                    "statusReplicasPath": ".status.size"}},
            }],
        },
    })
}

fn schema() -> Value {
    json!({"type": "object", "description": "A vase.", "properties": {
        "spec": {
            "type": "object",
            "description": "What it should be.",
            "x-kubernetes-validations": [
                {"rule": "self.size < 10 || self.glaze == 'none'", "message": "large vases are not glazed"},
                {"rule": "self.size >= oldSelf.size", "message": "vases do not shrink"},
            ],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "default": 3, "description": "In inches."},
                "glaze": {"type": "string", "enum": ["none", "ash"], "default": "none"},
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    }})
}

fn vase(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Vase", "metadata": {"name": name}, "spec": spec})
}

fn gvr(version: &str) -> GroupVersionResource {
    GroupVersionResource::new("example.com", version, "vases")
}

async fn write(s: &Server, verb: Verb, object: Value) -> Result<Response, Error> {
    let name = match verb {
        Verb::Create => String::new(),
        _ => object["metadata"]["name"].as_str().unwrap().to_owned(),
    };
    let mut request = Request::new(verb, gvr("v1"), "default", &name).body(Body::Object(object));
    request.write.field_validation = "Strict".into();
    s.transport.call(request).await
}

fn message(error: Result<Response, Error>) -> String {
    match error.unwrap_err() {
        Error::Status(status) => status.message,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn objects_fit_their_schema() {
    let s = Server::start().await;
    s.create(CRDS, "", definition(schema())).await.unwrap();
    write(&s, Verb::Create, vase("a", json!({"size": 4}))).await.unwrap();
    let get = || s.call(Request::new(Verb::Get, gvr("v1"), "default", "a"));
    assert_eq!(get().await.unwrap()["spec"], json!({"size": 4, "glaze": "none"}));

    let tried = |spec| write(&s, Verb::Create, vase("b", spec));
    assert_eq!(
        message(tried(json!({"sise": 4})).await),
        "Vase in version \"v1\" cannot be handled as a Vase: strict decoding error: unknown field \
         \"spec.sise\""
    );
    assert_eq!(
        message(tried(json!({"size": "x"})).await),
        "Vase.example.com \"b\" is invalid: [spec.size: Invalid value: \"string\": spec.size in \
         body must be of type integer: \"string\", <nil>: Invalid value: null: some validation \
         rules were not checked because the object was invalid; correct the existing errors to \
         complete validation]"
    );
    assert_eq!(
        message(tried(json!({"size": 12, "glaze": "ash"})).await),
        "Vase.example.com \"b\" is invalid: spec: Invalid value: large vases are not \
         glazed"
    );
    let mut other = vase("b", json!({"size": 1}));
    other["kind"] = "Vasex".into();
    assert_eq!(
        message(write(&s, Verb::Create, other).await),
        "Vasex.example.com \"b\" is invalid: kind: Invalid value: \"Vasex\": must be Vase"
    );
    let mut smaller = get().await.unwrap();
    smaller["spec"]["size"] = 2.into();
    assert_eq!(
        message(write(&s, Verb::Update, smaller).await),
        "Vase.example.com \"a\" is invalid: spec: Invalid value: vases do not shrink"
    );

    // A field with a default comes to what is stored already, and one that is gone goes.
    let mut changed = s.get(CRDS, "", "vases.example.com").await.unwrap();
    let mut new = schema();
    new["properties"]["spec"]["properties"]["lid"] = json!({"type": "boolean", "default": true});
    new["properties"]["spec"]["properties"].as_object_mut().unwrap().remove("glaze");
    new["properties"]["spec"].as_object_mut().unwrap().remove("x-kubernetes-validations");
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = new;
    s.update(CRDS, "", changed).await.unwrap();
    assert_eq!(get().await.unwrap()["spec"], json!({"size": 4, "lid": true}));
}

#[tokio::test]
async fn definitions_are_checked() {
    let s = Server::start().await;
    for (schema, expected) in [
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}}),
            "spec.validation.openAPIV3Schema.properties[a].properties[b].type: Required value: must \
             not be empty for specified object fields",
        ),
        (
            json!({"type": "object", "properties": {"spec": {"type": "object",
                "x-kubernetes-validations": [{"rule": "self.nope == 1"}]}}}),
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: \
             Invalid value: {\"Rule\":\"self.nope == 1\",\"Message\":\"\",\"MessageExpression\":\"\",\
             \"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: \
             ERROR: <input>:1:5: undefined field 'nope'",
        ),
    ] {
        let error = s.create(CRDS, "", definition(schema)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut bad = definition(schema());
    bad["metadata"]["name"] = "vase.example.com".into();
    let error = s.create(CRDS, "", bad).await.unwrap_err().to_string();
    assert!(error.contains("metadata.name: Invalid value: \"vase.example.com\": must be spec.names.plural+\".\"+spec.group"), "{error}");
    let made = s.create(CRDS, "", definition(schema())).await.unwrap();
    let mut other = made.clone();
    other["spec"]["scope"] = "Cluster".into();
    let error = s.update(CRDS, "", other).await.unwrap_err().to_string();
    assert!(
        error.contains("spec.scope: Invalid value: \"Cluster\": field is immutable"),
        "{error}"
    );
}

/// Rules that may cost too much are refused, but not in a schema that is left as it was.
#[tokio::test]
async fn rules_have_bounded_costs() {
    let s = Server::start().await;
    let schema = |bound: Value, rules: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": rules});
        list.as_object_mut().unwrap().extend(bound.as_object().cloned().unwrap());
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"marks": list}},
            "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
        }})
    };
    let unique = json!([{"rule": "self.all(x, self.exists_one(y, x == y))"}]);
    let error = s.create(CRDS, "", definition(schema(json!({}), unique.clone()))).await;
    let error = error.unwrap_err().to_string();
    let help = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where \
                arrays, maps, and strings are declared)";
    let rule = "spec.validation.openAPIV3Schema.properties[spec].properties[marks].\
                x-kubernetes-validations[0].rule: Forbidden: ";
    for expected in [
        format!("{rule}estimated rule cost exceeds budget by factor of more than 100x {help}"),
        format!(
            "{rule}contributed to estimated rule cost total exceeding cost limit for entire \
             OpenAPIv3 schema"
        ),
        format!(
            "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule \
             cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x \
             {help}"
        ),
    ] {
        assert!(error.contains(&expected), "{error}");
    }
    let few = schema(json!({"maxItems": 8, "items": {"type": "string", "maxLength": 32}}), unique);
    let made = s.create(CRDS, "", definition(few.clone())).await.unwrap();

    // A version that comes is looked at; the one that is there is not.
    let sum = (0..8).map(|at| format!("self[{at}]")).collect::<Vec<_>>().join(" + ");
    let dear = json!([{"rule": "true", "messageExpression": sum}]);
    let mut more = made["spec"]["versions"][0].clone();
    more["name"] = "v2".into();
    more["storage"] = false.into();
    more["schema"] = json!({"openAPIV3Schema": schema(json!({}), dear)});
    let mut changed = made.clone();
    changed["spec"]["versions"].as_array_mut().unwrap().push(more);
    let error = s.update(CRDS, "", changed).await.unwrap_err().to_string();
    let expected = format!(
        "spec.versions[1].schema.openAPIV3Schema.properties[spec].properties[marks].\
         x-kubernetes-validations[0].messageExpression: Forbidden: estimated messageExpression \
         cost exceeds budget by factor of 1.101006x {help}"
    );
    assert!(error.contains(&expected), "{error}");
    assert!(!error.contains("spec.versions[0].schema"), "{error}");
}

/// A hook that takes `spec.size` of v1 for `spec.inches` of v2.
async fn hook(s: &Server) -> (u16, String) {
    let now = time::OffsetDateTime::now_utc();
    let pair = s.authority.issue_server("hook", &["localhost".into()], &[], now).unwrap();
    let tls = TlsAcceptor::from(Arc::new(server_config(&pair, s.authority.certificate()).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| async {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let review: Value = serde_json::from_slice(&body).unwrap();
                    let bytes = serde_json::to_vec(&convert(&review)).unwrap();
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(bytes))))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, STANDARD.encode(s.authority.certificate()))
}

fn convert(review: &Value) -> Value {
    let wanted = &review["request"]["desiredAPIVersion"];
    let objects = review["request"]["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        let (from, to) = match wanted.as_str().unwrap() {
            "example.com/v2" => ("size", "inches"),
            _ => ("inches", "size"),
        };
        object["apiVersion"] = wanted.clone();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && let Some(value) = spec.remove(from)
        {
            spec.insert(to.to_owned(), value);
        }
        object
    });
    json!({
        "apiVersion": review["apiVersion"], "kind": "ConversionReview",
        "response": {"uid": review["request"]["uid"], "result": {"status": "Success"},
            "convertedObjects": objects.collect::<Vec<_>>()},
    })
}

/// Two versions that call the same thing by two names.
async fn two_versions(s: &Server) {
    let (port, bundle) = hook(s).await;
    let mut two = definition(schema());
    let first = two["spec"]["versions"][0].clone();
    let version = |name: &str, field: &str, storage: bool| {
        let mut version = first.clone();
        version["name"] = name.into();
        version["storage"] = storage.into();
        version["schema"]["openAPIV3Schema"] = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {field: {"type": "integer"}}},
            "status": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
        version["selectableFields"] = json!([{"jsonPath": format!(".spec.{field}")}]);
        version["subresources"] = json!({"status": {}});
        version
    };
    two["spec"]["versions"] = json!([version("v1", "size", true), version("v2", "inches", false)]);
    two["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": {"url": format!("https://localhost:{port}/convert"), "caBundle": bundle},
    }});
    s.create(CRDS, "", two).await.unwrap();
}

#[tokio::test]
async fn owners_are_asked_in_their_own_version() {
    let s = Server::start().await;
    two_versions(&s).await;
    let apply = async |version: &str, manager: &str, spec: Value, force: bool| {
        let mut body = vase("a", spec);
        body["apiVersion"] = format!("example.com/{version}").into();
        let body = Body::Patch(PatchKind::Apply, Bytes::from(body.to_string()));
        let mut request = Request::new(Verb::Patch, gvr(version), "default", "a").body(body);
        request.write.field_manager = manager.to_owned();
        request.write.force = force;
        s.call(request).await.map_err(|error| error.to_string())
    };
    let owners = |object: &Value| -> Vec<(String, String, Value)> {
        let list = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut all: Vec<_> = list
            .map(|entry| {
                let fields = entry["fieldsV1"]["f:spec"].clone();
                (text(&entry["manager"]), text(&entry["apiVersion"]), fields)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let owner = |manager: &str, version: &str, field: &str| {
        (manager.to_owned(), format!("example.com/{version}"), json!({field: {}}))
    };
    apply("v1", "one", json!({"size": 4}), false).await.unwrap();
    // The same value by the other name is no conflict, another one is.
    let both = apply("v2", "two", json!({"inches": 4}), false).await.unwrap();
    assert_eq!(
        owners(&both),
        [owner("one", "v1", "f:size"), owner("two", "v2", "f:inches")],
        "{both}"
    );
    let conflict = apply("v2", "two", json!({"inches": 5}), false).await.unwrap_err();
    assert!(conflict.contains("conflict with \"one\": .spec.size"), "{conflict}");
    let forced = apply("v2", "two", json!({"inches": 5}), true).await.unwrap();
    assert_eq!(owners(&forced), [owner("two", "v2", "f:inches")]);
    // A plain write in one version takes what was owned in the other.
    let mut object = s.call(Request::new(Verb::Get, gvr("v1"), "default", "a")).await.unwrap();
    object["spec"]["size"] = 6.into();
    let mut request = Request::new(Verb::Update, gvr("v1"), "default", "a");
    request.write.field_manager = "three".to_owned();
    let written = s.call(request.body(Body::Object(object))).await.unwrap();
    assert_eq!(owners(&written), [owner("three", "v1", "f:size")]);
    // Who goes on in another version gives up what it had in the first one.
    let taken = apply("v2", "four", json!({"inches": 7}), true).await.unwrap();
    assert_eq!(owners(&taken), [owner("four", "v2", "f:inches")]);
    let nothing = apply("v1", "four", json!({}), false).await.unwrap();
    assert_eq!(nothing["spec"].get("size"), None, "{nothing}");
}

#[tokio::test]
async fn plain_writes_own_what_they_make_and_what_it_lies_in() {
    let s = Server::start().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut crd = definition(schema);
    crd["spec"]["versions"][0]["deprecated"] = true.into();
    crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    s.create(CRDS, "", crd).await.unwrap();
    let fields =
        |object: &Value, at: usize| object["metadata"]["managedFields"][at]["fieldsV1"].clone();
    let mut made = vase("a", json!({"size": 1, "in": {"er": {"most": true}}}));
    made["metadata"]["labels"] = json!({"a": "b"});
    let request = Request::new(Verb::Create, gvr("v1"), "default", "");
    let made = s.call(request.body(Body::Object(made))).await.unwrap();
    assert_eq!(
        fields(&made, 0),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {".": {}, "f:size": {}, "f:in": {".": {}, "f:er": {".": {}, "f:most": {}}}},
        })
    );
    let patch =
        json!({"metadata": {"annotations": {"x": "y"}}, "spec": {"more": {"of": {"it": 1}}}});
    let body = Body::Patch(PatchKind::Merge, Bytes::from(patch.to_string()));
    let mut request = Request::new(Verb::Patch, gvr("v1"), "default", "a").body(body);
    request.write.field_manager = "patcher".to_owned();
    let patched = s.call(request).await.unwrap();
    assert_eq!(
        fields(&patched, 1),
        json!({
            "f:metadata": {"f:annotations": {".": {}, "f:x": {}}},
            "f:spec": {"f:more": {".": {}, "f:of": {".": {}, "f:it": {}}}},
        })
    );
    let mut put = patched;
    put["status"] = json!({"seen": {"at": 1}});
    let mut request = Request::new(Verb::Update, gvr("v1"), "default", "a");
    request.subresource = "status".to_owned();
    request.write.field_manager = "putter".to_owned();
    let put = s.call(request.body(Body::Object(put))).await.unwrap();
    let seen = json!({"f:status": {".": {}, "f:seen": {".": {}, "f:at": {}}}});
    let all = put["metadata"]["managedFields"].as_array().unwrap();
    assert!(all.iter().any(|entry| entry["fieldsV1"] == seen), "{put}");
    // A list of a version that its definition calls deprecated says so, as an object of it does.
    let headers = [("accept", "application/json")];
    let path = "/apis/example.com/v1/namespaces/default/vases";
    let list = send(&s, Some(&s.admin), Method::GET, path, &headers, "").await;
    let warning = list.headers["warning"].to_str().unwrap();
    assert!(warning.contains("example.com/v1 Vase is deprecated"), "{warning}");
    // No numbers, no protobuf: clients are told to come with something else.
    let protobuf = "application/vnd.kubernetes.protobuf";
    let body = [("content-type", protobuf)];
    let refused = send(&s, Some(&s.admin), Method::POST, path, &body, "k8s\0").await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["message"].as_str().unwrap()),
        (
            415,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml"
        )
    );
    let only = send(&s, Some(&s.admin), Method::GET, path, &[("accept", protobuf)], "").await;
    assert_eq!(only.status.as_u16(), 406);
    let either = format!("{protobuf},application/json");
    let json = send(&s, Some(&s.admin), Method::GET, path, &[("accept", &either)], "").await;
    assert_eq!((json.status.as_u16(), &json.body["items"][0]["spec"]["size"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_webhook_converts() {
    let s = Server::start().await;
    two_versions(&s).await;
    write(&s, Verb::Create, vase("a", json!({"size": 4}))).await.unwrap();
    let in_v2 = |verb, name: &str| Request::new(verb, gvr("v2"), "default", name);
    let found = s.call(in_v2(Verb::Get, "a")).await.unwrap();
    assert_eq!(
        (&found["apiVersion"], &found["spec"]),
        (&json!("example.com/v2"), &json!({"inches": 4}))
    );
    let mut second = vase("b", json!({"inches": 7}));
    second["apiVersion"] = "example.com/v2".into();
    s.call(in_v2(Verb::Create, "").body(Body::Object(second))).await.unwrap();
    let stored = s.call(Request::new(Verb::Get, gvr("v1"), "default", "b")).await.unwrap();
    assert_eq!(stored["spec"], json!({"size": 7}));
    let mut list = in_v2(Verb::List, "");
    list.list.field_selector = "spec.inches=7".into();
    let found = s.call(list).await.unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["metadata"]["name"], "b");
}

struct Kubectl {
    server: Server,
    home: tempfile::TempDir,
}

impl Kubectl {
    async fn run(&self, line: &str, stdin: &str) -> (bool, String) {
        let mut child = Command::new("kubectl")
            .args(line.split_whitespace())
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(stdin.as_bytes()).await.unwrap();
        drop(input);
        let output = child.wait_with_output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

#[tokio::test]
async fn kubectl_works_with_custom_kinds() {
    let found = Command::new("kubectl").args(["version", "--client"]).output().await;
    if !found.is_ok_and(|output| output.status.success()) {
        println!("skipped: kubectl is not on the PATH");
        return;
    }
    let k = Kubectl { server: Server::start().await, home: tempfile::tempdir().unwrap() };
    let crd = definition(schema()).to_string();
    for (line, stdin, expected) in [
        (
            "create -f -",
            crd.as_str(),
            "customresourcedefinition.apiextensions.k8s.io/vases.example.com created",
        ),
        (
            "wait --for=condition=Established crd/vases.example.com --timeout=10s",
            "",
            "condition met",
        ),
        ("create -f -", &vase("a", json!({"size": 4})).to_string(), "vase.example.com/a created"),
        ("get vs", "", "NAME   SIZE   AGE\na      4"),
        ("get all -o wide", "", "GLAZE"),
        ("explain vase.spec.size", "", "In inches."),
        ("explain vase", "", "A vase."),
        ("explain vase.apiVersion", "", "APIVersion defines the versioned schema"),
        ("explain vase.metadata", "", "Standard object's metadata."),
        ("scale vase a --replicas=6", "", "vase.example.com/a scaled"),
        ("get vase a -o jsonpath={.spec.size}", "", "6"),
        ("patch vase a --type=merge -p {\"spec\":{\"size\":8}}", "", "patched"),
        (
            "create -f -",
            &vase("b", json!({"sise": 4})).to_string(),
            "! unknown field \"spec.sise\"",
        ),
        (
            "create -f -",
            &vase("b", json!({"size": 0})).to_string(),
            "! should be greater than or equal to 1",
        ),
        (
            "api-resources --api-group=example.com",
            "",
            "vases   vs           example.com/v1   true         Vase",
        ),
        ("get crd", "", "vases.example.com"),
        ("delete crd vases.example.com", "", "deleted"),
        ("get vases", "", "! the server could not find the requested resource"),
    ] {
        let (ok, output) = k.run(line, stdin).await;
        let (fails, expected) = match expected.strip_prefix("! ") {
            Some(expected) => (true, expected),
            None => (false, expected),
        };
        assert_eq!(ok, !fails, "kubectl {line}: {output}");
        assert!(output.contains(expected), "kubectl {line}: {output}");
    }
}
