//! Patches as tables: object, patch, result.

use onggi_api::schema;
use serde_json::json;

use super::*;

fn deployment() -> Option<Schema<'static>> {
    schema::of("apps", "v1", "Deployment")
}

fn pod_spec() -> Option<Schema<'static>> {
    schema::table().definition("io.k8s.api.core.v1.PodSpec")
}

fn meta() -> Option<Schema<'static>> {
    schema::table().definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

fn strategic(schema: Option<Schema<'_>>, object: Value, patch: Value) -> Result<Value, PatchError> {
    let mut object = object;
    strategic_merge(schema, &mut object, patch).map(|()| object)
}

#[test]
fn strategic_merges() {
    let two = || json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]});
    let cases = [
        (
            "a map merges, null deletes",
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"a": null, "c": "3", "x": null}}),
            json!({"nodeSelector": {"b": "2", "c": "3"}}),
        ),
        (
            "an item is found by its key",
            two(),
            json!({"containers": [{"name": "b", "image": "3"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]}),
        ),
        (
            "a new item comes first",
            two(),
            json!({"containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "c"}, {"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
        ),
        (
            "an item is deleted",
            two(),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b", "image": "2"}]}),
        ),
        (
            "a list is replaced",
            two(),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            "an item is replaced as a list of one",
            two(),
            json!({"containers": [{"$patch": "replace"}]}),
            json!({"containers": []}),
        ),
        (
            "a map is replaced",
            json!({"securityContext": {"runAsUser": 1}}),
            json!({"securityContext": {"$patch": "replace", "fsGroup": 2}}),
            json!({"securityContext": {"fsGroup": 2}}),
        ),
        (
            "a map is emptied",
            json!({"securityContext": {"runAsUser": 1}}),
            json!({"securityContext": {"$patch": "delete"}}),
            json!({"securityContext": {}}),
        ),
        (
            "an order is set",
            two(),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}, {"name": "a", "image": "1"}]}),
        ),
        (
            "an order alone",
            two(),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}),
        ),
        (
            "a list without a key is replaced",
            json!({"containers": [{"name": "a", "command": ["x", "y"]}]}),
            json!({"containers": [{"name": "a", "command": ["z"]}]}),
            json!({"containers": [{"name": "a", "command": ["z"]}]}),
        ),
        (
            "retained keys",
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}),
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
        ),
        (
            "words in what is new are dropped",
            json!({}),
            json!({"containers": [{"name": "a", "image": null}, {"name": "b", "$patch": "delete"}], "$setElementOrder/volumes": [],
                "securityContext": {"$patch": "replace", "fsGroup": 1}}),
            json!({"containers": [{"name": "a"}], "securityContext": {"fsGroup": 1}}),
        ),
        (
            "ports merge by containerPort",
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x", "hostPort": 8080}]}]}),
        ),
    ];
    for (name, object, patch, expected) in cases {
        assert_eq!(strategic(pod_spec(), object, patch), Ok(expected), "{name}");
    }
}

#[test]
fn sets_of_texts() {
    let cases = [
        (json!({"finalizers": ["a", "b"]}), json!({"finalizers": ["c"]}), json!(["c", "a", "b"])),
        (json!({"finalizers": ["a", "b"]}), json!({"finalizers": ["b"]}), json!(["a", "b"])),
        (
            json!({"finalizers": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["b", "x"]}),
            json!(["a", "c"]),
        ),
        (
            json!({"finalizers": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
            json!(["c", "b"]),
        ),
    ];
    for (object, patch, expected) in cases {
        assert_eq!(strategic(meta(), object, patch).unwrap()["finalizers"], expected);
    }
}

#[test]
fn bad_strategic_patches() {
    let object = || json!({"containers": [{"name": "a"}], "volumes": [{"name": "v"}]});
    let cases = [
        (
            json!({"containers": [{"image": "x"}]}),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (json!({"containers": ["x"]}), 500, "list element types are not identical"),
        (
            json!({"containers": [["x"]]}),
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            json!({"$patch": "explode"}),
            500,
            "unknown patch type: explode in map: map[$patch:explode]",
        ),
        (json!({"$retainKeys": "x"}), 400, "invalid patch format of retainKeys"),
        (
            json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "secret": {}}]}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"$setElementOrder/containers": "x"}),
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
            500,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n\
             [map[name:b]]\n",
        ),
        (json!({"$deleteFromPrimitiveList/x": 1}), 400, "invalid patch format of primitive list"),
        (json!([]), 400, "invalid JSON document"),
    ];
    for (patch, code, text) in cases {
        let error = strategic(pod_spec(), object(), patch).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    }
}

#[test]
fn json_and_merge_patches() {
    let object = || json!({"a": {"b": [1, 2]}, "c": 3});
    let apply_to = |kind, patch: Value| {
        let mut value = object();
        apply(kind, None, &mut value, patch.to_string().as_bytes()).map(|_| value)
    };
    let ops = json!([{"op": "test", "path": "/c", "value": 3}, {"op": "add", "path": "/a/b/-", "value": 9},
                     {"op": "copy", "from": "/c", "path": "/d"}, {"op": "remove", "path": "/c"}]);
    assert_eq!(apply_to(PatchType::Json, ops), Ok(json!({"a": {"b": [1, 2, 9]}, "d": 3})));
    let failed =
        apply_to(PatchType::Json, json!([{"op": "test", "path": "/c", "value": 4}])).unwrap_err();
    assert_eq!(failed.code(), 422);
    assert_eq!(apply_to(PatchType::Json, json!({"op": "x"})).unwrap_err().code(), 400);
    let doubling: Vec<Value> =
        (0..60).map(|n| json!({"op": "copy", "from": "/a", "path": format!("/a/{n}")})).collect();
    assert_eq!(apply_to(PatchType::Json, doubling.into()).unwrap_err().code(), 413);
    let deeper: Vec<Value> =
        (1..300).map(|n| json!({"op": "add", "path": "/a".repeat(n), "value": {}})).collect();
    assert_eq!(apply_to(PatchType::Json, deeper.into()).unwrap_err().code(), 422);
    let many = vec![json!({"op": "remove", "path": "/c"}); 10_001];
    assert_eq!(apply_to(PatchType::Json, many.into()).unwrap_err().code(), 413);
    assert_eq!(
        apply_to(PatchType::Merge, json!({"a": {"b": null, "x": 1}})),
        Ok(json!({"a": {"x": 1}, "c": 3}))
    );
    assert_eq!(apply_to(PatchType::Merge, json!([1])).unwrap_err().code(), 400);
    assert_eq!(apply(PatchType::Merge, None, &mut object(), b"{").unwrap_err().code(), 400);
}

#[test]
fn three_way_merges() {
    let spec = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let original = spec(
        json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}],
                               "hostname": "h"}),
    );
    let modified = spec(json!({"containers": [{"name": "a", "image": "2"}, {"name": "c"}]}));
    // Somebody scaled it, and a webhook put a container into it.
    let mut current = spec(
        json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "tty": true},
                                                 {"name": "b"}, {"name": "side"}], "hostname": "h"}),
    );
    current["spec"]["replicas"] = json!(5);
    let patch = three_way_merge(deployment(), &original, &modified, &current).unwrap();
    assert_eq!(
        patch,
        spec(json!({
            "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
            "containers": [{"name": "a", "image": "2", "env": null}, {"name": "c"}, {"name": "b", "$patch": "delete"}],
            "hostname": null
        }))
    );
    let merged = strategic(deployment(), current, patch).unwrap();
    assert_eq!(merged["spec"]["replicas"], 5);
    assert_eq!(
        merged["spec"]["template"]["spec"],
        json!({"containers": [{"name": "a", "image": "2", "tty": true}, {"name": "c"}, {"name": "side"}]})
    );
}

#[test]
fn a_changed_strategy_retains_its_keys() {
    let rolling =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    let patch = three_way_merge(deployment(), &json!({}), &recreate, &rolling).unwrap();
    assert_eq!(patch, json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}));
    assert_eq!(strategic(deployment(), rolling, patch), Ok(recreate));
}

/// Whatever the two objects are, the patch makes one of the other.
#[test]
fn a_patch_of_a_difference_makes_the_other() {
    let mut state = 7_u64;
    let mut next = move |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut some = move || {
        let mut containers = Vec::new();
        for name in ["a", "b", "c", "d"] {
            if next(2) == 0 {
                continue;
            }
            let mut container = json!({"name": name, "image": next(3).to_string()});
            if next(2) == 0 {
                let port = |n: u64| json!({"containerPort": n, "name": format!("p{n}")});
                container["ports"] = (0..next(3)).map(|n| port(80 + n)).collect();
            }
            if next(3) == 0 {
                container["command"] = (0..next(3)).map(|n| Value::from(n.to_string())).collect();
            }
            let at = next(containers.len() as u64 + 1) as usize;
            containers.insert(at, container);
        }
        let mut volume = json!({"name": "v"});
        volume[["emptyDir", "secret", "configMap"][next(3) as usize]] = json!({"a": next(2)});
        let finalizers: Vec<String> =
            (0..4).filter(|_| next(2) == 0).map(|n| n.to_string()).collect();
        json!({"metadata": {"finalizers": finalizers, "labels": {"x": next(3).to_string()}},
               "spec": {"containers": containers, "volumes": [volume]}})
    };
    let pod = schema::of("", "v1", "Pod");
    for _ in 0..2_000 {
        let (old, new) = (some(), some());
        let patch = two_way_merge(pod, &old, &new).unwrap();
        assert_eq!(strategic(pod, old.clone(), patch.clone()), Ok(new.clone()), "{old} {patch}");
        if old == new {
            assert_eq!(patch, json!({}));
        }
        let json = two_way_merge(None, &old, &new).unwrap();
        let mut merged = old.clone();
        json_patch::merge(&mut merged, &json);
        assert_eq!(merged, new);
    }
}

/// Patches without sense are refused or do something, and end.
#[test]
fn garbage_does_not_panic() {
    let mut state = 3_u64;
    let mut next = move |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    const KEYS: &[&str] = &[
        "containers",
        "name",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "volumes",
        "env",
        "$deleteFromPrimitiveList/finalizers",
        "finalizers",
        "$setElementOrder/finalizers",
        "image",
        "$setElementOrder/",
    ];
    fn some(next: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
        match next(if depth == 0 { 4 } else { 7 }) {
            0 => Value::Null,
            1 => next(3).into(),
            2 => ["delete", "replace", "merge", "a"][next(4)].into(),
            3 => "b".into(),
            4 => (0..next(4)).map(|_| some(next, depth - 1)).collect(),
            _ => {
                let keys: Vec<&str> = (0..next(5)).map(|_| KEYS[next(KEYS.len())]).collect();
                let entries = keys.into_iter().map(|key| (key.to_owned(), some(next, depth - 1)));
                Value::Object(entries.collect())
            }
        }
    }
    for _ in 0..20_000 {
        let (object, patch, other) = (some(&mut next, 4), some(&mut next, 4), some(&mut next, 4));
        for schema in [pod_spec(), meta(), None] {
            let _ = strategic(schema, object.clone(), patch.clone());
            let _ = three_way_merge(schema, &other, &patch, &object);
        }
    }
}

#[test]
fn long_lists_merge_in_time() {
    let list = |from: usize| -> Value {
        let env: Vec<Value> =
            (from..from + 20_000).map(|n| json!({"name": format!("v{n}")})).collect();
        json!({"containers": [{"name": "c", "env": env}]})
    };
    let merged = strategic(pod_spec(), list(0), list(10_000)).unwrap();
    assert_eq!(merged["containers"][0]["env"].as_array().unwrap().len(), 30_000);
}

/// What kubectl 1.32 sent for the same three objects.
#[test]
fn three_way_merges_compared_with_kubectl() {
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("../../testdata/apply.json")).unwrap();
    for case in &recorded {
        let (original, modified, current) =
            (&case["original"], &case["modified"], &case["current"]);
        let kind = modified["kind"].as_str().unwrap();
        let schema = schema::of("apps", "v1", kind).or_else(|| schema::of("", "v1", kind));
        let patch = three_way_merge(schema, original, modified, current).unwrap();
        assert_eq!(patch, case["patch"], "{}", case["name"]);
    }
    assert!(recorded.len() > 15);
}
