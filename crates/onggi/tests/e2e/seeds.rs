//! Manifests as people write them, odd ones among them: each behaves as its reader would wish.
//!
//! Images of their names are built here from the guest; where a manifest insists on pulling, or
//! waits a minute before its first probe, that line is changed.

use crate::rig::Cluster;

/// A cluster with the images that the manifests name.
fn cluster() -> Option<Cluster> {
    let cluster = Cluster::up()?;
    let context = cluster.guest_context();
    let dockerfile = "FROM scratch\nCOPY guest /guest\nARG PORT\nENV PORT=$PORT CATALOG=/none\n\
                      ENTRYPOINT [\"/guest\", \"shop\", \"product\"]\n";
    let file = cluster.file("Dockerfile.shop", dockerfile);
    for (name, port) in [
        ("msapatterns/ftgo-restaurant-service", "8080"),
        ("hands-on/product-service", "80"),
        ("simple-node", "80"),
        ("lemix777/reverseproxy", "8080"),
    ] {
        let port = format!("PORT={port}");
        cluster.ok(&["build", "-f", &file, "-t", name, "--build-arg", &port, &context]);
    }
    Some(cluster)
}

fn seed(name: &str) -> String {
    let path = format!("{}/tests/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.replace("imagePullPolicy: Always", "imagePullPolicy: Never")
        .replace(
            "image: YOUR_DOCKER_HUB/simple-node",
            "image: simple-node\n          imagePullPolicy: Never",
        )
        .replace("initialDelaySeconds: 60", "initialDelaySeconds: 1")
        .replace("initialDelaySeconds: 10", "initialDelaySeconds: 1")
        .replace("periodSeconds: 20", "periodSeconds: 1")
}

#[test]
fn a_deployment_of_an_old_version_is_read_as_a_new_one() {
    let Some(cluster) = cluster() else { return };
    cluster.k(&[
        "create",
        "secret",
        "generic",
        "ftgo-db-secret",
        "--from-literal=username=u",
        "--from-literal=password=p",
    ]);
    let file = cluster.file("ftgo.yml", &seed("ftgo-restaurant-service.yml"));
    let said = cluster.kubectl(&["apply", "-f", &file]);
    assert!(said.ok, "{}", said.err);
    assert!(said.err.contains("Warning: extensions/v1beta1 Deployment"), "{}", said.err);
    cluster.wait("deployment/ftgo-restaurant-service", "condition=Available");
    let selector =
        cluster.field("deployment/ftgo-restaurant-service", ".spec.selector.matchLabels");
    assert!(selector.contains("application") && selector.contains("svc"), "{selector}");
    let version = cluster.field("deployment/ftgo-restaurant-service", ".apiVersion");
    assert_eq!(version, "apps/v1");
    // Once more, by our own command line: nothing changes.
    let said = cluster.onggi(&["apply", "-f", &file]);
    assert!(said.ok && said.out.contains("unchanged"), "{}{}", said.out, said.err);
}

#[test]
fn a_secret_that_is_no_base64_is_refused_by_its_key() {
    let Some(cluster) = Cluster::up() else { return };
    let file = cluster.file("env-secret.yaml", &seed("env-secret.yaml"));
    for said in [cluster.kubectl(&["apply", "-f", &file]), cluster.onggi(&["apply", "-f", &file])] {
        assert!(!said.ok);
        assert!(said.err.contains("POSTGRESS_PASSWORD"), "{}", said.err);
        assert!(said.err.contains("multiple of 4"), "{}", said.err);
    }
    let said = cluster.kubectl(&["get", "secret", "env-secret"]);
    assert!(said.err.contains("not found"), "nothing is stored: {}{}", said.out, said.err);
    let file = cluster.file("env-configmap.yaml", &seed("env-configmap.yaml"));
    cluster.k(&["apply", "-f", &file]);
    assert_eq!(cluster.field("configmap/env-config", ".data.AWS_REGION"), "us-east-2");
}

#[test]
fn a_comment_that_is_none_is_told_with_its_place() {
    let Some(cluster) = cluster() else { return };
    let text = seed("my-app-deployment.yaml");
    let file = cluster.file("my-app-deployment.yaml", &text);
    let said = cluster.onggi(&["apply", "-f", &file]);
    assert!(!said.ok);
    let expected = format!("{file}: line 1, column 1: `//` does not begin a YAML comment");
    assert!(said.err.contains(&expected), "{}", said.err);
    assert!(!cluster.kubectl(&["apply", "-f", &file]).ok);

    // Without that line both apply, and the platform sees what is wrong with them together.
    let rest = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    let deployment = cluster.file("deployment.yaml", &rest(&text));
    let service = cluster.file("service.yaml", &rest(&seed("my-app-service.yaml")));
    cluster.k(&["apply", "-f", &deployment, "-f", &service]);
    cluster.wait("deployment/my-app", "condition=Available");
    cluster.until("the hint", || {
        let events = cluster.k(&["get", "events", "--field-selector=involvedObject.kind=Service"]);
        let hint = "Service my-app selects no pod: it asks for run=my-app, 2 pods carry app=my-app; \
                    change the selector";
        events.contains(hint).then_some(())
    });
}

#[test]
fn kustomizations_with_old_fields_work() {
    let Some(cluster) = cluster() else { return };
    cluster.file("base/product.yml", &seed("product.yml"));
    cluster.file("base/kustomization.yml", "resources:\n- product.yml\n");
    let prod = "bases:\n- ../../base\npatchesStrategicMerge:\n- product-prod.yml\n";
    let directory = cluster.file("overlays/prod/kustomization.yml", prod);
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: product\nspec:\n  \
                 template:\n    spec:\n      containers:\n      - name: pro\n        env:\n        \
                 - name: SPRING_PROFILES_ACTIVE\n          value: \"docker,prod\"\n";
    cluster.file("overlays/prod/product-prod.yml", patch);
    let directory = directory.strip_suffix("/kustomization.yml").unwrap();
    let secret = "--from-literal=CONFIG_SERVER_USR=u";
    cluster.k(&["create", "secret", "generic", "config-client-credentials", secret]);
    let theirs = cluster.kubectl(&["kustomize", directory]);
    let ours = cluster.ok(&["kustomize", directory]);
    assert_eq!(ours, theirs.out);
    cluster.ok(&["apply", "-k", directory]);
    cluster.wait("deployment/product", "condition=Available");
    let pod = cluster.field("pods", ".items[0].metadata.name");
    let environment = cluster.exec(&pod, &["env", "SPRING_PROFILES_ACTIVE", "CONFIG_SERVER_USR"]);
    assert_eq!(environment, "SPRING_PROFILES_ACTIVE=docker,prod\nCONFIG_SERVER_USR=u\n");
    assert!(cluster.k(&["apply", "-k", directory]).contains("unchanged"));
}

#[test]
fn node_ports_and_a_pod() {
    let Some(cluster) = cluster() else { return };
    for name in ["gateway-service.yml", "ftgo-api-gateway.yml", "pod-example.yaml"] {
        let file = cluster.file(name, &seed(name));
        cluster.k(&["apply", "-f", &file]);
    }
    let row = cluster.k(&["get", "service", "gateway", "ftgo-api-gateway"]);
    assert!(row.contains("443:31443/TCP") && row.contains("80:30000/TCP"), "{row}");
    cluster.wait("pod/pod-example", "condition=Ready");
    assert_eq!(cluster.field("pod/pod-example", ".status.qosClass"), "Burstable");
}
