//! What kubectl has had since 1.33: KYAML, sets of applied objects, several objects in an editor,
//! merged dry runs.

use crate::server::Server;

const TWO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {x: '1', text: \"one\\n two\\n\"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
";

#[tokio::test(flavor = "multi_thread")]
async fn kyaml() {
    let s = Server::start().await;
    let file = s.file("two.yaml", TWO);
    s.run(&format!("apply -f {file}")).await;
    s.same("get cm a -o kyaml").await;
    s.same("get cm,ns,clusterroles -o kyaml").await;
    s.same(&format!("create -f {file} --dry-run=client -o kyaml")).await;
    s.same("get cm -o other").await;
    s.same("get ns,cm --server-print=false --show-labels").await;
    s.same("api-resources --api-group=apps -o yaml").await;
    s.same("api-resources -o other").await;
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_are_merged() {
    let s = Server::start().await;
    s.run("create cm a --from-literal=kept=yes --from-literal=x=0").await;
    let file = s.file("two.yaml", TWO);
    s.same(&format!("apply -f {file} --dry-run=client")).await;
    s.same(&format!("apply -f {file} --dry-run=client -o yaml")).await;
    let line = format!("apply -f {file} --dry-run=client -o jsonpath={{.items[0].data}}");
    assert_eq!(s.run(&line).await, r#"{"kept":"yes","text":"one\n two\n","x":"1"}"#);
    for flags in [
        "--prune --force --all",
        "--prune --server-side --all",
        "--all -l a=b",
        "--subresource=status",
        "--dry-run=server --force",
        "--prune --all --prune-allowlist=core/v1/Nope",
    ] {
        s.same(&format!("apply -f {file} {flags}")).await;
    }
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_applied_objects() {
    let s = Server::start().await;
    let file = s.file("two.yaml", TWO);
    let said = s.run(&format!("apply -f {file} --prune --applyset=set -n default")).await;
    assert_eq!(said, "configmap/a created\nconfigmap/b created\n");
    let kinds = "{.metadata.annotations.applyset\\.kubernetes\\.io/contains-group-kinds}";
    assert_eq!(s.run(&format!("get secret set -o jsonpath={kinds}")).await, "ConfigMap");
    let one = s.file("one.yaml", TWO.split("---").next().unwrap());
    let tried = format!("apply -f {one} --prune --applyset=set -n default --dry-run=server");
    let said = s.run(&tried).await;
    assert_eq!(
        said,
        "configmap/a unchanged (server dry run)\nconfigmap/b pruned (server dry run)\n"
    );
    let said = s.run(&format!("apply -f {one} --prune --applyset=set -n default")).await;
    assert_eq!(said, "configmap/a unchanged\nconfigmap/b pruned\n");
    let label = "{.metadata.labels.applyset\\.kubernetes\\.io/";
    let part = s.run(&format!("get cm a -o jsonpath={label}part-of}}")).await;
    assert_eq!(part, s.run(&format!("get secret set -o jsonpath={label}id}}")).await);
    assert!(part.starts_with("applyset-") && part.ends_with("-v1"), "{part}");
    s.run("create cm foreign").await;
    for (flags, said) in [
        ("--applyset=set -n default", "--applyset requires --prune"),
        ("--applyset=set --prune", "namespace is required"),
        ("--applyset=set --prune --all -n default", "--all is incompatible"),
        ("--applyset=deploy/x --prune -n default", "not permitted as an ApplySet parent"),
        ("--applyset=cm/foreign --prune -n default", "missing required annotation"),
    ] {
        let error = s.fails(&format!("apply -f {one} {flags}")).await;
        assert!(error.contains(said), "{flags}: {error}");
    }
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    let s = Server::start().await;
    for line in [
        "exec",
        "exec web",
        "attach",
        "attach a b c",
        "debug",
        "debug web",
        "debug web --image=x --replace",
        "debug web --copy-to=y",
        "debug web --image=X:::",
        "debug web --image=x -t",
        "debug web --image=x --profile=other",
        "auth can-i get pods -A -n default",
        "version -o other",
    ] {
        s.same(line).await;
    }
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shell_completes() {
    let s = Server::start().await;
    s.run("create cm first").await;
    s.run("create cm second").await;
    // The session of a completion reads its own flags, and these tests have no kubeconfig.
    let offered = s.run("__complete -- roll").await;
    assert!(offered.starts_with("rollout\t"), "{offered}");
    assert!(offered.ends_with(":4\n"), "{offered}");
    let offered = s.run("__complete -- get --server-p").await;
    assert!(offered.starts_with("--server-print\t"), "{offered}");
    assert_eq!(s.run("__complete -- completion f").await, "fish\n:4\n");
    assert_eq!(s.run("__complete -- apply -f a").await, ":0\n");
    s.settle();
}
