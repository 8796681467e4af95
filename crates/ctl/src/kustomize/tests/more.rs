//! More kustomizations beside the real tool: each field, and odd files.

use super::compare;

/// Objects of many kinds that refer to one another.
const BASE: &str = "
# file base/kustomization.yaml
resources: [all.yaml]
configMapGenerator: [{name: cfg, literals: [k=v]}]
# file base/all.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: src}
data: {port: \"8080\", host: a.b.c, 'n1': x, n10: y, n2: z}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {a: b}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {a: b}, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: robot
      imagePullSecrets: [{name: sec}]
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: host, labelSelector: {matchLabels: {app: web}}}
      initContainers:
      - {name: init, image: 'busybox'}
      containers:
      - name: web
        image: nginx:1.0
        args: ['--port=$(PORT)', $(HOST)]
        envFrom: [{configMapRef: {name: src}}, {secretRef: {name: sec}}, {configMapRef: {name: cfg}}]
        env: [{name: A, valueFrom: {secretKeyRef: {name: sec, key: a}}}]
      volumes:
      - {name: v, persistentVolumeClaim: {claimName: data}}
      - {name: s, secret: {secretName: sec}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: web
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: 'postgres@sha256:abc'}], priorityClassName: high}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {storageClassName: fast}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '@daily'
  jobTemplate:
    spec:
      template:
        spec:
          containers: [{name: c, image: 'reg.io:5000/x/y:2', envFrom: [{secretRef: {name: sec}}]}]
          restartPolicy: Never
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
imagePullSecrets: [{name: sec}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [secrets], resourceNames: [sec, other], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: robot}
- {kind: ServiceAccount, name: default}
- {kind: User, name: me, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects: [{kind: ServiceAccount, name: robot, namespace: default}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: in}
spec:
  ingressClassName: nginx
  rules: [{host: $(HOST), http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
  tls: [{hosts: [a], secretName: sec}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 3}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, minAvailable: 1}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {parts: [{id: a, v: 1}, {id: b, v: 2}], configName: src, image: nginx}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: fast}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: x
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 10
";

fn on_base(tops: &[&str]) {
    let mut failed = Vec::new();
    for top in tops {
        let files = format!("{BASE}# file top/kustomization.yaml\nresources: [../base]\n{top}");
        if std::panic::catch_unwind(|| compare(&files)).is_err() {
            failed.push(*top);
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n---\n"));
}

#[test]
fn names_and_references() {
    on_base(&[
        "namePrefix: p-\nnameSuffix: -s\nnamespace: shop\n",
        "namespace: shop\n",
        "namePrefix: only-\n",
        "commonLabels: {team: a}\ncommonAnnotations: {note: 'x: y'}\n",
        "labels: [{pairs: {l: m}, includeSelectors: true}]\n",
        "labels: [{pairs: {l: m}, includeTemplates: true, fields: [{path: spec/extra, create: true, kind: Widget}]}]\n",
        "images: [{name: nginx, newTag: '2'}, {name: busybox, newName: bb, digest: 'sha256:1'}, \
         {name: 'reg.io:5000/x/y', newName: z}, {name: postgres, newTag: '9'}]\n",
        "images: [{name: nginx, tagSuffix: -x}]\n",
        "images: [{name: 'ngin.', newName: other}]\n",
        "replicas: [{name: web, count: 5}]\n",
        "configMapGenerator: [{name: cfg, behavior: merge, literals: [k2=v2]}]\n",
        "namePrefix: a-\nconfigMapGenerator: [{name: cfg, behavior: replace, literals: [k2=v2], \
         options: {labels: {a: b}, annotations: {c: d}, immutable: true}}]\n",
        "secretGenerator: [{name: gen, literals: ['a=\"q\"', \"b='q\", 'c=x=y'], type: kubernetes.io/x}]\n\
         generatorOptions: {disableNameSuffixHash: true, annotations: {x: z}}\n",
        "sortOptions: {order: fifo}\n",
        "sortOptions: {order: legacy, legacySortOptions: {orderFirst: [Deployment], orderLast: [Secret]}}\n",
        "buildMetadata: [managedByLabel, originAnnotations, transformerAnnotations]\ncommonAnnotations: {a: z}\n",
        "configurations: [c.yaml]\nnamePrefix: p-\nimages: [{name: nginx, newTag: '7'}]\ncommonLabels: {x: z}\n\
         # file top/c.yaml\nnameReference: [{kind: ConfigMap, fieldSpecs: [{path: spec/configName, kind: Widget}]}]\n\
         images: [{path: spec/image, kind: Widget}]\ncommonLabels: [{path: spec/labels, create: true, kind: Widget}]\n",
    ]);
}

#[test]
fn patches_of_every_form() {
    on_base(&[
        "patches: [{target: {kind: 'Deploy.*', name: 'w.b'}, patch: '[{\"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 3}]'}]\n",
        "patches: [{target: {kind: ConfigMap|Secret, annotationSelector: 'none=x'}, patch: '[{\"op\": \"add\", \"path\": \"/data/x\", \"value\": \"y\"}]'}]\n",
        "patches: [{target: {labelSelector: 'app=web'}, patch: '[{\"op\": \"add\", \"path\": \"/metadata/labels/x\", \"value\": \"y\"}]'}]\n",
        "patches:\n- target: {kind: ConfigMap, name: src}\n  patch: |-\n    - op: replace\n      path: /metadata/name\n      value: renamed\n",
        "patches:\n- patch: |-\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: fresh}\n    data: {a: c}\n  \
         target: {kind: ConfigMap, name: src}\n  options: {allowNameChange: true}\n",
        "patches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: DaemonSet\n    metadata: {name: web}\n    spec: {replicas: null}\n  \
         target: {kind: Deployment}\n  options: {allowKindChange: true}\n",
        "patches:\n- patch: |-\n    apiVersion: v1\n    kind: X\n    metadata: {name: any, labels: {z: z}}\n  target: {kind: Service|Secret}\n",
        "patches:\n- patch: |-\n    apiVersion: v1\n    kind: Service\n    metadata: {name: web}\n    spec: {type: NodePort}\n    ---\n    \
         apiVersion: v1\n    kind: Secret\n    metadata: {name: sec}\n    stringData: {n: m}\n",
        "patches:\n- patch: |-\n    apiVersion: v1\n    kind: Secret\n    metadata: {name: sec}\n    $patch: delete\n",
        "patches:\n- patch: |-\n    apiVersion: example.com/v1\n    kind: Widget\n    metadata: {name: w}\n    spec: {parts: [{id: a, v: 9}]}\n",
        "openapi: {path: schema.json}\npatches:\n- patch: |-\n    apiVersion: example.com/v1\n    kind: Widget\n    metadata: {name: w}\n    \
         spec: {parts: [{id: b, v: 9}, {id: c}]}\n# file top/schema.json\n{\"definitions\": {\"w\": {\"properties\": {\"spec\": {\"$ref\": \
         \"#/definitions/s\"}}, \"type\": \"object\", \"x-kubernetes-group-version-kind\": [{\"group\": \"example.com\", \"version\": \"v1\", \
         \"kind\": \"Widget\"}]}, \"s\": {\"type\": \"object\", \"properties\": {\"parts\": {\"type\": \"array\", \
         \"x-kubernetes-patch-merge-key\": \"id\", \"x-kubernetes-patch-strategy\": \"merge\", \"items\": {\"$ref\": \"#/definitions/p\"}}}}, \
         \"p\": {\"type\": \"object\", \"properties\": {\"id\": {\"type\": \"string\"}}}}}\n",
        "namePrefix: x-\npatchesStrategicMerge:\n- |-\n  apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: web}\n  spec:\n    \
         template:\n      spec:\n        containers:\n        - name: web\n          env: [{name: A, value: plain, valueFrom: null}]\n          \
         ports: [{containerPort: 1}]\n        - {name: second, image: s}\n        initContainers: null\n",
        "patchesJson6902:\n- target: {group: apps, version: v1, kind: Deployment, name: web}\n  path: p.yaml\n# file top/p.yaml\n\
         - {op: test, path: /spec/replicas, value: 1}\n- {op: copy, from: /metadata/labels, path: /metadata/annotations}\n\
         - {op: move, from: /spec/replicas, path: /spec/minReadySeconds}\n",
    ]);
}

#[test]
fn replacements_vars_and_plugins() {
    on_base(&[
        "replacements:\n- source: {kind: ConfigMap, name: src, fieldPath: data.port}\n  targets:\n  - select: {kind: Deployment, name: web}\n    \
         fieldPaths: [spec.replicas, spec.x.y, 'spec.template.spec.containers.[name=web].foo', metadata.annotations.new]\n    options: {create: true}\n",
        "replacements:\n- source: {kind: ConfigMap, name: src, fieldPath: data.host, options: {delimiter: ., index: 1}}\n  targets:\n  - select: \
         {kind: Deployment}\n    fieldPaths: ['spec.template.spec.containers.*.image']\n    options: {delimiter: ':', index: 1}\n",
        "replacements:\n- path: r.yaml\nnamePrefix: p-\n# file top/r.yaml\n- source: {kind: Service, name: web}\n  targets:\n  - select: {kind: \
         Ingress}\n    fieldPaths: ['spec.rules.0.host']\n  - select: {kind: ConfigMap}\n    reject: [{name: cfg}]\n    fieldPaths: [data.host]\n    \
         options: {delimiter: ., index: -1}\n",
        "replacements:\n- source: {kind: Deployment, name: web, fieldPath: 'spec.template.spec.containers.[name=web]'}\n  targets: [{select: {kind: \
         Widget}, fieldPaths: [spec.whole], options: {create: true}}]\n",
        "replacements:\n- source: {kind: Deployment, name: web, fieldPath: spec.replicas}\n  targets: [{select: {kind: ConfigMap, name: src}, \
         fieldPaths: [data.port, 'metadata.labels.[a.b/c]'], options: {create: true}}]\n",
        "vars:\n- {name: PORT, objref: {apiVersion: v1, kind: ConfigMap, name: src}, fieldref: {fieldpath: data.port}}\n- {name: HOST, objref: {apiVersion: \
         v1, kind: Service, name: web}}\nnamePrefix: v-\n",
        "transformers: [t.yaml]\n# file top/t.yaml\napiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: p}\nprefix: pre-\nfieldSpecs: [{path: \
         metadata/name}]\n---\napiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {l: m}\nfieldSpecs: [{path: metadata/labels, create: \
         true}]\n---\napiVersion: builtin\nkind: NamespaceTransformer\nmetadata: {name: n, namespace: deep}\nsetRoleBindingSubjects: allServiceAccounts\n\
         fieldSpecs: [{path: metadata/name, kind: Namespace, create: true}]\n---\napiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: a}\n\
         annotations: {q: r}\nfieldSpecs: [{path: metadata/annotations, create: true, kind: Widget}]\n---\napiVersion: builtin\nkind: ImageTagTransformer\n\
         metadata: {name: i}\nimageTag: {name: nginx, newTag: '3'}\nfieldSpecs: [{path: spec/image, kind: Widget}]\n---\napiVersion: builtin\n\
         kind: ReplicaCountTransformer\nmetadata: {name: r}\nreplica: {name: web, count: 8}\nfieldSpecs: [{path: spec/replicas, kind: Deployment}]\n",
        "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: made}\n  literals: [a=b]\n- |-\n  apiVersion: builtin\n  \
         kind: SecretGenerator\n  metadata: {name: hidden}\n  literals: [a=b]\n  options: {disableNameSuffixHash: true}\n",
    ]);
}

#[test]
fn odd_files() {
    compare(
        "
# file top/kustomization.yaml
resources: [odd.yaml, list.yaml]
namePrefix: o-
# file top/odd.yaml
# a remark
---
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: &n odd   # behind
  labels: &l {a: b, 'yes': 'no', n: 'true', num: '1'}
  annotations: *l
data:
  name: *n
  block: |
    two
      lines

  keep: |+
    end

  folded: >-
    one
    two

    three
  tabs: \"a\\tb\"
  quote: 'it''s'
  long: aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd eeeeeeeeee ffffffffff gggggggggg hhhhhhhhhh iiiiiiiiii
  empty: ''
  date: '2024-01-01'
  yes: yes
  on: 'on'
  octal: '0777'
  a10: x
  a2: x
  a-b: x
  a.b: x
  aB: x
  A: x
  _x: x
---
apiVersion: v1
kind: Pod
metadata: {name: local, annotations: {config.kubernetes.io/local-config: 'true'}}
# file top/list.yaml
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 080}, {port: 0x10}, {port: 1.0}]}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: c}
  data: {}
",
    );
}

#[test]
fn components_and_namespaces() {
    compare(&format!(
        "{BASE}
# file part/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources: [extra.yaml]
configMapGenerator: [{{name: cfg, behavior: merge, literals: [part=yes]}}]
patches: [{{target: {{kind: Deployment}}, patch: '[{{\"op\": \"add\", \"path\": \"/spec/paused\", \"value\": true}}]'}}]
# file part/extra.yaml
apiVersion: v1
kind: Namespace
metadata: {{name: x}}
# file other/kustomization.yaml
resources: [../base]
namePrefix: other-
namespace: second
# file first/kustomization.yaml
resources: [../base]
components: [../part]
namePrefix: first-
namespace: x
# file top/kustomization.yaml
resources: [../first]
nameSuffix: -end
commonAnnotations: {{a: z}}
"
    ));
}
