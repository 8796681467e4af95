//! Bodies and what becomes of them.

use serde_json::json;

use super::*;

fn gvk(api_version: &str, kind: &str) -> GroupVersionKind {
    GroupVersionKind::parse(api_version, kind).unwrap()
}

fn decode_json(
    body: Value,
    api_version: &str,
    kind: &str,
    validation: FieldValidation,
) -> Result<Decoded, DecodeProblem> {
    let body = body.to_string();
    decode(body.as_bytes(), "application/json", &gvk(api_version, kind), validation)
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn refusal(body: Value, api_version: &str, kind: &str) -> String {
    decode_json(body, api_version, kind, FieldValidation::Strict).unwrap_err().to_string()
}

#[test]
fn unknown_and_duplicate_fields() {
    let body = r#"{"kind":"Pod","metadata":{"name":"p"},"spec":{"foo":1,"containers":
        [{"name":"c","imag":"x","image":"a","image":"b"}]}}"#;
    let with = |validation| {
        decode(body.as_bytes(), "application/json; charset=utf-8", &gvk("v1", "Pod"), validation)
    };
    assert_eq!(
        with(FieldValidation::Strict).unwrap_err().to_string(),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: \
         unknown field \"spec.containers[0].imag\", unknown field \"spec.foo\", \
         duplicate field \"spec.containers[0].image\""
    );
    let warned = with(FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings.len(), 3);
    assert_eq!(warned.warnings[1], "unknown field \"spec.foo\"");
    assert_eq!(
        warned.value,
        json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},
               "spec":{"containers":[{"name":"c","image":"b","resources":{}}]},"status":{}})
    );
    assert!(with(FieldValidation::Ignore).unwrap().warnings.is_empty());
}

#[test]
fn what_is_unknown_within_unions_of_schemas_is_dropped_in_silence() {
    let schema = |properties: Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "n"},
            "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": properties}}]},
        })
    };
    let odd = json!({"type": "string", "nonsense": {"a": 1}});
    let body = schema(json!({
        "additionalProperties": {"additionalProperties": odd, "nonsense": 1},
        "additionalItems": true,
        "items": odd,
        "not": {"items": [odd, odd]},
        "dependencies": {"a": odd, "b": ["nonsense"]},
    }));
    let plain = json!({"type": "string"});
    let decoded = decode_json(
        body,
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        FieldValidation::Strict,
    );
    let read = decoded.unwrap().value;
    assert_eq!(
        read["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({
            "additionalProperties": {"additionalProperties": plain},
            "additionalItems": true,
            "items": plain,
            "not": {"items": [plain, plain]},
            "dependencies": {"a": plain, "b": ["nonsense"]},
        })
    );
}

#[test]
fn whole_numbers_have_no_fraction() {
    let definition = |maximum: Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "n"},
            "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "number", "not": {"maximum": maximum},
            }}}]},
        })
    };
    for (given, kept) in [
        (json!(185), json!(185)),
        (json!(185.0), json!(185)),
        (json!(-2.0), json!(-2)),
        (json!(1.5), json!(1.5)),
        (json!(1e300), json!(1e300)),
        // As far as a double goes.
        (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64)),
        (json!(u64::MAX), json!(18_446_744_073_709_551_615.0)),
    ] {
        let made = definition(given.clone());
        let (version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        let read = decode_json(made, version, kind, FieldValidation::Strict).unwrap().value;
        let at = |object: &Value| {
            object.pointer("/spec/versions/0/schema/openAPIV3Schema/not/maximum").cloned()
        };
        assert_eq!(at(&read), Some(kept.clone()), "{given}");
        let bytes = crate::protobuf::encode(&read).unwrap();
        assert_eq!(at(&crate::protobuf::decode(&bytes).unwrap()), Some(kept), "{given}");
    }
}

#[test]
fn wrong_types_name_the_field() {
    let cases = [
        (
            json!({"spec":{"replicas":"3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec":{"replicas":1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec":{"replicas":3_000_000_000_u64}}),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec":{"template":{"spec":{"containers":[{"name":"c","ports":{"a":1}}]}}}}),
            "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.ports of type []v1.ContainerPort",
        ),
        (
            json!({"metadata":{"labels":{"a":true}}}),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec":{"template":{"spec":{"containers":[{"env":[{"value":1}]}]}}}}),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            json!({"metadata":{"creationTimestamp":"yesterday"}}),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse",
        ),
        (
            json!({"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"lots"}}}]}}}}),
            "quantities must match the regular expression",
        ),
    ];
    for (body, text) in cases {
        let refused = refusal(body, "apps/v1", "Deployment");
        let prefix = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
        assert!(refused.starts_with(&format!("{prefix}{text}")), "{refused}");
    }
}

#[test]
fn another_kind() {
    for (api_version, kind, internal) in [
        ("v1", "Namespace", "core.Namespace"),
        ("rbac.authorization.k8s.io/v1", "Role", "rbac.Role"),
    ] {
        let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let expected = format!(
            "Pod in version \"v1\" cannot be handled as a {kind}: converting (v1.Pod) to ({internal}): \
             unknown conversion"
        );
        assert_eq!(refusal(body, api_version, kind), expected);
    }
}

#[test]
fn canonical_form() {
    let body = pod(json!({
        "nodeName": "", "nodeSelector": {}, "volumes": [], "hostname": null,
        "terminationGracePeriodSeconds": 0, "hostNetwork": false, "enableServiceLinks": false,
        "containers": [{
            "name": "c", "command": null, "livenessProbe": {"periodSeconds": 0, "timeoutSeconds": 0},
            "env": [{"name": "A", "value": ""}],
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "1000m"}}
        }],
    }));
    let decoded = decode_json(body, "v1", "Pod", FieldValidation::Strict).unwrap();
    assert_eq!(
        decoded.value["spec"],
        json!({
            "terminationGracePeriodSeconds": 0, "enableServiceLinks": false,
            "containers": [{
                "name": "c", "livenessProbe": {}, "env": [{"name": "A"}],
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1"}}
            }],
        })
    );
    let times = json!({"metadata": {"name": "l", "creationTimestamp": "2024-05-01T09:00:00.5+09:00"},
                       "spec": {"renewTime": "2024-05-01T00:00:00.000000Z"}});
    let lease =
        decode_json(times, "coordination.k8s.io/v1", "Lease", FieldValidation::Strict).unwrap();
    assert_eq!(lease.value["metadata"]["creationTimestamp"], "2024-05-01T00:00:00Z");
    assert_eq!(lease.value["spec"]["renewTime"], "2024-05-01T00:00:00.000000Z");
    let map = json!({"data": {"a": null, "b": ""}, "binaryData": {}});
    let map = decode_json(map, "v1", "ConfigMap", FieldValidation::Strict).unwrap();
    assert_eq!(map.value["data"], json!({"a": "", "b": ""}));
    assert!(map.value.get("binaryData").is_none());
}

#[test]
fn base64_of_secrets() {
    let secret = |text: &str| {
        decode_json(
            json!({"data": {"POSTGRESS_PASSWORD": text}}),
            "v1",
            "Secret",
            FieldValidation::Strict,
        )
    };
    assert_eq!(
        secret("bXlwYXNzd29").unwrap_err().to_string(),
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte \
         8; data[POSTGRESS_PASSWORD]: its length 11 is not a multiple of 4; values under data are \
         base64, plain text goes under stringData"
    );
    let odd = secret("my-pass!").unwrap_err().to_string();
    assert!(odd.contains("illegal base64 data at input byte 2; data[POSTGRESS_PASSWORD]"), "{odd}");
    assert_eq!(secret("bXk=\n").unwrap().value["data"]["POSTGRESS_PASSWORD"], "bXk=");
    assert!(secret("b=Xk").is_err());
}

#[test]
fn kind_and_version_must_fit() {
    let deployment = json!({"apiVersion":"apps/v1","kind":"Deployment"});
    assert_eq!(
        refusal(deployment.clone(), "v1", "Pod"),
        "Deployment in version \"v1\" cannot be handled as a Pod: converting (v1.Deployment) to \
         (core.Pod): unknown conversion"
    );
    assert_eq!(
        refusal(json!({"kind": "Pods"}), "v1", "Pod"),
        "Pods in version \"v1\" cannot be handled as a Pod: no kind \"Pods\" is registered for \
         version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    );
    assert_eq!(
        refusal(json!({"kind": "Goodx", "metadata": {"name": "g"}}), "acc.example.com/v1", "Good"),
        "kind: Invalid value: \"Goodx\": must be Good"
    );
    assert_eq!(
        refusal(
            json!({"apiVersion": "acc.example.com/v2", "kind": "Good"}),
            "acc.example.com/v1",
            "Good"
        ),
        "the API version in the data (acc.example.com/v2) does not match the expected API version \
         (acc.example.com/v1)"
    );
    assert!(refusal(deployment, "apps/v1", "ReplicaSet").contains("handled as a ReplicaSet"));
    assert_eq!(
        refusal(json!({"apiVersion": "v2", "kind": "Pod"}), "v1", "Pod"),
        "Pod in version \"v2\" cannot be handled as a Pod: no kind \"Pod\" is registered for version \
         \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    );
    let old = json!({"apiVersion": "apps/v1beta1", "kind": "Deployment"});
    assert_eq!(
        refusal(old, "apps/v1", "Deployment"),
        "the API version in the data (apps/v1beta1) does not match the expected API version \
         (apps/v1)"
    );
    assert!(refusal(json!([]), "v1", "Pod").contains("must be of type Pod"));
    assert!(refusal(json!({"kind": 3}), "v1", "Pod").contains("kind is not a string"));
    let bytes = decode(b"{", "application/json", &gvk("v1", "Pod"), FieldValidation::Strict);
    assert!(bytes.unwrap_err().to_string().contains("json parse error"));
    let media = decode(b"{}", "text/plain", &gvk("v1", "Pod"), FieldValidation::Strict);
    assert_eq!(media.unwrap_err(), DecodeProblem::MediaType);
}

#[test]
fn kinds_without_a_schema_keep_their_fields() {
    let body = json!({
        "kind": "Release", "metadata": {"name": "x", "colour": 1}, "spec": {"any": [null]},
    });
    let decoded = decode_json(body, "onggi.dev/v1", "Release", FieldValidation::Warn).unwrap();
    assert_eq!(decoded.value["spec"], json!({"any": [null]}));
    assert_eq!(decoded.warnings, ["unknown field \"metadata.colour\""]);
}

#[test]
fn custom_kinds_name_themselves_and_have_whole_numbers() {
    let kind = gvk("x.io/v1", "W");
    let admit = |mut value: Value| admit(&mut value, &kind, FieldValidation::Ignore).map(|_| value);
    let made = admit(json!({"apiVersion": "x.io/v1", "kind": "W", "spec": {"n": [2.0, 1e3, 1.5]}}));
    assert_eq!(made.unwrap()["spec"].to_string(), r#"{"n":[2,1000,1.5]}"#);
    let problem = admit(json!({"metadata": {"name": "c"}})).unwrap_err().to_string();
    assert_eq!(
        problem,
        "W in version \"v1\" cannot be handled as a W: Object 'Kind' is missing in \
         '{\"metadata\":{\"name\":\"c\"}}'"
    );
}

#[test]
fn yaml_bodies() {
    let text = "metadata:\n  name: c\ndata:\n  a: \"yes\"\n";
    let decoded = decode(
        text.as_bytes(),
        "application/yaml",
        &gvk("v1", "ConfigMap"),
        FieldValidation::Strict,
    )
    .unwrap();
    assert_eq!(decoded.value["data"]["a"], "yes");
    let bad = decode(
        b"data:\n  a: 1\n  a: 2\n",
        "application/yaml",
        &gvk("v1", "ConfigMap"),
        FieldValidation::Strict,
    );
    let text = bad.unwrap_err().to_string();
    assert!(text.contains("line 3"), "{text}");
}

/// Whatever is cut off or turned over, the answer is an object or an error.
#[test]
fn broken_bodies_do_not_panic() {
    let json = pod(json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}))
        .to_string();
    let yaml = "metadata:\n  name: c\nspec:\n  containers:\n  - {name: c, image: \"가\"}\n";
    for (text, content_type) in [(json.as_str(), "application/json"), (yaml, "application/yaml")] {
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            for change in [b'{', b'[', b'"', b':', b'-', 0, 0xff] {
                bytes[at] = change;
                let _ = decode(&bytes, content_type, &gvk("v1", "Pod"), FieldValidation::Warn);
            }
            let _ = decode(&bytes[..at], content_type, &gvk("v1", "Pod"), FieldValidation::Warn);
        }
    }
}

#[test]
fn hostile_bodies_stay_small() {
    let key = "k".repeat(100_000);
    let many = (0..5_000).map(|n| format!("\"x{n}\":1,\"x{n}\":2")).collect::<Vec<_>>().join(",");
    let body = format!("{{\"metadata\":{{\"{key}\":{{{many}}}}},\"spec\":{{{many}}}}}");
    let error =
        decode(body.as_bytes(), "", &gvk("v1", "Pod"), FieldValidation::Strict).unwrap_err();
    assert!(error.to_string().len() < 100_000);
    // Deeper than text may be, as a patch could make it.
    let mut deep = json!(1);
    for _ in 0..1_000 {
        deep = json!([deep]);
    }
    let mut object = json!({"kind": "ConfigMap", "data": deep});
    let refused = admit(&mut object, &gvk("v1", "ConfigMap"), FieldValidation::Warn).unwrap_err();
    assert!(refused.to_string().contains("nested deeper"));
}
