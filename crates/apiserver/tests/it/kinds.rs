//! Every kind with the real kubectl: made, printed, described, patched, scaled, deleted; and the
//! parts of objects that have rules of their own.

use onggi_client::{Body, PatchKind, Request};
use onggi_machinery::resource::{Verb, by_any_name};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::server::Server;

const TEMPLATE: &str =
    "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'i:1'}]}}";
const RUN_ONCE: &str = "{spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}";

/// A kind: what is typed, the manifest behind `kind` and `metadata`, the line of `get -o wide` that
/// follows (with `AGE` where the age is), and its headings.
struct Case {
    name: &'static str,
    api_version: &'static str,
    kind: &'static str,
    rest: String,
    headings: &'static str,
    cells: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, api_version, kind, rest: String, headings, cells| Case {
        name,
        api_version,
        kind,
        rest: rest.replace("TEMPLATE", TEMPLATE).replace("RUN_ONCE", RUN_ONCE),
        headings,
        cells,
    };
    vec![
        case(
            "rc",
            "v1",
            "ReplicationController",
            "spec: {replicas: 2, template: TEMPLATE}".into(),
            "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR",
            "x 2 0 0 AGE c i:1 a=b",
        ),
        case(
            "podtemplates",
            "v1",
            "PodTemplate",
            "template: TEMPLATE".into(),
            "NAME CONTAINERS IMAGES POD LABELS",
            "x c i:1 a=b",
        ),
        case(
            "quota",
            "v1",
            "ResourceQuota",
            "spec: {hard: {pods: 4, limits.cpu: 2}}".into(),
            "NAME REQUEST LIMIT AGE",
            "x AGE",
        ),
        case(
            "limits",
            "v1",
            "LimitRange",
            "spec: {limits: [{type: Container, max: {cpu: 2}}]}".into(),
            "NAME CREATED AT",
            "x TIME",
        ),
        case(
            "pv",
            "v1",
            "PersistentVolume",
            "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce, ReadOnlyMany], hostPath: {path: /x}, storageClassName: fast}".into(),
            "NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE VOLUMEMODE",
            "x 1Gi RWO,ROX Retain Pending fast <unset> AGE Filesystem",
        ),
        case(
            "pvc",
            "v1",
            "PersistentVolumeClaim",
            "spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}".into(),
            "NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE VOLUMEMODE",
            "x Pending fast <unset> AGE Filesystem",
        ),
        case(
            "sts",
            "apps/v1",
            "StatefulSet",
            "spec: {serviceName: s, selector: {matchLabels: {a: b}}, template: TEMPLATE, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}".into(),
            "NAME READY AGE CONTAINERS IMAGES",
            "x 0/1 AGE c i:1",
        ),
        case(
            "ds",
            "apps/v1",
            "DaemonSet",
            "spec: {selector: {matchLabels: {a: b}}, template: TEMPLATE}".into(),
            "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE CONTAINERS IMAGES SELECTOR",
            "x 0 0 0 0 0 <none> AGE c i:1 a=b",
        ),
        case(
            "controllerrevisions",
            "apps/v1",
            "ControllerRevision",
            "revision: 3\ndata: {spec: {a: 1}}".into(),
            "NAME CONTROLLER REVISION AGE",
            "x <none> 3 AGE",
        ),
        case(
            "cj",
            "batch/v1",
            "CronJob",
            "spec: {schedule: '*/5 * * * *', timeZone: Asia/Seoul, jobTemplate: {spec: {template: RUN_ONCE}}}".into(),
            "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE CONTAINERS IMAGES SELECTOR",
            "x */5 * * * * Asia/Seoul False 0 <none> AGE c i:1 <none>",
        ),
        case(
            "jobs",
            "batch/v1",
            "Job",
            "spec: {completions: 3, parallelism: 2, template: RUN_ONCE}".into(),
            "NAME STATUS COMPLETIONS DURATION AGE CONTAINERS IMAGES SELECTOR",
            "x Running 0/3 AGE c i:1 batch.kubernetes.io/controller-uid=UID",
        ),
        case(
            "hpa",
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}".into(),
            "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE",
            "x Deployment/d cpu: <unknown>/80% 1 3 0 AGE",
        ),
        case(
            "endpointslices",
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]".into(),
            "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
            "x IPv4 80 10.0.0.1 AGE",
        ),
    ]
}

/// Ages, times and uids differ from run to run.
fn plain(word: &str) -> &str {
    let age = word.strip_suffix('s').is_some_and(|n| n.parse::<u32>().is_ok());
    let uid = word.strip_prefix("batch.kubernetes.io/controller-uid=");
    match word {
        _ if age => "AGE",
        _ if word.len() == 20 && word.ends_with('Z') => "TIME",
        _ if uid.is_some() => "batch.kubernetes.io/controller-uid=UID",
        word => word,
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn from_create_to_delete() {
    let Some(k) = Kubectl::start().await else { return };
    for case in cases() {
        let Case { name, api_version, kind, rest, .. } = &case;
        let manifest =
            format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n{rest}\n");
        let made = k.run_with("create -f -", &manifest).await;
        assert!(made.ends_with("/x created\n"), "{made}");
        let table = k.run(&format!("get {name} x -o wide")).await;
        let mut lines = table.lines();
        assert_eq!(words(lines.next().unwrap()), case.headings, "{table}");
        assert_eq!(words(lines.next().unwrap()), case.cells, "{table}");
        let described = k.run(&format!("describe {name} x")).await;
        assert!(described.starts_with("Name:"), "{described}");
        k.run(&format!(
            "patch {name} x --type=merge -p {{\"metadata\":{{\"labels\":{{\"l\":\"1\"}}}}}}"
        ))
        .await;
        assert!(k.run_with("apply -f -", &manifest).await.contains("/x"));
        assert!(k.run(&format!("get {name} -l l=1 -o name")).await.ends_with("/x\n"));
        if ["rc", "sts"].contains(name) {
            k.run(&format!("scale {name} x --replicas=7")).await;
            assert_eq!(k.run(&format!("get {name} x -o jsonpath={{.spec.replicas}}")).await, "7");
        }
        k.run(&format!("delete {name} x --cascade=background --wait=false")).await;
    }
    assert_eq!(k.run("get jobs -A -o name").await, "");
    k.server.server.add_component("scheduler");
    let status = k.try_run("get cs --no-headers", "").await.stdout;
    let rows: Vec<_> = status
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows, ["controller-manager Unhealthy", "etcd-0 Healthy", "scheduler Healthy"]);
    assert_eq!(k.run("get cs scheduler -o name").await, "componentstatus/scheduler\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn generators_send_protobuf() {
    let Some(k) = Kubectl::start().await else { return };
    k.run("create job j --image=busybox -- date").await;
    assert_eq!(
        k.run("get job j -o jsonpath={.spec.template.spec.containers[0].command[0]},{.spec.template.spec.restartPolicy},{.spec.backoffLimit}").await,
        "date,Never,6"
    );
    k.run("create cronjob c --image=busybox --schedule=@hourly -- date").await;
    k.run("create job from --from=cronjob/c").await;
    assert_eq!(
        k.run("get job from -o jsonpath={.metadata.ownerReferences[0].kind}").await,
        "CronJob"
    );
    k.run("create quota q --hard=pods=3,cpu=1 --scopes=NotBestEffort").await;
    assert_eq!(
        k.run("get quota q -o jsonpath={.spec.hard.cpu},{.spec.scopes[0]}").await,
        "1,NotBestEffort"
    );
    let text = k.fails("create cronjob bad --image=x --schedule=*_*_*_*", "").await;
    assert!(text.contains("expected exactly 5 fields, found 1"), "{text}");
    let text = k.fails("create quota w --hard=pods=1.5,nothing=2", "").await;
    assert!(text.contains("must be an integer") && text.contains("nothing"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_manifests_of_workloads() {
    let Some(k) = Kubectl::start().await else { return };
    for (manifest, made) in [
        (
            format!("apiVersion: apps/v1beta1\nkind: StatefulSet\nmetadata: {{name: s}}\nspec: {{serviceName: s, template: {TEMPLATE}}}\n"),
            "statefulset.apps/s created\n",
        ),
        (
            format!("apiVersion: extensions/v1beta1\nkind: DaemonSet\nmetadata: {{name: d}}\nspec: {{template: {TEMPLATE}}}\n"),
            "daemonset.extensions/d created\n",
        ),
        (
            format!("apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {{name: c}}\nspec: {{schedule: '@daily', jobTemplate: {{spec: {{template: {RUN_ONCE}}}}}}}\n"),
            "cronjob.batch/c created\n",
        ),
        (
            "apiVersion: autoscaling/v2beta1\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\nspec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, metrics: [{type: Resource, resource: {name: memory, targetAverageValue: 1Gi}}]}\n".to_owned(),
            "horizontalpodautoscaler.autoscaling/h created\n",
        ),
    ] {
        let out = k.try_run("create -f -", &manifest).await;
        assert_eq!(out.stdout, made, "{}", out.stderr);
        assert!(out.stderr.contains("is deprecated in"), "{}", out.stderr);
    }
    assert_eq!(
        k.run("get sts s -o jsonpath={.spec.updateStrategy.type},{.spec.selector.matchLabels.a}")
            .await,
        "OnDelete,b"
    );
    assert!(k.run("get hpa h").await.contains("memory: <unknown>/1Gi"));
}

// === Parts ===

fn part(verb: Verb, name: &str, part: &str, body: Body) -> Request {
    let row = by_any_name("pods").unwrap();
    let mut request = Request::new(verb, row.gvr(), "default", name).body(body);
    request.subresource = part.into();
    request
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i",
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]},
    })
}

/// A manifest that replaces a pod says nothing of what admission filled in.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_pod_keeps_its_priority() {
    let s = Server::start().await;
    let made = s.create("pods", "default", pod("p")).await.unwrap();
    assert_eq!(made["spec"]["priority"], 0);
    let mut sent = made.clone();
    sent["metadata"]["labels"]["a"] = "c".into();
    for field in ["priority", "preemptionPolicy"] {
        sent["spec"].as_object_mut().unwrap().remove(field).unwrap();
    }
    let replaced = s.call(part(Verb::Update, "p", "", Body::Object(sent))).await.unwrap();
    assert_eq!(replaced["metadata"]["labels"]["a"], "c");
    assert_eq!(replaced["spec"], made["spec"]);
    let patch = Body::Patch(PatchKind::Strategic, r#"{"metadata":{"labels":"x"}}"#.into());
    let refused = s.call(part(Verb::Patch, "p", "", patch)).await.unwrap_err().to_string();
    let expected = "map[metadata:map[labels:x]]\": cannot restore map from string";
    assert!(refused.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_pod() {
    let s = Server::start().await;
    let made = s.create("pods", "default", pod("p")).await.unwrap();
    let mut sent = made.clone();
    sent["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "tools"}]);
    let request = part(Verb::Update, "p", "ephemeralcontainers", Body::Object(sent.clone()));
    let changed = s.call(request).await.unwrap();
    assert_eq!(changed["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
    assert_eq!(changed["metadata"]["generation"], 2);
    sent["spec"]["ephemeralContainers"] = json!([]);
    sent["metadata"]["resourceVersion"] = Value::Null;
    let request = part(Verb::Update, "p", "ephemeralcontainers", Body::Object(sent));
    let text = s.call(request).await.unwrap_err().to_string();
    assert!(text.contains("may not be removed"), "{text}");

    let mut smaller = changed.clone();
    smaller["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "500m".into();
    let request = part(Verb::Update, "p", "resize", Body::Object(smaller.clone()));
    let resized = s.call(request).await.unwrap();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "500m");
    smaller["spec"]["containers"][0]["image"] = "other".into();
    smaller["metadata"]["resourceVersion"] = Value::Null;
    let request = part(Verb::Update, "p", "resize", Body::Object(smaller));
    let text = s.call(request).await.unwrap_err().to_string();
    assert!(text.contains("only cpu and memory resources are mutable"), "{text}");
    let direct = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "x"}]}});
    let mut new = pod("q");
    new["spec"]["ephemeralContainers"] = direct["spec"]["ephemeralContainers"].clone();
    let text = s.create("pods", "default", new).await.unwrap_err().to_string();
    assert!(text.contains("cannot be set on create"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_and_evictions() {
    let s = Server::start().await;
    s.create("pods", "default", pod("p")).await.unwrap();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    });
    s.create("bindings", "default", binding).await.unwrap();
    let bound = s.get("pods", "default", "p").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let mut running = bound;
    running["status"]["phase"] = "Running".into();
    s.call(part(Verb::Update, "p", "status", Body::Object(running))).await.unwrap();
    let eviction =
        json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}});
    let evict = |dry: bool| {
        let mut request = part(Verb::Create, "p", "eviction", Body::Object(eviction.clone()));
        request.write.dry_run = dry;
        request
    };
    if by_any_name("poddisruptionbudgets").is_some() {
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
        });
        s.create("pdb", "default", budget).await.unwrap();
        let text = s.call(evict(false)).await.unwrap_err();
        let status = text.status().unwrap();
        assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
        assert_eq!(status.details.as_ref().unwrap().causes[0].reason, "DisruptionBudget");
        let mut budget = s.get("pdb", "default", "b").await.unwrap();
        budget["status"] = json!({"observedGeneration": 1, "disruptionsAllowed": 1,
            "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
        let row = by_any_name("pdb").unwrap();
        let mut request =
            Request::new(Verb::Update, row.gvr(), "default", "b").body(Body::Object(budget));
        request.subresource = "status".into();
        s.call(request).await.unwrap();
    }
    s.call(evict(true)).await.unwrap();
    assert!(
        s.get("pods", "default", "p").await.unwrap()["metadata"]["deletionTimestamp"].is_null()
    );
    s.call(evict(false)).await.unwrap();
    let going = s.get("pods", "default", "p").await.unwrap();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
}
