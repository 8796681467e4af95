//! `describe`: objects for people, in kubectl's layout. Pure: an object, what belongs to it, and
//! the time become a text.

mod amounts;
mod autoscale;
mod batch;
mod certificate;
mod net;
mod node;
mod pod;
mod policy;
mod rest;
mod storage;
mod text;
mod volume;
mod workload;

use onggi_machinery::table::human_duration;
use onggi_machinery::value::{i64_at, str_at, time_at};
use serde_json::Value;

use crate::output::tabwriter::{DESCRIBE, align};
pub use pod::template;
pub use policy::rules;
use text::Text;

/// What is printed beside an object.
#[derive(Debug, Clone, Default)]
pub struct Related {
    /// Its events; `None` where they are not wanted.
    pub events: Option<Vec<Value>>,
    /// ReplicaSets of a Deployment, pods of other workloads, of a node or a namespace, slices of a
    /// Service, quotas and limits of a namespace, Services of an Ingress with their slices in `slices`.
    pub objects: Vec<Value>,
    /// The lease of a node, or why there is none.
    pub lease: Option<Result<Value, String>>,
}

/// The description of an object. `now` is in seconds since 1970. To add a kind: a line here.
pub fn object(object: &Value, related: &Related, now: i64) -> String {
    let mut text = Text::default();
    match str_at(object, "kind") {
        "Pod" => pod::pod(&mut text, object),
        "Deployment" => workload::deployment(&mut text, object, &related.objects),
        "ReplicaSet" => workload::replica_set(&mut text, object, &related.objects),
        "Service" => rest::service(&mut text, object, &related.objects),
        "Node" => node::node(&mut text, object, related, now),
        "Namespace" => rest::namespace(&mut text, object, &related.objects),
        "ConfigMap" => rest::config_map(&mut text, object),
        "Secret" => rest::secret(&mut text, object),
        "Job" => batch::job(&mut text, object),
        "CronJob" => batch::cron_job(&mut text, object),
        "StatefulSet" => batch::stateful_set(&mut text, object, &related.objects),
        "DaemonSet" => batch::daemon_set(&mut text, object, &related.objects),
        "ReplicationController" => {
            batch::replication_controller(&mut text, object, &related.objects);
        }
        "Role" | "ClusterRole" => policy::role(&mut text, object),
        "RoleBinding" | "ClusterRoleBinding" => policy::role_binding(&mut text, object),
        "PodDisruptionBudget" => policy::budget(&mut text, object),
        "PriorityClass" => policy::priority(&mut text, object),
        "ResourceQuota" => policy::quota(&mut text, object),
        "LimitRange" => policy::limits(&mut text, object),
        "PersistentVolumeClaim" => storage::claim(&mut text, object, &related.objects),
        "PersistentVolume" => storage::volume(&mut text, object, now),
        "StorageClass" => storage::class(&mut text, object),
        "VolumeAttributesClass" => storage::attributes(&mut text, object),
        "CSINode" => storage::csi_node(&mut text, object),
        "NetworkPolicy" => net::policy(&mut text, object),
        "Endpoints" => net::endpoints(&mut text, object),
        "EndpointSlice" => net::slice(&mut text, object),
        "ServiceCIDR" => net::service_cidr(&mut text, object),
        "IPAddress" => net::address(&mut text, object),
        "HorizontalPodAutoscaler" => autoscale::autoscaler(&mut text, object),
        "CertificateSigningRequest" => certificate::request(&mut text, object),
        "IngressClass" => net::ingress_class(&mut text, object),
        "Ingress" => storage::ingress(&mut text, object, &related.objects),
        "ServiceAccount" => rest::service_account(&mut text, object),
        _ => rest::any(&mut text, object),
    }
    // These have none, as for kubectl.
    const SILENT: &[&str] = &[
        "Secret",
        "Namespace",
        "NetworkPolicy",
        "Role",
        "ClusterRole",
        "RoleBinding",
        "ClusterRoleBinding",
        "ResourceQuota",
        "LimitRange",
    ];
    if !SILENT.contains(&str_at(object, "kind"))
        && let Some(events) = &related.events
    {
        events_of(&mut text, events, now);
    }
    align(&text.0, DESCRIBE)
}

fn events_of(text: &mut Text, events: &[Value], now: i64) {
    if events.is_empty() {
        text.line(0, "Events:\t<none>");
        return;
    }
    let mut events: Vec<&Value> = events.iter().collect();
    let last = |event: &Value| {
        time_at(event, "lastTimestamp").or(time_at(event, "eventTime")).unwrap_or(0)
    };
    events.sort_by_key(|event| last(event));
    text.line(0, "Events:");
    text.line(1, "Type\tReason\tAge\tFrom\tMessage");
    text.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let source = match str_at(event, "source.component") {
            "" => str_at(event, "reportingComponent"),
            component => component,
        };
        let message = str_at(event, "message").trim();
        let message = match str_at(event, "involvedObject.fieldPath") {
            "" => message.to_owned(),
            field => format!("{field}: {message}"),
        };
        text.line(
            1,
            &format!(
                "{}\t{}\t{}\t{source}\t{message}",
                str_at(event, "type"),
                str_at(event, "reason"),
                event_age(event, now),
            ),
        );
    }
}

/// `5s`, or `2s (x5 over 3m)` for an event that came again.
pub fn event_age(event: &Value, now: i64) -> String {
    let ago = |seen: Option<i64>| seen.map_or("<unknown>".to_owned(), |t| human_duration(now - t));
    let first = time_at(event, "firstTimestamp").or(time_at(event, "eventTime"));
    if let Some(count) = i64_at(event, "series.count") {
        let last = ago(time_at(event, "series.lastObservedTime"));
        return format!("{last} (x{count} over {})", ago(first));
    }
    match i64_at(event, "count") {
        Some(count) if count > 1 => {
            let last = ago(time_at(event, "lastTimestamp"));
            format!("{last} (x{count} over {})", ago(first))
        }
        _ => ago(first.or(time_at(event, "lastTimestamp"))),
    }
}
