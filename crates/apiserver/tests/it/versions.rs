//! Kinds that are served in two versions: whichever is asked for is answered.

use bytes::Bytes;
use futures::StreamExt;
use onggi_api::GroupVersionResource;
use onggi_client::{Body, PatchKind, Request, WatchSpec};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::server::Server;

fn hpas(version: &str) -> GroupVersionResource {
    GroupVersionResource::new("autoscaling", version, "horizontalpodautoscalers")
}

fn of(resource: GroupVersionResource) -> impl Fn(Verb, &str) -> Request {
    move |verb, name| Request::new(verb, resource.clone(), "default", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_in_both() {
    let s = Server::start().await;
    let (v1, v2) = (of(hpas("v1")), of(hpas("v2")));
    let mut watched = Vec::new();
    for version in ["v1", "v2"] {
        watched.push(s.transport.watch(WatchSpec::all(hpas(version))).await.unwrap());
    }
    let body = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5, "targetCPUUtilizationPercentage": 50,
        },
    });
    let made = s.call(v1(Verb::Create, "").body(Body::Object(body.clone()))).await.unwrap();
    assert_eq!(made["apiVersion"], "autoscaling/v1");
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(made["spec"]["minReplicas"], 1);
    for (events, version) in watched.iter_mut().zip(["v1", "v2"]) {
        // First the bookmark of the empty state.
        assert!(events.next().await.unwrap().unwrap().initial_events_end);
        let event = events.next().await.unwrap().unwrap();
        let told = event.object.value().unwrap();
        assert_eq!(told["apiVersion"], format!("autoscaling/{version}"));
        assert_eq!(told["metadata"], made["metadata"]);
        assert_eq!(told["spec"]["metrics"].is_array(), version == "v2");
    }

    let mut new = s.call(v2(Verb::Get, "web")).await.unwrap();
    let metrics = new["spec"]["metrics"].as_array_mut().unwrap();
    assert_eq!(metrics[0]["resource"]["target"]["averageUtilization"], 50);
    metrics.push(json!({"type": "Pods", "pods": {
        "metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}}));
    s.call(v2(Verb::Update, "web").body(Body::Object(new))).await.unwrap();

    // A patch is one of the version that it is sent in; what that has no field for stays.
    let patch = Bytes::from_static(br#"{"spec":{"targetCPUUtilizationPercentage":60}}"#);
    let request = v1(Verb::Patch, "web").body(Body::Patch(PatchKind::Strategic, patch));
    let patched = s.call(request).await.unwrap();
    assert_eq!(patched["spec"]["targetCPUUtilizationPercentage"], 60);
    let kept = &patched["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert!(kept.as_str().unwrap().contains("rps"), "{patched}");
    let new = s.call(v2(Verb::Get, "web")).await.unwrap();
    assert_eq!(new["spec"]["metrics"].as_array().map(Vec::len), Some(2));
    assert_eq!(new["metadata"].get("annotations"), None);
    let share = new["spec"]["metrics"].as_array().unwrap().iter();
    let share = share.filter_map(|m| m["resource"]["target"]["averageUtilization"].as_i64());
    assert_eq!(share.collect::<Vec<_>>(), [60]);

    let list = s.call(v1(Verb::List, "")).await.unwrap();
    assert_eq!(list[0]["apiVersion"], "autoscaling/v1");
    // A field of the other version is unknown, and a version that is not the path's is refused.
    let mut wrong = body;
    wrong["spec"]["metrics"] = json!([]);
    let mut request = v1(Verb::Create, "").body(Body::Object(wrong.clone()));
    request.write.field_validation = "Strict".into();
    let text = s.call(request).await.unwrap_err().to_string();
    assert!(text.contains("unknown field \"spec.metrics\""), "{text}");
    let text = s.call(v2(Verb::Create, "").body(Body::Object(wrong))).await.unwrap_err();
    assert!(text.to_string().contains("does not match the expected API version"), "{text}");
    // The options of a delete are no autoscaler.
    let options = Body::Object(json!({"propagationPolicy": "Foreground"}));
    let going = s.call(v1(Verb::Delete, "web").body(options)).await.unwrap();
    assert_eq!(going["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(going["apiVersion"], "autoscaling/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_both_groups() {
    let s = Server::start().await;
    let new = of(GroupVersionResource::new("events.k8s.io", "v1", "events"));
    let core = of(GroupVersionResource::new("", "v1", "events"));
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "hello",
        "reason": "Said", "action": "Say", "type": "Normal", "reportingController": "k.io/test",
        "reportingInstance": "one", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let made = s.call(new(Verb::Create, "").body(Body::Object(body))).await.unwrap();
    assert_eq!((&made["note"], &made["regarding"]["name"]), (&json!("hello"), &json!("p")));
    let told = s.call(core(Verb::Get, "e")).await.unwrap();
    assert_eq!((&told["message"], &told["involvedObject"]["name"]), (&json!("hello"), &json!("p")));
    assert_eq!(told["apiVersion"], "v1");
    let select = async |request: Request, field: &str| {
        let mut request = request;
        request.list.field_selector = field.into();
        s.call(request).await.map(|list| list.as_array().map_or(0, Vec::len))
    };
    assert_eq!(select(new(Verb::List, ""), "regarding.name=p").await.unwrap(), 1);
    assert_eq!(select(new(Verb::List, ""), "reportingController!=k.io/test").await.unwrap(), 0);
    assert_eq!(select(core(Verb::List, ""), "involvedObject.name=p").await.unwrap(), 1);
    assert!(select(new(Verb::List, ""), "involvedObject.name=p").await.is_err());
    // The source is who reports, where no component is named; the newer group has no such field.
    assert_eq!(select(core(Verb::List, ""), "source=k.io/test").await.unwrap(), 1);
    assert_eq!(select(core(Verb::List, ""), "source!=k.io/test").await.unwrap(), 0);
    assert!(select(new(Verb::List, ""), "source=k.io/test").await.is_err());
    assert!(select(core(Verb::List, ""), "source.component=k.io/test").await.is_err());
    let patch = Bytes::from_static(
        br#"{"series":{"count":2,"lastObservedTime":"2026-01-01T00:00:01.000000Z"}}"#,
    );
    let request = new(Verb::Patch, "e").body(Body::Patch(PatchKind::Merge, patch));
    let patched: Value = s.call(request).await.unwrap();
    assert_eq!(patched["series"]["count"], 2);
    assert_eq!(s.call(core(Verb::Get, "e")).await.unwrap()["series"]["count"], 2);
}
