//! Field ownership as a real server shows it.

use super::*;
use serde_json::json;

const T1: &str = "2026-01-01T00:00:00Z";
const T2: &str = "2026-01-02T00:00:00Z";

/// A writer of apps/v1 Deployments or of v1 objects.
struct Scene {
    kind: &'static str,
    api_version: &'static str,
    ty: Type<'static>,
    reset: FieldSet,
}

impl Scene {
    fn deployment() -> Self {
        let reset = FieldSet::of(&[&["f:status"]]);
        let ty = Type::of("apps", "v1", "Deployment");
        Self { kind: "Deployment", api_version: "apps/v1", ty, reset }
    }

    fn core(kind: &'static str) -> Self {
        let ty = Type::of("", "v1", kind);
        Self { kind, api_version: "v1", ty, reset: FieldSet::of(&[&["f:status"]]) }
    }

    fn by<'a>(&'a self, manager: &'a str, now: &'a str) -> Writer<'a> {
        Writer {
            manager,
            api_version: self.api_version,
            subresource: "",
            now,
            ty: self.ty,
            reset: &self.reset,
            versions: &|version: &str| version != "apps/v0",
        }
    }

    fn config(&self, rest: Value) -> Value {
        let mut config = json!({"apiVersion": self.api_version, "kind": self.kind,
            "metadata": {"name": "x", "namespace": "d"}});
        for (key, value) in rest.as_object().unwrap() {
            match (config.get_mut(key), value) {
                (Some(Value::Object(old)), Value::Object(new)) => old.extend(new.clone()),
                _ => config[key] = value.clone(),
            }
        }
        config
    }

    fn apply(
        &self,
        manager: &str,
        live: &Applied,
        rest: Value,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        let kind = (self.api_version, self.kind);
        let managed = live.managed.clone();
        let mut done =
            self.by(manager, T2).applied(kind, &live.object, managed, &self.config(rest), force)?;
        // What the server fills in.
        done.object["metadata"]["uid"] = "u".into();
        Ok(done)
    }

    fn update(&self, manager: &str, live: &Applied, change: impl Fn(&mut Value)) -> Applied {
        let mut object = live.object.clone();
        change(&mut object);
        let managed = self.by(manager, T2).updated(&live.object, &object, live.managed.clone());
        Applied { object, managed }
    }

    fn create(&self, manager: &str, rest: Value) -> Applied {
        let mut object = self.config(rest);
        let managed = self.by(manager, T1).created(&object, Sent::Nothing);
        object["metadata"]["uid"] = "u".into();
        Applied { object, managed }
    }
}

fn nothing() -> Applied {
    Applied { object: json!({}), managed: Managed::default() }
}

fn fields(live: &Applied, manager: &str) -> Value {
    let entry = live.managed.0.iter().find(|entry| entry.manager == manager);
    entry.map_or(Value::Null, |entry| entry.fields.clone().into_fields())
}

fn message(result: Result<Applied, ApplyError>) -> String {
    match result.unwrap_err() {
        ApplyError::BadRequest(text) | ApplyError::Unfit(text) => text,
        ApplyError::Conflicts { message, .. } => message,
    }
}

/// As kube-apiserver 1.36 answers to `kubectl create deployment`.
#[test]
fn a_creator_owns_what_kubernetes_says() {
    let deployment = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"image": "nginx", "imagePullPolicy": "Always", "name": "nginx", "resources": {},
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                    "volumes": [{"name": "v", "emptyDir": {}}],
                },
            },
        },
        "status": {"replicas": 3},
    });
    let made = Scene::deployment().create("kubectl-create", deployment);
    assert_eq!(
        fields(&made, "kubectl-create"),
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"nginx\"}": {
                            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                                {".": {}, "f:containerPort": {}, "f:protocol": {}}},
                            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}}},
                        "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
                        "f:terminationGracePeriodSeconds": {},
                        "f:volumes": {".": {}, "k:{\"name\":\"v\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}},
                    },
                },
            },
        })
    );
    assert_eq!(made.managed.0[0].time.as_deref(), Some(T1));
}

#[test]
fn an_applier_owns_what_it_names() {
    let scene = Scene::deployment();
    let config = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {}},
        "spec": {
            "replicas": 2,
            "template": {"spec": {"containers": [{"name": "c", "image": "i",
                "ports": [{"containerPort": 80}], "command": ["a", "b"], "env": []}]}},
        },
        "status": {"replicas": 9},
    });
    let made = scene.apply("m", &nothing(), config, false).unwrap();
    assert_eq!(
        fields(&made, "m"),
        json!({
            "f:metadata": {"f:annotations": {}, "f:labels": {"f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:command": {}, "f:image": {}, "f:name": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}},
            },
        })
    );
    assert_eq!(made.managed.0[0].operation, Operation::Apply);
}

#[test]
fn conflicts_are_told_as_kubernetes_tells_them() {
    let scene = Scene::deployment();
    let made = scene.create("kubectl-client-side-apply", json!({"spec": {"replicas": 3}}));
    let wanted = json!({"spec": {"replicas": 5}});
    let error = scene.apply("m", &made, wanted.clone(), false).unwrap_err();
    let ApplyError::Conflicts { message: text, conflicts } = error else { panic!("{error:?}") };
    assert_eq!(
        text,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: \
         .spec.replicas"
    );
    assert_eq!(conflicts[0].manager, "\"kubectl-client-side-apply\" using apps/v1");
    let forced = scene.apply("m", &made, wanted, true).unwrap();
    assert_eq!(forced.object["spec"]["replicas"], 5);
    assert_eq!(fields(&forced, "kubectl-client-side-apply"), Value::Null);
    assert_eq!(fields(&forced, "m"), json!({"f:spec": {"f:replicas": {}}}));

    let containers = |image: &str| json!({"spec": {"paused": image == "1", "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    let two = scene.apply("b", &nothing(), containers("1"), false).unwrap();
    let two = scene.apply("a", &two, json!({"spec": {"replicas": 1}}), false).unwrap();
    let mut all = containers("2");
    all["spec"]["replicas"] = 7.into();
    assert_eq!(
        message(scene.apply("c", &two, all, false)),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.replicas\nconflicts with \"b\":\n\
         - .spec.paused\n- .spec.template.spec.containers[name=\"c\"].image"
    );
}

#[test]
fn what_is_given_up_goes_unless_another_owns_it() {
    let scene = Scene::core("ConfigMap");
    let data = |data: Value| json!({"data": data});
    let one =
        scene.apply("a", &nothing(), data(json!({"x": "1", "y": "1", "z": "1"})), false).unwrap();
    let one = scene.apply("b", &one, data(json!({"y": "1"})), false).unwrap();
    assert_eq!(fields(&one, "b"), json!({"f:data": {"f:y": {}}}));
    let one = scene.update("u", &one, |object| object["data"]["w"] = "2".into());
    let one = scene.apply("a", &one, data(json!({"z": "1"})), false).unwrap();
    assert_eq!(one.object["data"], json!({"w": "2", "y": "1", "z": "1"}));
    let one = scene.apply("a", &one, json!({}), false).unwrap();
    assert_eq!(one.object["data"], json!({"w": "2", "y": "1"}));
    assert_eq!(fields(&one, "a"), Value::Null);
    // Nothing is left of a map when the last key goes.
    let one = scene.apply("b", &one, json!({}), false).unwrap();
    let one = scene.apply("c", &one, data(json!({"w": "2"})), false).unwrap();
    let one = scene.update("u", &one, |object| {
        object["data"].as_object_mut().unwrap().remove("w");
        object["data"]["v"] = "1".into();
    });
    assert_eq!(fields(&one, "c"), Value::Null);
}

#[test]
fn items_go_as_a_whole_and_keep_their_order() {
    let scene = Scene::core("Pod");
    let pod = |names: &[&str]| {
        let containers: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        json!({"spec": {"containers": containers}})
    };
    let names = |live: &Applied| -> Vec<String> {
        let list = live.object["spec"]["containers"].as_array().unwrap().iter();
        list.map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    let one = scene.apply("a", &nothing(), pod(&["a", "b"]), false).unwrap();
    let one = scene.update("webhook", &one, |object| {
        let list = object["spec"]["containers"].as_array_mut().unwrap();
        list.insert(0, json!({"name": "side", "image": "s"}));
        list[1]["tty"] = true.into();
    });
    let one = scene.apply("a", &one, pod(&["c", "b", "a"]), false).unwrap();
    assert_eq!(names(&one), ["side", "c", "b", "a"]);
    // What another set in an item does not keep the item.
    let one = scene.apply("a", &one, pod(&["c"]), false).unwrap();
    assert_eq!(names(&one), ["side", "c"]);
    assert_eq!(
        fields(&one, "webhook"),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}}}}})
    );
}

#[test]
fn sets_and_whole_lists() {
    let scene = Scene::core("Pod");
    let with = |finalizers: Value, command: Value| json!({"metadata": {"finalizers": finalizers}, "spec": {"containers": [{"name": "c", "command": command}]}});
    let one = scene.apply("a", &nothing(), with(json!(["a/x"]), json!(["1", "2"])), false).unwrap();
    assert_eq!(fields(&one, "a")["f:metadata"], json!({"f:finalizers": {"v:\"a/x\"": {}}}));
    let one = scene.apply("b", &one, json!({"metadata": {"finalizers": ["b/y"]}}), false).unwrap();
    assert_eq!(one.object["metadata"]["finalizers"], json!(["a/x", "b/y"]));
    assert_eq!(
        message(scene.apply("b", &one, with(json!([]), json!(["1"])), false)),
        "Apply failed with 1 conflict: conflict with \"a\": .spec.containers[name=\"c\"].command"
    );
    let one = scene.apply("a", &one, json!({}), false).unwrap();
    assert_eq!(one.object["metadata"]["finalizers"], json!(["b/y"]));
}

#[test]
fn a_null_of_a_configuration_owns_its_field() {
    let scene = Scene::core("ConfigMap");
    let one = scene.apply("a", &nothing(), json!({"data": {"x": "1", "y": "2"}}), false).unwrap();
    let two = scene.apply("b", &one, json!({"metadata": {"labels": null}}), false).unwrap();
    assert_eq!(fields(&two, "b"), json!({"f:metadata": {"f:labels": {}}}));
    assert_eq!(two.object["data"], one.object["data"]);
}

#[test]
fn what_is_kept_as_it_came_keeps_its_nulls() {
    let scene = Scene {
        kind: "ControllerRevision",
        ty: Type::of("apps", "v1", "ControllerRevision"),
        ..Scene::deployment()
    };
    let data = json!({"data": {"spec": {"stamp": null, "list": [null, {"a": null}]}, "b": null}});
    let mut config = data.clone();
    config["metadata"] = json!({"labels": null});
    let one = scene.apply("a", &nothing(), config, false).unwrap();
    assert_eq!(one.object["data"], data["data"]);
    assert_eq!(one.object["metadata"].get("labels"), None);
    let made = scene.create("b", data.clone());
    let two = scene.apply("a", &made, data.clone(), false).unwrap();
    assert_eq!(two.object["data"], data["data"]);
}

#[test]
fn updates_take_and_times_stay() {
    let scene = Scene::deployment();
    let one = scene
        .apply("a", &nothing(), json!({"spec": {"replicas": 1, "paused": true}}), false)
        .unwrap();
    let same = scene.update("u", &one, |_| {});
    assert_eq!(same, one);
    let two = scene.update("u", &one, |object| object["spec"]["replicas"] = 2.into());
    assert_eq!(fields(&two, "a"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(fields(&two, "u"), json!({"f:spec": {"f:replicas": {}}}));
    let gone = scene.update("v", &two, |object| {
        object["spec"].as_object_mut().unwrap().remove("replicas");
    });
    assert_eq!(gone.managed.0.len(), 1, "{gone:?}");
    // The same again: nothing of it is new.
    let mut before = one.clone();
    before.managed.0[0].time = Some(T1.to_owned());
    let again =
        scene.apply("a", &before, json!({"spec": {"replicas": 1, "paused": true}}), false).unwrap();
    assert_eq!(again.managed, before.managed);
    // Of the status, a write of the object owns nothing.
    let status = scene.update("u", &one, |object| object["status"] = json!({"replicas": 3}));
    assert_eq!(status.managed, one.managed);
}

#[test]
fn what_was_there_before() {
    let scene = Scene::core("ConfigMap");
    let mut old = scene.create("gone", json!({"data": {"x": "1"}}));
    old.managed = Managed::default();
    // An object that nobody owns is not watched over.
    assert_eq!(
        scene.update("u", &old, |o| o["data"]["x"] = "2".into()).managed,
        Managed::default()
    );
    let one = scene.apply("a", &old, json!({"data": {"y": "1"}}), false).unwrap();
    assert_eq!(fields(&one, "before-first-apply"), json!({"f:data": {".": {}, "f:x": {}}}));
    assert_eq!(
        message(scene.apply("a", &old, json!({"data": {"x": "3"}}), false)),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x"
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let scene = Scene::deployment();
    let last = scene.config(json!({"spec": {"replicas": 1, "paused": false}}));
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let made = scene.create(
        "kubectl-client-side-apply",
        json!({"metadata": {"annotations": {annotation: last.to_string()}}, "spec": {"replicas": 1, "paused": false}}),
    );
    assert!(scene.apply("other", &made, json!({"spec": {"replicas": 2}}), false).is_err());
    let one = scene.apply("kubectl", &made, json!({"spec": {"replicas": 2}}), false).unwrap();
    let text = one.object["metadata"]["annotations"][annotation].as_str().unwrap();
    assert_eq!(text, format!("{}\n", scene.config(json!({"spec": {"replicas": 2}}))));
    // What somebody changed since is not kubectl's.
    let scaled = scene.update("hpa", &made, |object| object["spec"]["replicas"] = 9.into());
    assert_eq!(
        message(scene.apply("kubectl", &scaled, json!({"spec": {"replicas": 2}}), false)),
        "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn too_many_updaters_are_put_together() {
    let scene = Scene::core("ConfigMap");
    let mut live = scene.create("m00", json!({"data": {"k00": "1"}}));
    let times: Vec<String> = (0..14).map(|n| format!("2026-01-01T00:00:{n:02}Z")).collect();
    for (n, time) in times.iter().enumerate().skip(1) {
        let mut object = live.object.clone();
        object["data"][format!("k{n:02}")] = "1".into();
        let name = format!("m{n:02}");
        let managed = scene.by(&name, time).updated(&live.object, &object, live.managed);
        live = Applied { object, managed };
    }
    assert_eq!(live.managed.0.len(), 10);
    let ancient = fields(&live, "ancient-changes");
    assert_eq!(ancient["f:data"].as_object().unwrap().len(), 6, "{ancient}");
    assert_eq!(fields(&live, "m13"), json!({"f:data": {"f:k13": {}}}));
}

#[test]
fn bad_configurations() {
    let scene = Scene::deployment();
    let cases = [
        (
            json!({"spec": {"replicas": "x"}}),
            "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): .spec.replicas: \
             expected numeric (int or float), got string",
        ),
        (
            json!({"spec": {"foo": 1}}),
            "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): .spec.foo: field not \
             declared in schema",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
            "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): \
             .spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
            "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): \
             .spec.template.spec.containers: element 0: associative list with keys has an element that \
             omits all key fields [\"name\"] (and doesn't have default values for any key fields)",
        ),
        (json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil"),
        (json!({"kind": "Other"}), "invalid object type: apps/v1, Kind=Other"),
        (
            json!({"spec": [], "status": 3}),
            "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): errors:\n  .spec: \
             expected map, got &{[]}\n  .status: expected map, got &{3}",
        ),
    ];
    for (config, text) in cases {
        assert_eq!(message(scene.apply("m", &nothing(), config, false)), text);
    }
}

/// Two appliers, ports that differ by protocol only.
#[test]
fn keys_have_defaults() {
    let scene = Scene::core("Service");
    let ports = |ports: Value| json!({"spec": {"ports": ports}});
    let tcp = ports(json!([{"port": 53, "name": "t"}]));
    let udp = ports(json!([{"port": 53, "protocol": "UDP", "name": "u"}]));
    let one = scene.apply("a", &nothing(), tcp.clone(), false).unwrap();
    let one = scene.update("defaults", &one, |o| o["spec"]["ports"][0]["protocol"] = "TCP".into());
    let one = scene.apply("b", &one, udp, false).unwrap();
    assert_eq!(one.object["spec"]["ports"].as_array().unwrap().len(), 2);
    let one = scene.apply("a", &one, tcp, false).unwrap();
    assert_eq!(one.object["spec"]["ports"].as_array().unwrap().len(), 2, "{one:?}");
}

#[test]
fn entries_of_versions_that_are_gone_are_forgotten() {
    let scene = Scene::deployment();
    let mut one = scene.create("old", json!({"spec": {"replicas": 1}}));
    one.managed.0[0].api_version = "apps/v0".to_owned();
    let mut kept = one.managed.0[0].clone();
    kept.api_version = "apps/v1".to_owned();
    kept.manager = "kept".to_owned();
    one.managed.0.push(kept);
    let two = scene.update("u", &one, |object| object["spec"]["paused"] = true.into());
    let names: Vec<&str> = two.managed.0.iter().map(|entry| entry.manager.as_str()).collect();
    assert_eq!(names, ["kept", "u"]);
}

#[test]
fn custom_kinds_say_how_their_lists_merge() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id", "zone"],
            "items": {"type": "object", "properties": {"id": {"type": "integer"}, "zone": {"type": "string", "default": "z"},
                "note": {"type": "string"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "plain": {"type": "array", "items": {"type": "string"}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true}}}}});
    let structural = Structural::of_object(&schema);
    let none = FieldSet::default();
    let writer = |manager: &'static str| Writer {
        manager,
        api_version: "e.com/v1",
        subresource: "",
        now: T1,
        ty: Type::Custom(&structural),
        reset: &none,
        versions: &|_: &str| true,
    };
    let config = |spec: Value| json!({"apiVersion": "e.com/v1", "kind": "Foo", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec});
    let spec =
        config(json!({"items": [{"id": 1}], "tags": ["t"], "plain": ["p"], "whole": {"k": "v"},
        "any": {"deep": {"er": 1, "list": [1]}}, "port": "http"}));
    let kind = ("e.com/v1", "Foo");
    let one = writer("a").applied(kind, &json!({}), Managed::default(), &spec, false).unwrap();
    assert_eq!(
        fields(&one, "a"),
        json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {
                "f:any": {"f:deep": {".": {}, "f:er": {}, "f:list": {}}},
                "f:items": {"k:{\"id\":1,\"zone\":\"z\"}": {".": {}, "f:id": {}}},
                "f:plain": {}, "f:port": {}, "f:tags": {"v:\"t\"": {}}, "f:whole": {},
            },
        })
    );
    let created = writer("c").created(&spec, Sent::Nothing);
    let created = created.0[0].fields.clone().into_fields();
    // The objects of custom kinds have nothing from the start.
    assert_eq!(created["f:metadata"], json!({"f:labels": {".": {}, "f:a": {}}}));
    assert!(created["f:spec"].get(".").is_some());
    let wrong = config(json!({"port": true, "tags": [{}], "unknown": 1}));
    let error = writer("a").applied(kind, &json!({}), Managed::default(), &wrong, false);
    assert!(message(error).contains("element 0: associative list without keys has an element"));
    let deduced = Writer { ty: Type::Deduced, ..writer("a") };
    let free = json!({"apiVersion": "e.com/v1", "kind": "Foo", "metadata": {"name": "x"}, "spec": {"l": [1], "m": {"a": 1}}});
    let one = deduced.applied(kind, &json!({}), Managed::default(), &free, false).unwrap();
    assert_eq!(
        fields(&one, "a"),
        json!({"f:spec": {".": {}, "f:l": {}, "f:m": {".": {}, "f:a": {}}}})
    );
}

#[test]
fn scales_see_the_replicas_alone() {
    let scene = Scene::deployment();
    let path: &[&str] = &["f:spec", "f:replicas"];
    let one = scene
        .apply("a", &nothing(), json!({"spec": {"replicas": 1, "paused": true}}), false)
        .unwrap();
    let before = scale::to_scale(&one.managed, path);
    let entries = Managed(before.iter().map(|(_, entry)| entry.clone()).collect());
    let none = FieldSet::default();
    let writer = Writer {
        manager: "hpa",
        api_version: scale::VERSION,
        subresource: "scale",
        now: T2,
        ty: Type::of("autoscaling", "v1", "Scale"),
        reset: &none,
        versions: &|_: &str| true,
    };
    let scale = |replicas: i64| json!({"metadata": {"uid": "u"}, "spec": {"replicas": replicas}});
    let after = writer.updated(&scale(1), &scale(4), entries.clone());
    let managed = scale::to_object(one.managed.clone(), path, "apps/v1", &before, &after);
    let written = managed.write().unwrap();
    assert_eq!(
        written,
        json!([
            {"apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:paused": {}}},
             "manager": "a", "operation": "Apply", "time": T2},
            {"apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}},
             "manager": "hpa", "operation": "Update", "subresource": "scale"},
        ])
    );
    let same = writer.updated(&scale(1), &scale(1), entries);
    assert_eq!(scale::to_object(one.managed.clone(), path, "apps/v1", &before, &same), one.managed);
}

#[test]
fn managers() {
    assert_eq!(manager_of("", "kubectl/v1.32 (linux/amd64)"), "kubectl");
    assert_eq!(manager_of("mine", "kubectl/v1.32"), "mine");
    assert_eq!(manager_of("", &"x".repeat(300)).len(), MANAGER_MAX);
    let path = FieldPath::new("fieldManager");
    assert_eq!(validate_manager("a b", &path), []);
    assert_eq!(validate_manager("a\nb", &path).len(), 1);
    assert_eq!(
        validate_manager(&"x".repeat(129), &path)[0].to_string(),
        "fieldManager: Too long: may not be more than 128 bytes"
    );
}
