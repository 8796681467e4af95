//! Descriptions beside kubectl's of the same objects.

use serde_json::{Value, json};

use crate::server::Server;

const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {note: hello}}
data: {a: "two\nlines\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {user: me}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web, tier: front}}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http, nodePort: 30080}
  - {name: other, port: 81}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {a: b}}
spec:
  nodeName: n1
  nodeSelector: {disk: fast}
  tolerations: [{key: k, operator: Equal, value: v, effect: NoSchedule}]
  initContainers:
  - {name: init, image: init, command: [sh, -c, "echo one\necho two"]}
  containers:
  - name: web
    image: web:1
    args: [serve]
    ports: [{containerPort: 80, name: http}, {containerPort: 81, protocol: UDP}]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 350Mi}}
    envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys, optional: true}, prefix: P_}]
    env:
    - {name: PLAIN, value: text}
    - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: user}}}
    - {name: MAP, valueFrom: {configMapKeyRef: {name: settings, key: a}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    livenessProbe: {httpGet: {path: /live, port: http}, periodSeconds: 5}
    readinessProbe: {tcpSocket: {port: 80}}
    startupProbe: {exec: {command: [cat, /x]}}
    volumeMounts: [{name: v, mountPath: /v, readOnly: true}, {name: e, mountPath: /e, subPath: s}]
  - {name: side, image: side}
  volumes:
  - {name: v, configMap: {name: settings}}
  - {name: s, secret: {secretName: keys}}
  - {name: e, emptyDir: {}}
  - {name: h, hostPath: {path: /tmp}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {x: z}}
    spec:
      containers:
      - {name: web, image: 'web:1', ports: [{containerPort: 80}], env: [{name: A, value: a}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: lone}
spec:
  replicas: 1
  selector: {matchLabels: {app: lone}}
  template:
    metadata: {labels: {app: lone}}
    spec: {containers: [{name: c, image: i}]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: mine}
spec: {holderIdentity: me, leaseDurationSeconds: 10}
"#;

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}},
        "spec": {"podCIDR": "10.244.0.0/22", "podCIDRs": ["10.244.0.0/22"]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn as_kubectl_describes_them() {
    let s = Server::start().await;
    let file = s.file("all.yaml", OBJECTS);
    let nodes = s.file("node.yaml", &node().to_string());
    s.run(&format!("create -f {nodes}")).await;
    s.run(&format!("create -f {file}")).await;
    let status = json!({"status": {
        "phase": "Running", "podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}],
        "hostIP": "10.0.0.1", "startTime": "2026-01-02T03:04:05Z",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
        "initContainerStatuses": [{"name": "init", "image": "init", "imageID": "sha256:0",
            "containerID": "onggi://0", "ready": true, "restartCount": 0, "state": {"terminated": {
            "exitCode": 0, "reason": "Completed", "startedAt": "2026-01-02T03:04:05Z",
            "finishedAt": "2026-01-02T03:04:06Z"}}}],
        "containerStatuses": [
            {"name": "web", "image": "web:1", "imageID": "sha256:1", "containerID": "onggi://1",
             "ready": true, "restartCount": 2, "state": {"running": {"startedAt":
             "2026-01-02T03:04:07Z"}}, "lastState": {"terminated": {"exitCode": 137, "signal": 9,
             "reason": "Error", "startedAt": "2026-01-02T03:04:05Z",
             "finishedAt": "2026-01-02T03:04:06Z"}}},
            {"name": "side", "image": "side", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}});
    let patch = format!("patch pod web --subresource=status --type=merge -p '{status}'");
    s.run(&patch).await;
    let status = json!({"status": {
        "capacity": {"cpu": "2", "memory": "8Gi", "pods": "110"},
        "allocatable": {"cpu": "2", "memory": "8Gi", "pods": "110"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "ready", "lastHeartbeatTime": "2026-01-02T03:04:05Z",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        "nodeInfo": {"machineID": "m", "systemUUID": "u", "bootID": "b", "kernelVersion": "6.1",
            "osImage": "Debian", "operatingSystem": "linux", "architecture": "amd64",
            "containerRuntimeVersion": "onggi://0", "kubeletVersion": "v1.36",
            "kubeProxyVersion": ""}}});
    s.run(&format!("patch node n1 --subresource=status --type=merge -p '{status}'")).await;
    let status = json!({"status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2,
        "conditions": [{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}]}});
    s.run(&format!("patch deploy web --subresource=status --type=merge -p '{status}'")).await;
    event(&s).await;
    for line in [
        "describe cm settings",
        "describe secret keys",
        "describe svc web",
        "describe svc kubernetes",
        "describe deploy web",
        "describe rs lone",
        "describe ns default",
        "describe sa default",
        "describe pod web",
        "describe pods we",
        "describe pod none",
        "describe node n1",
    ] {
        s.same(line).await;
    }
    s.settle();
    assert!(s.run("describe lease mine").await.contains("Holder Identity:"));
}

async fn event(s: &Server) {
    let uid = s.run("get pod web -o jsonpath={.metadata.uid}").await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "default",
            "uid": uid},
        "type": "Warning", "reason": "BackOff", "message": "Back-off restarting failed container",
        "source": {"component": "kubelet", "host": "n1"}, "count": 5,
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z",
    });
    let file = s.file("event.json", &event.to_string());
    s.run(&format!("create -f {file}")).await;
    let out = s.run("events").await;
    assert!(out.starts_with("LAST SEEN"), "{out}");
    assert!(out.contains("Warning   BackOff   Pod/web   Back-off restarting failed container\n"));
}

/// One object of each further kind that has a layout.
const OTHERS: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec: {activeDeadlineSeconds: 60, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cj, labels: {a: b}}
spec: {schedule: '@daily', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: web
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: i}]}}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ds}
spec: {selector: {matchLabels: {app: ds}}, template: {metadata: {labels: {app: ds}}, spec: {nodeSelector: {x: z}, containers: [{name: c, image: i}]}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: rc}
spec: {replicas: 1, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pdb}
spec: {minAvailable: 50%, selector: {matchLabels: {app: db}}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 100
description: for tests
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: q}
spec: {hard: {pods: '10', cpu: '2'}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: lr}
spec: {limits: [{type: Container, max: {cpu: '2'}, default: {cpu: '1'}, defaultRequest: {cpu: 500m}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, labels: {r: s}}
rules:
- {apiGroups: ['', apps], resources: [pods, deployments/scale], verbs: [get, list]}
- {apiGroups: [''], resources: [secrets], resourceNames: [a, b], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default, namespace: default}, {kind: User, name: me, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}
provisioner: example.com/p
parameters: {a: b}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 80}]
    from: [{podSelector: {matchLabels: {app: db}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
  - {}
  policyTypes: [Ingress]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: example.com/c}
---
apiVersion: v1
kind: Endpoints
metadata: {name: ends}
subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: slice}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, nodeName: n1}]
ports: [{port: 80, name: http, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: in, annotations: {k: v}}
spec:
  ingressClassName: nginx
  tls: [{hosts: [h], secretName: s}]
  rules: [{host: h, http: {paths: [{path: /x, pathType: Prefix, backend: {service: {name: none, port: {number: 80}}}}]}}]
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: alice, labels: {a: b, c: d}}
spec: {request: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQlF6Q0I2Z0lCQURCR01RMHdDd1lEVlFRS0RBUjBaV0Z0TVF3d0NnWURWUVFLREFOa1pYWXhDakFJQmdOVgpCQXNNQVhneEN6QUpCZ05WQkFZVEFrUkZNUTR3REFZRFZRUUREQVZoYkdsalpUQlpNQk1HQnlxR1NNNDlBZ0VHCkNDcUdTTTQ5QXdFSEEwSUFCRTN5Y3lWa1dmRFJSYWozRVJHY1hUa3ZsZ2pjSHZ0Z3NjZy8zZTJLa3hZd2VqRFAKOER2dllEdmt0VUdLeFJBUGIyY0lhZUVnZmlJMldaTjhiUHJWd09pZ1FqQkFCZ2txaGtpRzl3MEJDUTR4TXpBeApNQzhHQTFVZEVRUW9NQ2FDQ1dFdVpYaGhiWEJzWlljRUNnQUFBWUVGWVVCaUxtT0dESE53YVdabVpUb3ZMM2d2CmVUQUtCZ2dxaGtqT1BRUURBZ05JQURCRkFpRUEyT2ZvUkdIeEtQaUliY3VTSzExOHV2bGNTeDVVaHpIN2VIc3oKOUlOUC83Z0NJRUJqdnF4SmVPZHJDazBSMFZiT3ovbjk3eDlVZ3M3Q2Y2MG1iR2dZUDZVOQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 7200}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: path, labels: {a: b}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce, ReadOnlyMany]
  storageClassName: slow
  hostPath: {path: /x}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [s, t]}, {key: b, operator: Exists}]}]}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: driver}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Delete
  csi: {driver: d.x, volumeHandle: h, fsType: ext4, volumeAttributes: {k: v, l: w}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: share}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], nfs: {server: s, path: /p}}
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: n1, labels: {a: b}}
spec: {drivers: [{name: d.x, nodeID: id, allocatable: {count: 3}, topologyKeys: [a, b]}, {name: e.x, nodeID: id}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hpa}
spec:
  minReplicas: 1
  maxReplicas: 4
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  behavior: {scaleUp: {stabilizationWindowSeconds: 5, policies: [{type: Pods, value: 2, periodSeconds: 10}]}, scaleDown: {selectPolicy: Disabled}}
  metrics:
  - {type: External, external: {metric: {name: e}, target: {type: AverageValue, averageValue: '3'}}}
  - {type: External, external: {metric: {name: e}, target: {type: Value, value: '3'}}}
  - {type: Pods, pods: {metric: {name: p}, target: {type: AverageValue, averageValue: '3'}}}
  - {type: Object, object: {metric: {name: o}, describedObject: {kind: Service, name: web, apiVersion: v1}, target: {type: Value, value: '3'}}}
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 3Mi}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 30}}}
  - {type: ContainerResource, containerResource: {name: cpu, container: c, target: {type: Utilization, averageUtilization: 30}}}
---
apiVersion: v1
kind: Pod
metadata: {name: volumes}
spec:
  containers: [{name: c, image: i}]
  volumes:
  - {name: claim, persistentVolumeClaim: {claimName: claim, readOnly: true}}
  - {name: share, nfs: {server: s, path: /p}}
  - {name: driver, csi: {driver: d.x}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: fs}
spec:
  priorityLevelConfiguration: {name: exempt}
  rules: [{subjects: [{kind: User, user: {name: me}}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: ['*']}]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: paths}
rules: [{nonResourceURLs: [/a, /b], verbs: [get, post]}, {apiGroups: [''], resources: [pods/log], verbs: [get]}]
";

#[tokio::test(flavor = "multi_thread")]
async fn further_kinds_as_kubectl_describes_them() {
    let s = Server::start().await;
    for (at, document) in OTHERS.split("---\n").enumerate() {
        let file = s.file(&format!("{at}.yaml"), document);
        s.run(&format!("create -f {file}")).await;
        s.same(&format!("describe -f {file}")).await;
    }
    for line in [
        "describe servicecidr",
        "describe hpa",
        "api-resources --sort-by=kind",
        "api-resources -o wide",
        "auth can-i --list",
        "auth can-i --list --as me -n default",
        "get endpoints",
        "get pods,endpoints,componentstatuses -o name",
    ] {
        s.same(line).await;
    }
    s.settle();
}
