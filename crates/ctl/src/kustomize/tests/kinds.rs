//! Small kustomizations with what the real tool makes of them (kubectl 1.36), so that they are
//! checked where it is not installed.

use super::*;

/// What a folder `top` makes, with the files beside it.
fn built(files: &str) -> Result<String, String> {
    let directory = folder(files);
    let top = directory.path().join("top");
    build(&Disk, &top.to_string_lossy()).map(|built| text_of(&built)).map_err(|e| e.to_string())
}

/// Checks what is made against parts of it, and against the real tool where that is there.
fn makes(files: &str, parts: &[&str]) {
    let made = built(files).unwrap();
    for part in parts {
        assert!(made.contains(part), "{part:?} is not in\n{made}");
    }
    compare(files);
}

fn fails(files: &str, with: &str) {
    let error = built(files).unwrap_err();
    assert!(error.contains(with), "{with:?} is not in {error:?}");
}

#[test]
fn a_hash_goes_when_either_says_so() {
    let base = "# file base/kustomization.yaml\nconfigMapGenerator: [{name: a, literals: [k=v]}]\n";
    for top in [
        "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator: [{name: a, behavior: \
         merge, literals: [l=w]}]\n",
        "configMapGenerator: [{name: a, behavior: replace, literals: [l=w], options: \
         {disableNameSuffixHash: true}}]\n",
    ] {
        let files = format!("{base}# file top/kustomization.yaml\nresources: [../base]\n{top}");
        makes(&files, &["  name: a\n"]);
    }
}

#[test]
fn references_stay_in_their_layer() {
    makes(
        "
# file base/kustomization.yaml
resources: [all.yaml]
# file base/all.yaml
{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {template: {spec: {serviceAccountName: s}}}}
# file first/kustomization.yaml
resources: [../base]
namespace: ns
# file second/kustomization.yaml
resources: [../base]
namespace: ns
nameSuffix: -b
# file top/kustomization.yaml
resources: [../first, ../second]
",
        &["serviceAccountName: s\n", "serviceAccountName: s-b\n"],
    );
}

#[test]
fn replacements_select_by_pattern() {
    makes(
        "
# file top/kustomization.yaml
resources: [all.yaml]
replacements:
- sourceValue: new
  targets:
  - select: {kind: Secret|ConfigMap, name: 'a.*'}
    reject: [{name: '.*[3-9]'}]
    fieldPaths: [metadata.annotations.x]
# file top/all.yaml
{apiVersion: v1, kind: ConfigMap, metadata: {name: a1, annotations: {x: old}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: a2, annotations: {x: old}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: a3, annotations: {x: old}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: ba, annotations: {x: old}}}
",
        &["x: new\n  name: a1", "x: new\n  name: a2", "x: old\n  name: a3", "x: old\n  name: ba"],
    );
}

const WIDGET: &str = "
# file base/w.yaml
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {parts: [{id: a, v: 1}, {id: b, v: 2}], pod: {spec: {containers: [{name: c, image: i}]}}}
# file base/schema.json
{\"definitions\": {\"w\": {\"type\": \"object\", \"properties\": {\"spec\": {\"type\": \"object\",
 \"properties\": {\"pod\": {\"$ref\": \"#/definitions/io.k8s.api.core.v1.PodTemplateSpec\"},
 \"parts\": {\"type\": \"array\", \"x-kubernetes-patch-merge-key\": \"id\",
 \"x-kubernetes-patch-strategy\": \"merge\", \"items\": {\"type\": \"object\"}}}}},
 \"x-kubernetes-group-version-kind\": [{\"group\": \"example.com\", \"version\": \"v1\", \"kind\":
 \"Widget\"}]}}}
";

#[test]
fn schemas_of_bases_and_components() {
    let patch = "patches:\n- patch: |-\n    apiVersion: example.com/v1\n    kind: Widget\n    \
                 metadata: {name: w}\n    spec: {parts: [{id: b, v: 3}], pod: {spec: {containers: \
                 [{name: c, tty: true}]}}}\n";
    // Without the schemas the list is replaced.
    let plain = format!(
        "{WIDGET}# file base/kustomization.yaml\nresources: [w.yaml]\n\
         # file top/kustomization.yaml\nresources: [../base]\n{patch}"
    );
    assert!(!built(&plain).unwrap().contains("id: a"));
    let of_base = plain.replace("[w.yaml]\n", "[w.yaml]\nopenapi: {path: schema.json}\n");
    makes(&of_base, &["id: a\n", "- name: c\n"]);
    // What is read behind objects knows the built-in kinds too.
    let of_part = plain.replace(
        "# file top/kustomization.yaml\nresources: [../base]\n",
        "\
         # file top/kustomization.yaml\nresources: [../base]\ncomponents: [../base/part]\n\
         # file base/part/schema.json\nSCHEMA\n# file base/part/kustomization.yaml\n\
         kind: Component\nopenapi: {path: schema.json}\n",
    );
    let schema = WIDGET.split("schema.json\n").nth(1).unwrap();
    makes(&of_part.replace("SCHEMA", schema), &["id: a\n", "image: i\n"]);
}

#[test]
fn schemas_that_are_not_there() {
    let top = |openapi: &str| {
        format!(
            "{WIDGET}# file top/s.json\n{{}}\n# file top/kustomization.yaml\nopenapi: {openapi}\n"
        )
    };
    fails(&top("{path: s.json, version: v1.21.2}"), "cannot use both");
    fails(&top("{version: v1.14.1}"), "the specified OpenAPI version is not built in");
}

#[test]
fn definitions_name_references() {
    makes(
        "
# file top/kustomization.yaml
resources: [all.yaml]
crds: [crd.json]
namePrefix: p-
# file top/crd.json
{\"example.com/a/v1.Widget\": {\"Schema\": {\"properties\": {\"kind\": {}, \"apiVersion\": {},
 \"metadata\": {}, \"spec\": {\"$ref\": \"example.com/a/v1.WidgetSpec\"}}}},
 \"example.com/a/v1.WidgetSpec\": {\"Schema\": {\"properties\": {\"ref\":
 {\"x-kubernetes-object-ref-api-version\": \"v1\", \"x-kubernetes-object-ref-kind\": \"Secret\"}}}}}
# file top/all.yaml
{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {ref: {name: s}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}}
",
        &["  ref:\n    name: p-s\n"],
    );
}

#[test]
fn prefixes_of_own_kinds_stand_alone() {
    makes(
        "
# file top/kustomization.yaml
resources: [all.yaml]
namePrefix: p-
configurations: [c.yaml]
# file top/c.yaml
namePrefix: [{path: metadata/name, kind: Host}]
# file top/all.yaml
{apiVersion: example.com/v1, kind: Host, metadata: {name: h}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}}
",
        &["name: p-h\n", "name: s\n"],
    );
}

#[test]
fn the_order_of_one_kind() {
    makes(
        "
# file top/kustomization.yaml
resources: [all.yaml]
# file top/all.yaml
{apiVersion: v1, kind: Secret, metadata: {name: a}}
---
{apiVersion: v1, kind: Secret, metadata: {name: b, namespace: z}}
---
{apiVersion: v1, kind: Secret, metadata: {name: c, namespace: x}}
",
        &["name: c\n  namespace: x\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: b\n"],
    );
}

#[test]
fn where_objects_come_from() {
    makes(
        "
# file base/kustomization.yaml
resources: [n.yaml]
namePrefix: p-
# file base/n.yaml
{apiVersion: v1, kind: Namespace, metadata: {name: n}}
# file base/g.yaml
{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: not-used}, name: m, other: x}
# file top/t.yaml
{apiVersion: builtin, kind: NamespaceTransformer, metadata: {name: t, namespace: x}}
# file top/kustomization.yaml
resources: [../base]
transformers: [t.yaml]
buildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]
generators:
- |
  {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: not-used}, name: m, other: x}
",
        &[
            "path: ../base/n.yaml\n",
            "- configuredIn: ../base/kustomization.yaml\n        configuredBy:\n          \
             apiVersion: builtin\n          kind: PrefixTransformer\n",
            "- configuredIn: t.yaml\n",
            "name: t\n          namespace: x\n",
            "      configuredIn: kustomization.yaml\n      configuredBy:\n        apiVersion: \
             builtin\n        kind: ConfigMapGenerator\n        name: not-used\n",
            "managed-by: kustomize-v5.8.1\n",
        ],
    );
}

#[test]
fn what_kustomize_takes() {
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}\n";
    for (top, part) in [
        ("nameprefix: p-\nImages: null\n", "name: p-a\n"),
        ("namePrefix: q-\nnamePrefix: p-\n", "name: p-a\n"),
        (
            "transformers:\n- |\n  {apiVersion: builtin, kind: PrefixSuffixTransformer, metadata: \
             {name: x}, prefix: p-, suffix: -s, fieldSpecs: [{path: metadata/name}]}\n",
            "name: p-a-s\n",
        ),
        (
            "generators:\n- |\n  {apiVersion: builtin, kind: IAMPolicyGenerator, metadata: {name: \
             x}, cloud: gke, kubernetesService: {name: k, namespace: m}, serviceAccount: {name: s, \
             projectId: i}}\n",
            "    iam.gke.io/gcp-service-account: s@i.iam.gserviceaccount.com\n  name: k\n  \
             namespace: m\n",
        ),
        ("patches: [{path: empty.yaml, target: {kind: ServiceAccount}}]\n", "name: a\n"),
        ("resources: [a.yaml, bare.yaml]\n", "kind: Bare\nmetadata:\n  name: b\n"),
    ] {
        let own = if top.starts_with("resources") { "" } else { "resources: [a.yaml]\n" };
        let files = format!(
            "# file top/a.yaml\n{account}# file top/empty.yaml\n# nothing\n# file top/bare.yaml\n\
             {{kind: Bare, metadata: {{name: b}}}}\n# file top/kustomization.yaml\n{own}{top}"
        );
        makes(&files, &[part]);
    }
}

#[test]
fn what_kustomize_refuses() {
    for (top, fault) in [
        ("resources: [binding.yaml]\n", "Invalid Input: namespace is blank for resource"),
        ("patchesStrategicMerge: [empty.yaml]\n", "patch appears to be empty"),
        (
            "transformers:\n- |\n  {apiVersion: builtin, kind: SortOrderTransformer, metadata: \
             {name: x}}\n",
            "\"SortOrderTransformer\" is none of Kustomize's own",
        ),
        ("resources: [../one, ../two]\n", "var 'V' already encountered"),
        ("resources: [a.yaml]\nimages: [{name: a, newTag: 1.10}]\n", "expected a string"),
        ("kind: Kustomization\n", "kustomization.yaml is empty"),
        (
            "resources: [a.yaml]\npatches: [{target: {kind: X}, patch: '{op: add}'}]\n",
            "kind is missing",
        ),
        (
            "resources: [a.yaml]\nsortOptions: {order: fifo, legacySortOptions: {}}\n",
            "'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo'",
        ),
        ("resources: [none.yaml]\n", "resources: none.yaml: no such file or directory"),
        (
            "resources: [a.yaml]\npatches:\n- target: {kind: ServiceAccount}\n  patch: '[{op: \
             replace, path: /spec/x, value: 1}]'\n",
            "ServiceAccount/a: the JSON patch does not apply: ",
        ),
    ] {
        let files = format!(
            "
# file one/kustomization.yaml
resources: [a.yaml]
vars: [{{name: V, objref: {{apiVersion: v1, kind: Secret, name: a}}}}]
# file one/a.yaml
{{apiVersion: v1, kind: Secret, metadata: {{name: a}}}}
# file two/kustomization.yaml
resources: [a.yaml]
vars: [{{name: V, objref: {{apiVersion: v1, kind: Secret, name: b}}}}]
# file two/a.yaml
{{apiVersion: v1, kind: Secret, metadata: {{name: b}}}}
# file top/a.yaml
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: a}}}}
# file top/empty.yaml
# nothing
# file top/binding.yaml
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: b}}
subjects: [{{kind: ServiceAccount, name: s, namespace: null}}]
roleRef: {{kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}
# file top/kustomization.yaml
{top}"
        );
        fails(&files, fault);
    }
    let error = build(&Disk, "https://github.com/foo/bar").unwrap_err();
    assert!(error.problem.contains("nothing is fetched from the network"));
}

#[test]
fn references_of_admission_policies_and_dates() {
    let group = "admissionregistration.k8s.io/v1";
    let files = format!(
        "
# file top/kustomization.yaml
resources: [all.yaml]
namePrefix: p-
# file top/all.yaml
{{apiVersion: {group}, kind: ValidatingAdmissionPolicy, metadata: {{name: v}}}}
---
apiVersion: {group}
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: b, annotations: {{day: 2020-01-02}}}}
spec: {{policyName: v, since: 2020-01-02, text: '2020-01-02', line: \"a\\u2028b\"}}
"
    );
    let line = "line: 'a\u{2028}    b'\n";
    let since = "since: \"2020-01-02T00:00:00Z\"\n";
    makes(&files, &["policyName: p-v\n", "day: \"2020-01-02\"\n", since, line]);
}

#[test]
fn operations_of_json_patches() {
    makes(
        "
# file top/kustomization.yaml
resources: [a.yaml]
patches:
- target: {kind: W}
  patch: |
    - {op: replace, path: /spec/none, value: 1}
    - {op: replace, path: /spec/l/-1/v, value: 5}
    - {op: remove, path: /spec/l/-2}
    - {op: add, path: /spec/l/-, value: {v: 6}}
# file top/a.yaml
{apiVersion: x/v1, kind: W, metadata: {name: w}, spec: {l: [{v: 1}, {v: 2}]}}
",
        &["  l:\n  - v: 5\n  - v: 6\n  none: 1\n"],
    );
}

#[test]
fn replacements_keep_the_type_of_a_field() {
    let files = |value: &str, options: &str| {
        format!(
            "
# file top/kustomization.yaml
resources: [a.yaml]
replacements:
- sourceValue: '{value}'
  targets: [{{select: {{kind: W}}, fieldPaths: [spec.x, spec.z], options: {{create: true{options}}}}}]
# file top/a.yaml
{{apiVersion: x/v1, kind: W, metadata: {{name: w}}, spec: {{x: 1}}}}
"
        )
    };
    makes(&files("5", ""), &["  x: 5\n  z: 5\n"]);
    fails(&files("abc", ""), "cannot decode !!str `abc` as a !!int");
    let new = files("v", ", delimiter: \",\", index: -1").replace("[spec.x, ", "[");
    makes(&new, &["  x: 1\n  z: v,\n"]);
}

#[test]
fn variables_of_files_are_not_those_of_the_environment() {
    makes(
        "
# file top/kustomization.yaml
configMapGenerator: [{name: a, envs: [e.env]}]
# file top/e.env
PATH
A=1
",
        &["  PATH: \"\"\n"],
    );
}
