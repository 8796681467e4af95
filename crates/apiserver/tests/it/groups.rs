//! Every kind of the groups beside the workloads: made, shown, described, changed and deleted by
//! the real kubectl, and through the process itself.

use futures::StreamExt;
use onggi_client::{Body, PatchKind, Request, Response, WatchSpec};
use onggi_machinery::resource::{self, Resource, Verb};
use onggi_machinery::yaml;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::server::Server;

/// A signed request for a certificate.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVRSUk9jdFB6VUQ4UzNpCkEvR04zcWphOU4rZ0xHNjYxWkJCYlhzRnVvTFMvTFNDS1hMa3Y1R2FnSlovT3RSaXQwc1g4YUhFam9XcDFRUU8KMHZNbStxQWdvQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnV0VhR0Q4ZlFmM2VzNkhZMmtxbW5kaUdXSkl1cApudThlY1VyMjVkQkc0UzRDSUZkazNXR3Q2V3kvNmhSOXpNTEhZYUlxWnlIby9wK0VjRkc1R0c4TURqdUUKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// An object of each kind without `apiVersion` and `metadata`, and what `get -o wide` shows for
/// it beside name and age.
const SAMPLES: &[(&str, &str, &str)] = &[
    (
        NETWORKING,
        "{kind: Ingress, spec: {defaultBackend: {service: {name: s, port: {number: 80}}}, rules: [{host: a.b}]}}",
        "<none> a.b 80",
    ),
    (NETWORKING, "{kind: IngressClass, spec: {controller: a.b/c}}", "a.b/c <none>"),
    (
        NETWORKING,
        "{kind: IPAddress, spec: {parentRef: {resource: services, namespace: d, name: s}}}",
        "services/d/s",
    ),
    (NETWORKING, "{kind: NetworkPolicy, spec: {podSelector: {matchLabels: {a: b}}}}", "a=b"),
    (NETWORKING, "{kind: ServiceCIDR, spec: {cidrs: [10.97.0.0/16]}}", "10.97.0.0/16"),
    (
        "policy",
        "{kind: PodDisruptionBudget, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}",
        "1 N/A 0",
    ),
    (RBAC, "{kind: Role, rules: [{verbs: [get], apiGroups: [''], resources: [pods]}]}", ""),
    (RBAC, "{kind: ClusterRole, rules: [{verbs: [get], nonResourceURLs: [/x]}]}", ""),
    (
        RBAC,
        "{kind: RoleBinding, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}]}",
        "Role/r u",
    ),
    (
        RBAC,
        "{kind: ClusterRoleBinding, roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: ServiceAccount, name: s, namespace: d}]}",
        "ClusterRole/r d/s",
    ),
    (
        STORAGE,
        "{kind: CSIDriver, spec: {attachRequired: false}}",
        "false false false <unset> false Persistent",
    ),
    (STORAGE, "{kind: CSINode, spec: {drivers: [{name: d, nodeID: i}]}}", "1"),
    (STORAGE, "{kind: CSIStorageCapacity, storageClassName: s, capacity: 1Gi}", "s 1Gi"),
    (STORAGE, "{kind: StorageClass, provisioner: a.b/c}", "a.b/c Delete Immediate false"),
    (
        STORAGE,
        "{kind: VolumeAttachment, spec: {attacher: a, nodeName: n1, source: {persistentVolumeName: p}}}",
        "a p n1 false",
    ),
    (STORAGE, "{kind: VolumeAttributesClass, driverName: d, parameters: {k: v}}", "d"),
    ("scheduling.k8s.io", "{kind: PriorityClass, value: 7}", "7 false PreemptLowerPriority"),
    ("node.k8s.io", "{kind: RuntimeClass, handler: h}", "h"),
    (
        "certificates.k8s.io",
        "{kind: CertificateSigningRequest, spec: {request: REQUEST, signerName: a.b/c, usages: [client auth]}}",
        "a.b/c admin <none> Pending",
    ),
    (FLOW, "{kind: FlowSchema, spec: {priorityLevelConfiguration: {name: p}}}", "p 1000 <none>"),
    (
        FLOW,
        "{kind: PriorityLevelConfiguration, spec: {type: Limited, limited: {limitResponse: {type: Reject}}}}",
        "Limited 30 <none> <none> <none>",
    ),
    (ADMISSION, "{kind: MutatingWebhookConfiguration, webhooks: []}", "0"),
    (ADMISSION, "{kind: ValidatingWebhookConfiguration, webhooks: []}", "0"),
    (
        ADMISSION,
        "{kind: ValidatingAdmissionPolicy, spec: {matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [x.y], apiVersions: [v1], resources: [z]}]}, validations: [{expression: 'true'}]}}",
        "1 <unset>",
    ),
    (
        ADMISSION,
        "{kind: ValidatingAdmissionPolicyBinding, spec: {policyName: p, validationActions: [Deny]}}",
        "p <unset>",
    ),
    (
        ADMISSION,
        "{kind: MutatingAdmissionPolicy, spec: {reinvocationPolicy: Never, matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [x.y], apiVersions: [v1], resources: [z]}]}, mutations: [{patchType: JSONPatch, jsonPatch: {expression: '[JSONPatch{}]'}}]}}",
        "1 <unset>",
    ),
    (ADMISSION, "{kind: MutatingAdmissionPolicyBinding, spec: {policyName: p}}", "p <unset>"),
    (
        "apiregistration.k8s.io",
        "{kind: APIService, spec: {group: t.example.com, version: v1, groupPriorityMinimum: 1, versionPriority: 1, service: {name: s, namespace: d}}}",
        "d/s",
    ),
    (
        "resource.k8s.io",
        "{kind: DeviceClass, spec: {selectors: [{cel: {expression: 'true'}}]}}",
        "",
    ),
    (
        "resource.k8s.io",
        "{kind: ResourceClaim, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: d}}]}}}",
        "pending",
    ),
    (
        "resource.k8s.io",
        "{kind: ResourceClaimTemplate, spec: {spec: {devices: {requests: [{name: r, exactly: {deviceClassName: d}}]}}}}",
        "",
    ),
    (
        "resource.k8s.io",
        "{kind: ResourceSlice, spec: {driver: d, nodeName: n1, pool: {name: p, generation: 0, resourceSliceCount: 1}}}",
        "n1 d p",
    ),
];

struct Sample {
    row: &'static Resource,
    name: &'static str,
    object: Value,
    cells: &'static str,
}

fn samples() -> impl Iterator<Item = Sample> {
    SAMPLES.iter().map(|(group, text, cells)| {
        let mut object = yaml::parse(&text.replace("REQUEST", REQUEST)).unwrap();
        let row = resource::by_kind(group, "v1", object["kind"].as_str().unwrap()).unwrap();
        // Some kinds choose the names of their objects.
        let name = match row.kind {
            "APIService" => "v1.t.example.com",
            "IPAddress" => "10.97.0.7",
            _ => "t.x",
        };
        object["apiVersion"] = row.api_version().into();
        object["metadata"] = json!({ "name": name });
        Sample { row, name, object, cells }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_knows_every_kind() {
    let Some(k) = Kubectl::start().await else { return };
    let items: Vec<Value> = samples().map(|sample| sample.object).collect();
    let all = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let created = k.run_with("apply -f -", &all).await;
    assert_eq!(created.matches(" created").count(), SAMPLES.len(), "{created}");
    for Sample { row, name, cells, .. } in samples() {
        let resource = row.group_resource();
        let table = k.run(&format!("get {resource} {name} -o wide")).await;
        let found: Vec<&str> = table.lines().nth(1).unwrap_or("").split_whitespace().collect();
        let mut left = found.clone();
        for word in std::iter::once(name).chain(cells.split_whitespace()) {
            let at = left.iter().position(|cell| *cell == word);
            left.remove(at.unwrap_or_else(|| panic!("no {word:?} in\n{table}")));
        }
        // The age, and what is found out later: whether the level of a flow or a server is there.
        let more = match row.kind {
            "FlowSchema" => 2,
            "APIService" => 3,
            _ => 1,
        };
        assert!(left.len() <= more, "{left:?} are too many\n{table}");
        let described = k.run(&format!("describe {resource} {name}")).await;
        assert!(described.contains(name), "{described}");
    }
    let labelled = k.run_with("label -f - tier=front", &all).await;
    assert_eq!(labelled.matches(" labeled").count(), SAMPLES.len(), "{labelled}");
    // Where a list that is a whole has defaults in it, kubectl sends it again each time.
    let applied = k.run_with("apply -f -", &all).await;
    let again = applied.matches(" unchanged").count() + applied.matches(" configured").count();
    assert_eq!(again, SAMPLES.len(), "{applied}");
    assert!(applied.matches(" unchanged").count() > SAMPLES.len() / 2, "{applied}");
    let deleted = k.run_with("delete -f - --wait=false", &all).await;
    assert_eq!(deleted.matches(" deleted").count(), SAMPLES.len(), "{deleted}");
}

#[tokio::test]
async fn every_verb_of_every_kind() {
    let s = Server::start().await;
    for Sample { row, name, object, .. } in samples() {
        let kind = row.kind;
        let namespace = if row.namespaced() { "default" } else { "" };
        let request = |verb, name: &str| Request::new(verb, row.gvr(), namespace, name);
        let patch = |value: Value| Body::Patch(PatchKind::Merge, value.to_string().into());
        let mut events = s.transport.watch(WatchSpec::all(row.gvr())).await.unwrap();
        let made = s.call(request(Verb::Create, "").body(Body::Object(object))).await;
        let made = made.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let counted = row.has_generation || kind == "PriorityClass";
        assert_eq!(made["metadata"].get("generation").is_some(), counted, "{kind}");
        // Whether the level of a flow or a server is there is found out later.
        let kept = matches!(kind, "FlowSchema" | "APIService");
        let settled = |object: &Value| !kept || object["status"]["conditions"].is_array();
        let seen = loop {
            let event = events.next().await.unwrap().unwrap();
            let object = event.object.value().unwrap();
            if event.object.head().name == name && settled(&object) {
                break object;
            }
        };
        assert_eq!(seen["spec"], made["spec"], "{kind}");
        let made = seen;

        // What is sent back unchanged stays as it was.
        let same = request(Verb::Update, name).body(Body::Object(made.clone()));
        assert_eq!(s.call(same).await.unwrap(), made, "{kind}");
        let note = patch(json!({"metadata": {"annotations": {"a": "b"}}}));
        let noted = s.call(request(Verb::Patch, name).body(note)).await.unwrap();
        assert_eq!(noted["metadata"]["annotations"]["a"], "b", "{kind}");
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        assert_eq!(generation(&noted), generation(&made), "{kind}");

        let parts = row.subresources.iter().map(|part| part.name);
        for part in parts.filter(|_| !kept) {
            let condition = json!({
                "type": if part == "approval" { "Approved" } else { "Odd" },
                "status": "True", "reason": "Test", "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let odd = match kind {
                "Ingress" => json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}),
                "VolumeAttachment" => json!({"attached": true}),
                "ResourceClaim" => json!({"allocation": {"devices": {"results": [
                    {"request": "r", "driver": "d", "pool": "p", "device": "x"}]}}}),
                _ if part == "status" && kind == "CertificateSigningRequest" => json!({
                    "conditions": [{"type": "Approved", "status": "True"}, condition]}),
                _ => json!({ "conditions": [condition] }),
            };
            let body = patch(json!({ "status": odd }));
            let patched = s.call(request(Verb::Patch, name).subresource(part).body(body)).await;
            let patched = patched.unwrap_or_else(|error| panic!("{kind}/{part}: {error}"));
            assert_ne!(patched["status"], made["status"], "{kind}/{part}");
            assert_eq!(patched["spec"], made["spec"], "{kind}/{part}");
            let found = s.call(request(Verb::Get, name).subresource(part)).await.unwrap();
            assert_eq!(found, patched, "{kind}/{part}");
        }

        let mut all = request(Verb::DeleteCollection, "");
        all.list.field_selector = format!("metadata.name={name}");
        let Response::List { items, .. } = s.transport.call(all).await.unwrap() else {
            panic!("{kind}: a list was expected");
        };
        assert_eq!(items.len(), 1, "{kind}");
        assert!(s.call(request(Verb::Get, name)).await.unwrap_err().is_not_found(), "{kind}");
    }
}

#[tokio::test]
async fn what_is_there_from_the_start() {
    let s = Server::start().await;
    let range = s.get("servicecidrs", "", "kubernetes").await.unwrap();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    let class = s.get("pc", "", "system-node-critical").await.unwrap();
    assert_eq!(class["value"], 2_000_001_000);
    let refused = s.delete("pc", "", "system-node-critical").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system \
         priority class and cannot be deleted"
    );
    let catch_all = s.get("flowschemas", "", "catch-all").await.unwrap();
    assert_eq!(catch_all["spec"]["matchingPrecedence"], 10_000);
    let local = s.get("apiservices", "", "v1.apps").await.unwrap();
    assert_eq!(local["status"]["conditions"][0]["reason"], "Local");
    let core = s.get("apiservices", "", "v1.").await.unwrap();
    assert_eq!(core["spec"]["groupPriorityMinimum"], 18_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_makes_them_by_protobuf() {
    let Some(k) = Kubectl::start().await else { return };
    assert_eq!(
        k.run("get priorityclasses -o name").await,
        "priorityclass.scheduling.k8s.io/system-cluster-critical\n\
         priorityclass.scheduling.k8s.io/system-node-critical\n"
    );
    for (line, created, path, value) in [
        (
            "role r --verb=get,list --resource=pods,deployments.apps",
            "role.rbac.authorization.k8s.io/r",
            "role r -o jsonpath={.rules}",
            r#"[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]},{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","list"]}]"#,
        ),
        (
            "clusterrole c --verb=get --non-resource-url=/logs",
            "clusterrole.rbac.authorization.k8s.io/c",
            "clusterrole c -o jsonpath={.rules}",
            r#"[{"nonResourceURLs":["/logs"],"verbs":["get"]}]"#,
        ),
        (
            "rolebinding b --role=r --user=u --serviceaccount=default:s",
            "rolebinding.rbac.authorization.k8s.io/b",
            "rolebinding b -o jsonpath={.roleRef.kind}/{.subjects[1].name}",
            "Role/s",
        ),
        (
            "clusterrolebinding b --clusterrole=c --group=g",
            "clusterrolebinding.rbac.authorization.k8s.io/b",
            "clusterrolebinding b -o jsonpath={.subjects[0].apiGroup}",
            "rbac.authorization.k8s.io",
        ),
        (
            "ingress i --class=n1 --rule=a.b/c*=s:80,tls=t",
            "ingress.networking.k8s.io/i",
            "ingress i -o jsonpath={..port.number}/{.spec.ingressClassName}/{..pathType}",
            "80/n1/Prefix",
        ),
        (
            "pdb p --selector=a=b --min-available=50%",
            "poddisruptionbudget.policy/p",
            "pdb p -o jsonpath={.spec.minAvailable}",
            "50%",
        ),
        (
            "priorityclass c --value=9 --preemption-policy=Never",
            "priorityclass.scheduling.k8s.io/c",
            "pc c -o jsonpath={.value}/{.preemptionPolicy}",
            "9/Never",
        ),
    ] {
        assert_eq!(k.run(&format!("create {line}")).await, format!("{created} created\n"));
        assert_eq!(k.run(&format!("get {path}")).await, value, "{line}");
    }
    let text = k.fails("create priorityclass system-x --value=1", "").await;
    assert!(text.contains("reserved for system use only"), "{text}");
    let text = k.fails("create rolebinding b --role=other --user=u", "").await;
    assert!(text.contains("already exists"), "{text}");
}
