//! Server-side apply over objects of every kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::managedfields::{FieldSet, Managed, Sent, Type, Writer, take};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Some((row, rest)) = onggi_fuzz::kind(data) else { return };
    let Some([live, config, list]) = onggi_fuzz::parts(rest) else { return };
    let (Some(mut live), Ok(mut config)) =
        (onggi_fuzz::object(row, live), serde_json::from_slice::<Value>(config))
    else {
        return;
    };
    let version = row.api_version();
    let Value::Object(map) = &mut config else { return };
    map.insert("apiVersion".into(), version.clone().into());
    map.insert("kind".into(), row.kind.into());
    take(&mut live);
    live["metadata"]["uid"] = "u".into();
    let none = FieldSet::default();
    let by = |manager: &'static str| Writer {
        manager,
        api_version: &version,
        subresource: "",
        now: "2024-01-01T00:00:00Z",
        ty: Type::of(row.group, row.version, row.kind),
        reset: &none,
        versions: &|_: &str| true,
    };
    // What a client says of the owners.
    let said =
        serde_json::from_slice::<Value>(list).ok().and_then(|list| Managed::read(&list).ok());
    let managed = said.unwrap_or_else(|| by("before").created(&live, Sent::Nothing));
    reads_back(&managed);
    let kind = (version.as_str(), row.kind);
    let _ = by("kubectl").applied(kind, &live, managed.clone(), &config, false);
    let Ok(first) = by("me").applied(kind, &live, managed, &config, true) else { return };
    reads_back(&first.managed);
    let again = by("me")
        .applied(kind, &first.object, first.managed.clone(), &config, false)
        .expect("what was applied can be applied again");
    assert_eq!(again.object, first.object, "the second time changes nothing");
    assert_eq!(fields(again.managed), fields(first.managed));
});

fn fields(managed: Managed) -> Value {
    let mut list = managed.write().unwrap_or(json!([]));
    for entry in list.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    list
}

fn reads_back(managed: &Managed) {
    let Some(list) = managed.clone().write() else { return };
    let back = Managed::read(&list).expect("what was written is read");
    assert_eq!(back.write(), Some(list));
}
