//! Kustomizations beside what `kubectl kustomize` makes of the same files, byte for byte.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::*;
use crate::output::yaml::to_string;

mod kinds;
mod more;

fn text_of(built: &Built) -> String {
    built.objects.iter().map(to_string).collect::<Vec<_>>().join("---\n")
}

/// What the real one prints; `None` where it is not installed, or of another version than the one
/// that is followed.
fn kubectl(dir: &Path) -> Option<Result<String, String>> {
    static THERE: OnceLock<bool> = OnceLock::new();
    let there = THERE.get_or_init(|| {
        let said = Command::new("kubectl").args(["version", "--client"]).output();
        said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(": v1.36."))
    });
    if !there {
        println!("skipped: kubectl v1.36 is not on the PATH");
        return None;
    }
    let output = Command::new("kubectl").arg("kustomize").arg(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some(if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) })
}

/// Files divided by `# file NAME` lines, written to a folder.
fn folder(files: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for part in files.split("# file ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap();
        let path = directory.path().join(name.trim());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    directory
}

fn compare(files: &str) {
    let directory = folder(files);
    let top = directory.path().join("top");
    let ours = build(&Disk, &top.to_string_lossy()).unwrap();
    if let Some(theirs) = kubectl(&top) {
        let (ours, theirs) = (text_of(&ours), theirs.unwrap());
        assert!(ours == theirs, "{}", difference(&ours, &theirs));
    }
}

/// The lines around the first that differ.
fn difference(ours: &str, theirs: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str]| {
        let from = same.saturating_sub(12).min(lines.len());
        lines[from..(same + 8).min(lines.len())].join("\n")
    };
    format!("--- onggi\n{}\n--- kubectl\n{}\n", part(&a), part(&b))
}

const WEB: &str = "
# file base/kustomization.yaml
resources: [web.yaml]
configMapGenerator:
- name: settings
  literals: [a=1, 'b=two words', 'c=\"quoted\"']
# file base/web.yaml
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: robot
      containers:
      - name: web
        image: nginx:1.0
        env:
        - {name: A, value: a}
        - {name: B, valueFrom: {configMapKeyRef: {name: settings, key: b}}}
        envFrom: [{configMapRef: {name: settings}}]
        ports: [{containerPort: 80}]
        args: [x, y]
      - name: side
        image: registry:5000/side@sha256:abc
      volumes:
      - {name: v, configMap: {name: settings}}
      - {name: p, projected: {sources: [{configMap: {name: settings}}]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
";

fn with_web(top: &str) -> String {
    format!("{WEB}# file top/kustomization.yaml\n{top}")
}

#[test]
fn as_kubectl_builds_them() {
    for top in [
        "resources: [../base]\n",
        "bases: [../base]\nnamespace: shop\n",
        "resources: [../base]\nnamePrefix: p-\nnameSuffix: -s\n",
        "resources: [../base]\ncommonLabels: {team: a, version: '2'}\ncommonAnnotations: {x: z}\n",
        "resources: [../base]\nlabels: [{pairs: {a: b}}, {pairs: {c: d}, includeSelectors: true}, \
         {pairs: {e: f}, includeTemplates: true}]\n",
        "resources: [../base]\nimages: [{name: nginx, newName: httpd, newTag: '2.4'}, {name: \
         'registry:5000/side', newTag: v3}]\nreplicas: [{name: web, count: 4}]\n",
        "resources: [../base]\nimages: [{name: nginx, digest: 'sha256:fff'}]\n",
        "resources: [../base]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: \
         replace\n      path: /spec/replicas\n      value: 7\n    - op: add\n      path: \
         /metadata/labels\n      value: {new: label}\n",
        "resources: [../base]\npatchesJson6902:\n- target: {group: apps, version: v1, kind: \
         Deployment, name: web}\n  patch: |-\n    - {op: remove, path: /spec/template/spec/volumes}\n",
        "resources: [../base]\nconfigMapGenerator:\n- name: settings\n  behavior: merge\n  \
         literals: [a=9, z=8]\n",
        "resources: [../base]\nconfigMapGenerator:\n- name: settings\n  behavior: replace\n  \
         literals: [only=this]\n",
        "resources: [../base]\nnamespace: shop\nnamePrefix: p-\nconfigMapGenerator:\n- name: \
         settings\n  behavior: merge\n  literals: [a=9]\n",
        "resources: [../base]\ngeneratorOptions: {disableNameSuffixHash: true, labels: {g: h}}\n\
         configMapGenerator: [{name: other, literals: [k=v]}]\nsecretGenerator: [{name: s, \
         literals: [p=q], type: kubernetes.io/basic-auth}]\n",
        "resources: [../base]\nconfigMapGenerator: [{name: empty}]\nsecretGenerator: [{name: \
         nothing}]\n",
    ] {
        println!("{top}");
        compare(&with_web(top));
    }
}

#[test]
fn strategic_patches() {
    for patch in [
        // A new variable, a changed one, a new container.
        "spec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - name: web\n        \
         env:\n        - {name: NEW, value: n}\n        - {name: A, value: changed}\n        - {name: \
         LAST, value: l}\n      - {name: third, image: third}\n",
        // Lists without a key are replaced; nulls delete.
        "spec:\n  template:\n    spec:\n      serviceAccountName: null\n      containers:\n      - \
         name: web\n        args: [z]\n        resources: {limits: {memory: 1Gi}}\n",
        // A container and a volume go.
        "spec:\n  template:\n    spec:\n      containers:\n      - {name: side, $patch: delete}\n      \
         volumes:\n      - {name: v, $patch: delete}\n      - {name: e, emptyDir: {}}\n",
        "$patch: delete\n",
    ] {
        let head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
        for field in ["patchesStrategicMerge: [p.yaml]", "patches: [{path: p.yaml}]"] {
            let top = format!("resources: [../base]\n{field}\n# file top/p.yaml\n{head}{patch}");
            println!("{top}");
            compare(&with_web(&top));
        }
    }
}

#[test]
fn layers_of_layers() {
    compare(&format!(
        "{WEB}
# file middle/kustomization.yaml
resources: [../base, extra.yaml]
namePrefix: m-
secretGenerator:
- name: keys
  files: [k.txt, other=k.txt]
  envs: [e.env]
# file middle/k.txt
some text that is so long that its base64 does not fit on one line of seventy characters
# file middle/e.env
# a remark

A=1
B='2'
# file middle/extra.yaml
apiVersion: batch/v1
kind: CronJob
metadata: {{name: tick}}
spec:
  schedule: '* * * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: c
            image: nginx
            envFrom: [{{secretRef: {{name: keys}}}}, {{configMapRef: {{name: settings}}}}]
# file part/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
commonAnnotations: {{component: here}}
replicas: [{{name: web, count: 2}}]
# file top/kustomization.yaml
resources: [../middle, space.yaml]
components: [../part]
namespace: away
nameSuffix: -t
labels: [{{pairs: {{env: top}}, includeSelectors: true}}]
# file top/space.yaml
apiVersion: v1
kind: Namespace
metadata: {{name: away}}
"
    ));
}

#[test]
fn the_sample_application() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/kubernetes");
    for overlay in ["base", "overlays/dev", "overlays/prod"] {
        let dir = root.join(overlay);
        let ours = build(&Disk, &dir.to_string_lossy()).unwrap();
        assert!(ours.objects.len() >= 10);
        if let Some(theirs) = kubectl(&dir) {
            assert_eq!(text_of(&ours), theirs.unwrap(), "{overlay}");
        }
    }
}

#[test]
fn embedded_files() {
    const FILES: &[(&str, &str)] = &[
        ("app/base/kustomization.yml", "resources:\n- a.yml\n"),
        ("app/base/a.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ("app/dev/kustomization.yml", "bases:\n- ../base\nnamespace: dev\n"),
    ];
    let built = build(&Embedded(FILES), "app/dev").unwrap();
    assert_eq!(built.objects[0]["metadata"]["namespace"], "dev");
    let warning =
        "app/dev/kustomization.yml: 'bases' is deprecated. Please use 'resources' instead.";
    assert_eq!(built.warnings, [warning]);
}

#[test]
fn faults_name_file_and_field() {
    for (top, fault) in [
        ("resources: [https://example.com/x.yaml]\n", "nothing is fetched from the network"),
        ("resources: [github.com/a/b?ref=v1]\n", "nothing is fetched from the network"),
        ("resources: [none.yaml]\n", "resources: none.yaml: "),
        ("resources: [../base/web.yaml]\n", "is not in or below"),
        ("resource: [a]\n", "unknown field `resource`"),
        ("resources: [../base, ../base]\n", "already registered id"),
        ("resources: [../top]\n", "cycle detected"),
        (
            "resources: [../base]\nreplicas: [{name: none, count: 1}]\n",
            "replicas: resource with name none",
        ),
        ("patches: [{path: p.yaml, patch: x}]\n", "patches[0]: must have exactly one"),
        ("resources: [../base]\npatches: [{patch: '[]'}]\n", "patches[0]: target is missing"),
        (
            "resources: [../base]\npatchesStrategicMerge: ['{apiVersion: v1, kind: Pod, metadata: \
             {name: none}}']\n",
            "no resource matches strategic merge patch \"Pod.v1.[noGrp]/none.[noNs]\"",
        ),
        ("configMapGenerator: [{name: a, literals: [b]}]\n", "configMapGenerator[name=a].literals"),
        ("secretGenerator: [{name: a, behavior: merge}]\n", "secretGenerator[name=a]: behavior"),
        ("resources: [x\n", "line "),
        ("", "is empty"),
    ] {
        let directory = folder(&with_web(top));
        let dir = directory.path().join("top");
        let error = build(&Disk, &dir.to_string_lossy()).unwrap_err();
        assert!(error.to_string().contains(fault), "{top}: {error}");
        assert!(error.file.ends_with("top/kustomization.yaml") || error.file.ends_with("top"));
    }
    let error = build(&Disk, "/nonexistent/x").unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/x: no such directory");
    let empty = tempfile::tempdir().unwrap();
    let error = build(&Disk, &empty.path().to_string_lossy()).unwrap_err();
    assert!(error.to_string().contains("unable to find one of 'kustomization.yaml'"));
}
