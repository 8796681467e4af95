//! The Node object: registered when the runtime answers, kept alive by its Lease, its conditions
//! sampled with the heartbeat.

mod machine;

use std::sync::Arc;
use std::time::Duration;

use onggi_api::GroupVersionResource;
use onggi_api::jiff::Timestamp;
use onggi_base::Shutdown;
use onggi_base::backoff::Backoff;
use onggi_base::clock::{rfc3339, rfc3339_micro};
use onggi_client::informer::Whole;
use onggi_client::{Cache, Error, Patch, Subscription};
use serde_json::{Map, Value, json};

use crate::context::Context;
use machine::Pressure;
pub(crate) use machine::{Machine, NodeUsage};

/// How often the Lease is renewed, and pressure is sampled.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i64 = 40;
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// A status that did not change is written after so many seconds all the same.
const STATUS_SECONDS: i64 = 300;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// Keeps the node registered until the shutdown. `own` holds its object.
pub(crate) async fn run(context: Arc<Context>, own: Cache<Whole>, shutdown: Shutdown) {
    let mut node = Node { context, changes: own.subscribe(), last: None };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = node.keep() => {}
    }
}

struct Node {
    context: Arc<Context>,
    /// Of its object, whoever makes them.
    changes: Subscription<Whole>,
    /// The conditions as they were written, and when.
    last: Option<(Value, Timestamp)>,
}

fn nodes() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "nodes")
}

fn leases() -> GroupVersionResource {
    GroupVersionResource::new("coordination.k8s.io", "v1", "leases")
}

impl Node {
    async fn keep(&mut self) {
        self.insist(Step::Register).await;
        let name = &self.context.options.node_name;
        self.context.events.node(name, "Starting", "Starting kubelet.".to_owned());
        loop {
            self.insist(Step::Lease).await;
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT) => {}
                // Whoever took us for dead, or gave the node what can be asked for, must not wait for
                // the next full status.
                () = contradicted(&mut self.changes, self.last.as_ref()) => self.last = None,
            }
            self.insist(Step::Status).await;
        }
    }

    /// Until it went well.
    async fn insist(&mut self, step: Step) {
        let mut backoff = BACKOFF;
        loop {
            let result = match step {
                Step::Register => self.register().await,
                Step::Lease => self.renew().await,
                Step::Status => self.sample().await,
            };
            match result {
                Ok(()) => return,
                // Somebody deleted the node that we are.
                Err(error) if error.is_not_found() && step == Step::Status => {
                    if let Err(error) = self.register().await {
                        tracing::warn!(%error, "cannot register the node again");
                    }
                }
                Err(error) => tracing::warn!(%error, ?step, "node"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn register(&mut self) -> Result<(), Error> {
        let now = self.context.clock.now();
        let status = self.status(now, &Value::Null).await;
        let options = &self.context.options;
        let mut spec = Map::new();
        if !options.pod_cidr.is_empty() {
            spec.insert("podCIDR".into(), options.pod_cidr.as_str().into());
            spec.insert("podCIDRs".into(), json!([options.pod_cidr]));
        }
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": options.node_name, "labels": self.labels()},
            "spec": spec,
            "status": status,
        });
        let (object, created) = self.context.client.create_or_get(&nodes(), "", node).await?;
        if !created {
            let patch = Patch::merge(json!({"metadata": {"labels": self.labels()}}));
            self.context.client.patch(&nodes(), "", &options.node_name, patch).await?;
        }
        let before = object.value()?;
        self.write(now, &before).await
    }

    fn labels(&self) -> Value {
        let options = &self.context.options;
        let machine = &self.context.machine;
        let mut labels = json!({
            "kubernetes.io/hostname": options.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine.architecture,
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": machine.architecture,
        });
        for (key, value) in &options.labels {
            labels[key] = value.as_str().into();
        }
        labels
    }

    /// Writes the status where conditions changed, or it is old.
    async fn sample(&mut self) -> Result<(), Error> {
        let now = self.context.clock.now();
        let conditions = self.conditions(now, &Value::Null).await;
        let same = self.last.as_ref().is_some_and(|(last, at)| {
            verdicts(last) == verdicts(&conditions)
                && now.as_second() - at.as_second() < STATUS_SECONDS
        });
        if same {
            return Ok(());
        }
        let name = &self.context.options.node_name;
        let before = self.context.client.get(&nodes(), "", name).await?.value()?;
        self.write(now, &before).await
    }

    async fn write(&mut self, now: Timestamp, before: &Value) -> Result<(), Error> {
        let status = self.status(now, before).await;
        let conditions = status["conditions"].clone();
        let name = &self.context.options.node_name;
        let patch = Patch::merge(json!({"status": status}));
        self.context.client.patch_status(&nodes(), "", name, patch).await?;
        self.last = Some((conditions, now));
        Ok(())
    }

    async fn status(&self, now: Timestamp, before: &Value) -> Value {
        let (options, machine) = (&self.context.options, &self.context.machine);
        let amounts = json!({
            "cpu": onggi_api::Quantity::from_millis(machine.cpu_millis).to_string(),
            "memory": format!("{}Ki", machine.memory_bytes / 1024),
            "ephemeral-storage": format!("{}Ki", machine.disk_bytes / 1024),
            "pods": options.max_pods.to_string(),
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
        });
        let images = self.context.images.list_images().await.unwrap_or_default();
        let images: Vec<Value> = images
            .into_iter()
            .take(50)
            .map(|image| {
                let names: Vec<String> =
                    image.repo_digests.into_iter().chain(image.repo_tags).collect();
                json!({"names": names, "sizeBytes": image.size})
            })
            .collect();
        json!({
            "addresses": [
                {"type": "InternalIP", "address": options.node_ip.to_string()},
                {"type": "Hostname", "address": options.node_name},
            ],
            "capacity": amounts,
            "allocatable": allocatable(&amounts, &before["status"]),
            "conditions": self.conditions(now, before).await,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "images": images,
            "nodeInfo": {
                "architecture": machine.architecture,
                "bootID": machine.boot_id,
                "containerRuntimeVersion": format!("onggi://{}", env!("CARGO_PKG_VERSION")),
                "kernelVersion": machine.kernel,
                "kubeProxyVersion": options.version,
                "kubeletVersion": options.version,
                "machineID": machine.machine_id,
                "operatingSystem": "linux",
                "osImage": machine.os_image,
                "systemUUID": machine.system_uuid,
            },
        })
    }

    /// Ours, and those of others as they are.
    async fn conditions(&self, now: Timestamp, before: &Value) -> Value {
        let ready = self.context.runtime.list_pod_sandboxes().await;
        let pressure = Pressure::sample(&self.context.options.data_dir);
        let own = [
            verdict(
                "MemoryPressure",
                pressure.memory,
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
            verdict(
                "DiskPressure",
                pressure.disk,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
            verdict(
                "PIDPressure",
                pressure.pids,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
            match ready {
                Ok(_) => verdict(
                    "Ready",
                    true,
                    ("KubeletReady", "kubelet is posting ready status"),
                    ("", ""),
                ),
                Err(error) => {
                    let text = format!("container runtime is down: {error}");
                    verdict("Ready", false, ("", ""), ("KubeletNotReady", &text))
                }
            },
        ];
        let last = match (&before["status"]["conditions"], &self.last) {
            (Value::Null, Some((last, _))) => last,
            (before, _) => before,
        };
        let empty = Vec::new();
        let old = |kind: &Value| {
            last.as_array().unwrap_or(&empty).iter().find(|c| c["type"] == *kind).cloned()
        };
        let mut list: Vec<Value> = Vec::new();
        for mut condition in own {
            let since = old(&condition["type"])
                .filter(|old| old["status"] == condition["status"])
                .map_or_else(|| rfc3339(now).into(), |old| old["lastTransitionTime"].clone());
            condition["lastTransitionTime"] = since;
            condition["lastHeartbeatTime"] = rfc3339(now).into();
            list.push(condition);
        }
        let others = before["status"]["conditions"].as_array().unwrap_or(&empty).iter();
        let is_own = |c: &Value| list.iter().any(|own| own["type"] == c["type"]);
        let others: Vec<Value> = others.filter(|c| !is_own(c)).cloned().collect();
        list.extend(others);
        Value::Array(list)
    }

    async fn renew(&self) -> Result<(), Error> {
        let name = &self.context.options.node_name;
        let spec = json!({
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": rfc3339_micro(self.context.clock.now()),
        });
        let client = &self.context.client;
        let patch = Patch::merge(json!({"spec": spec}));
        match client.patch(&leases(), LEASE_NAMESPACE, name, patch).await {
            Err(error) if error.is_not_found() => {}
            result => return result.map(drop),
        }
        let node = client.get(&nodes(), "", name).await?;
        let owner =
            json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.head().uid});
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": spec,
        });
        client.create(&leases(), LEASE_NAMESPACE, lease).await.map(drop)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Register,
    Lease,
    Status,
}

fn verdict(kind: &str, is: bool, yes: (&str, &str), no: (&str, &str)) -> Value {
    let (status, (reason, message)) = if is { ("True", yes) } else { ("False", no) };
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// All that the node has can be asked for: ours, and what others say that it has (devices). What
/// they say no more goes; `null` takes it away.
fn allocatable(own: &Value, before: &Value) -> Value {
    let mut all = own.clone();
    let entries = |field: &str| before[field].as_object().into_iter().flatten();
    for (name, amount) in entries("capacity") {
        if own.get(name).is_none() {
            all[name] = amount.clone();
        }
    }
    for (name, _) in entries("allocatable") {
        if all.get(name).is_none() {
            all[name] = Value::Null;
        }
    }
    all
}

/// Waits until the object says something else than what was written last.
async fn contradicted(changes: &mut Subscription<Whole>, last: Option<&(Value, Timestamp)>) {
    while let (Some((last, _)), Some(change)) = (last, changes.recv().await) {
        let Some(node) = change.after().and_then(|node| node.value().ok()) else { continue };
        let status = &node["status"];
        if verdicts(&status["conditions"]) != verdicts(last)
            || status["capacity"] != status["allocatable"]
        {
            return;
        }
    }
    // Nothing was written yet, or nothing is told any more: the heartbeat goes on.
    std::future::pending().await
}

/// What of conditions is news.
fn verdicts(conditions: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let list = conditions.as_array().into_iter().flatten();
    list.filter(|c| own.contains(&c["type"].as_str().unwrap_or_default()))
        .map(|c| (text(&c["type"]), text(&c["status"])))
        .collect()
}
