//! What the node and its containers use, as a summary and as metrics.

use std::fmt::Write;
use std::sync::Arc;

use onggi_api::jiff::Timestamp;
use onggi_node_api::{ContainerState, ContainerStats};
use serde_json::{Value, json};

use crate::context::Context;
use crate::node::NodeUsage;

/// Everything at one moment.
pub(super) struct Usage {
    node: String,
    now: Timestamp,
    whole: NodeUsage,
    pods: Vec<PodUsage>,
}

struct PodUsage {
    namespace: String,
    name: String,
    uid: String,
    started: Option<String>,
    containers: Vec<ContainerUsage>,
}

struct ContainerUsage {
    name: String,
    id: String,
    image: String,
    /// Nanoseconds since 1970.
    started: i128,
    stats: ContainerStats,
}

/// Asks the runtime about everything that runs. What ends meanwhile is left out.
pub(super) async fn gather(context: &Arc<Context>) -> Usage {
    let mut pods = Vec::new();
    for view in context.directory.views() {
        let running = view.containers.iter().filter(|c| c.state == ContainerState::Running);
        let mut containers = Vec::new();
        for container in running {
            if let Ok(stats) = context.runtime.container_stats(&container.id).await {
                containers.push(ContainerUsage {
                    name: container.name.clone(),
                    id: container.id.clone(),
                    image: container.user_image.clone(),
                    started: container.started_at,
                    stats,
                });
            }
        }
        pods.push(PodUsage {
            namespace: view.pod.namespace().to_owned(),
            name: view.pod.name().to_owned(),
            uid: view.pod.uid().to_owned(),
            started: view.status.start_time.as_ref().map(|time| time.0.to_string()),
            containers,
        });
    }
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let node = context.options.node_name.clone();
    Usage { node, now: context.clock.now(), whole: NodeUsage::read(), pods }
}

impl PodUsage {
    fn sum(&self, of: impl Fn(&ContainerStats) -> u64) -> u64 {
        self.containers.iter().map(|container| of(&container.stats)).sum()
    }
}

impl Usage {
    /// `GET stats/summary` (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`).
    pub(super) fn summary(&self) -> Value {
        let time = self.now.to_string();
        let cpu = |nanos: u64| json!({"time": time, "usageCoreNanoSeconds": nanos});
        let memory = |bytes: u64| json!({"time": time, "workingSetBytes": bytes});
        let pods = self.pods.iter().map(|pod| {
            let containers = pod.containers.iter().map(|container| {
                json!({
                    "name": container.name,
                    "startTime": crate::worker::snapshot::timestamp(container.started).to_string(),
                    "cpu": cpu(container.stats.cpu_nanos),
                    "memory": memory(container.stats.working_set_bytes),
                })
            });
            json!({
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "startTime": pod.started,
                "containers": containers.collect::<Vec<_>>(),
                "cpu": cpu(pod.sum(|stats| stats.cpu_nanos)),
                "memory": memory(pod.sum(|stats| stats.working_set_bytes)),
            })
        });
        let mut of_node = memory(self.whole.used_bytes);
        of_node["availableBytes"] = json!(self.whole.available_bytes);
        json!({
            "node": {
                "nodeName": self.node, "cpu": cpu(self.whole.cpu_nanos), "memory": of_node,
            },
            "pods": pods.collect::<Vec<_>>(),
        })
    }

    /// `GET metrics`.
    pub(super) fn own_metrics(&self) -> String {
        let mut out = Exposition::default();
        out.family("kubelet_node_name", "gauge", "The node's name. The count is always 1.");
        out.sample("kubelet_node_name", &[("node", &self.node)], 1.0);
        let running = self.pods.iter().filter(|pod| !pod.containers.is_empty()).count();
        out.family("kubelet_running_pods", "gauge", "Number of pods that have a running container");
        out.sample("kubelet_running_pods", &[], running as f64);
        let containers: usize = self.pods.iter().map(|pod| pod.containers.len()).sum();
        out.family("kubelet_running_containers", "gauge", "Number of containers");
        let state = [("container_state", "running")];
        out.sample("kubelet_running_containers", &state, containers as f64);
        out.0
    }

    /// `GET metrics/resource`.
    pub(super) fn resource_metrics(&self) -> String {
        let mut out = Exposition::default();
        let (cpu, memory) = ("node_cpu_usage_seconds_total", "node_memory_working_set_bytes");
        out.family(cpu, "counter", "Cumulative cpu time consumed by the node in core-seconds");
        out.sample(cpu, &[], seconds(self.whole.cpu_nanos));
        out.family(memory, "gauge", "Current working set of the node in bytes");
        out.sample(memory, &[], self.whole.used_bytes as f64);
        self.each_container(&mut out, &[], |_, container| {
            vec![("container", container.name.clone())]
        });
        let (cpu, memory) = ("pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes");
        out.family(cpu, "counter", "Cumulative cpu time consumed by the pod in core-seconds");
        for pod in &self.pods {
            let labels = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            out.sample(cpu, &labels, seconds(pod.sum(|stats| stats.cpu_nanos)));
        }
        out.family(memory, "gauge", "Current working set of the pod in bytes");
        for pod in &self.pods {
            let labels = [("namespace", &*pod.namespace), ("pod", &*pod.name)];
            out.sample(memory, &labels, pod.sum(|stats| stats.working_set_bytes) as f64);
        }
        let name = "resource_scrape_error";
        out.family(name, "gauge", "1 if there was an error while getting metrics, 0 otherwise");
        out.sample(name, &[], 0.0);
        out.0
    }

    /// `GET metrics/cadvisor`, as far as the runtime counts.
    pub(super) fn container_metrics(&self) -> String {
        let mut out = Exposition::default();
        self.each_container(&mut out, &[("cpu", "total")], |pod, container| {
            vec![
                ("container", container.name.clone()),
                ("id", format!("/kubepods/pod{}/{}", pod.uid, container.id)),
                ("image", container.image.clone()),
                ("name", container.id.clone()),
            ]
        });
        out.0
    }

    /// CPU, memory and start of every container; `of_cpu`: labels of CPU time alone.
    fn each_container(
        &self,
        out: &mut Exposition,
        of_cpu: &[(&'static str, &'static str)],
        labels: impl Fn(&PodUsage, &ContainerUsage) -> Vec<(&'static str, String)>,
    ) {
        type Value = fn(&ContainerUsage) -> f64;
        let families: [(&str, &str, &str, Value); 3] = [
            (
                "container_cpu_usage_seconds_total",
                "counter",
                "Cumulative cpu time consumed by the container in core-seconds",
                |c| seconds(c.stats.cpu_nanos),
            ),
            (
                "container_memory_working_set_bytes",
                "gauge",
                "Current working set of the container in bytes",
                |c| c.stats.working_set_bytes as f64,
            ),
            (
                "container_start_time_seconds",
                "gauge",
                "Start time of the container since unix epoch in seconds",
                |c| c.started as f64 / 1e9,
            ),
        ];
        for (name, kind, help, value) in families {
            out.family(name, kind, help);
            for pod in &self.pods {
                for container in &pod.containers {
                    let own = labels(pod, container);
                    let mut all: Vec<(&str, &str)> =
                        own.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    if kind == "counter" {
                        all.extend(of_cpu);
                    }
                    all.extend([("namespace", &*pod.namespace), ("pod", &*pod.name)]);
                    out.sample(name, &all, value(container));
                }
            }
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Prometheus' text format.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let quoted = |(label, text): &(&str, &str)| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{label}=\"{text}\"")
        };
        let labels: Vec<String> = labels.iter().map(quoted).collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Usage {
        let container = |name: &str, cpu_nanos, working_set_bytes| ContainerUsage {
            name: name.into(),
            id: format!("{name}-1"),
            image: "img".into(),
            started: 5_000_000_000,
            stats: ContainerStats { cpu_nanos, working_set_bytes },
        };
        let containers = vec![container("a", 1_500_000_000, 10), container("b", 500_000_000, 5)];
        let pod = PodUsage {
            namespace: "default".into(),
            name: "p".into(),
            uid: "u".into(),
            started: None,
            containers,
        };
        Usage {
            node: "n".into(),
            now: Timestamp::from_second(10).unwrap(),
            whole: NodeUsage { cpu_nanos: 3_000_000_000, used_bytes: 100, available_bytes: 50 },
            pods: vec![pod],
        }
    }

    #[test]
    fn a_summary() {
        let summary = usage().summary();
        assert_eq!(summary["node"]["memory"]["availableBytes"], 50);
        let pod = &summary["pods"][0];
        assert_eq!(pod["cpu"]["usageCoreNanoSeconds"], 2_000_000_000_u64);
        assert_eq!(pod["containers"][1]["startTime"], "1970-01-01T00:00:05Z");
    }

    #[test]
    fn metrics() {
        let resource = usage().resource_metrics();
        for line in [
            "node_cpu_usage_seconds_total 3",
            "container_cpu_usage_seconds_total{container=\"a\",namespace=\"default\",pod=\"p\"} 1.5",
            "pod_memory_working_set_bytes{namespace=\"default\",pod=\"p\"} 15",
        ] {
            assert!(resource.lines().any(|found| found == line), "{line}\n{resource}");
        }
        let own = usage().own_metrics();
        assert!(own.contains("\nkubelet_running_containers{container_state=\"running\"} 2\n"));
        let cadvisor = usage().container_metrics();
        assert!(
            cadvisor.contains("name=\"b-1\",cpu=\"total\",namespace=\"default\""),
            "{cadvisor}"
        );
    }
}
