//! Inputs that stand here as texts, by target.

/// Target and inputs.
pub const ALL: &[(&str, &[&str])] = &[
    ("yaml", YAML),
    ("patch", PATCH),
    ("selector", SELECTOR),
    ("cel", CEL),
    ("crd", CRD),
    ("template", TEMPLATE),
    ("policy", POLICY),
    ("request", REQUEST),
    ("kustomize", KUSTOMIZE),
    ("dockerfile", DOCKERFILE),
    ("gotemplate", TEMPLATE),
    ("spdy", SPDY),
];

const YAML: &[&str] = &[
    "a: yes\nb: 0777\nc: 1.0\nd: ~\ne: \"x\\ty\"\n",
    "---\na: 1\n---\n# nothing\n---\nb: |\n  x\n  ---\n  y\nc: >-\n  folded\n  text\n",
    "a: &x {b: 1, l: [1, 2]}\nc:\n  <<: *x\n  d: *x\n",
    "a0: &a0 [x,x,x]\na1: &a1 [*a0,*a0,*a0]\na2: &a2 [*a1,*a1,*a1]\na3: [*a2,*a2,*a2]\n",
    "- !!str 1\n- !!int \"1\"\n- !!binary AAE=\n- 'it''s'\n- {a: [b, {c: d}], ? e : f}\n",
    "%YAML 1.1\n---\n? complex\n: value\n...\n---\n\"quoted key\": 2024-01-01\n1: x\ntrue: z\n",
    "{a: .5, b: 1e3, c: 0x1F, d: 0b11, e: 1:30, f: +1, g: .inf, h: 12345678901234567890123}\n",
];

/// Small ones on a kind chosen by two bytes: objects and patches with all of their words.
const PATCH: &[&str] = &[
    "\u{7}\u{1}{\"metadata\":{\"labels\":{\"a\":\"b\"}}}\0[{\"op\":\"test\",\"path\":\"/metadata/labels/a\",\"value\":\"b\"},{\"op\":\"copy\",\"from\":\"/metadata\",\"path\":\"/x\"},{\"op\":\"move\",\"from\":\"/x\",\"path\":\"/y\"},{\"op\":\"remove\",\"path\":\"/y\"},{\"op\":\"replace\",\"path\":\"/metadata\",\"value\":{}},{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"a\"]},{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"b\"}]",
    "\u{1}\u{1}{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}\0{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],\"$setElementOrder/finalizers\":[\"c\",\"b\"],\"finalizers\":[\"c\"],\"$retainKeys\":[\"finalizers\"],\"labels\":null}}",
    "\u{1}\u{1}{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}\0{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"b\"},{\"name\":\"a\",\"$patch\":\"delete\"},{\"$patch\":\"replace\"}]},\"$patch\":\"merge\"}",
];

const SELECTOR: &[&str] = &[
    "a=b,c==d,e!=f",
    "app in (web, db),tier notin (a,b),!gone,there",
    "n>5,n<9",
    "metadata.name=x,status.phase!=Running",
    "a=b\\,c,d=\\=\\\\",
    "{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"n\",\"operator\":\"In\",\"values\":[\"7\"]}]}",
];

const CEL: &[&str] = &[
    "self.spec.replicas <= 5 && object.spec.name.startsWith('w')",
    "object.spec.list.all(i, i > 0) || x.exists_one(i, i == 3) ? 'a' + \"b\" : r'\\n'",
    "self.spec.texts.map(t, t.size() > 0, t.upperAscii()).filter(t, t != '').join('-')",
    "has(self.spec.none) && self.spec.?gone.orValue(7) == 7",
    "[1, 2, 3].isSorted() && x.sum() == 9 && sets.contains(x, [1]) && x.indexOf(3) == 2",
    "{'a': 1, 'b': 2}.map(k, k) == ['a', 'b'] && 'a' in {'a': 1}",
    "quantity(self.quantity).isGreaterThan(quantity('1')) && timestamp(self.time).getFullYear() == 2024",
    "duration('1h30m') + duration('-1s') < duration('2h')",
    "'%s %d %.2f %x %e'.format(['a', 1, 0.5, 255, 1.0])",
    "'abc'.matches('^[a-c]+$') && 'a,b'.split(',', 2)[0] == 'a' && 'aXb'.replace('X', 'y', 1) != ''",
    "url('https://a.b:80/c?d=e').getHostname() == 'a.b' && isURL('x')",
    "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.0.0.1')",
    "cel.bind(v, self.spec, v.replicas + v.replicas * 2 / 3 % 4 - 1)",
    "semver('1.2.3').major() == 1 && math.greatest(1, 2.5, 3u) >= 3",
    "x.transformList(i, v, v * i) == [0] || object.spec.map.transformMap(k, v, k).size() == 2",
    "b'\\x00\\377' == bytes('a') || type(1u) == uint || int('7') == 7 && double('1e3') == 1000.0",
    "self.big + 1 > 0 || self.small - 1 < 0 || -self.small > 0 || 1 / 0 == 0",
];

const CRD: &[&str] = &[
    "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\",\"default\":\"x\",\"pattern\":\"^x+$\",\"maxLength\":5,\"enum\":[\"x\",\"xx\"]},\"n\":{\"type\":\"integer\",\"minimum\":1,\"multipleOf\":2,\"nullable\":true},\"l\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\",\"default\":\"d\"}}},\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"]}}}}}\0{\"spec\":{\"n\":null,\"l\":[{\"k\":\"a\"},{}],\"u\":1}}\0{\"spec\":{\"a\":\"x\"}}",
    "{\"type\":\"object\",\"properties\":{\"p\":{\"x-kubernetes-int-or-string\":true},\"any\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\",\"format\":\"double\"}},\"e\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"x-kubernetes-preserve-unknown-fields\":true}}}\0{\"p\":\"5%\",\"any\":{\"x\":[null]},\"m\":{\"a\":1},\"e\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}}\0null",
    "{\"type\":\"object\",\"x-kubernetes-validations\":[{\"rule\":\"self.a <= self.b\",\"message\":\"m\"},{\"rule\":\"self.a >= oldSelf.a\",\"messageExpression\":\"'was ' + string(oldSelf.a)\"}],\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}}}\0{\"a\":1,\"b\":2}\0{\"a\":2,\"b\":2}",
    "{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\",\"format\":\"date-time\"}},\"oneOf\":[{\"required\":[\"t\"]}],\"not\":{\"required\":[\"u\"]},\"anyOf\":[{\"properties\":{\"t\":{\"minLength\":1}}}]}\0{\"t\":\"2024-01-01T00:00:00Z\"}\0{}",
];

const TEMPLATE: &[&str] = &[
    "{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}",
    "{.items[?(@.n>0)].metadata.name} {.items[?(@.metadata.name==\"b\")].on}",
    "{.items[0:2:1].l[-1]} {.items[0,1].n} {..name} {.items[*]['n','on']}",
    "{.items[0].metadata.labels.x\\.y/z} {['kind']} {$.kind} {@.kind} text \\n",
    ".items[*].metadata.name",
    "{{range .items}}{{.metadata.name | printf \"%s\"}}{{if .on}}x{{else}}y{{end}}{{end}}",
    "{{with $x := index .items 0}}{{len $x.l}}{{eq $x.n 1 | not}}{{exists $x \"l\"}}{{end}}",
];

const POLICY: &[&str] = &[
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: None\n  users: [jo]\n  verbs: [get]\n  nonResourceURLs: [/healthz*, /version]\n- level: RequestResponse\n  userGroups: [dev]\n  resources:\n  - group: ''\n    resources: [pods, pods/log]\n    resourceNames: [a]\n  namespaces: [default]\n- level: Metadata\n  omitManagedFields: true\n",
];

const REQUEST: &[&str] = &[
    "GET\n/api/v1/namespaces/d/pods/p/log?follow=true&timeout=1m30s\napplication/json",
    "GET\n/apis/apps/v1/watch/deployments?labelSelector=a%3Db&watch=1\napplication/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5,*/*",
    "POST\n/api/v1/namespaces/d/services/https:web:443/proxy/a/b?c=%ff\napplication/vnd.kubernetes.protobuf",
    "DELETE\n/api/v1/namespaces/d/pods?fieldSelector=metadata.name%3Dx\napplication/yaml",
];

/// Paths and contents in turns, between zero bytes.
const KUSTOMIZE: &[&str] = &[
    "kustomization.yaml\0resources: [a.yaml, base]\nnamePrefix: p-\nnamespace: n\ncommonLabels: {app: web}\nimages: [{name: i, newTag: '2'}]\nreplicas: [{name: d, count: 3}]\nconfigMapGenerator:\n- name: c\n  literals: [a=b]\n  files: [x=f.txt]\n\0a.yaml\0apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers: [{name: a, image: i, envFrom: [{configMapRef: {name: c}}]}]\n\0f.txt\0text\0base/kustomization.yaml\0resources: [s.yaml]\n\0base/s.yaml\0apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n",
    "kustomization.yaml\0resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n    - {op: add, path: /data/x, value: y}\n- path: p.yaml\nreplacements:\n- source: {kind: ConfigMap, fieldPath: data.a}\n  targets:\n  - select: {kind: ConfigMap}\n    fieldPaths: [data.b]\n    options: {create: true, delimiter: '-', index: 1}\n\0a.yaml\0apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1-2', b: 3-4}\n\0p.yaml\0apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {b: null, c: d}\n",
    "kustomization.yaml\0resources: [a.yaml]\ncomponents: [c]\nvars:\n- name: V\n  objref: {kind: Service, name: s, apiVersion: v1}\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: t, type: Opaque, envs: [e.env]}]\nlabels: [{pairs: {x: y}, includeSelectors: true}]\nbuildMetadata: [originAnnotations]\nsortOptions: {order: fifo}\n\0a.yaml\0apiVersion: v1\nkind: Service\nmetadata: {name: s, annotations: {a: $(V)}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, command: [$(V)]}]}\n\0e.env\0A=1\n#x\nB=2\n\0c/kustomization.yaml\0apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -z\n",
];

const DOCKERFILE: &[&str] = &[
    "# syntax=docker/dockerfile:1\nARG V=1\nFROM --platform=linux/amd64 alpine:$V AS b\nENV A=b C=\"d e\"\nRUN --mount=type=cache,target=/c --network=none echo $A \\\n  && true\nCOPY --chown=1:2 --chmod=755 a* b/ /c/\nFROM scratch\nCOPY --from=b /x /y\nCMD [\"a\", \"b\"]\n",
    "FROM a\nRUN <<EOF\necho x\nEOF\nHEALTHCHECK --interval=5s --retries=3 CMD true\nEXPOSE 80/tcp 53/udp\nVOLUME [\"/v\"]\nUSER 1:1\nWORKDIR /w\nLABEL a=b\nSTOPSIGNAL SIGTERM\nSHELL [\"sh\",\"-c\"]\nENTRYPOINT x\nONBUILD RUN y\nADD http://a/b c\n",
    "# escape=`\nFROM a\nRUN a `\n b\n",
    "${A:-x} $B ${C:+y} ${D#a*} \\$E 'q$F' \"r$G\"",
    "**/a*[b-d]?/x\ny/abcd/x",
    "registry.example.com:5000/a/b:tag@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// The size of the pieces, then frames: data, a ping, a reset, a window.
const SPDY: &[&str] =
    &["\u{3}\0\0\0\u{1}\u{1}\0\0\u{2}hi", "\u{9}\0\0\0\u{1}\0\0\0\u{2}hi\0\0\0\u{3}\u{1}\0\0\0"];
