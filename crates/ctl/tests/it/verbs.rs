//! Each verb: what it does, and what it prints.

use crate::server::Server;

const WEB: &str = "
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
      - {name: web, image: 'web:1', ports: [{containerPort: 80}], env: [{name: A, value: a}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn objects_from_apply_to_delete() {
    let s = Server::start().await;
    let file = s.file("web.yaml", WEB);
    let out = s.run(&format!("apply -f {file}")).await;
    assert_eq!(out, "deployment.apps/web created\nservice/web created\n");
    let out = s.run(&format!("apply -f {file}")).await;
    assert_eq!(out, "deployment.apps/web unchanged\nservice/web unchanged\n");
    // Both take turns on one object.
    if let Some(theirs) = s.kubectl(&format!("apply -f {file}")).await {
        assert_eq!(theirs.out, "deployment.apps/web unchanged\nservice/web unchanged\n");
    }
    let file = s.file(
        "web.yaml",
        &WEB.replace("web:1", "web:2").replace(", env: [{name: A, value: a}]", ""),
    );
    let out = s.run(&format!("apply -f {file} --dry-run=server")).await;
    assert!(out.starts_with("deployment.apps/web configured (server dry run)\n"), "{out}");
    let out = s.run(&format!("apply -f {file}")).await;
    assert_eq!(out, "deployment.apps/web configured\nservice/web unchanged\n");
    let path = "{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env}";
    let out = s.run(&format!("get deploy web -o 'jsonpath={path}'")).await;
    assert_eq!(out, "web:2 ", "what the manifest no longer has is gone");
    for line in [
        "get deploy",
        "get deploy -o wide",
        "get deploy,svc",
        "get deploy,svc -A --show-labels -L app",
        "get all",
        "get deploy web -o yaml",
        "get deploy web -o json",
        "get deploy -o json",
        "get deploy,svc -o yaml",
        "get deploy,svc -o name",
        "get deploy/web svc/kubernetes --no-headers",
        "get svc -o custom-columns=NAME:.metadata.name,IP:.spec.clusterIP,X:.spec.nothing",
        "get svc --sort-by=.metadata.name",
        "get svc --sort-by=.spec.clusterIP -o name",
        "get svc -l app=web",
        "get svc -l app=none",
        "get pods",
        "get pods -A",
        "get ns",
        "get deploy none",
        "get deploy web none",
        "get deploy none --ignore-not-found",
        "get deploy -o 'jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.spec.replicas}{\"\\n\"}{end}'",
        "get deploy web -o 'jsonpath={.metadata.labels}'",
        "get deploy web -o 'jsonpath={.spec.template.spec.containers[?(@.name==\"web\")].image}'",
        "get -f FILE",
        "get cm -n nowhere",
        "config current-context",
        "config get-contexts",
        "config view",
        "config view --minify",
        "rollout history deploy/web",
        "api-versions",
        "patch svc web -p {} --type=merge",
        "scale deploy/web --replicas=3 --dry-run=client",
        "delete svc none",
        "label svc web app=other",
        "rollout resume deploy/web",
        "explain deploy",
        "explain deploy.spec.replicas",
        "explain deployments.spec.template.spec.containers.env",
        "explain cm --recursive",
        "explain deploy.spec.nothing",
        "explain pod",
        "explain pod.spec",
        "explain pod.spec.containers.livenessProbe",
        "explain pod.spec.containers.resources.limits",
        "explain pod.spec.volumes.configMap.items.nothing",
        "explain deploy.spec.strategy --recursive",
        "explain crd --recursive",
        "explain svc.spec.ports.targetPort",
        "explain pod --output plaintext-openapiv2",
        "explain pod.spec.containers.livenessProbe --output plaintext-openapiv2",
        "explain pod.spec.containers.args --output plaintext-openapiv2",
        "explain pod.spec.containers.resources.limits --output plaintext-openapiv2",
        "explain pod.metadata.labels.x --output plaintext-openapiv2",
        "explain deploy.spec.nothing --output plaintext-openapiv2",
        "explain crd --recursive --output plaintext-openapiv2",
        "set image deploy/web web=web:3 --dry-run=client -o name",
        "set resources deploy web --limits=cpu=1,memory=1Gi --requests=cpu=100m --dry-run=client",
        "set serviceaccount deploy web robot --dry-run=server",
        "set selector svc web a=b --dry-run=client",
        "rollout restart svc/web",
        "rollout status svc/web",
        "top pod",
        "auth can-i get pods",
        "auth can-i get nodes",
        "auth can-i list bananas",
        "get --raw /version",
        "get deploy -o go-template={{range.items}}{{.metadata.name}}{{end}}",
        "get deploy web --subresource=scale",
        "label deploy web --list",
        "label deploy web tier=x --dry-run=client -o name",
        "annotate deploy web a=b --dry-run=server",
        "patch deploy web -p {} --dry-run=client",
        "delete svc web --dry-run=client",
        "config get-clusters",
        "config get-users",
        "config delete-user none",
        "config view --flatten",
        "cp a b",
        "cp x:a y:b",
        "certificate approve",
        "get pods --as=nobody",
    ] {
        s.same(&line.replace("FILE", &file)).await;
    }
    s.settle();
    assert_eq!(s.run("scale deploy web --replicas=5").await, "deployment.apps/web scaled\n");
    let out = s.fails("scale deploy web --replicas=1 --current-replicas=2").await;
    assert_eq!(out, "error: Expected replicas to be 2, was 5\n");
    assert_eq!(s.run("label deploy web tier=front").await, "deployment.apps/web labeled\n");
    assert_eq!(s.run("label deploy web tier=front").await, "deployment.apps/web not labeled\n");
    assert_eq!(s.run("label deploy web tier-").await, "deployment.apps/web unlabeled\n");
    assert_eq!(s.run("annotate deploy web a=b").await, "deployment.apps/web annotated\n");
    let out = s.run("set image deploy/web web=web:3").await;
    assert_eq!(out, "deployment.apps/web image updated\n");
    assert_eq!(s.run("set env deploy/web B=b").await, "deployment.apps/web env updated\n");
    assert_eq!(s.run("rollout restart deploy/web").await, "deployment.apps/web restarted\n");
    assert_eq!(s.run("rollout pause deploy/web").await, "deployment.apps/web paused\n");
    let out = s.fails("rollout pause deploy/web").await;
    assert_eq!(out, "error: deployments.apps \"web\" is already paused\n");
    assert_eq!(s.run("rollout resume deploy/web").await, "deployment.apps/web resumed\n");
    let out = s.run("delete deploy,svc web").await;
    assert_eq!(
        out,
        "deployment.apps \"web\" deleted from default namespace\nservice \"web\" deleted from default \
         namespace\n"
    );
    let out = s.fails("get deploy web").await;
    assert_eq!(out, "Error from server (NotFound): deployments.apps \"web\" not found\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn creates() {
    let s = Server::start().await;
    let file = s.file("some.txt", "one\ntwo\n");
    let env = s.file("some.env", "# remark\nA=1\nB=two words\n");
    for line in [
        "create namespace shop",
        "create configmap c --from-literal=a=1 --from-literal=b=two",
        "create configmap c --from-file=FILE --from-file=key=FILE",
        "create configmap c --from-env-file=ENV",
        "create secret generic g --from-literal=password=x --from-file=FILE",
        "create secret generic g --type=my/type --from-env-file=ENV",
        "create secret docker-registry r --docker-username=u --docker-password=p --docker-server=s",
        "create deployment d --image=nginx:1 --replicas=3 --port=80",
        "create deployment d --image=a/b:1 --image=d@sha256:1",
        "create deployment d --image=x -- sleep 5",
        "create serviceaccount robot",
        "run p --image=x --restart=Never --env=A=b --port=80 --labels=a=b,c=d",
        "run p --image=x --command -- sh -c 'exit 3'",
    ] {
        let line = line.replace("FILE", &file).replace("ENV", &env);
        for format in ["yaml", "name"] {
            // What is behind `--` are arguments.
            let (verb, arguments) = line.split_once(" -- ").unwrap_or((&line, ""));
            let arguments =
                if arguments.is_empty() { String::new() } else { format!(" -- {arguments}") };
            s.same(&format!("{verb} --dry-run=client -o {format}{arguments}")).await;
        }
    }
    assert_eq!(s.run("create ns shop").await, "namespace/shop created\n");
    let out = s.fails("create ns shop").await;
    assert_eq!(out, "Error from server (AlreadyExists): namespaces \"shop\" already exists\n");
    s.same("create ns shop").await;
    let out = s.run("create cm c --from-literal=a=1 -n shop --save-config").await;
    assert_eq!(out, "configmap/c created\n");
    s.same("create configmap c --from-literal=a=1 -n shop").await;
    s.same("create configmap c -n nowhere").await;
    s.same("create secret generic c -n nowhere").await;
    s.same("create deployment c --image=x -n nowhere").await;
    s.same("create deployment UP --image=x").await;
    let token = s.run("create token default").await;
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert_eq!(s.run("run p --image=x --restart=Never").await, "pod/p created\n");
    s.same("run p --image=x --restart=Never").await;
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn kustomizations() {
    let s = Server::start().await;
    let shop =
        format!("{}/../../examples/shop/kubernetes/overlays/prod", env!("CARGO_MANIFEST_DIR"));
    let printed = s.try_run(&format!("apply -k {shop}")).await;
    assert_eq!(printed.code, 0, "{}", printed.err);
    assert!(printed.out.contains("deployment.apps/product created\n"), "{}", printed.out);
    assert!(printed.err.contains("'bases' is deprecated"), "{}", printed.err);
    let out = s.run("get deploy product -o jsonpath={.spec.replicas}").await;
    assert_eq!(out, "2");
    let out = s.run(&format!("apply -k {shop}")).await;
    assert!(out.lines().all(|line| line.ends_with(" unchanged")), "{out}");
    if let Some(theirs) = s.kubectl(&format!("apply -k {shop}")).await {
        assert!(theirs.out.lines().all(|line| line.ends_with(" unchanged")), "{}", theirs.out);
    }
    let out = s.run(&format!("delete -k {shop}")).await;
    assert!(out.contains("configmap \"shop-config\" deleted from "), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_by_a_program() {
    let s = Server::start().await;
    const FILES: &[(&str, &str)] = &[
        ("app/kustomization.yml", "resources: [a.yml]\n"),
        ("app/a.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"),
    ];
    let source = onggi_ctl::kustomize::Embedded(FILES);
    let built = onggi_ctl::kustomize::build(&source, "app").unwrap();
    let mut seen = Vec::new();
    let applied =
        onggi_ctl::apply::objects(&s.client, built.objects, "default", |a| seen.push(a.outcome));
    assert_eq!(applied.await.unwrap()[0].name, "a");
    assert_eq!(seen, [onggi_ctl::apply::Outcome::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let s = Server::start().await;
    let fails = async |name: &str, content: &str| {
        let file = s.file(name, content);
        let text = s.fails(&format!("apply -f {file}")).await;
        text.replace(&file, name)
    };
    let text = fails("s3.yaml", &format!("//deployment.yaml  name\n{WEB}")).await;
    assert_eq!(
        text,
        "error: error parsing s3.yaml: line 1, column 1: `//` does not begin a YAML comment, use \
         `#`\n"
    );
    let text = fails("k.yaml", &WEB.replace("kind: Deployment", "kind: Deploymen")).await;
    assert!(text.contains("no matches for kind \"Deploymen\" in version \"apps/v1\""), "{text}");
    assert!(text.contains("did you mean Deployment?"), "{text}");
    let text = fails("f.yaml", &WEB.replace("replicas", "replica")).await;
    assert!(
        text.starts_with("Error from server (BadRequest): error when creating \"f.yaml\": ")
            && text.contains("unknown field \"spec.replica\""),
        "{text}"
    );
    let text = fails("i.yaml", &WEB.replace("replicas: 2", "replicas: -2")).await;
    assert!(text.starts_with("The Deployment \"web\" is invalid: spec.replicas: "), "{text}");
    let text = fails("n.yaml", "just: text\n").await;
    assert!(text.contains("line 1: apiVersion not set"), "{text}");
    let text = s.fails("get deploymeny").await;
    let expected = "error: the server doesn't have a resource type \"deploymeny\"; did you mean \
                    \"deployment\"?\n";
    assert_eq!(text, expected);
    let text = s.fails("apply -f https://example.com/x.yaml").await;
    assert!(text.contains("not fetched from the network"), "{text}");
    let text = s.fails("apply -f /nonexistent/x.yaml").await;
    assert_eq!(text, "error: the path \"/nonexistent/x.yaml\" does not exist\n");
    let old = "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: old}\nspec:\n  \
               template:\n    metadata: {labels: {app: old}}\n    spec: {containers: [{name: c, \
               image: i}]}\n";
    let file = s.file("old.yaml", old);
    let printed = s.try_run(&format!("apply -f {file}")).await;
    assert_eq!(printed.out, "deployment.apps/old created\n", "{}", printed.err);
    assert!(printed.err.starts_with("Warning: extensions/v1beta1 Deployment is deprecated"));
    assert_eq!(
        s.run(&format!("delete -f {file}")).await,
        "deployment.apps \"old\" deleted from default namespace\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waits() {
    let s = Server::start().await;
    s.run("run p --image=x --restart=Never").await;
    s.run("run q --image=x --restart=Never").await;
    let status =
        r#"'{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'"#;
    let patch = format!("patch pod p --subresource=status --type=merge -p {status}");
    let waiting = s.run("wait --for=condition=Ready pod/p --timeout=60s");
    let (waited, patched) = tokio::join!(waiting, s.run(&patch));
    assert_eq!((waited.as_str(), patched.as_str()), ("pod/p condition met\n", "pod/p patched\n"));
    assert_eq!(
        s.run("wait --for=jsonpath={.status.phase}=Running pod/p").await,
        "pod/p condition met\n"
    );
    s.same("wait --for=condition=Ready pod --all --timeout=1s").await;
    s.same("wait --for=condition=Ready pod/none --timeout=1s").await;
    s.same("wait --for=condition=Ready pod -l app=none --timeout=1s").await;
    s.same("wait --for=delete pod/none").await;
    s.settle();
    let deleted = s.run("wait --for=delete pod/p --timeout=60s");
    let (waited, gone) = tokio::join!(deleted, s.run("delete pod p --now"));
    assert_eq!(gone, "pod \"p\" deleted from default namespace\n");
    // It may have been gone before it was looked for.
    assert!(matches!(waited.as_str(), "" | "pod/p condition met\n"), "{waited}");
    let out = s.try_run("delete pod q --force --grace-period=0").await;
    assert_eq!(out.out, "pod \"q\" force deleted from default namespace\n");
}

const MAPS: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {g: one}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, labels: {g: two}}}
";

/// What is chosen twice over is chosen by all that is said, or by nothing.
#[tokio::test(flavor = "multi_thread")]
async fn selectors_count() {
    let s = Server::start().await;
    let file = s.file("maps.yaml", MAPS);
    let names = async || s.run("get cm -l g -o name").await;
    s.run(&format!("apply -f {file}")).await;
    let out = s.run(&format!("delete -f {file} -l g=zzz")).await;
    assert_eq!(out, "No resources found\n");
    assert_eq!(s.run(&format!("label -f {file} -l g=zzz x=y")).await, "");
    let out = s.run(&format!("label -f {file} -l g=two x=y")).await;
    assert_eq!(out, "configmap/b labeled\n");
    let out = s.run(&format!("get -f {file} -l g=two -o name")).await;
    assert_eq!(out, "configmap/b\n");
    let by_name = "error: name cannot be provided when a selector is specified\n";
    let by_slash = "error: selectors and the all flag cannot be used when passing resource/name \
                    arguments\n";
    for (line, said) in [
        ("delete cm a -l g=two", by_name),
        ("delete cm a --all", by_name),
        ("delete cm a --field-selector=metadata.name=b", by_name),
        ("delete cm/a --all", by_slash),
        ("delete cm/a -l g=two", by_slash),
        ("label cm a -l g=two x=z", by_name),
        ("annotate cm/a -l g=two x=z", by_slash),
        ("scale deploy a -l g=two --replicas=1", by_name),
        ("set env deploy a -l g=two A=b", by_name),
        ("rollout restart deploy a -l g=two", by_name),
        ("describe cm a -l g=two", by_name),
        ("wait cm a -l g=two --for=create", by_name),
        ("get cm a -l g=two", by_name),
        (
            "label cm --all --field-selector=metadata.name=a x=z",
            "error: cannot set --all and --field-selector at the same time\n",
        ),
        ("delete cm a -A", "error: a resource cannot be retrieved by name across all namespaces\n"),
        (
            "delete cm a -f FILE",
            "error: when paths, URLs, or stdin is provided as input, you may not specify resource \
             arguments as well\n",
        ),
        (
            "scale deploy --replicas=0",
            "error: resource(s) were provided, but no name was specified\n",
        ),
        (
            "label cm a x=y x-",
            "error: can not both modify and remove a label in the same command\n",
        ),
    ] {
        let line = line.replace("FILE", &file);
        assert_eq!(s.fails(&line).await, said, "{line}");
        s.same(&line).await;
    }
    assert_eq!(names().await, "configmap/a\nconfigmap/b\n");
    let other = MAPS.replace("name: b,", "name: b, namespace: other,");
    let other = s.file("other.yaml", &other);
    let printed = s.try_run(&format!("delete -n default -f {other}")).await;
    assert_eq!(printed.out, "configmap \"a\" deleted from default namespace\n");
    assert!(printed.err.contains("does not match the namespace \"default\""), "{}", printed.err);
    let out = s.run("delete cm -l g=two").await;
    assert_eq!(out, "configmap \"b\" deleted from default namespace\n");
    assert_eq!(s.run("delete cm -l g=two").await, "No resources found\n");
    s.settle();
}

/// One that fails does not keep the others back.
#[tokio::test(flavor = "multi_thread")]
async fn others_go_on() {
    let s = Server::start().await;
    let good = s.file("good.yaml", MAPS);
    let bad = s.file("bad.yaml", "apiVersion: v1\nkind: [\n");
    let printed = s.try_run(&format!("apply -f {bad} -f {good}")).await;
    assert_eq!(printed.out, "configmap/a created\nconfigmap/b created\n", "{}", printed.err);
    assert_eq!(printed.code, 1);
    let (none, a) =
        ("Error from server (NotFound): configmaps \"none\" not found\n", "configmap/a");
    for (line, out) in [
        ("label cm none a x=y", format!("{a} labeled\n")),
        ("annotate cm none a x=y", format!("{a} annotated\n")),
        ("patch cm none a --type=merge -p {\"data\":{\"k\":\"v\"}}", format!("{a} patched\n")),
        ("wait cm none a --for=jsonpath={.data.k}=v", format!("{a} condition met\n")),
        ("get cm none a -o name", format!("{a}\n")),
    ] {
        let printed = s.try_run(line).await;
        let seen = (printed.out.as_str(), printed.err.as_str(), printed.code);
        assert_eq!(seen, (out.as_str(), none, 1), "{line}");
    }
    let printed = s.try_run("describe cm none a").await;
    assert!(printed.out.starts_with("Name:         a\n"), "{}", printed.out);
    assert_eq!((printed.err.as_str(), printed.code), (none, 1));
    s.run("delete cm a").await;
    let printed = s.try_run(&format!("delete -f {bad} -f {good}")).await;
    assert_eq!(printed.out, "configmap \"b\" deleted from default namespace\n");
    assert!(printed.err.contains(": configmaps \"a\" not found\n"), "{}", printed.err);
    assert!(printed.err.contains("error when deleting "), "{}", printed.err);
    assert_eq!(printed.code, 1);
    let several = s.run(&format!("create -f {good} --dry-run=client -o yaml")).await;
    assert_eq!(several.matches("---\n").count(), 1, "{several}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused() {
    let s = Server::start().await;
    let text = s.file("plain.txt", "hello\n");
    s.run("create cm c --from-literal=a=b").await;
    for line in [
        "create secret tls t --cert=FILE --key=FILE --dry-run=client",
        "create clusterrole r --verb=get --non-resource-url=metrics",
        "create quota q --hard=cpu=1x --dry-run=client",
        "create pdb p --selector=a=b --max-unavailable=x --dry-run=client",
        "create cm x --dry-run=client -o wide",
        "run p '--image=bad image'",
        "run p --image=x --image-pull-policy=Foo --dry-run=client",
        "events --types=Foo",
        "get pods,",
        "get --raw version",
        "config set clusters.test.insecure-skip-tls-verify notabool",
        "config set-credentials u --token=a --username=b",
        "rollout history deploy/web --revision=-1",
        "wait cm/c --for=delete --timeout=-1x",
    ] {
        let line = line.replace("FILE", &text);
        if line.contains("-1x") {
            assert!(s.misread(&line).contains("time: unknown unit \"x\" in duration \"-1x\""));
            continue;
        }
        s.fails(&line).await;
        s.same(&line).await;
    }
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts() {
    let s = Server::start().await;
    let out = s.run("config set-context --current --namespace=shop").await;
    assert_eq!(out, "Context \"test\" modified.\n");
    s.same("config get-contexts").await;
    s.same("get pods").await;
    s.same("config use-context none").await;
    let out = s.run("config set-context other --cluster=test --user=test").await;
    assert_eq!(out, "Context \"other\" created.\n");
    assert_eq!(s.run("config use-context other").await, "Switched to context \"other\".\n");
    s.same("config current-context").await;
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_time_of_a_request() {
    let s = Server::start().await;
    let line = "get svc -w --no-headers -o name --request-timeout=1s";
    let ours = s.run(line).await;
    assert_eq!(ours, "service/kubernetes\n");
    if let Some(theirs) = s.kubectl(line).await {
        assert_eq!((theirs.code, theirs.out), (0, ours), "{}", theirs.err);
    }
}
