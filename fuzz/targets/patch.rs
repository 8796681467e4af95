//! JSON patches, merge patches and strategic merge patches on objects of every kind, and the making
//! of strategic ones.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::patch::{self, PatchType};
use onggi_machinery::resource::Resource;
use onggi_machinery::schema::{self, FieldValidation};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((row, rest)) = onggi_fuzz::kind(data) else { return };
    let Some([object, patch]) = onggi_fuzz::parts(rest) else { return };
    let Some(object) = onggi_fuzz::object(row, object) else { return };
    for kind in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
        let Some(patched) = patched(row, kind, &object, patch) else { continue };
        if kind == PatchType::Merge {
            let twice = self::patched(row, kind, &patched, patch).expect("it was applied before");
            assert_eq!(twice, patched, "a merge patch changes nothing the second time");
        }
        let mut admitted = patched;
        if schema::admit(&mut admitted, &row.gvk(), FieldValidation::Ignore).is_ok() {
            onggi_fuzz::admitted(row, &admitted);
        }
    }
    if let Some(other) = onggi_fuzz::object(row, patch) {
        made(row, &object, &other);
    }
});

fn patched(row: &Resource, kind: PatchType, object: &Value, patch: &[u8]) -> Option<Value> {
    let of_kind = onggi_api::schema::of(row.group, row.version, row.kind);
    let mut object = object.clone();
    patch::apply(kind, of_kind, &mut object, patch).ok().map(|_| object)
}

/// Patches that are made from two objects.
fn made(row: &Resource, old: &Value, new: &Value) {
    let of_kind = onggi_api::schema::of(row.group, row.version, row.kind);
    if let Ok(patch) = patch::two_way_merge(of_kind, old, new) {
        let mut object = old.clone();
        let _ = patch::strategic_merge(of_kind, &mut object, patch);
    }
    if let Ok(patch) = patch::three_way_merge(of_kind, old, new, old) {
        let mut object = old.clone();
        let _ = patch::strategic_merge(of_kind, &mut object, patch);
    }
    // Without a schema a list is one value, so the way back is exact.
    let patch = patch::two_way_merge(None, old, new).expect("both are objects");
    let mut object = old.clone();
    let nothing_null = !new.to_string().contains("null");
    let words = new.to_string().contains('$') || old.to_string().contains('$');
    if nothing_null && !words && patch::strategic_merge(None, &mut object, patch).is_ok() {
        assert_eq!(&object, new, "a patch of two objects makes the second of the first");
    }
}
