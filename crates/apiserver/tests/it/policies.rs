//! Admission policies in CEL.

use onggi_client::{Body, Error, Request, Response};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::server::Server;

const VALIDATING: &str = "ValidatingAdmissionPolicy";
const MUTATING: &str = "MutatingAdmissionPolicy";

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

fn constraints(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{
        "apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }]})
}

async fn bind(s: &Server, kind: &str, policy: &str, more: Value) {
    let mut spec = json!({"policyName": policy});
    if kind == VALIDATING {
        spec["validationActions"] = json!(["Deny"]);
    }
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let kind = format!("{kind}Binding");
    s.create(&kind, "", object(&kind, &format!("{policy}-binding"), spec)).await.unwrap();
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn create(s: &Server, plural: &str, object: Value) -> Request {
    s.request(Verb::Create, plural, "default", "").body(Body::Object(object))
}

#[tokio::test]
async fn validations_refuse() {
    let s = Server::start().await;
    let policy = object(
        VALIDATING,
        "few",
        json!({
            "matchConstraints": constraints("apps", "deployments"),
            "variables": [
                {"name": "replicas", "expression": "object.spec.replicas"},
                {"name": "odd", "expression": "variables.replicas % 2 == 1"},
            ],
            "matchConditions": [
                {"name": "named", "expression": "!object.metadata.name.startsWith('free')"},
            ],
            "validations": [
                {
                    "expression": "variables.replicas > 1",
                    "messageExpression": "'wants replicas > 1, got ' + string(variables.replicas)",
                },
                {"expression": "variables.odd", "message": "must be odd", "reason": "Forbidden"},
            ],
        }),
    );
    s.create(VALIDATING, "", policy).await.unwrap();
    // A policy without a binding does nothing.
    s.create("deployments", "default", deployment("early", 1)).await.unwrap();
    bind(&s, VALIDATING, "few", json!({})).await;
    let refused = |result: Result<Value, Error>| result.unwrap_err().status().cloned().unwrap();
    let status = refused(s.create("deployments", "default", deployment("one", 1)).await);
    assert_eq!(
        status.message,
        "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'few' with binding \
         'few-binding' denied request: wants replicas > 1, got 1"
    );
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let status = refused(s.create("deployments", "default", deployment("two", 2)).await);
    assert!(status.message.ends_with("denied request: must be odd"), "{}", status.message);
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    s.create("deployments", "default", deployment("three", 3)).await.unwrap();
    s.create("deployments", "default", deployment("free", 1)).await.unwrap();
    s.create("deployments", "default", deployment("free-2", 2)).await.unwrap();
}

#[tokio::test]
async fn parameters_are_handed_over() {
    let s = Server::start().await;
    let policy = object(
        VALIDATING,
        "limit",
        json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": constraints("apps", "deployments"),
            "validations": [{
                "expression": "object.spec.replicas <= int(params.data.max)",
                "messageExpression": "'at most ' + params.data.max + ' in ' + namespaceObject.metadata.name",
            }],
        }),
    );
    s.create(VALIDATING, "", policy).await.unwrap();
    let params = json!({"paramRef": {
        "name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny",
    }});
    bind(&s, VALIDATING, "limit", params).await;
    let make = |replicas| s.create("deployments", "default", deployment("d", replicas));
    let missing = make(1).await.unwrap_err();
    assert!(
        missing.to_string().ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` \
             parameterNotFoundAction"
        ),
        "{missing}"
    );
    s.create("cm", "default", config_map("limits", json!({"max": "2"}))).await.unwrap();
    let refused = make(3).await.unwrap_err();
    assert!(refused.to_string().ends_with("denied request: at most 2 in default"), "{refused}");
    make(2).await.unwrap();
}

#[tokio::test]
async fn the_user_is_asked_about() {
    let s = Server::start().await;
    let policy = object(
        VALIDATING,
        "who",
        json!({
            "matchConstraints": constraints("", "configmaps"),
            "validations": [
                {"expression": "request.userInfo.username == 'admin' && request.operation == 'CREATE'"},
                {"expression": "authorizer.group('').resource('secrets').namespace('default')\
                                .check('get').allowed()"},
                {"expression": "!authorizer.serviceAccount('default', 'default').group('')\
                                .resource('secrets').check('get').allowed()"},
                {"expression": "authorizer.requestResource.check('delete').allowed()"},
            ],
        }),
    );
    s.create(VALIDATING, "", policy).await.unwrap();
    bind(&s, VALIDATING, "who", json!({})).await;
    s.create("cm", "default", config_map("a", json!({}))).await.unwrap();
}

#[tokio::test]
async fn mutations_change() {
    let s = Server::start().await;
    let policy = object(
        MUTATING,
        "mark",
        json!({
            "matchConstraints": constraints("apps", "deployments"),
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "variables": [{"name": "owner", "expression": "request.userInfo.username"}],
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "
                Object{
                    metadata: Object.metadata{
                        annotations: {'mutated-by': 'policy', 'owner': variables.owner}
                    },
                    spec: Object.spec{template: Object.spec.template{spec:
                        Object.spec.template.spec{containers: [
                            Object.spec.template.spec.containers{name: 'c', tty: true},
                        ]},
                    }},
                }"}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression": "
                [JSONPatch{op: 'test', path: '/spec/replicas', value: 3},
                 JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 1}]
                "}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression": "
                object.spec.replicas < 7 ? [JSONPatch{op: 'add', path: '/metadata/annotations/' +
                jsonpatch.escapeKey('a.b/c'), value: 'x'}] : [JSONPatch{op: 'remove', path: '/spec/x'}]
                "}},
            ],
        }),
    );
    s.create(MUTATING, "", policy).await.unwrap();
    bind(&s, MUTATING, "mark", json!({})).await;
    let made = s.create("deployments", "default", deployment("d", 3)).await.unwrap();
    assert_eq!(
        made["metadata"]["annotations"],
        json!({"mutated-by": "policy", "owner": "admin", "a.b/c": "x"})
    );
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["tty"]), (&json!("i"), &json!(true)));
    assert_eq!(made["spec"]["replicas"], 4);
    // A test that does not hold is no fault, and keeps its patch away.
    let made = s.create("deployments", "default", deployment("e", 5)).await.unwrap();
    assert_eq!(made["spec"]["replicas"], 5);
    let refused = s.create("deployments", "default", deployment("f", 7)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "policy 'mark' with binding 'mark-binding' denied request: JSON Patch: error in remove for \
         path: '/spec/x': Unable to remove nonexistent key: x: missing value"
    );
}

#[tokio::test]
async fn a_mutation_that_fails_does_not_end_its_policy() {
    let s = Server::start().await;
    let mark = |name: &str| {
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            format!("Object{{metadata: Object.metadata{{annotations: {{'{name}': 'x'}}}}}}")}})
    };
    let fails = |path: &str| {
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
            format!("[JSONPatch{{op: 'remove', path: '/data/{path}'}}]")}})
    };
    let policy = |name: &str, failure: &str| {
        object(
            MUTATING,
            name,
            json!({
                "matchConstraints": constraints("", "configmaps"),
                "failurePolicy": failure,
                "reinvocationPolicy": "Never",
                "mutations": [mark("first"), fails("one"), fails("two"), mark("last")],
            }),
        )
    };
    s.create(MUTATING, "", policy("lenient", "Ignore")).await.unwrap();
    bind(&s, MUTATING, "lenient", json!({})).await;
    let made = s.create("configmaps", "default", config_map("a", json!({"k": "v"}))).await.unwrap();
    assert_eq!(made["metadata"]["annotations"], json!({"first": "x", "last": "x"}));
    assert_eq!(made["data"], json!({"k": "v"}));
    // Where failures count, each is told.
    s.create(MUTATING, "", policy("strict", "Fail")).await.unwrap();
    bind(&s, MUTATING, "strict", json!({})).await;
    let made = s.create("configmaps", "default", config_map("b", json!({"k": "v"}))).await;
    let refused = made.unwrap_err();
    let causes = &refused.status().unwrap().details.as_ref().unwrap().causes;
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes.iter().all(|cause| cause.message.contains("policy 'strict'")), "{causes:?}");
}

#[tokio::test]
async fn configurations_of_custom_kinds_are_merged_by_their_keys() {
    let s = Server::start().await;
    let item = json!({"type": "object", "required": ["id"], "properties": {
        "id": {"type": "string"}, "note": {"type": "string"}, "size": {"type": "integer"}}});
    let spec = json!({"type": "object", "properties": {
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"], "items": item},
        "plain": {"type": "array", "items": {"type": "string"}}}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "pots.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "pots", "kind": "Pot"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}],
        },
    });
    s.create("customresourcedefinitions", "", definition).await.unwrap();
    let policy = |expression: &str, condition: &str| {
        json!({
            "matchConstraints": constraints("example.com", "pots"),
            "matchConditions": [{"name": "only", "expression": condition}],
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": expression}}],
        })
    };
    for (name, expression) in [
        ("note", "Object{spec: Object.spec{items: [Object.spec.items{id: 'a', note: 'n'}]}}"),
        ("whole", "Object{spec: Object.spec{plain: ['x']}}"),
        ("odd", "Object{spec: Object.spec{items: [Object.spec.item{id: 'a'}]}}"),
        ("unknown", "Object{spec: Object.spec{colour: 'red'}}"),
    ] {
        let condition = format!("object.metadata.name == '{name}'");
        let policy = object(MUTATING, name, policy(expression, &condition));
        s.create(MUTATING, "", policy).await.unwrap();
        bind(&s, MUTATING, name, json!({})).await;
    }
    let make = async |name: &str| {
        let pot = json!({
            "apiVersion": "example.com/v1", "kind": "Pot", "metadata": {"name": name},
            "spec": {"items": [{"id": "b"}, {"id": "a", "size": 1}], "plain": ["y"]},
        });
        let pots = onggi_api::GroupVersionResource::new("example.com", "v1", "pots");
        let request = Request::new(Verb::Create, pots, "default", "").body(Body::Object(pot));
        s.call(request).await.map_err(|error| error.to_string())
    };
    let made = make("note").await.unwrap();
    let merged =
        json!({"items": [{"id": "b"}, {"id": "a", "size": 1, "note": "n"}], "plain": ["y"]});
    assert_eq!(made["spec"], merged);
    for (name, expected) in [
        (
            "whole",
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or \
             structs: .spec.plain",
        ),
        (
            "odd",
            "type mismatch: unexpected type name \"Object.spec.item\", expected \"Object.spec.items\"",
        ),
        (
            "unknown",
            "error applying patch: failed to convert patch object to typed object: .spec.colour: field \
             not declared in schema",
        ),
    ] {
        let refused = make(name).await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn expressions_are_checked_when_they_are_written() {
    let s = Server::start().await;
    let policy = object(
        VALIDATING,
        "wrong",
        json!({
            "matchConstraints": constraints("", "configmaps"),
            "validations": [{"expression": "object.("}, {"expression": "nothing.here"}],
        }),
    );
    let refused = s.create(VALIDATING, "", policy).await.unwrap_err().to_string();
    assert!(
        refused.contains(
            "spec.validations[0].expression: Invalid value: \"object.(\": compilation failed"
        ),
        "{refused}"
    );
    assert!(refused.contains("undeclared reference to 'nothing'"), "{refused}");
    // What is only warned about is let through.
    let policy = object(
        VALIDATING,
        "warn",
        json!({
            "matchConstraints": constraints("", "configmaps"),
            "validations": [{"expression": "false", "message": "so-so"}],
        }),
    );
    s.create(VALIDATING, "", policy).await.unwrap();
    bind(&s, VALIDATING, "warn", json!({"validationActions": ["Warn"]})).await;
    let made = s.transport.call(create(&s, "cm", config_map("a", json!({})))).await.unwrap();
    assert!(matches!(made, Response::Object { created: true, .. }));
}
