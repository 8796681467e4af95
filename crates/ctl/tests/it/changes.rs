//! Verbs that change what is there.

use crate::server::Server;

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: m, labels: {app: x}}
data: {a: '1'}
";

#[tokio::test(flavor = "multi_thread")]
async fn differences_and_replacements() {
    let s = Server::start().await;
    let file = s.file("m.yaml", MAP);
    let new = s.try_run(&format!("diff -f {file}")).await;
    assert_eq!(new.code, 1, "{}", new.err);
    assert!(new.out.contains("+  a: \"1\""), "{}", new.out);
    let failed = s.try_run(&format!("replace -f {file}")).await;
    assert!(
        failed.err.starts_with("Error from server (NotFound): error when replacing"),
        "{}",
        failed.err
    );
    s.same(&format!("replace -f {file}")).await;
    s.run(&format!("apply -f {file}")).await;
    s.same(&format!("diff -f {file}")).await;
    s.same(&format!("apply view-last-applied -f {file}")).await;
    s.same("apply view-last-applied cm m -o json").await;
    s.same("apply view-last-applied cm kube-root-ca.crt").await;
    let file = s.file("m.yaml", &MAP.replace("'1'", "'2'"));
    let changed = s.try_run(&format!("diff -f {file}")).await;
    assert_eq!(changed.code, 1);
    assert!(changed.out.contains("-  a: \"1\"\n+  a: \"2\"\n"), "{}", changed.out);
    // What the server printed is no change, however old it is.
    let live = s.file("live.yaml", &s.run("get cm m -o yaml").await);
    s.run("label cm m more=yes").await;
    s.same(&format!("diff -f {live}")).await;
    assert_eq!(s.try_run(&format!("diff -f {live}")).await.code, 0);
    assert_eq!(s.run(&format!("replace -f {file}")).await, "configmap/m replaced\n");
    assert_eq!(s.run("get cm m -o jsonpath={.data.a}").await, "2");
    let out = s.run(&format!("replace --force -f {file}")).await;
    assert_eq!(out, "configmap \"m\" deleted from default namespace\nconfigmap/m replaced\n");
    s.same(&format!("replace -f {file} --grace-period=1")).await;
    let out = s.run(&format!("apply set-last-applied -f {file} --create-annotation")).await;
    assert_eq!(out, "configmap/m configured\n");
    let other = s.file("n.yaml", &MAP.replace("name: m", "name: other"));
    let out = s.run(&format!("apply -f {other} --prune -l app=x")).await;
    assert_eq!(out, "configmap/other created\nconfigmap/m pruned\n");
    // What is in no namespace says nothing of one.
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n";
    let role = s.file("role.yaml", role);
    let out = s.run(&format!("apply -f {role} --prune --all")).await;
    assert_eq!(out, "clusterrole.rbac.authorization.k8s.io/r created\n");
    let tried = format!("apply -f {role} --prune --all --dry-run=client");
    assert!(!s.run(&tried).await.contains("pruned"));
    s.same(&format!("apply -f {other} --prune")).await;
    s.same("apply").await;
    s.same(&format!("apply -f {other} -l app=none")).await;
    s.settle();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes() {
    let s = Server::start().await;
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
    let file = s.file("node.yaml", node);
    s.run(&format!("create -f {file}")).await;
    s.same("taint node n1 a=b --dry-run=client").await;
    s.same("taint nodes n1 a=b:NoSchedule --dry-run=client").await;
    s.same("taint nodes n1 a-").await;
    s.same("taint nodes").await;
    s.same("taint nodes a=b:NoSchedule").await;
    assert_eq!(s.run("taint nodes n1 a=b:NoSchedule").await, "node/n1 tainted\n");
    s.same("taint nodes n1 a=c:NoSchedule").await;
    s.same("taint nodes n1 a=c:NoSchedule --overwrite --dry-run=server").await;
    assert_eq!(s.run("taint nodes n1 a:NoSchedule-").await, "node/n1 untainted\n");
    s.same("cordon").await;
    s.same("cordon n1 --dry-run=client").await;
    s.same("cordon none").await;
    s.same("drain n1 --dry-run=client").await;
    assert_eq!(s.run("cordon n1").await, "node/n1 cordoned\n");
    s.same("cordon n1").await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeName: n1, containers: \
               [{name: c, image: i}]}\n";
    let file = s.file("pod.yaml", pod);
    s.run(&format!("create -f {file}")).await;
    s.same("drain n1").await;
    s.same("drain n1 --force --dry-run=client").await;
    assert_eq!(s.run("uncordon n1").await, "node/n1 uncordoned\n");
    s.settle();
}
