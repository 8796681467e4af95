//! The real kubectl, where it is installed.

use std::process::Stdio;

use onggi_apiserver::Access;
use onggi_store::History;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::node::FakeNode;
use crate::server::Server;

pub(crate) struct Kubectl {
    pub(crate) server: Server,
    home: tempfile::TempDir,
    /// Streams over WebSocket; else over bare SPDY, as older ones have them.
    websockets: bool,
}

pub(crate) struct Output {
    pub(crate) ok: bool,
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Kubectl {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(Access::default()).await
    }

    pub(crate) async fn start_with(access: Access) -> Option<Self> {
        let found = Command::new("kubectl").arg("version").arg("--client").output().await;
        if !found.is_ok_and(|output| output.status.success()) {
            println!("skipped: kubectl is not on the PATH");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let server = Server::with_access(History::default(), access).await;
        Some(Self { server, home, websockets: true })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let websockets = self.websockets.to_string();
        command
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("HOME", self.home.path())
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", &websockets)
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn try_run(&self, line: &str, stdin: &str) -> Output {
        let mut child = self
            .command("kubectl")
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(stdin.as_bytes()).await.unwrap();
        drop(input);
        let output = child.wait_with_output().await.unwrap();
        Output {
            ok: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) async fn run(&self, line: &str) -> String {
        self.run_with(line, "").await
    }

    pub(crate) async fn run_with(&self, line: &str, stdin: &str) -> String {
        let output = self.try_run(line, stdin).await;
        assert!(output.ok, "kubectl {line}\n{}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// `exec -it` on a pseudo-terminal of 100 columns, made by script(1) where that is installed.
    async fn runs_on_a_terminal(&self) {
        let line = "stty cols 100 rows 30; exec kubectl exec -it p -- size";
        let output = self
            .command("script")
            .args(["-qec", line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .await;
        match output {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(text.contains("100x30"), "{text}");
            }
            Err(error) => println!("skipped: script(1): {error}"),
        }
    }

    /// `kubectl edit` with sed for an editor.
    pub(crate) async fn edit(&self, what: &str, script: &str) -> String {
        let file = self.home.path().join("script");
        std::fs::write(&file, script).unwrap();
        let output = Command::new("kubectl")
            .arg("edit")
            .args(what.split_whitespace())
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("HOME", self.home.path())
            .env("KUBE_EDITOR", format!("sed -i -f {}", file.display()))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it fails.
    pub(crate) async fn fails(&self, line: &str, stdin: &str) -> String {
        let output = self.try_run(line, stdin).await;
        assert!(!output.ok, "kubectl {line} should fail: {}", output.stdout);
        output.stderr
    }
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'web:1', ports: [{containerPort: 80}]}
";

/// What `delete` says, without the namespace that newer versions name.
fn unplaced(said: &str) -> String {
    said.replace(" from default namespace", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_from_apply_to_delete() {
    let Some(k) = Kubectl::start().await else { return };
    let out = k.run_with("apply -f -", DEPLOYMENT).await;
    assert_eq!(out, "deployment.apps/web created\n");
    let out = k.run_with("apply -f -", DEPLOYMENT).await;
    assert_eq!(out, "deployment.apps/web unchanged\n");
    let out = k.run_with("apply -f -", &DEPLOYMENT.replace("web:1", "web:2")).await;
    assert_eq!(out, "deployment.apps/web configured\n");
    assert_eq!(
        k.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}").await,
        "web:2"
    );
    let table = k.run("get deploy").await;
    assert!(
        table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2"),
        "{table}"
    );
    let wide = k.run("get deploy -o wide -A").await;
    assert!(wide.contains("IMAGES") && wide.contains("default     web"), "{wide}");
    assert_eq!(k.run("get deploy -o name -l app=web").await, "deployment.apps/web\n");
    assert_eq!(k.run("get deploy -o name -l app!=web").await, "");
    assert!(
        k.run("get deploy web -o yaml").await.contains("apiVersion: apps/v1\nkind: Deployment")
    );
    k.run("scale deploy web --replicas=5").await;
    assert_eq!(
        k.run("get deploy web -o jsonpath={.spec.replicas},{.metadata.generation}").await,
        "5,3"
    );
    k.run("label deploy web tier=front").await;
    k.run("set image deploy/web web=web:3").await;
    k.run("annotate deploy web a=b").await;
    assert!(k.run("describe deploy web").await.contains("web:3"));
    assert!(k.run("get all").await.contains("deployment.apps/web"));
    assert_eq!(unplaced(&k.run("delete deploy web").await), "deployment.apps \"web\" deleted\n");
    let text = k.fails("get deploy web", "").await;
    assert_eq!(text, "Error from server (NotFound): deployments.apps \"web\" not found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_by_protobuf() {
    let Some(k) = Kubectl::start().await else { return };
    assert_eq!(k.run("create namespace shop").await, "namespace/shop created\n");
    let out = k.run("create configmap c --from-literal=a=1 --from-literal=b=two -n default").await;
    assert_eq!(out, "configmap/c created\n");
    assert_eq!(k.run("get configmap c -o jsonpath={.data}").await, r#"{"a":"1","b":"two"}"#);
    k.run("create secret generic s --from-literal=password=x").await;
    assert_eq!(k.run("get secret s -o jsonpath={.data.password}").await, "eA==");
    k.run("create serviceaccount robot").await;
    let token = k.run("create token robot").await;
    assert_eq!(token.split('.').count(), 3, "{token}");
    k.run("create deployment d --image=x").await;
    assert_eq!(k.run("get deploy d -o jsonpath={.spec.replicas}").await, "1");
    let text = k.fails("create namespace shop", "").await;
    assert_eq!(text, "Error from server (AlreadyExists): namespaces \"shop\" already exists\n");
    let text = k.fails("create configmap c -n nowhere", "").await;
    assert!(text.contains("namespaces \"nowhere\" not found"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_and_watches() {
    let Some(k) = Kubectl::start().await else { return };
    k.run("run p --image=x --restart=Never").await;
    let waiting = k.run("wait --for=jsonpath={.status.phase}=Running pod/p --timeout=30s");
    let patching =
        k.run(r#"patch pod p --subresource=status --type=merge -p {"status":{"phase":"Running"}}"#);
    let (waited, _) = tokio::join!(waiting, patching);
    assert_eq!(waited, "pod/p condition met\n");
    let deleted = k.run("wait --for=delete pod/p --timeout=30s");
    let (_, _) = tokio::join!(deleted, k.run("delete pod p --wait=false"));
    let version = k.run("version").await;
    assert!(version.contains("Server Version: v1.36.2+onggi"), "{version}");
    assert!(k.run("api-resources").await.contains("deployments"));
    assert!(k.run("explain deployment.spec.replicas").await.contains("FIELD: replicas <integer>"));
    for output in ["", " --output=plaintext-openapiv2"] {
        let told = k.run(&format!("explain pod.spec.restartPolicy{output}")).await;
        assert!(told.contains("Possible enum values:"), "{told}");
        assert!(
            !output.is_empty() || told.contains("ENUM:\n    Always\n    Never\n    OnFailure\n")
        );
    }
    assert!(k.run("cluster-info").await.contains("is running at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_prints_one_table() {
    let Some(k) = Kubectl::start().await else { return };
    k.run("create configmap first").await;
    let mut child = Command::new("kubectl")
        .args(["get", "configmaps", "-w"])
        .env("KUBECONFIG", k.server.kubeconfig())
        .env("HOME", k.home.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || lines.next_line().await.unwrap().unwrap();
    assert!(next().await.starts_with("NAME    DATA   AGE"));
    assert!(next().await.starts_with("first   0      "));
    k.run("create configmap second --from-literal=a=1").await;
    assert!(next().await.starts_with("second   1      "));
    k.run("delete configmap first").await;
    assert!(next().await.starts_with("first    0      "));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let Some(k) = Kubectl::start().await else { return };
    let text = k.fails("apply -f -", &DEPLOYMENT.replace("replicas", "replica")).await;
    assert!(text.contains("unknown field \"spec.replica\""), "{text}");
    let text = k.fails("apply -f -", &DEPLOYMENT.replace("replicas: 2", "replicas: two")).await;
    assert!(text.contains("cannot unmarshal string"), "{text}");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: 'p!'}\n";
    let text = k.fails("apply -f -", secret).await;
    assert!(
        text.contains("cannot be handled as a Secret: illegal base64 data at input byte 1"),
        "{text}"
    );
    assert!(k.fails("get secret s", "").await.contains("not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_old_versions_apply() {
    let Some(k) = Kubectl::start().await else { return };
    let old = DEPLOYMENT
        .replace("apps/v1", "extensions/v1beta1")
        .replace("  selector: {matchLabels: {app: web}}\n", "");
    let first = k.try_run("apply -f -", &old).await;
    assert!(first.ok, "{}", first.stderr);
    assert_eq!(first.stdout, "deployment.extensions/web created\n");
    assert!(first.stderr.contains("Warning: extensions/v1beta1 Deployment"), "{}", first.stderr);
    assert_eq!(
        k.run("get deployments web -o jsonpath={.apiVersion},{.spec.selector.matchLabels.app}")
            .await,
        "apps/v1,web"
    );
    assert_eq!(k.run_with("apply -f -", &old).await, "deployment.extensions/web unchanged\n");
    let more = old.replace("replicas: 2", "replicas: 3");
    assert_eq!(k.run_with("apply -f -", &more).await, "deployment.extensions/web configured\n");
    assert_eq!(
        unplaced(&k.run_with("delete -f -", &more).await),
        "deployment.extensions \"web\" deleted\n"
    );
    assert_eq!(k.run("get deploy -o name").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reach_the_node() {
    let Some(mut k) = Kubectl::start().await else { return };
    let bound = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
                 spec: {nodeName: n1, containers: [{name: c, image: i}]}\n";
    k.run_with("apply -f -", bound).await;
    let patch = r#"{"status":{"phase":"Running"}}"#;
    k.run(&format!("patch pod p --subresource=status --type=merge -p {patch}")).await;
    let text = k.fails("logs p", "").await;
    assert!(text.contains("no node can be reached yet"), "{text}");
    k.server.server.set_node_connector(std::sync::Arc::new(FakeNode));
    assert_eq!(k.run("logs p").await, "c one\ntwo\n");
    assert_eq!(k.run("logs -f p -c c").await, "c one\ntwo\n");
    for websockets in [true, false] {
        k.websockets = websockets;
        assert_eq!(k.run("exec p -- echo hello world").await, "hello world");
        assert_eq!(k.run_with("exec -i p -- cat", "from here").await, "from here");
        k.runs_on_a_terminal().await;
        let failed = k.try_run("exec p -- exit 7", "").await;
        assert!(failed.stderr.starts_with("as asked\n"), "{}", failed.stderr);
        assert_eq!(failed.code, Some(7), "{}", failed.stderr);
        let text = k.fails("exec p -- nothing", "").await;
        assert!(text.contains("nothing: not found"), "{text}");
        let text = k.fails("exec p -c x -- echo", "").await;
        assert!(text.contains("container x is not valid for pod p"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    let Some(mut k) = Kubectl::start().await else { return };
    let bound = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
                 spec: {nodeName: n1, containers: [{name: c, image: i}]}\n";
    k.run_with("apply -f -", bound).await;
    let patch = r#"{"status":{"phase":"Running"}}"#;
    k.run(&format!("patch pod p --subresource=status --type=merge -p {patch}")).await;
    k.server.server.set_node_connector(std::sync::Arc::new(FakeNode));
    for websockets in [true, false] {
        k.websockets = websockets;
        let mut child = k
            .command("kubectl")
            .args(["port-forward", "pod/p", ":80", ":81"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ports = Vec::new();
        while ports.len() < 2 {
            let line = lines.next_line().await.unwrap().unwrap();
            if let Some(rest) = line.strip_prefix("Forwarding from 127.0.0.1:") {
                ports.push(rest.split(' ').next().unwrap().parse::<u16>().unwrap());
            }
        }
        for _ in 0..3 {
            let mut stream = TcpStream::connect(("127.0.0.1", ports[0])).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "HELLO");
        }
        let mut stream = TcpStream::connect(("127.0.0.1", ports[1])).await.unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let text = errors.next_line().await.unwrap().unwrap();
        assert!(text.contains("nobody listens on 81"), "{text}");
        let _ = stream.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_handed_on_to_pods_and_services() {
    let Some(k) = Kubectl::start().await else { return };
    let objects = "
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: p}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
  - {addresses: [10.244.0.9], targetRef: {kind: Pod, namespace: default, name: p}}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: q}, ports: [{port: 80}]}
";
    k.run_with("apply -f -", objects).await;
    let patch =
        r#"{"status":{"phase":"Running","podIP":"10.244.0.9","podIPs":[{"ip":"10.244.0.9"}]}}"#;
    k.run(&format!("patch pod p --subresource=status --type=merge -p {patch}")).await;
    k.server.server.set_node_connector(std::sync::Arc::new(FakeNode));
    let raw = |path: &str| format!("get --raw /api/v1/namespaces/default/{path}");
    for path in ["pods/p/proxy", "pods/p:web/proxy", "pods/http:p:8080/proxy"] {
        let said = k.run(&raw(&format!("{path}/a%20b?c=d"))).await;
        let expected = "GET /a%20b?c=d 10.244.0.9:8080 no authorization";
        assert_eq!(said, expected, "{path}");
    }
    for path in ["services/s/proxy", "services/s:http/proxy", "services/http:s:80/proxy"] {
        let said = k.run(&raw(&format!("{path}/x"))).await;
        assert_eq!(said, "GET /x 10.244.0.9:8080 no authorization", "{path}");
    }
    // An empty path leads to one that links can be relative to.
    assert!(k.run(&raw("services/s/proxy")).await.starts_with("GET / "));
    let text = k.fails(&raw("services/nobody/proxy/"), "").await;
    assert!(text.contains("no endpoints available for service"), "{text}");
    let text = k.fails(&raw("services/absent/proxy/"), "").await;
    assert!(text.contains("services \"absent\" not found"), "{text}");
    let text = k.fails(&raw("pods/p:81/proxy/"), "").await;
    assert!(text.contains("error trying to reach service"), "{text}");
    k.run_with("apply -f -", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n").await;
    let raw = |path: &str| format!("get --raw /api/v1/nodes/{path}");
    for name in ["n1", "n1:10250", "https:n1:10250"] {
        let said = k.run(&raw(&format!("{name}/proxy/logs/a%20b?c=d"))).await;
        assert_eq!(said, "asked for /logs/a%20b?c=d", "{name}");
    }
    assert_eq!(k.run(&raw("n1/proxy")).await, "asked for /");
    // Nothing else of a node is reached.
    let text = k.fails(&raw("n1:22/proxy/"), "").await;
    assert!(text.contains("address not allowed"), "{text}");
    let text = k.fails(&raw("absent/proxy/"), "").await;
    assert!(text.contains("nodes \"absent\" not found"), "{text}");
    assert!(k.fails(&raw("n1/proxy/none"), "").await.contains("the server could not find"));
}

#[tokio::test(flavor = "multi_thread")]
async fn explains_pages_and_raw_paths() {
    let Some(k) = Kubectl::start().await else { return };
    for n in 0..5 {
        k.run(&format!("create configmap page-{n}")).await;
    }
    let all = k.run("get configmaps --chunk-size=2 -o name").await;
    assert!((0..5).all(|n| all.contains(&format!("page-{n}"))), "{all}");
    for output in ["plaintext", "plaintext-openapiv2"] {
        let text = k.run(&format!("explain pod.spec.containers.ports --output={output}")).await;
        assert!(text.contains("containerPort"), "{output}: {text}");
    }
    assert!(k.run("get --raw /readyz?verbose").await.ends_with("readyz check passed\n"));
    assert!(k.run("get --raw /metrics").await.contains("apiserver_request_total{"));
    let resources = k.run("api-resources --verbs=list --namespaced -o name").await;
    assert!(resources.contains("configmaps") && resources.contains("deployments.apps"));
    assert!(k.run("version").await.contains("v1.36"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_a_kind() {
    let Some(k) = Kubectl::start().await else { return };
    k.run_with("apply -f -", DEPLOYMENT).await;
    k.run("autoscale deployment web --min=2 --max=4 --cpu-percent=70").await;
    let table = k.run("get hpa").await;
    assert!(table.starts_with("NAME   REFERENCE        TARGETS"), "{table}");
    assert!(table.contains("web    Deployment/web   cpu: <unknown>/70%   2         4"), "{table}");
    let name = "horizontalpodautoscalers.v1.autoscaling";
    assert!(k.run(&format!("get {name}")).await.contains("cpu: <unknown>/70%"));
    for (version, path) in [
        ("v1", ".spec.targetCPUUtilizationPercentage"),
        ("v2", ".spec.metrics[0].resource.target.averageUtilization"),
    ] {
        let name = format!("horizontalpodautoscalers.{version}.autoscaling");
        let line = format!("get {name} web -o jsonpath={{.apiVersion}},{{{path}}}");
        assert_eq!(k.run(&line).await, format!("autoscaling/{version},70"));
    }
    let v1 = k.run(&format!("get {name} web -o yaml")).await;
    let v1 = v1.replace("maxReplicas: 4", "maxReplicas: 9");
    assert_eq!(
        k.run_with("replace -f -", &v1).await,
        "horizontalpodautoscaler.autoscaling/web replaced\n"
    );
    assert_eq!(k.run("get hpa web -o jsonpath={.spec.maxReplicas}").await, "9");
    let described = k.run("describe hpa web").await;
    assert!(described.contains("Max replicas:"), "{described}");
    k.run("get events.v1.events.k8s.io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_warns_and_refuses() {
    let Some(k) = Kubectl::start().await else { return };
    let policy = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: named}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - {expression: \"object.metadata.name.startsWith('a')\", message: begin with an a}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: everywhere}
spec: {policyName: named, validationActions: [ACTION]}
";
    k.run_with("apply -f -", &policy.replace("ACTION", "Warn")).await;
    let made = k.try_run("create configmap b", "").await;
    assert_eq!(
        (made.stdout.as_str(), made.stderr.as_str()),
        (
            "configmap/b created\n",
            "Warning: Validation failed for ValidatingAdmissionPolicy 'named' with binding \
             'everywhere': begin with an a\n"
        )
    );
    k.run_with("apply -f -", &policy.replace("ACTION", "Deny")).await;
    let text = k.fails("create configmap c", "").await;
    assert!(text.contains("denied request: begin with an a"), "{text}");

    k.run("run root --image=i").await;
    let labelled =
        k.try_run("label ns default pod-security.kubernetes.io/enforce=restricted", "").await;
    assert!(labelled.ok, "{}", labelled.stderr);
    assert!(
        labelled.stderr.starts_with(
            "Warning: existing pods in namespace \"default\" violate the new PodSecurity enforce \
             level \"restricted:latest\"\nWarning: root: allowPrivilegeEscalation != false"
        ),
        "{}",
        labelled.stderr
    );
    let text = k.fails("run other --image=i", "").await;
    assert!(
        text.starts_with(
            "Error from server (Forbidden): pods \"other\" is forbidden: violates PodSecurity \
             \"restricted:latest\": allowPrivilegeEscalation != false (container \"other\" must set"
        ),
        "{text}"
    );
    let workload = k.try_run("create deployment d --image=i", "").await;
    assert!(
        workload.stderr.starts_with("Warning: would violate PodSecurity"),
        "{}",
        workload.stderr
    );
    let text =
        k.fails("label ns default --overwrite pod-security.kubernetes.io/enforce=x", "").await;
    assert!(text.contains("must be one of privileged, baseline, restricted"), "{text}");
}
