//! Server-side apply, patches and edits by the real kubectl.

use serde_json::Value;

use crate::kubectl::Kubectl;

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: i, ports: [{containerPort: 80}]}
";

async fn managers(k: &Kubectl) -> Vec<String> {
    let text = k.run("get deployment web -o json --show-managed-fields").await;
    let object: Value = serde_json::from_str(&text).unwrap();
    let list = object["metadata"]["managedFields"].as_array().unwrap().iter();
    list.map(|entry| {
        format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply() {
    let Some(k) = Kubectl::start().await else { return };
    let line = "apply --server-side -f -";
    assert_eq!(k.run_with(line, WEB).await, "deployment.apps/web serverside-applied\n");
    assert_eq!(managers(&k).await, ["kubectl Apply"]);
    let hidden = k.run("get deployment web -o yaml").await;
    assert!(!hidden.contains("managedFields"), "{hidden}");
    k.run("scale deployment web --replicas=5").await;
    let failed = k.fails(line, WEB).await;
    assert!(
        failed.contains("Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"),
        "{failed}"
    );
    assert!(failed.contains("--force-conflicts"), "{failed}");
    k.run_with("apply --server-side --force-conflicts -f -", WEB).await;
    assert_eq!(k.run("get deployment web -o jsonpath={.spec.replicas}").await, "2");
    assert_eq!(managers(&k).await, ["kubectl Apply"]);
    let other = WEB.replace("image: i", "image: j");
    let failed = k.fails("apply --server-side --field-manager=mine -f -", &other).await;
    assert!(
        failed.contains(
            "conflict with \"kubectl\": .spec.template.spec.containers[name=\"c\"].image"
        ),
        "{failed}"
    );
    let dry = k.run_with("apply --server-side --dry-run=server -o name -f -", WEB).await;
    assert_eq!(dry, "deployment.apps/web\n");
    let unknown = WEB.replace("replicas:", "replica:");
    let failed = k.fails("apply --server-side --validate=false -f -", &unknown).await;
    assert!(failed.contains(".spec.replica: field not declared in schema"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_client_side_to_server_side() {
    let Some(k) = Kubectl::start().await else { return };
    k.run_with("apply -f -", WEB).await;
    assert_eq!(managers(&k).await, ["kubectl-client-side-apply Update"]);
    let changed = WEB
        .replace("replicas: 2", "replicas: 4")
        .replace(", labels: {app: web}}\nspec:", "}\nspec:");
    k.run_with("apply --server-side -f -", &changed).await;
    assert_eq!(k.run("get deployment web -o jsonpath={.spec.replicas}").await, "4");
    // What client-side apply owned is server-side apply's now, so what is left out goes.
    assert_eq!(k.run("get deployment web -o jsonpath={.metadata.labels}").await, "");
    // Who owns the annotation of client-side apply is not who owns the rest.
    assert_eq!(managers(&k).await, ["kubectl-last-applied Apply", "kubectl Apply"]);
    // And back: the annotation is still true.
    k.run_with("apply -f -", &changed.replace("replicas: 4", "replicas: 3")).await;
    assert_eq!(k.run("get deployment web -o jsonpath={.spec.replicas}").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_replaces_and_edits() {
    let Some(k) = Kubectl::start().await else { return };
    k.run_with("create -f -", WEB).await;
    let get = "get deployment web -o";
    let patches = [
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"j"}]}}}}"#,
            "j i",
        ),
        (
            "json",
            r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"k"}]"#,
            "k i",
        ),
        (
            "merge",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"l"}]}}}}"#,
            "l",
        ),
        (
            "strategic",
            r#"{"spec":{"template":{"spec":{"containers":[{"$patch":"replace"},{"name":"e","image":"m"}]}}}}"#,
            "m",
        ),
    ];
    for (kind, patch, images) in patches {
        k.run(&format!("patch deployment web --type={kind} -p {patch}")).await;
        let found =
            k.run(&format!("{get} jsonpath={{.spec.template.spec.containers[*].image}}")).await;
        assert_eq!(found, images, "{kind}");
    }
    let failed = k.fails(r#"patch deployment web -p {"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}"#, "").await;
    assert_eq!(
        failed,
        "Error from server: map: map[image:x] does not contain declared merge key: name\n"
    );
    let failed = k.fails(r#"patch deployment web --type=json -p [{"op":"test","path":"/spec/replicas","value":9}]"#, "").await;
    assert_eq!(
        failed,
        "The request is invalid: the server rejected our request due to an error in our request\n"
    );
    let whole = k.run(&format!("{get} yaml")).await;
    k.run_with("replace -f -", &whole.replace("replicas: 2", "replicas: 6")).await;
    assert_eq!(k.run(&format!("{get} jsonpath={{.spec.replicas}}")).await, "6");
    let stale = k.fails("replace -f -", &whole).await;
    assert!(stale.contains("the object has been modified"), "{stale}");
    k.run("annotate deployment web a=b --field-manager=noter").await;
    k.run("label deployment web c=d").await;
    let names = managers(&k).await;
    for name in
        ["noter Update", "kubectl-label Update", "kubectl-patch Update", "kubectl-replace Update"]
    {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    let edited = k.edit("deployment web", "s/replicas: 6/replicas: 7/").await;
    assert_eq!(edited, "deployment.apps/web edited\n");
    assert_eq!(k.run(&format!("{get} jsonpath={{.spec.replicas}}")).await, "7");
    let strict = WEB
        .replace("replicas: 2", "replicas: 2\n  unknown: 1")
        .replace("name: web,", "name: other,");
    let failed = k.fails("create --validate=strict -f -", &strict).await;
    assert!(failed.contains("strict decoding error: unknown field \"spec.unknown\""), "{failed}");
    let warned = k.try_run("create --validate=warn -f -", &strict).await;
    assert!(
        warned.ok && warned.stderr.contains("Warning: unknown field \"spec.unknown\""),
        "{}",
        warned.stderr
    );
}
