//! The event recorder against the fake API server.

use std::sync::Arc;

use onggi_api::core::Event;
use onggi_api::{GroupVersionResource, Status};
use onggi_base::Shutdown;
use onggi_base::clock::FakeClock;
use onggi_client::events::{Reporter, recorder, reference_to};
use onggi_client::testing::FakeApi;
use onggi_client::{Cache, Change, SharedInformers, Source};
use onggi_machinery::resource::Verb;
use serde_json::json;

#[tokio::test]
async fn events_are_written_and_counted() {
    let fake = FakeApi::new();
    let clock = FakeClock::at(1_000);
    let shutdown = Shutdown::new();
    let reporter = Reporter { component: "kubelet".into(), host: "n1".into() };
    let (events, sink) = recorder(fake.client(), Arc::new(clock.clone()), reporter);
    tokio::spawn(sink.run(shutdown.clone()));
    let pod = fake
        .put(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": "p"},
        }))
        .unwrap();
    let informers = SharedInformers::new(fake.transport(), shutdown.clone());
    let cache: Cache<Event> = informers.informer(Source::of::<Event>());
    let mut changes = cache.subscribe();

    // What is refused is dropped, and holds nothing up.
    fake.fail_next(Verb::Create, "events", Status::forbidden("events", "", "the namespace ends"));
    events.normal(reference_to(&pod), "Scheduled", "never seen");
    events.warning(reference_to(&pod), "BackOff", "again");
    let Some(Change::Added { new, .. }) = changes.recv().await else { panic!("no event") };
    assert_eq!(new.reason.as_deref(), Some("BackOff"));
    assert_eq!(new.type_.as_deref(), Some("Warning"));
    assert_eq!(new.count, Some(1));
    assert_eq!(new.involved_object.uid.as_deref(), Some(pod.head().uid.as_str()));
    assert_eq!(new.reporting_component.as_deref(), Some("kubelet"));

    clock.advance(60);
    events.warning(reference_to(&pod), "BackOff", "again");
    let Some(Change::Updated { old, new, .. }) = changes.recv().await else { panic!("no count") };
    assert_eq!(new.count, Some(2));
    assert_eq!(new.first_timestamp, old.first_timestamp);
    assert_ne!(new.last_timestamp, old.last_timestamp);

    // An event whose time is over is written anew, with its count.
    let name = new.metadata.name.clone().unwrap();
    fake.remove(&GroupVersionResource::new("", "v1", "events"), "d", &name);
    assert!(matches!(changes.recv().await, Some(Change::Deleted { .. })));
    events.warning(reference_to(&pod), "BackOff", "again");
    let Some(Change::Added { new, .. }) = changes.recv().await else { panic!("no event") };
    assert_eq!((new.count, new.metadata.name.as_ref()), (Some(3), Some(&name)));
    shutdown.cancel();
}
